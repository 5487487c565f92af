//! Writes.

use futures_util::future::join_all;
use resilient_runtime::store::{Expected, ReplicaKey, ReplicaRecord, StoreError, Written};

use super::deliver::in_background;
use super::error::{Problem, ReplicaError};
use super::gather::{Gather, Next};
use super::member::Reply;
use super::read::bits;
use super::{LastWriteWins, Plan, ReplicaSet, Resolver, Value, timestamp};
use crate::resolve::Timestamp;

/// How often a write is tried again because another one came first.
pub(super) const ATTEMPTS: u32 = 8;

/// The result of a write that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accepted {
    /// How many members had accepted the write when it returned. The others get it in the background.
    pub members: usize,
    /// Whether these are fewer than the level needs, as [`Mode::Ap`](super::Mode::Ap) permits. Then the write is lost if they
    /// lose their data before they could pass it on, and a read can miss it.
    pub is_weak: bool,
    /// The version of the value.
    pub version: Timestamp,
    /// The members, one bit each.
    pub(super) at: u64,
}

/// The answers of the members to a write.
pub(super) struct Round {
    /// Members that accepted the write, and of these the ones that count.
    applied: usize,
    counted: usize,
    /// The members that accepted it, one bit each.
    at: u64,
    /// A newer record that a member had.
    newer: Option<(usize, ReplicaRecord)>,
    failed: Vec<(usize, StoreError)>,
    /// How far the clock of this instance is ahead of the clock of a member.
    ahead: Option<std::time::Duration>,
    /// Whether the same write with an earlier version can take effect.
    earlier_can_take_effect: bool,
    /// Members that have not answered.
    rest: Gather<Written>,
}

impl Round {
    fn add(&mut self, member: usize, answer: Result<Written, StoreError>, plan: &Plan) {
        match answer {
            Ok(Written::Applied) => {
                self.applied += 1;
                self.counted += usize::from(plan.counted.contains(&member));
                self.at |= bits(std::iter::once(member));
            }
            Ok(Written::Conflict(Some(newer))) => self.newer = Some((member, newer)),
            Ok(Written::Conflict(None)) => {
                let problem = "its answer contradicts itself".to_owned();
                self.failed.push((member, StoreError::Refused(problem)));
            }
            Ok(Written::Ahead(by)) => self.ahead = self.ahead.max(Some(by)),
            Err(error) => self.failed.push((member, error)),
        }
    }

    fn can_take_effect(&self) -> bool {
        let is_uncertain = |(_, error): &(usize, StoreError)| !has_no_effect(error);
        self.earlier_can_take_effect
            || self.applied > 0
            || self.rest.pending() > 0
            || self.failed.iter().any(is_uncertain)
    }
}

impl<T: Value> ReplicaSet<T, LastWriteWins> {
    /// Writes the value of a key, in place of an earlier one.
    ///
    /// All members get it. It is accepted when as many as the level needs have it, and is in order with all writes that were
    /// accepted before. One of two concurrent writes is lost.
    ///
    /// # Errors
    /// Returns [`Problem::WriteRefused`] if too few members accepted it, and in [`Mode::Ap`](super::Mode::Ap) if none did.
    /// **It can still take effect then**, at a member that did. The same is true after [`Problem::Contended`] and
    /// [`Problem::FromTheFuture`]. Returns [`Problem::ClockAhead`] or [`Problem::NotStorable`] if it has no effect.
    ///
    /// # Cancel safety
    /// If the future is dropped, the write may take effect.
    pub async fn write(&self, key: &str, value: &T) -> Result<Accepted, ReplicaError> {
        let written = match Self::encode(value) {
            Ok(bytes) => self.put(key, Some(bytes)).await,
            Err(problem) => Err(problem),
        };
        written.map_err(|problem| self.error(problem))
    }

    /// Removes the value of a key. Leaves a tombstone, which a [`sweep`](Self::sweep) removes after the grace period.
    ///
    /// # Errors
    /// As [`write`](Self::write).
    ///
    /// # Cancel safety
    /// If the future is dropped, the removal may take effect.
    pub async fn remove(&self, key: &str) -> Result<Accepted, ReplicaError> {
        self.put(key, None).await.map_err(|problem| self.error(problem))
    }

