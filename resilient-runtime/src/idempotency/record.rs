//! One record, and what may become of it: the rules that all stores of ours share.

use super::store::{Claim, Claimed, Fingerprint, Owner};

/// A point in time, in nanoseconds of whatever clock the store goes by.
pub(super) type Time = u64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) fingerprint: Fingerprint,
    pub(super) state: State,
    /// When it is as if it had never been.
    pub(super) over: Time,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    Claimed { owner: Owner, until: Time },
    Done(Vec<u8>),
}

impl Record {
    /// The record of a new claim.
    pub(super) fn claimed(claim: &Claim, now: Time) -> Self {
        let until = now.saturating_add(crate::clock::nanos(claim.lease));
        let over = until.saturating_add(crate::clock::nanos(claim.ttl));
        Self { fingerprint: claim.fingerprint, state: State::Claimed { owner: claim.owner, until }, over }
    }

    pub(super) fn is_over(&self, now: Time) -> bool {
        self.over <= now
    }

    /// What a claim finds, if the record is not over. [`Claimed::Acquired`]: it is to be replaced.
    pub(super) fn answer(&self, claim: &Claim, now: Time) -> Claimed {
        // First of all: not even a replay, nor a wait, for another payload (T108).
        if self.fingerprint != claim.fingerprint {
            return Claimed::KeyReused;
        }
        match &self.state {
            State::Done(answer) => Claimed::Done(answer.clone()),
            State::Claimed { until, .. } if *until > now => {
                Claimed::InProgress { retry_after: std::time::Duration::from_nanos(until - now) }
            }
            State::Claimed { .. } if claim.takes_over => Claimed::Acquired,
            State::Claimed { .. } => Claimed::Lost,
        }
    }

    /// Whether `owner` has it: not after its lease, when another may have begun (T106).
    pub(super) fn is_held_by(&self, owner: Owner, now: Time) -> bool {
        matches!(self.state, State::Claimed { owner: holder, until } if holder == owner && until > now)
    }

    pub(super) fn renew(&mut self, now: Time, lease: Time) {
        if let State::Claimed { until, .. } = &mut self.state {
            let later = now.saturating_add(lease);
            self.over = self.over.saturating_add(later.saturating_sub(*until));
            *until = later;
        }
    }

    pub(super) fn complete(&mut self, answer: Vec<u8>, now: Time, ttl: Time) {
        self.state = State::Done(answer);
        self.over = now.saturating_add(ttl);
    }
}
