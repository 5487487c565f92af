//! Writes.

use resilient_runtime::store::{Expected, ReplicaKey, ReplicaRecord, ReplicaVersion, StoreError, Written};

use super::deliver::in_background;
use super::error::{Problem, ReplicaError};
use super::gather::{Gather, Next};
use super::member::Reply;
use super::read::bits;
use super::session::Seen;
use super::{LastWriteWins, Merging, Plan, ReplicaSet, Resolver, Value, timestamp};
use crate::resolve::{Actor, Merge, MergeError, Timestamp};

/// How often a write is tried again because another one came first.
const ATTEMPTS: u32 = 8;

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
struct Round {
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
        let mut record = self.record(value);
        for _ in 0..ATTEMPTS {
            let send = |member: usize| {
                self.inner.members[member].write(
                    key.clone(),
                    record.clone(),
                    Expected::Older,
                    self.inner.max_ahead,
                )
            };
            let round = self.round(send, None).await?;
            match round.newer {
                Some((member, newer)) => {
                    self.observe(member, newer.version)?;
                    self.inner.counters.conflicts.add();
                    record = self.record(record.value);
                }
                None => return self.end(&key, record, round),
            }
        }
        Err(Problem::Contended { attempts: ATTEMPTS })
    }
}

impl<T: Value + Merge> ReplicaSet<T, Merging> {
    /// Merges a value into the one of a key.
    ///
    /// All members get it. It is accepted when as many as the level needs have it. No write that was accepted is lost.
    ///
    /// # Errors
    /// As [`ReplicaSet::write`].
    ///
    /// # Cancel safety
    /// If the future is dropped, the write may take effect.
    pub async fn merge(&self, key: &str, value: T) -> Result<Accepted, ReplicaError> {
        let merged = match Self::encode(&value) {
            Ok(bytes) => {
                let record = self.record(Some(bytes));
                self.put_merged(&self.key(key), value, record, &[], None).await
            }
            Err(problem) => Err(problem),
        };
        merged.map_err(|problem| self.error(problem))
    }

    /// Reads the value of a key, changes it, and merges the change into the value of all members. Returns the new value too.
    ///
    /// `change` gets the value that a read returns, or the default, and the [`Actor`] as which it must change the value: the
    /// member that accepts the change first. The actors of all values are therefore the members, however many instances there are.
    /// It runs again if another change came first.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use resilient_replica::{MemoryReplica, ReplicaSet};
    /// use resilient_replica::resolve::{Actor, HybridClock, OrSet};
    /// use resilient_runtime::Registry;
    ///
    /// let (registry, clock) = (Registry::new(), HybridClock::new(Actor::named("orders-0")));
    /// registry.use_store("a", MemoryReplica::new());
    /// let tags = ReplicaSet::<OrSet<String>>::builder("tags", clock).member("a").merging().build(&registry)?;
    /// let (tags, _) = tags
    ///     .update("order 7", |tags, actor| tags.insert(actor, "urgent".to_owned()).map(drop))
    ///     .await?;
    /// assert!(tags.contains(&"urgent".to_owned()));
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As [`read`](Self::read) and [`merge`](Self::merge), and [`Problem::NotChanged`] if `change` fails.
    ///
    /// # Cancel safety
    /// If the future is dropped, the change may take effect.
    pub async fn update(
        &self,
        key: &str,
        change: impl Fn(&mut T, Actor) -> Result<(), MergeError>,
    ) -> Result<(T, Accepted), ReplicaError>
    where
        T: Default,
    {
        self.updated(&self.key(key), None, change).await.map_err(|problem| self.error(problem))
    }

    /// `seen` is what the value must contain that is changed.
    pub(super) async fn updated(
        &self,
        key: &ReplicaKey,
        seen: Option<Seen>,
        change: impl Fn(&mut T, Actor) -> Result<(), MergeError>,
    ) -> Result<(T, Accepted), Problem>
    where
        T: Default,
    {
        let found = self.find(key, seen).await?;
        let base = self.resolve(&found.answers)?.value.unwrap_or_default();
        let known: Vec<Known> = found
            .answers
            .iter()
            .map(|(member, record)| (*member, record.as_ref().map(|record| record.version)))
            .collect();
        for &(member, version) in &known {
            if let Some(version) = version {
                self.observe(member, version)?;
            }
        }
        let mut causes = Vec::new();
        for &(member, version) in &known {
            match self.change_at((member, version), key, base.clone(), &change).await? {
                Ok((value, record)) => {
                    let accepted = self.put_merged(key, value.clone(), record, &known, Some(member)).await?;
                    return Ok((value, accepted));
                }
                // It was certainly not changed there.
                Err(error) => causes.push(self.cause(member, &error)),
            }
        }
        self.inner.counters.refused.add();
        let (needed, members) = (self.plan(false).needed, self.inner.members.len());
        Err(Problem::WriteRefused { needed, reached: 0, can_take_effect: false, members, causes })
    }

