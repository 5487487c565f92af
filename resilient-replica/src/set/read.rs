//! Reads.

use resilient_runtime::store::{Expected, ReplicaKey, ReplicaRecord, ReplicaVersion, Written};
use resilient_runtime::{Degradation, Level};

use super::error::{Problem, ReplicaError};
use super::gather::{Gather, Next};
use super::session::Seen;
use super::{Mode, ReplicaSet, Resolver, Value, timestamp};
use crate::resolve::Timestamp;

/// The result of a read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Read<T> {
    /// The value, or `None` if there is none.
    pub value: Option<T>,
    /// Whether fewer members answered than a read needs to see the last write: because the level asks for fewer, or because
    /// too few can be reached. In the second case the read is part of the [`Degradation`] of the work around it, so that
    /// `resilient-http` marks the response.
    pub may_be_stale: bool,
    /// The version of the value, or of its removal.
    pub version: Option<Timestamp>,
}

/// The records of members for a key.
pub(super) struct Found {
    pub(super) answers: Vec<(usize, Option<ReplicaRecord>)>,
    pub(super) is_enough: bool,
}

/// The answers of members as one.
pub(super) struct Resolved<T> {
    pub(super) value: Option<T>,
    /// The record that all members should have.
    pub(super) target: Option<ReplicaRecord>,
    /// The members that have something else.
    pub(super) stale: Vec<(usize, Option<ReplicaVersion>)>,
}

impl<T: Value, R: Resolver<T>> ReplicaSet<T, R> {
    /// Reads the value of a key.
    ///
    /// A member that answered with an older value gets the newest one. In [`Mode::Cp`], the read waits for it if fewer members
    /// have the newest value than a write needs. A later read therefore does not return an older value, also if a write was accepted by too few
    /// members, unless [`quorums`](crate::Builder::quorums) sets a read quorum below the write quorum.
    ///
    /// # Errors
    /// Returns [`Problem::ReadRefused`] if too few members answered, and in [`Mode::Ap`] if none did. Returns
    /// [`Problem::OtherType`] or [`Problem::NotMergeable`] if the values cannot be used.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect on the value.
    pub async fn read(&self, key: &str) -> Result<Read<T>, ReplicaError> {
        let read = self.read_after(&self.key(key), None).await;
        read.map(|(read, _)| read).map_err(|problem| self.error(problem))
    }

    /// Reads a value that is not older than what was seen. Returns the members that have it, one bit each.
    pub(super) async fn read_after(
        &self,
        key: &ReplicaKey,
        seen: Option<Seen>,
    ) -> Result<(Read<T>, u64), Problem> {
        let found = self.find(key, seen).await?;
        let resolved = self.resolve(&found.answers)?;
        let has_it = self.repair(key, &found, &resolved, seen.is_some()).await?;
        let may_be_stale = found.answers.len() < self.inner.quorums.0;
        self.inner.counters.reads.add();
        if may_be_stale {
            self.inner.counters.stale_reads.add();
        }
        if !found.is_enough {
            self.note_degraded(found.answers.len());
        }
        let version = resolved.target.map(|target| timestamp(target.version));
        Ok((Read { value: resolved.value, may_be_stale, version }, has_it))
    }

    /// Marks the response of the service as degraded.
    fn note_degraded(&self, answers: usize) {
        let (name, members) = (&self.inner.name, self.inner.members.len());
        let text = format!("{answers} of {members} members of the replica set `{name}` answered");
        Degradation::note("replica set", Level::Replica, None, &text);
    }

    /// Asks as many members as needed, others in place of members that fail or are slow, and more until one has what was seen.
    pub(super) async fn find(&self, key: &ReplicaKey, seen: Option<Seen>) -> Result<Found, Problem> {
        let plan = self.plan(true);
        let mut gather = Gather::new(&self.inner.timer, plan.within)?;
        let elsewhere = (0..self.inner.members.len()).filter(|member| !plan.counted.contains(member));
        let mut next = plan.counted.iter().copied().chain(elsewhere.filter(|_| seen.is_some()));
        let is_seen = |answers: &[_]| seen.is_none_or(|seen| seen.is_in(answers, R::MERGES));
        let ask =
            |gather: &Gather<_>, member: usize| gather.ask(self.inner.members[member].read(key.clone()));
        for member in next.by_ref().take(plan.needed) {
            ask(&gather, member);
        }
        gather.hedge_after(self.inner.hedge_after);
        let (mut answers, mut causes, mut is_in_time) = (Vec::new(), Vec::new(), true);
        while (answers.len() < plan.needed && (is_in_time || answers.is_empty())) || !is_seen(&answers) {
            match gather.next().await {
                Next::Answer(member, Ok(record)) => {
                    answers.push((member, record));
                    if answers.len() >= plan.needed
                        && !is_seen(&answers)
                        && let Some(other) = next.next()
                    {
                        ask(&gather, other);
                    }
                }
                Next::Answer(member, Err(error)) => {
                    causes.push(self.cause(member, &error));
                    if let Some(other) = next.next() {
                        ask(&gather, other);
                    } else if !plan.is_available && answers.len() + gather.pending() < plan.needed {
                        break;
                    }
                }
                Next::Hedge => {
                    if let Some(other) = next.next() {
                        self.inner.counters.hedges.add();
                        ask(&gather, other);
                        gather.hedge_after(self.inner.hedge_after);
                    }
                }
                Next::Deadline => is_in_time = false,
                Next::End => break,
            }
        }
        let is_enough = answers.len() >= plan.needed;
        if !is_enough && (!plan.is_available || answers.is_empty()) {
            self.inner.counters.refused.add();
            let (needed, reached, members) = (plan.needed, answers.len(), self.inner.members.len());
            return Err(Problem::ReadRefused { needed, reached, members, causes });
        }
        if !is_seen(&answers) {
            self.inner.counters.refused.add();
            return Err(Problem::BehindSession {
                reached: answers.len(),
                members: self.inner.members.len(),
                causes,
            });
        }
        Ok(Found { answers, is_enough })
    }

