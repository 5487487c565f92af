//! Idempotency: a call is carried out once for its key, and gets the answer of an earlier one where it was.

use std::fmt::Display;
use std::future::Future;

use crate::idempotency::{self, ClaimOutcome, Codec, Effect, Fingerprint, Lease, Mark, Stored};
use crate::observe::Ending;
use crate::pipeline::Call;
use crate::rejection::{Rejection, RejectionKind};

impl<'p> Call<'p> {
    /// Claims its idempotency key, or gets the answer of the call that had it.
    ///
    /// # Cancel safety
    /// If the future is dropped, the key is free again, at the latest when the lease is over.
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

    /// The same, blocking the thread.
    pub fn claim_blocking(
        &mut self,
        key: &dyn Display,
        fingerprint: Fingerprint,
    ) -> Result<ClaimOutcome<'p>, Rejection> {
        let Some(key) = self.keyed(key) else { return Ok(ClaimOutcome::Run(None)) };
        self.claim_key_blocking(key, fingerprint)
    }

    /// Claims a key that was written down already.
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

    /// The same, blocking the thread.
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
                // Who has waited for another may be late.
                self.clock.read_if_timed(&self.pipeline.clock);
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
    pub fn replay<R>(&mut self, stored: &Stored<'p>, codec: Codec<R>) -> Result<R, Rejection> {
        let outcome = stored.outcome(codec);
        self.end_shared(if outcome.is_ok() { Ending::Succeeded } else { Ending::Rejected });
        outcome
    }

    /// Keeps the outcome, frees the key, or leaves it claimed, by how the attempts ended. `outcome`: where there is one
    /// that no fallback takes the place of (T114).
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
    pub fn conclude_blocking<R>(&mut self, lease: Option<Lease<'p>>, codec: Codec<R>, outcome: Option<&R>) {
        if let Some((lease, ending)) = Lease::ended(lease, self.effect(), codec, outcome) {
            lease.end_blocking(ending);
        }
    }

    /// For a call whose key is `None`: there was nothing to save.
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
    pub(in crate::pipeline) fn keyless(&mut self) -> Rejection {
        self.ending = Ending::Rejected;
        Rejection::new(RejectionKind::InvalidKey, self.pipeline.operation.name())
    }

    /// What a failed attempt did. Where that is not known of one, no later one makes it known.
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

/// Does the work under a lease, where there is one.
pub fn held<R>(lease: Option<&Lease<'_>>, work: impl FnOnce() -> R) -> R {
    match lease {
        Some(lease) => lease.hold(work),
        None => work(),
    }
}

/// Polls the work, and renews the lease, where there is one.
pub async fn held_async<F: Future>(lease: Option<&Lease<'_>>, work: F) -> F::Output {
    match lease {
        Some(lease) => lease.hold_async(work).await,
        None => work.await,
    }
}
