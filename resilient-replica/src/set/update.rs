//! Writes of values that are merged.

use resilient_runtime::store::{Expected, ReplicaKey, ReplicaRecord, ReplicaVersion, StoreError, Written};

use super::error::{Problem, ReplicaError};
use super::member::Reply;
use super::session::Seen;
use super::write::{ATTEMPTS, has_no_effect};
use super::{Accepted, Merging, ReplicaSet, Resolver, Value};
use crate::resolve::{Actor, Merge, MergeError};

/// A member and the version that it has.
type Known = (usize, Option<ReplicaVersion>);

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
        self.end(key, record, round).await
    }
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
}