    async fn put(&self, key: &str, value: Option<Vec<u8>>) -> Result<Accepted, Problem> {
        let key = self.key(key);
        let (mut record, mut can_take_effect) = (self.record(value), false);
        for _ in 0..ATTEMPTS {
            let send = |member: usize| {
                self.inner.members[member].write(
                    key.clone(),
                    record.clone(),
                    Expected::Older,
                    self.inner.max_ahead,
                )
            };
            let mut round = self.round(send, None).await?;
            round.earlier_can_take_effect = can_take_effect;
            can_take_effect = round.can_take_effect();
            match round.newer {
                Some((member, newer)) => {
                    self.observe(member, newer.version)?;
                    self.inner.counters.conflicts.add();
                    record = self.record(record.value);
                }
                None => return self.end(&key, record, round).await,
            }
        }
        Err(Problem::Contended { attempts: ATTEMPTS })
    }
}

/// Whether a request was certainly not carried out.
pub(super) fn has_no_effect(error: &StoreError) -> bool {
    matches!(error, StoreError::NotSent(_) | StoreError::Refused(_))
}

impl<T: Value, R: Resolver<T>> ReplicaSet<T, R> {
    /// Sends a write to all members besides the one that has it, and waits for as many as needed.
    pub(super) async fn round(
        &self,
        send: impl Fn(usize) -> Reply<Written>,
        done: Option<usize>,
    ) -> Result<Round, Problem> {
        let plan = self.plan(false);
        let rest = Gather::new(&self.inner.timer, plan.within)?;
        for member in (0..self.inner.members.len()).filter(|&member| Some(member) != done) {
            rest.ask(send(member));
        }
        let counted = usize::from(done.is_some_and(|member| plan.counted.contains(&member)));
        let applied = usize::from(done.is_some());
        let at = bits(done.into_iter());
        let (newer, failed, ahead) = (None, Vec::new(), None);
        let mut round =
            Round { applied, counted, at, newer, failed, ahead, earlier_can_take_effect: false, rest };
        let mut is_in_time = true;
        while round.counted < plan.needed && round.newer.is_none() && (is_in_time || round.applied == 0) {
            match round.rest.next().await {
                Next::Answer(member, answer) => round.add(member, answer, &plan),
                Next::Deadline => is_in_time = false,
                Next::Hedge => {}
                Next::End => break,
            }
            let can_succeed = round.counted + round.rest.pending() >= plan.needed;
            if !can_succeed && !plan.is_available {
                // The members that have failed too are part of the error.
                while let Some((member, answer)) = round.rest.ready() {
                    round.add(member, answer, &plan);
                }
                break;
            }
        }
        Ok(round)
    }

    /// Decides whether a write is accepted, and passes it on to the other members.
    pub(super) async fn end(
        &self,
        key: &ReplicaKey,
        record: ReplicaRecord,
        round: Round,
    ) -> Result<Accepted, Problem> {
        let Plan { needed, is_available, .. } = self.plan(false);
        let can_take_effect = round.can_take_effect();
        let Round { applied, counted, at, failed, ahead, rest, .. } = round;
        let is_weak = counted < needed;
        if is_weak && !(is_available && applied > 0) {
            self.inner.counters.refused.add();
            if let Some(ahead) = ahead.filter(|_| !can_take_effect) {
                return Err(Problem::ClockAhead { ahead });
            }
            let mut causes: Vec<_> =
                failed.iter().map(|(member, error)| self.cause(*member, error)).collect();
            if let Some(ahead) = ahead {
                causes.push(format!("the clock of this instance is {ahead:?} ahead of a member"));
            }
            let members = self.inner.members.len();
            return Err(Problem::WriteRefused { needed, reached: counted, can_take_effect, members, causes });
        }
        self.inner.counters.writes.add();
        if is_weak {
            self.inner.counters.weak_writes.add();
        }
        let accepted = Accepted { members: applied, is_weak, version: timestamp(record.version), at };
        let keep = |(member, _)| self.keep(member, key.clone(), &record);
        let saved: Vec<_> = failed.into_iter().filter_map(keep).collect();
        if rest.pending() > 0 {
            let (set, key) = (self.clone(), key.clone());
            in_background(async move { set.finish(&key, &record, rest).await });
        }
        if is_weak {
            join_all(saved).await;
        } else if !saved.is_empty() {
            in_background(async { _ = join_all(saved).await });
        }
        Ok(accepted)
    }

    /// Waits for the members that a write did not wait for.
    async fn finish(&self, key: &ReplicaKey, record: &ReplicaRecord, mut rest: Gather<Written>) {
        loop {
            match rest.next().await {
                Next::Answer(member, Err(_)) => {
                    if let Some(saved) = self.keep(member, key.clone(), record) {
                        saved.await;
                    }
                }
                Next::Answer(..) | Next::Hedge | Next::Deadline => {}
                Next::End => return,
            }
        }
    }
}
