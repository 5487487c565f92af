//! Direct idempotent calls.

use super::ended::{Mark, Unsaved, mark};
use super::ending::Effect;
use super::{ClaimOutcome, Fingerprint, Idempotency};
use crate::classify::Judgement;
use crate::outcome::Reject;
use crate::replay::{Codec, Replay};

impl Idempotency {
    /// Runs `work` once per key and replays its result to later calls with the key.
    ///
    /// Every failure frees the key. If `work` can fail after it had an effect, use
    /// [`call_judged_async`](Self::call_judged_async).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, idempotency::Fingerprint};
    ///
    /// let once = Registry::new().idempotency("ship");
    /// let ship = async |parcel: u32| {
    ///     once.call_async("order 7", Fingerprint::NONE, async || Some(parcel)).await
    /// };
    /// assert_eq!((ship(1).await, resilient_runtime::replayed()), (Some(1), false));
    /// assert_eq!((ship(2).await, resilient_runtime::replayed()), (Some(1), true));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// If the future is dropped while `work` runs, the key stays claimed until the lease expires.
    pub async fn call_async<R: Replay + Reject<Error: 'static>>(
        &self,
        key: &str,
        fingerprint: Fingerprint,
        work: impl AsyncFnOnce() -> R,
    ) -> R {
        self.call_judged_async(key, fingerprint, Codec::answers(), work, Judgement::of).await
    }

    /// Like [`call_async`](Self::call_async), with a custom judge and a codec.
    ///
    /// A judge such as [`Verdict::by_class`](crate::Verdict::by_class) distinguishes a failure without an effect
    /// from one that may have had an effect. The `codec` defines which errors can be stored.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::io::{self, ErrorKind};
    /// use resilient_runtime::{Registry, Verdict, idempotency::{Codec, Fingerprint}};
    ///
    /// let once = Registry::new().idempotency("transfer");
    /// let transfer = async |result: io::Result<u32>| {
    ///     let work = async move || result;
    ///     once.call_judged_async("order 7", Fingerprint::NONE, Codec::answers(), work, Verdict::by_class).await
    /// };
    /// assert!(transfer(Err(ErrorKind::ConnectionRefused.into())).await.is_err());
    /// assert_eq!(transfer(Ok(995)).await.unwrap(), 995, "the failure had no effect, so the key was free");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Same as [`call_async`](Self::call_async).
    pub async fn call_judged_async<R: Reject, J: Into<Judgement>>(
        &self,
        key: &str,
        fingerprint: Fingerprint,
        codec: Codec<R>,
        work: impl AsyncFnOnce() -> R,
        judge: impl Fn(&R) -> J,
    ) -> R {
        let lease = match self.claim(key, fingerprint).await {
            Ok(ClaimOutcome::Run(lease)) => lease,
            Ok(ClaimOutcome::Replay(stored)) => {
                return stored.outcome(codec).unwrap_or_else(R::from_rejection);
            }
            Err(rejection) => return R::from_rejection(rejection),
        };
        let Some(lease) = lease else {
            let outcome = work().await;
            mark(Mark::Unsaved(Unsaved::NoRecord));
            return outcome;
        };
        let outcome = lease.hold_async(work()).await;
        let effect = Effect::of(judge(&outcome).into().verdict());
        let ending = self.ending(effect, (Some(&outcome), ""), codec);
        lease.end(ending).await;
        outcome
    }

    /// Like [`call_async`](Self::call_async), but blocks the thread.
    ///
    /// The lease is not renewed while `work` runs: set `lease` to more time than it can take. Every failure frees the
    /// key.
    ///
    /// ```
    /// use resilient_runtime::{Registry, idempotency::Fingerprint};
    ///
    /// let once = Registry::new().idempotency("report");
    /// let mut made = 0;
    /// for _ in 0..3 {
    ///     once.call("2026-11", Fingerprint::NONE, || {
    ///         made += 1;
    ///         Some(made)
    ///     });
    /// }
    /// assert_eq!(made, 1);
    /// ```
    pub fn call<R: Replay + Reject<Error: 'static>>(
        &self,
        key: &str,
        fingerprint: Fingerprint,
        work: impl FnOnce() -> R,
    ) -> R {
        self.call_judged(key, fingerprint, Codec::answers(), work, Judgement::of)
    }

    /// Like [`call`](Self::call), with a custom judge and a codec.
    ///
    /// The `codec` defines which errors can be stored.
    ///
    /// ```
    /// use resilient_runtime::{Class, Classify, Component, Registry, Rejection, Verdict};
    /// use resilient_runtime::idempotency::{Codec, Config, Fingerprint};
    ///
    /// #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    /// enum PayError { NoFunds, Rejected(String) }
    /// impl Classify for PayError {
    ///     fn classify(&self) -> Class { Class::Permanent }
    /// }
    /// impl From<Rejection> for PayError {
    ///     fn from(rejection: Rejection) -> Self { Self::Rejected(rejection.to_string()) }
    /// }
    ///
    /// let once = Registry::new().idempotency("charge");
    /// once.reconfigure(Config::default().keep_errors(true)).unwrap();
    /// let charge = |result: Result<u32, PayError>| {
    ///     let codec = Codec::answers_and_errors();
    ///     once.call_judged("order 7", Fingerprint::NONE, codec, || result, Verdict::by_class)
    /// };
    /// assert_eq!(charge(Err(PayError::NoFunds)), Err(PayError::NoFunds));
    /// assert_eq!(charge(Ok(995)), Err(PayError::NoFunds), "the stored error is replayed");
    /// ```
    pub fn call_judged<R: Reject, J: Into<Judgement>>(
        &self,
        key: &str,
        fingerprint: Fingerprint,
        codec: Codec<R>,
        work: impl FnOnce() -> R,
        judge: impl Fn(&R) -> J,
    ) -> R {
        let lease = match self.claim_blocking(key, fingerprint) {
            Ok(ClaimOutcome::Run(lease)) => lease,
            Ok(ClaimOutcome::Replay(stored)) => {
                return stored.outcome(codec).unwrap_or_else(R::from_rejection);
            }
            Err(rejection) => return R::from_rejection(rejection),
        };
        let Some(lease) = lease else {
            let outcome = work();
            mark(Mark::Unsaved(Unsaved::NoRecord));
            return outcome;
        };
        let outcome = lease.hold(work);
        let effect = Effect::of(judge(&outcome).into().verdict());
        lease.end_blocking(self.ending(effect, (Some(&outcome), ""), codec));
        outcome
    }
}
