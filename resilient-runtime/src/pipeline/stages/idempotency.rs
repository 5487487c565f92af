//! The idempotency stage: executes a call once for its key, or returns the result of an earlier call with that key.

use std::fmt::Display;
use std::future::Future;

use crate::idempotency::{self, ClaimOutcome, Codec, Effect, Fingerprint, Lease, Mark, Stored};
use crate::observe::Ending;
use crate::pipeline::Call;
use crate::rejection::{Rejection, RejectionKind};

impl<'p> Call<'p> {
    /// Claims the idempotency key, or returns the result of the call that claimed it before.
    ///
    /// # Cancel safety
    /// If the future is dropped, the key is freed, at the latest when the lease expires.
    pub fn claim<'c>(
        &'c mut self,
        key: &dyn Display,
        fingerprint: Fingerprint,
    ) -> impl Future<Output = Result<ClaimOutcome<'p>, Rejection>> + use<'c, 'p> {
        let key = self.keyed(key);
        async move {
            let Some(key) = key else { return Ok(ClaimOutcome::Run(None)) };
            self.claim_key(key, fingerprint).await
        }
    }

    /// Like `claim`, but blocks the thread.
    pub fn claim_blocking(
        &mut self,
        key: &dyn Display,
        fingerprint: Fingerprint,
    ) -> Result<ClaimOutcome<'p>, Rejection> {
        let Some(key) = self.keyed(key) else { return Ok(ClaimOutcome::Run(None)) };
        self.claim_key_blocking(key, fingerprint)
    }

    /// Claims a key that is already formatted.
    pub(in crate::pipeline) async fn claim_key(
        &mut self,
        key: Result<String, Rejection>,
        fingerprint: Fingerprint,
    ) -> Result<ClaimOutcome<'p>, Rejection> {
        let pipeline = self.pipeline;
        let Some(idempotency) = &pipeline.stages.idempotency else { return Ok(ClaimOutcome::Run(None)) };
        self.pass_shedder()?;
        let claimed = match key {
            Ok(key) => {
                let (asked, deadline) = ((fingerprint, pipeline.operation.name()), self.clock.deadline);
                self.suspended(idempotency.claim_until(key, asked, deadline)).await
            }
            Err(rejection) => Err(rejection),
        };
        self.claimed(claimed)
    }

    /// Like `claim_key`, but blocks the thread.
    pub(in crate::pipeline) fn claim_key_blocking(
        &mut self,
        key: Result<String, Rejection>,
        fingerprint: Fingerprint,
    ) -> Result<ClaimOutcome<'p>, Rejection> {
        let pipeline = self.pipeline;
        let Some(idempotency) = &pipeline.stages.idempotency else { return Ok(ClaimOutcome::Run(None)) };
        self.pass_shedder()?;
        let (asked, deadline) = ((fingerprint, pipeline.operation.name()), self.clock.deadline);
        let claimed = key.and_then(|key| idempotency.claim_until_blocking(key, asked, deadline));
        self.claimed(claimed)
    }

    fn keyed(&self, key: &dyn Display) -> Option<Result<String, Rejection>> {
        Some(self.pipeline.stages.idempotency.as_deref()?.key(key))
    }

    fn claimed(
        &mut self,
        claimed: Result<ClaimOutcome<'p>, Rejection>,
    ) -> Result<ClaimOutcome<'p>, Rejection> {
        match claimed {
            Ok(ClaimOutcome::Run(lease)) => {
                // A call that waited for another one can be late.
                self.clock.read_if_timed(&self.pipeline.clock);
                let lease = lease.map(Lease::freed_unbegun);
                self.begins_in_time()?;
                Ok(ClaimOutcome::Run(lease))
            }
            Ok(replay) => Ok(replay),
            Err(rejection) => {
                #[cfg(feature = "chaos")]
                self.note_injected_refusal(Some(&rejection));
                self.end_shared(Ending::Rejected);
                Err(rejection)
            }
        }
    }

    /// Returns the stored outcome of the earlier call.
    pub fn replay<R>(&mut self, stored: &Stored<'p>, codec: Codec<R>) -> Result<R, Rejection> {
        let outcome = stored.outcome(codec);
        self.end_shared(if outcome.is_ok() { Ending::Succeeded } else { Ending::Rejected });
        outcome
    }

    /// Stores the outcome, frees the key or leaves it claimed, depending on how the attempts ended.
    ///
    /// `outcome` is `None` if there is no outcome or a fallback replaces it (T114).
    ///
    /// # Cancel safety
    /// If the future is dropped, the result may or may not be stored.
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

    /// Like `conclude`, but blocks the thread.
    pub fn conclude_blocking<R>(&mut self, lease: Option<Lease<'p>>, codec: Codec<R>, outcome: Option<&R>) {
        if let Some((lease, ending)) = Lease::ended(lease, self.effect(), codec, outcome) {
            lease.end_blocking(ending);
        }
    }

    /// Records that the key of the call is `None`, so nothing is stored.
    pub fn without_key(&mut self) {
        idempotency::mark(Mark::Fresh);
    }

    /// The combined effect of all attempts.
    pub(in crate::pipeline) fn effect(&self) -> Effect {
        match self.ending {
            Ending::Succeeded => Effect::Done,
            // The last attempt does not undo the effect of an earlier one.
            Ending::Ignored if !self.effect.may_be() => Effect::Permanent,
            _ => self.effect,
        }
    }

    /// Rejects a call without the required key: running it would break the idempotency guarantee.
    #[cold]
    pub(in crate::pipeline) fn keyless(&mut self) -> Rejection {
        self.ending = Ending::Rejected;
        Rejection::new(RejectionKind::InvalidKey, self.pipeline.operation.name())
    }

    /// Records the effect of a failed attempt. Once the effect of an attempt is unknown, it stays unknown.
    pub(in crate::pipeline) fn note(&mut self, effect: Effect) {
        if self.effect == Effect::Unknown || self.effect == Effect::Lost && !effect.may_be() {
            return;
        }
        self.effect = effect;
        if effect.may_be() && self.pipeline.stages.idempotency.is_some() {
            idempotency::has_begun();
        }
    }
}

/// Runs the work under a lease, if there is one.
pub fn held<R>(lease: Option<&Lease<'_>>, work: impl FnOnce() -> R) -> R {
    match lease {
        Some(lease) => lease.hold(work),
        None => work(),
    }
}

/// Polls the work and renews the lease, if there is one.
pub async fn held_async<F: Future>(lease: Option<&Lease<'_>>, work: F) -> F::Output {
    match lease {
        Some(lease) => lease.hold_async(work).await,
        None => work.await,
    }
}