    /// Changes the value at one member. No other instance changes it as the actor of this member at the same time, because the member
    /// accepts only a change of the value that it has.
    async fn change_at(
        &self,
        (member, mut version): Known,
        key: &ReplicaKey,
        mut base: T,
        change: &impl Fn(&mut T, Actor) -> Result<(), MergeError>,
    ) -> Result<Result<(T, ReplicaRecord), StoreError>, Problem> {
        let inner = &self.inner;
        for _ in 0..ATTEMPTS {
            let mut value = base.clone();
            change(&mut value, Actor::named(&inner.members[member].name)).map_err(Problem::NotChanged)?;
            let record = self.record(Some(Self::encode(&value)?));
            let expected = Expected::Exactly(version);
            let written =
                inner.members[member].write(key.clone(), record.clone(), expected, inner.max_ahead).await.1;
            let there = match written {
                Ok(Written::Applied) => return Ok(Ok((value, record))),
                Ok(Written::Ahead(ahead)) => return Err(Problem::ClockAhead { ahead }),
                Ok(Written::Conflict(there)) => there,
                Err(error) if has_no_effect(&error) => return Ok(Err(error)),
                Err(error) => {
                    // At another member, the change could take effect twice.
                    inner.counters.refused.add();
                    let (causes, needed) = (vec![self.cause(member, &error)], self.plan(false).needed);
                    let members = inner.members.len();
                    return Err(Problem::WriteRefused {
                        needed,
                        reached: 0,
                        can_take_effect: true,
                        members,
                        causes,
                    });
                }
            };
            inner.counters.conflicts.add();
            version = there.as_ref().map(|there| there.version);
            if let Some(ReplicaRecord { version, value: Some(bytes) }) = there {
                self.observe(member, version)?;
                base.merge(self.decode(member, &bytes)?).map_err(Problem::NotMergeable)?;
            }
        }
        Err(Problem::Contended { attempts: ATTEMPTS })
    }

    /// Merges `value` into the value of all members besides the one that has it. `known` are the versions at members whose values
    /// it contains.
    async fn put_merged(
        &self,
        key: &ReplicaKey,
        value: T,
        record: ReplicaRecord,
        known: &[Known],
        done: Option<usize>,
    ) -> Result<Accepted, Problem> {
        let send = |member: usize| -> Reply<Written> {
            let version = known.iter().find(|(of, _)| *of == member).and_then(|(_, version)| *version);
            let (set, key, value, record) = (self.clone(), key.clone(), value.clone(), record.clone());
            Box::pin(async move { (member, set.merge_into(member, &key, value, record, version).await) })
        };
        let round = self.round(send, done).await?;
        self.end(key, record, round)
    }
}

/// A member and the version that it has.
type Known = (usize, Option<ReplicaVersion>);

/// Whether a request was certainly not carried out.
fn has_no_effect(error: &StoreError) -> bool {
    matches!(error, StoreError::NotSent(_) | StoreError::Refused(_))
}

impl<T: Value, R: Resolver<T>> ReplicaSet<T, R> {
    /// Merges a value into the one of a member. `record` is the value encoded, and `known` the version that it replaces.
    pub(super) async fn merge_into(
        &self,
        member: usize,
        key: &ReplicaKey,
        mut value: T,
        mut record: ReplicaRecord,
        mut known: Option<ReplicaVersion>,
    ) -> Result<Written, StoreError> {
        let refused = |problem: Problem| StoreError::Refused(problem.to_string());
        for _ in 0..ATTEMPTS {
            let (_, written) = self.inner.members[member]
                .write(key.clone(), record.clone(), Expected::Exactly(known), self.inner.max_ahead)
                .await;
            let there = match written? {
                Written::Conflict(there) => there,
                written => return Ok(written),
            };
            known = there.as_ref().map(|there| there.version);
            self.inner.counters.conflicts.add();
            let Some(ReplicaRecord { version, value: Some(bytes) }) = there else { continue };
            let other = self.decode(member, &bytes).map_err(refused)?;
            let mut merged = value.clone();
            R::merge(&mut merged, other.clone()).map_err(|error| refused(Problem::NotMergeable(error)))?;
            if merged == other && (version >= record.version || value != other) {
                // The member has all of it, and perhaps more.
                return Ok(Written::Applied);
            }
            if merged == value && version < record.version {
                // The member has less, or the same with a lower version.
                continue;
            }
            self.observe(member, version).map_err(refused)?;
            record = self.record(Some(Self::encode(&merged).map_err(refused)?));
            value = merged;
        }
        Err(StoreError::Refused(Problem::Contended { attempts: ATTEMPTS }.to_string()))
    }

    /// Sends a write to all members besides the one that has it, and waits for as many as needed.
    async fn round(
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
        let mut round = Round { applied, counted, at, newer: None, failed: Vec::new(), ahead: None, rest };
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
    fn end(&self, key: &ReplicaKey, record: ReplicaRecord, round: Round) -> Result<Accepted, Problem> {
        let Plan { needed, is_available, .. } = self.plan(false);
        let Round { applied, counted, at, failed, ahead, rest, .. } = round;
        let is_weak = counted < needed;
        if is_weak && !(is_available && applied > 0) {
            self.inner.counters.refused.add();
            if let Some(ahead) = ahead.filter(|_| applied == 0) {
                return Err(Problem::ClockAhead { ahead });
            }
            let is_unknown =
                |error: &StoreError| !matches!(error, StoreError::NotSent(_) | StoreError::Refused(_));
            let can_take_effect =
                applied > 0 || rest.pending() > 0 || failed.iter().any(|(_, error)| is_unknown(error));
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
        for (member, _) in failed {
            self.keep(member, key.clone(), record.clone());
        }
        if rest.pending() > 0 {
            let (set, key) = (self.clone(), key.clone());
            in_background(async move { set.finish(&key, &record, rest).await });
        }
        Ok(accepted)
    }

    /// Waits for the members that a write did not wait for.
    async fn finish(&self, key: &ReplicaKey, record: &ReplicaRecord, mut rest: Gather<Written>) {
        loop {
            match rest.next().await {
                Next::Answer(member, Err(_)) => self.keep(member, key.clone(), record.clone()),
                Next::Answer(..) | Next::Hedge | Next::Deadline => {}
                Next::End => return,
            }
        }
    }
}
