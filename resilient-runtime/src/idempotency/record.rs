//! A record and its state transitions, shared by all stores of this crate.

use std::borrow::Cow;
use std::time::Duration;

use crate::clock::nanos;
use crate::store::idempotency::{Claim, Claimed, ClientId, Fingerprint, Owner};

/// A point in time, in nanoseconds of the store's clock.
pub(super) type Time = u64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) fingerprint: Fingerprint,
    /// The operation that made it; empty if unknown, for example if an earlier version wrote the record.
    pub(super) operation: Cow<'static, str>,
    pub(super) state: State,
    /// When the record expires and counts as missing.
    pub(super) over: Time,
    pub(super) client: Option<ClientId>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Claimed { owner: Owner, until: Time },
    Done(Vec<u8>),
}

impl Record {
    /// The record of a new claim.
    pub(super) fn claimed(claim: &Claim, now: Time) -> Self {
        let until = now.saturating_add(nanos(claim.lease));
        let over = until.saturating_add(nanos(claim.lost_for));
        let state = State::Claimed { owner: claim.owner, until };
        let (fingerprint, operation) = (claim.fingerprint, Cow::Borrowed(claim.operation));
        Self { fingerprint, operation, state, over, client: claim.client }
    }

    /// The result, if the call was completed.
    pub(super) fn answered(&self) -> Option<&[u8]> {
        match &self.state {
            State::Done(answer) => Some(answer),
            State::Claimed { .. } => None,
        }
    }

    pub(super) fn is_over(&self, now: Time) -> bool {
        self.over <= now
    }

    /// The result of a claim on this live record. [`Claimed::Acquired`]: the claim replaces the record.
    pub(super) fn answer(&self, claim: &Claim, now: Time) -> Claimed {
        // Checked before the payload: the result of another operation must never be replayed.
        if !self.operation.is_empty() && !claim.operation.is_empty() && self.operation != claim.operation {
            return Claimed::OtherOperation(self.operation.clone().into_owned());
        }
        // Checked before the state: another payload gets no replay and does not wait (T108).
        if self.fingerprint != claim.fingerprint {
            return Claimed::KeyReused;
        }
        match &self.state {
            State::Done(answer) => Claimed::Done(answer.clone()),
            State::Claimed { until, .. } if *until > now => {
                Claimed::InProgress { retry_after: Duration::from_nanos(until - now) }
            }
            State::Claimed { .. } if claim.takes_over => Claimed::Acquired,
            State::Claimed { .. } => Claimed::Lost,
        }
    }

    /// Whether it is claimed by `owner`. This holds after the lease has expired too, until another owner takes over:
    /// the owner number alone fences off the previous owner (T106).
    pub(super) fn is_held_by(&self, owner: Owner) -> bool {
        matches!(self.state, State::Claimed { owner: holder, .. } if holder == owner)
    }

    pub(super) fn renew(&mut self, now: Time, lease: Time) {
        if let State::Claimed { until, .. } = &mut self.state {
            let later = now.saturating_add(lease).max(*until);
            self.over = self.over.saturating_add(later - *until);
            *until = later;
        }
    }

    /// Expires the lease now.
    pub(super) fn lose(&mut self, now: Time) {
        if let State::Claimed { until, .. } = &mut self.state {
            self.over = self.over.saturating_sub(until.saturating_sub(now));
            *until = now.min(*until);
        }
    }

    pub(super) fn complete(&mut self, answer: Vec<u8>, now: Time, ttl: Time) {
        self.state = State::Done(answer);
        self.over = now.saturating_add(ttl);
    }
}
