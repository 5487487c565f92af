//! A call that is carried out once for its key, and gets the answer of an earlier one where it was.

use std::fmt::Display;
use std::future::Future;

use super::drive::{CallFailure, Surfaced, attempts, attempts_async};
use super::methods::Method;
use super::{Call, Options, Pipeline};
use crate::idempotency::{
    self, ClaimOutcome, Codec, Effect, Fingerprint, Idempotency, Lease, Mark, Replay, Stored,
};
use crate::observe::Ending;
use crate::outcome::{Judgement, Reject};
use crate::rejection::{Rejection, RejectionKind};

impl<'p> Call<'p> {
    /// Claims its idempotency key, or gets the answer of the call that had it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, idempotency::{Fingerprint, ClaimOutcome}, pipeline::Call};
    ///
    /// let pipeline = Registry::new().pipeline("charge").idempotency("charge").build();
    /// let mut call = Call::begin(&pipeline);
    /// let held = call.claim(&"order 7", Fingerprint::NONE).await.unwrap();
    /// assert!(matches!(held, ClaimOutcome::Run(Some(_))));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// If the future is dropped, the key is free again, at the latest when the lease is over.
    pub fn claim<'c>(
        &'c mut self,
        key: &dyn Display,
        fingerprint: Fingerprint,
    ) -> impl Future<Output = Result<ClaimOutcome<'p>, Rejection>> + use<'c, 'p> {
        let claim = self.keyed(key);
        async move {
            let Some((idempotency, key)) = claim else { return Ok(ClaimOutcome::Run(None)) };
            self.pass_shedder()?;
            let deadline = self.deadline;
            let claimed = match key {
                Ok(key) => {
                    let operation = self.pipeline.operation.name();
                    self.suspended(idempotency.claim_until(key, (fingerprint, operation), deadline)).await
                }
                Err(rejection) => Err(rejection),
            };
            self.claimed(claimed)
        }
    }

    /// The same, blocking the thread.
    ///
    /// ```
    /// use resilient_runtime::{Registry, RejectionKind, idempotency::Fingerprint, pipeline::Call};
    ///
    /// let pipeline = Registry::new().pipeline("charge").idempotency("charge").build();
    /// let refused = Call::begin(&pipeline).claim_blocking(&"", Fingerprint::NONE).unwrap_err();
    /// assert_eq!(refused.kind(), RejectionKind::InvalidKey);
    /// ```
    pub fn claim_blocking(
        &mut self,
        key: &dyn Display,
        fingerprint: Fingerprint,
    ) -> Result<ClaimOutcome<'p>, Rejection> {
        let Some((idempotency, key)) = self.keyed(key) else { return Ok(ClaimOutcome::Run(None)) };
        self.pass_shedder()?;
        let asked = (fingerprint, self.pipeline.operation.name());
        let claimed = key.and_then(|key| idempotency.claim_until_blocking(key, asked, self.deadline));
        self.claimed(claimed)
    }

    fn keyed(&self, key: &dyn Display) -> Option<(&'p Idempotency, Result<String, Rejection>)> {
        let idempotency = self.pipeline.idempotency.as_deref()?;
        Some((idempotency, idempotency.key(key)))
    }

    fn claimed(
        &mut self,
        claimed: Result<ClaimOutcome<'p>, Rejection>,
    ) -> Result<ClaimOutcome<'p>, Rejection> {
        match claimed {
            Ok(ClaimOutcome::Run(lease)) => {
                // Who has waited for another may be late.
                if self.is_timed() {
                    self.now = self.pipeline.clock.now();
                }
                let lease = lease.map(Lease::freed_unbegun);
                self.begins_in_time()?;
                Ok(ClaimOutcome::Run(lease))
            }
            Ok(replay) => Ok(replay),
            Err(rejection) => {
                self.end_shared(Ending::Rejected);
                Err(rejection)
            }
        }
    }

    /// The outcome of the call that had the key.
    ///
    /// ```
    /// use resilient_runtime::{Registry, idempotency::{Codec, Fingerprint, ClaimOutcome}, pipeline::Call};
    ///
    /// let pipeline = Registry::new().pipeline("charge").idempotency("charge").build();
    /// pipeline.call_once(&"order 7", Fingerprint::NONE, || Some(995_u32));
    /// let mut call = Call::begin(&pipeline);
    /// let ClaimOutcome::Replay(stored) = call.claim_blocking(&"order 7", Fingerprint::NONE).unwrap() else { panic!() };
    /// assert_eq!(call.replay::<Option<u32>>(&stored, Codec::answers()), Ok(Some(995)));
    /// ```
    pub fn replay<R>(&mut self, stored: &Stored<'p>, codec: Codec<R>) -> Result<R, Rejection> {
        let outcome = stored.outcome(codec);
        self.end_shared(if outcome.is_ok() { Ending::Succeeded } else { Ending::Rejected });
        outcome
    }

    /// Keeps the outcome, frees the key, or leaves it claimed, by how the attempts ended. `outcome`: where there is one
    /// that no fallback takes the place of (T114).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Registry, Verdict, idempotency::{Codec, Fingerprint, ClaimOutcome}, pipeline::Call};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("charge").idempotency("charge").build();
    /// let mut call = Call::begin(&pipeline);
    /// let ClaimOutcome::Run(lease) = call.claim(&"order 7", Fingerprint::NONE).await.unwrap() else { panic!() };
    /// assert!(call.enter());
    /// let paid = call.attempt(async { Some(995) }).await.unwrap();
    /// call.finish(Verdict::of(&paid));
    /// call.conclude(lease, Codec::answers(), Some(&paid)).await;
    /// assert_eq!(registry.idempotency("charge").stats().executed, 1);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// If the future is dropped, the answer may be kept or not.
    pub fn conclude<'c, R>(
        &'c mut self,
        lease: Option<Lease<'p>>,
        codec: Codec<R>,
        outcome: Option<&R>,
    ) -> impl Future<Output = ()> + use<'c, 'p, R> {
        let ended = Lease::ended(lease, self.effect(), codec, outcome);
        async move {
            if let Some((lease, ending)) = ended {
                self.suspended(lease.end(ending)).await;
            }
        }
    }

    /// The same, blocking the thread.
    ///
    /// ```
    /// use resilient_runtime::{Class, Component, Registry, Verdict, idempotency::{Codec, Fingerprint, ClaimOutcome}, pipeline::Call};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("refund").idempotency("refund").build();
    /// let mut call = Call::begin(&pipeline);
    /// let ClaimOutcome::Run(lease) = call.claim_blocking(&"order 7", Fingerprint::NONE).unwrap() else { panic!() };
    /// call.enter_blocking().unwrap();
    /// let refused = call.attempt_sync(|| None::<u32>);
    /// call.finish(Verdict::Failure(Class::Permanent));
    /// call.conclude_blocking(lease, Codec::answers(), Some(&refused));
    /// assert_eq!(registry.idempotency("refund").stats().abandoned, 1, "the key is free");
    /// ```
    pub fn conclude_blocking<R>(&mut self, lease: Option<Lease<'p>>, codec: Codec<R>, outcome: Option<&R>) {
        if let Some((lease, ending)) = Lease::ended(lease, self.effect(), codec, outcome) {
            lease.end_blocking(ending);
        }
    }

    /// For a call whose key is `None`: there was nothing to save.
    ///
    /// ```
    /// use resilient_runtime::{Registry, pipeline::Call};
    ///
    /// Call::begin(&Registry::new().pipeline("charge").build()).without_key();
    /// assert!(!resilient_runtime::replayed());
    /// assert_eq!(resilient_runtime::unsaved(), None);
    /// ```
    #[doc(hidden)]
    pub fn without_key(&mut self) {
        idempotency::mark(Mark::Fresh);
    }

    /// What all attempts together did.
    fn effect(&self) -> Effect {
        match self.ending {
            Ending::Succeeded => Effect::Done,
            // Whatever an earlier attempt did, the last one does not undo it.
            Ending::Ignored if !self.effect.may_be() => Effect::Permanent,
            _ => self.effect,
        }
    }

    /// Made without a key where one is needed: to go on would be to promise what is not kept.
    #[cold]
    pub(super) fn keyless(&mut self) -> Rejection {
        self.ending = Ending::Rejected;
        Rejection::new(RejectionKind::InvalidKey, self.pipeline.operation.name())
    }
}