    /// Makes one value of several.
    pub(super) fn resolve(&self, answers: &[(usize, Option<ReplicaRecord>)]) -> Result<Resolved<T>, Problem> {
        let records = answers.iter().filter_map(|(member, record)| Some((*member, record.as_ref()?)));
        let Some((newest_at, newest)) = records.clone().max_by_key(|(_, record)| record.version) else {
            return Ok(Resolved { value: None, target: None, stale: Vec::new() });
        };
        let mut target = newest.clone();
        let mut value = newest.value.as_ref().map(|bytes| self.decode(newest_at, bytes)).transpose()?;
        if R::MERGES {
            let mut merged = value.clone();
            for (member, record) in records.filter(|(_, record)| record.version != newest.version) {
                let Some(bytes) = &record.value else { continue };
                let other = self.decode(member, bytes)?;
                match &mut merged {
                    Some(merged) => R::merge(merged, other).map_err(Problem::NotMergeable)?,
                    None => merged = Some(other),
                }
            }
            if merged != value {
                for (member, record) in answers {
                    if let Some(record) = record {
                        self.observe(*member, record.version)?;
                    }
                }
                target = self.record(merged.as_ref().map(Self::encode).transpose()?);
                value = merged;
            }
        }
        let has = |record: &Option<ReplicaRecord>| record.as_ref().map(|record| record.version);
        let others = answers.iter().filter(|(_, record)| has(record) != Some(target.version));
        let stale = others.map(|(member, record)| (*member, has(record))).collect();
        Ok(Resolved { value, target: Some(target), stale })
    }

    /// Writes the value to the members that answered with another one. Returns the members that have it, one bit each.
    async fn repair(
        &self,
        key: &ReplicaKey,
        found: &Found,
        resolved: &Resolved<T>,
        is_session: bool,
    ) -> Result<u64, Problem> {
        let Some(target) = &resolved.target else { return Ok(0) };
        let mut holders = bits(found.answers.iter().map(|(member, _)| *member));
        for (member, _) in &resolved.stale {
            holders &= !bit(*member);
        }
        if resolved.stale.is_empty() {
            return Ok(holders);
        }
        let mut gather = Gather::new(&self.inner.timer, None)?;
        for &(member, version) in &resolved.stale {
            let expected = if R::MERGES { Expected::Exactly(version) } else { Expected::Older };
            let write =
                self.inner.members[member].write(key.clone(), target.clone(), expected, self.inner.max_ahead);
            gather.ask(write);
        }
        let has_it = found.answers.len() - resolved.stale.len();
        let needed = self.inner.quorums.1;
        // A quorum read is as good as the write quorum that it leaves behind. A merged value may be at no member yet.
        let is_strict = self.mode == Mode::Cp && found.is_enough && self.is_quorum() && has_it < needed;
        if !(is_strict || is_session && has_it == 0) {
            let set = self.clone();
            super::deliver::in_background(async move {
                while !matches!(set.repaired(gather.next().await), Repaired::End) {}
            });
            return Ok(holders);
        }
        let is_done = |confirmed: usize, holders: u64| {
            if R::MERGES { !is_session || holders != 0 } else { confirmed >= needed.min(found.answers.len()) }
        };
        let (mut confirmed, mut causes) = (has_it, Vec::new());
        loop {
            match self.repaired(gather.next().await) {
                Repaired::Yes(member) => {
                    confirmed += 1;
                    holders |= bit(member);
                }
                Repaired::Newer => confirmed += 1,
                Repaired::No(cause) => causes.push(cause),
                Repaired::End if is_done(confirmed, holders) => return Ok(holders),
                Repaired::End => {
                    self.inner.counters.refused.add();
                    let members = self.inner.members.len();
                    return Err(Problem::ReadRefused { needed, reached: confirmed, members, causes });
                }
            }
        }
    }

    fn is_quorum(&self) -> bool {
        matches!(self.level, super::Level::Quorum | super::Level::All)
    }

    fn repaired(&self, next: Next<Written>) -> Repaired {
        match next {
            Next::Answer(member, Ok(Written::Applied)) => {
                self.inner.counters.repairs.add();
                Repaired::Yes(member)
            }
            Next::Answer(_, Ok(Written::Conflict(_))) => Repaired::Newer,
            Next::Answer(member, Ok(Written::Ahead(by))) => {
                Repaired::No(self.cause(member, &format!("the version is {by:?} ahead of its clock")))
            }
            Next::Answer(member, Err(error)) => Repaired::No(self.cause(member, &error)),
            Next::Hedge | Next::Deadline | Next::End => Repaired::End,
        }
    }
}

enum Repaired {
    /// A member has the value now.
    Yes(usize),
    /// A member got a newer one in between.
    Newer,
    No(String),
    End,
}

/// One bit for each of the first 64 members.
pub(super) fn bits(members: impl Iterator<Item = usize>) -> u64 {
    members.map(bit).fold(0, |bits, bit| bits | bit)
}

fn bit(member: usize) -> u64 {
    1_u64.checked_shl(u32::try_from(member).unwrap_or(u32::MAX)).unwrap_or(0)
}
