//! Compares all records of all members (*anti-entropy*).

use std::collections::BTreeMap;
use std::sync::Arc;

use futures_util::future::join_all;
use resilient_runtime::store::{ReplicaEntry, ReplicaKey, ReplicaRecord};

use super::error::{Problem, ReplicaError};
use super::{ReplicaSet, Resolver, Value};

/// The result of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sweep {
    /// Members that could not be reached, with the reason. They were not compared.
    pub unreachable: Vec<(Arc<str>, String)>,
    /// Ranges of 256 in which members had different records.
    pub different_ranges: u32,
    /// Records that were written to a member that did not have them.
    pub repaired: u64,
    /// Records that could not be written, and ranges of a member that could not be listed, with the reason of the last one.
    pub failed: (u64, Option<String>),
    /// Tombstones that were removed for good: older than the grace period, and known to all members.
    pub forgotten: u64,
}

impl<T: Value, R: Resolver<T>> ReplicaSet<T, R> {
    /// Compares the records of all members, and writes each to the members that do not have it.
    ///
    /// It compares digests of 256 ranges, and lists only those that differ. Run it regularly, for example each hour: hints
    /// have a maximum age, and are lost with the process.
    ///
    /// # Errors
    /// Returns [`Problem::ReadRefused`] if fewer than two members answered.
    ///
    /// # Cancel safety
    /// Dropping the future ends the sweep. Another one continues.
    pub async fn sweep(&self) -> Result<Sweep, ReplicaError> {
        let mut sweep = Sweep::default();
        let mut reachable: Vec<usize> = (0..self.inner.members.len()).collect();
        for range in 0..ReplicaKey::RANGES {
            let digests = self.digests(range, &mut reachable, &mut sweep).await;
            if reachable.len() < 2 && self.inner.members.len() > 1 {
                let causes =
                    sweep.unreachable.iter().map(|(name, cause)| format!("`{name}`: {cause}")).collect();
                let (reached, members) = (reachable.len(), self.inner.members.len());
                return Err(self.error(Problem::ReadRefused { needed: 2, reached, members, causes }));
            }
            if digests.iter().any(|digest| *digest != digests[0]) {
                sweep.different_ranges += 1;
                self.compare(range, &reachable, &mut sweep).await;
            } else if digests.first().is_some_and(|digest| *digest != 0) && sweep.unreachable.is_empty() {
                self.forget(range, &mut sweep).await;
            }
        }
        Ok(sweep)
    }

    async fn digests(&self, range: u16, reachable: &mut Vec<usize>, sweep: &mut Sweep) -> Vec<u64> {
        let Self { inner, .. } = self;
        let asked = reachable.iter().map(|&member| inner.members[member].digest(&inner.name, range));
        let answers = join_all(asked).await;
        let (mut digests, mut left) = (Vec::new(), Vec::new());
        for (member, answer) in reachable.iter().copied().zip(answers) {
            match answer {
                Ok(digest) => {
                    digests.push(digest);
                    left.push(member);
                }
                Err(error) => {
                    sweep.unreachable.push((Arc::clone(&inner.members[member].name), error.to_string()));
                }
            }
        }
        *reachable = left;
        digests
    }

    /// Exchanges the records of a range.
    async fn compare(&self, range: u16, reachable: &[usize], sweep: &mut Sweep) {
        let Self { inner, .. } = self;
        let lists =
            join_all(reachable.iter().map(|&member| inner.members[member].list(&inner.name, range))).await;
        let mut versions: BTreeMap<String, BTreeMap<usize, ReplicaEntry>> = BTreeMap::new();
        let mut listed = Vec::new();
        for (member, list) in reachable.iter().copied().zip(lists) {
            match list {
                Ok(list) => {
                    listed.push(member);
                    for entry in list {
                        versions.entry(entry.key.clone()).or_default().insert(member, entry);
                    }
                }
                Err(error) => sweep.failed = (sweep.failed.0 + 1, Some(self.cause(member, &error))),
            }
        }
        for (key, entries) in versions {
            let version = |member: &usize| entries.get(member).map(|entry| entry.version);
            let newest = listed.iter().map(version).max().flatten();
            if listed.iter().all(|member| version(member) == newest) {
                continue;
            }
            self.exchange(&self.key(&key), &listed, sweep).await;
        }
    }

    async fn exchange(&self, key: &ReplicaKey, members: &[usize], sweep: &mut Sweep) {
        let answers =
            join_all(members.iter().map(|&member| self.inner.members[member].read(key.clone()))).await;
        let found: Vec<(usize, Option<ReplicaRecord>)> =
            answers.into_iter().filter_map(|(member, answer)| Some((member, answer.ok()?))).collect();
        let resolved = match self.resolve(&found) {
            Ok(resolved) => resolved,
            Err(problem) => {
                sweep.failed = (sweep.failed.0 + 1, Some(problem.to_string()));
                return;
            }
        };
        let Some(target) = resolved.target else { return };
        for (member, known) in resolved.stale {
            match self.deliver(member, key, &target, known).await {
                Ok(()) => sweep.repaired += 1,
                Err(error) => sweep.failed = (sweep.failed.0 + 1, Some(self.cause(member, &error))),
            }
        }
    }

    /// Removes the old tombstones of a range. All members have them, because their digests are equal.
    async fn forget(&self, range: u16, sweep: &mut Sweep) {
        let Self { inner, .. } = self;
        let Some(first) = inner.members.first() else { return };
        let entries = match first.list(&inner.name, range).await {
            Ok(entries) => entries,
            Err(error) => {
                sweep.failed = (sweep.failed.0 + 1, Some(self.cause(first.index, &error)));
                return;
            }
        };
        let now = inner.clock.wall();
        let is_old = |entry: &ReplicaEntry| now.saturating_sub(entry.version.since_epoch()) > inner.grace;
        for entry in entries.into_iter().filter(|entry| entry.is_removed && is_old(entry)) {
            let key = self.key(&entry.key);
            let forgotten =
                join_all(inner.members.iter().map(|member| member.forget(key.clone(), entry.version)));
            sweep.forgotten += u64::from(forgotten.await.into_iter().any(|forgotten| forgotten == Ok(true)));
        }
    }
}