impl Pipeline {
    /// Runs `work` through the stages, unless a call with this key was carried out: then gives its answer. Blocks the
    /// thread. Judged by [`Verdict::of`](crate::Verdict::of): a failure whose effect is unknown leaves the key taken. To say
    /// more of your own errors, use [`call_once_judged`](Self::call_once_judged).
    ///
    /// ```
    /// use resilient_runtime::{Registry, Rejection, idempotency::Fingerprint};
    ///
    /// let pipeline = Registry::new().pipeline("charge").idempotency("charge").retry("gateway").build();
    /// let charge = |key: &str, cents: u32| -> Result<u32, Rejection> {
    ///     pipeline.call_once(&key, Fingerprint::of(&cents), || Ok(cents))
    /// };
    /// assert_eq!(charge("order 7", 995), Ok(995));
    /// assert_eq!(charge("order 7", 995), Ok(995));
    /// assert!(resilient_runtime::replayed());
    /// assert!(charge("order 7", 1).is_err(), "another payload");
    /// ```
    pub fn call_once<R: Replay + Reject<Error: 'static>>(
        &self,
        key: &dyn Display,
        fingerprint: Fingerprint,
        work: impl FnMut() -> R,
    ) -> R {
        self.call_once_judged(Options::default(), (key, fingerprint, Codec::answers()), work, Judgement::of)
    }

    /// Like [`call_once`](Self::call_once), with a [`Priority`](crate::Priority) or other [`Options`], with errors that
    /// the [`Codec`] can keep, and a judge of your own, such as [`Verdict::by_class`](crate::Verdict::by_class), that tells a
    /// failure without an effect from one that may have had it.
    ///
    /// ```
    /// use resilient_runtime::{Priority, Registry, Verdict, idempotency::{Codec, Fingerprint}};
    ///
    /// let pipeline = Registry::new().pipeline("refund").idempotency("refund").bulkhead("bank").build();
    /// let refund = |cents: u32| {
    ///     let key = (&"order 7" as _, Fingerprint::NONE, Codec::answers());
    ///     pipeline.call_once_judged(Priority::High, key, || Some(cents), Verdict::of)
    /// };
    /// assert_eq!((refund(995), refund(1)), (Some(995), Some(995)));
    /// ```
    pub fn call_once_judged<R: Reject<Error: 'static>, J: Into<Judgement>>(
        &self,
        options: impl Into<Options>,
        (key, fingerprint, codec): (&dyn Display, Fingerprint, Codec<R>),
        mut work: impl FnMut() -> R,
        judge: impl Fn(&R) -> J,
    ) -> R {
        let mut call = self.begin(options.into());
        if let Err(rejection) = call.honoured_by(Method::CallOnce) {
            return R::from_rejection(rejection);
        }
        let lease = match call.claim_blocking(key, fingerprint) {
            Ok(ClaimOutcome::Run(lease)) => lease,
            Ok(ClaimOutcome::Replay(stored)) => {
                return call.replay(&stored, codec).unwrap_or_else(R::from_rejection);
            }
            Err(rejection) => return R::from_rejection(rejection),
        };
        let judge = Surfaced(judge);
        let mut run = || attempts(&mut call, &mut work, &judge);
        let ran = match &lease {
            Some(lease) => lease.hold(run),
            None => run(),
        };
        call.conclude_blocking(lease, codec, outcome_of(&ran));
        ran.unwrap_or_else(CallFailure::surface)
    }

    /// Runs `work` through the stages, unless a call with this key was carried out: then gives its answer.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, Rejection, RejectionKind, idempotency::Fingerprint};
    ///
    /// let pipeline = Registry::new().pipeline("charge").idempotency("charge").build();
    /// let charge = async |cents: u32| -> Result<u32, Rejection> {
    ///     pipeline.call_once_async(&"order 7", Fingerprint::of(&cents), async || Ok(cents)).await
    /// };
    /// assert_eq!(charge(995).await, Ok(995));
    /// assert_eq!(charge(995).await, Ok(995));
    /// assert_eq!(charge(1).await.unwrap_err().kind(), RejectionKind::KeyReused);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// As of [`call_async`](Self::call_async). A call that is dropped before its work was suspended for the first time
    /// leaves the key free, one that is dropped later leaves it claimed until the lease is over.
    pub fn call_once_async<R: Replay + Reject<Error: 'static>, F: Future<Output = R>>(
        &self,
        key: &dyn Display,
        fingerprint: Fingerprint,
        work: impl FnMut() -> F,
    ) -> impl Future<Output = R> {
        self.call_once_judged_async(
            Options::default(),
            (key, fingerprint, Codec::answers()),
            work,
            Judgement::of,
        )
    }

    /// Like [`call_once_async`](Self::call_once_async), with a [`Priority`](crate::Priority) or other [`Options`], with
    /// errors that the [`Codec`] can keep, and a judge of your own.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::io::{Error, ErrorKind};
    /// use resilient_runtime::{Priority, Registry, Verdict, idempotency::{Codec, Fingerprint}};
    ///
    /// let pipeline = Registry::new().pipeline("order").idempotency("order").build();
    /// let order = async |answer: Result<u32, ErrorKind>| {
    ///     let key = (&"cart 7" as _, Fingerprint::NONE, Codec::answers());
    ///     let work = async || answer.map_err(Error::from);
    ///     pipeline.call_once_judged_async(Priority::Normal, key, work, Verdict::by_class).await
    /// };
    /// assert!(order(Err(ErrorKind::HostUnreachable)).await.is_err());
    /// assert_eq!(order(Ok(7)).await.unwrap(), 7, "nothing was sent, so the key was free");
    /// assert_eq!(order(Ok(8)).await.unwrap(), 7);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// As of [`call_once_async`](Self::call_once_async).
    pub fn call_once_judged_async<R: Reject<Error: 'static>, F: Future<Output = R>, J: Into<Judgement>>(
        &self,
        options: impl Into<Options>,
        (key, fingerprint, codec): (&dyn Display, Fingerprint, Codec<R>),
        mut work: impl FnMut() -> F,
        judge: impl Fn(&R) -> J,
    ) -> impl Future<Output = R> {
        let options = options.into();
        // Written down before the future is made: that need not hold what the key is made of.
        let key = key.to_string();
        async move {
            let mut call = self.begin(options);
            if let Err(rejection) = call.honoured_by(Method::CallOnceAsync) {
                return R::from_rejection(rejection);
            }
            let lease = match call.claim(&key, fingerprint).await {
                Ok(ClaimOutcome::Run(lease)) => lease,
                Ok(ClaimOutcome::Replay(stored)) => {
                    return call.replay(&stored, codec).unwrap_or_else(R::from_rejection);
                }
                Err(rejection) => return R::from_rejection(rejection),
            };
            let judge = Surfaced(judge);
            let run = attempts_async(&mut call, &mut work, &judge);
            let ran = match &lease {
                Some(lease) => lease.keep(run).await,
                None => run.await,
            };
            call.conclude(lease, codec, outcome_of(&ran)).await;
            ran.unwrap_or_else(CallFailure::surface)
        }
    }
}

fn outcome_of<R>(ran: &Result<R, CallFailure<R>>) -> Option<&R> {
    match ran {
        Ok(outcome) | Err(CallFailure::Failed(outcome)) => Some(outcome),
        Err(CallFailure::Rejected(_)) => None,
    }
}
