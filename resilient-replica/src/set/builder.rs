//! How a replica set is built.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use resilient_runtime::Registry;

use super::hints::{HintLimits, Hints};
use super::member::Member;
use super::resolver::{LastWriteWins, Merging, Resolver, Value};
use super::stats::Counters;
use super::{Inner, Level, Mode, ReplicaSet};
use crate::resolve::{HybridClock, Merge};

/// Builds a [`ReplicaSet`].
///
/// ```
/// use resilient_replica::{MemoryReplica, ReplicaSet, resolve::{Actor, HybridClock}};
/// use resilient_runtime::Registry;
///
/// let registry = Registry::new();
/// for name in ["eu-1", "eu-2", "us-1"] {
///     registry.use_store(name, MemoryReplica::new());
/// }
/// let set = ReplicaSet::<String>::builder("names", HybridClock::new(Actor::named("orders-0")))
///     .member_in("eu", "eu-1")
///     .member_in("eu", "eu-2")
///     .member_in("us", "us-1")
///     .region("eu")
///     .build(&registry)?;
/// assert_eq!(set.stats().members.len(), 3);
/// # Ok::<_, resilient_replica::InvalidSet>(())
/// ```
#[derive(Debug)]
pub struct Builder<T, R> {
    name: String,
    clock: HybridClock,
    members: Vec<(Option<String>, String)>,
    region: Option<String>,
    mode: Mode,
    quorums: Option<(usize, usize)>,
    hedge_after: Duration,
    hints: HintLimits,
    grace: Duration,
    max_ahead: Duration,
    kind: PhantomData<fn() -> (T, R)>,
}

/// The settings of a replica set that contradict each other. All problems, each with its remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidSet {
    set: String,
    problems: Vec<String>,
}

impl fmt::Display for InvalidSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "replica set `{}`: {}", self.set, self.problems.join("; "))
    }
}

impl std::error::Error for InvalidSet {}

impl<T: Value> Builder<T, LastWriteWins> {
    pub(super) fn new(name: String, clock: HybridClock) -> Self {
        Self {
            name,
            clock,
            members: Vec::new(),
            region: None,
            mode: Mode::default(),
            quorums: None,
            hedge_after: Duration::from_millis(50),
            hints: HintLimits::default(),
            grace: Duration::from_hours(24 * 10),
            max_ahead: Duration::from_secs(1),
            kind: PhantomData,
        }
    }

    /// Merges the values of concurrent writes, instead of keeping the last one.
    #[must_use]
    pub fn merging(self) -> Builder<T, Merging>
    where
        T: Merge,
    {
        let Self {
            name, clock, members, region, mode, quorums, hedge_after, hints, grace, max_ahead, ..
        } = self;
        let kind = PhantomData;
        Builder { name, clock, members, region, mode, quorums, hedge_after, hints, grace, max_ahead, kind }
    }
}

impl<T: Value, R: Resolver<T>> Builder<T, R> {
    /// Adds a member: the store that the registry has under this name. It may be registered later.
    #[must_use]
    pub fn member(mut self, store: impl Into<String>) -> Self {
        self.members.push((None, store.into()));
        self
    }

    /// Adds a member in a region.
    #[must_use]
    pub fn member_in(mut self, region: impl Into<String>, store: impl Into<String>) -> Self {
        self.members.push((Some(region.into()), store.into()));
        self
    }

    /// Sets the region of this instance, whose members are read first.
    #[must_use]
    pub fn region(mut self, region: impl Into<String>) -> Self {
        self.region = Some(region.into());
        self
    }

    /// Sets what an operation does that cannot reach enough members. [`Mode::Cp`] by default.
    #[must_use]
    pub fn mode(self, mode: Mode) -> Self {
        Self { mode, ..self }
    }

    /// Sets how many members a read and a write need at [`Level::Quorum`], by default more than half each.
    ///
    /// Together they must be more than the members, so that a read sees the last write, and writes alone more than half of
    /// the members, so that a write sees the write before.
    ///
    /// # Source
    /// D. K. Gifford, *Weighted Voting for Replicated Data*, SOSP 1979.
    #[must_use]
    pub fn quorums(self, read: usize, write: usize) -> Self {
        Self { quorums: Some((read, write)), ..self }
    }

    /// Sets after which time a read asks another member, if one has not answered. 50 ms by default.
    ///
    /// # Source
    /// J. Dean, L. A. Barroso, *The Tail at Scale*, CACM 2013.
    #[must_use]
    pub fn hedge_after(self, hedge_after: Duration) -> Self {
        Self { hedge_after, ..self }
    }

    /// Sets the bounds of the writes that are kept for members that missed them.
    #[must_use]
    pub fn hints(self, hints: HintLimits) -> Self {
        Self { hints, ..self }
    }

    /// Sets how long a tombstone is kept at least. 10 days by default, as in Cassandra. It must be longer than hints are kept.
    #[must_use]
    pub fn grace(self, grace: Duration) -> Self {
        Self { grace, ..self }
    }

    /// Sets how far the clock of this instance may be ahead of the clocks of members. 1 s by default.
    #[must_use]
    pub fn max_ahead(self, max_ahead: Duration) -> Self {
        Self { max_ahead, ..self }
    }

    /// Builds the set. Connects when the first operation needs it.
    ///
    /// # Errors
    /// Returns all problems: no members, a member twice, quorums that do not overlap, a region without members, tombstones
    /// that are forgotten before hints.
    pub fn build(self, registry: &Registry) -> Result<ReplicaSet<T, R>, InvalidSet> {
        let count = self.members.len();
        let majority = count / 2 + 1;
        let (read, write) = self.quorums.unwrap_or((majority, majority));
        let problems = self.problems(read, write);
        if !problems.is_empty() {
            return Err(InvalidSet { set: self.name, problems });
        }
        let members = self.members.into_iter().enumerate().map(|(index, (region, name))| {
            let store = registry.store(&name);
            Member { index, name: name.into(), region: region.map(Into::into), store }
        });
        let inner = Inner {
            name: self.name.into(),
            clock: self.clock,
            timer: registry.clock().clone(),
            members: members.collect(),
            region: self.region.map(Into::into),
            quorums: (read, write),
            hedge_after: self.hedge_after,
            hints: Hints::new(self.hints),
            is_delivering: AtomicBool::new(false),
            grace: self.grace,
            max_ahead: self.max_ahead,
            counters: Counters::default(),
        };
        Ok(ReplicaSet { inner: Arc::new(inner), mode: self.mode, level: Level::default(), kind: PhantomData })
    }

    fn problems(&self, read: usize, write: usize) -> Vec<String> {
        let (count, mut problems) = (self.members.len(), Vec::new());
        if self.name.is_empty() || self.name.len() > 100 {
            problems.push("its name must have 1 to 100 bytes".to_owned());
        }
        if count == 0 {
            problems.push("it has no members: call `member` with the name of a store".to_owned());
            return problems;
        }
        for (index, (_, name)) in self.members.iter().enumerate() {
            if self.members[..index].iter().any(|(_, earlier)| earlier == name) {
                problems.push(format!(
                    "member `{name}` is added twice: a copy in the same store protects nothing"
                ));
            }
        }
        if read == 0 || write == 0 || read > count || write > count {
            problems
                .push(format!("quorums ({read}, {write}) must each be 1 to {count}, the number of members"));
        } else if read + write <= count {
            problems.push(format!(
                "quorums ({read}, {write}) must together be more than {count}, or a read can miss the last write"
            ));
        } else if 2 * write <= count {
            problems.push(format!(
                "the write quorum {write} must be more than half of {count}, or a write can miss the one before"
            ));
        }
        if let Some(region) = &self.region
            && !self.members.iter().any(|(of, _)| of.as_ref() == Some(region))
        {
            problems
                .push(format!("no member is in its region `{region}`: call `member_in(\"{region}\", ..)`"));
        }
        if self.grace <= self.hints.max_age {
            problems.push(format!(
                "`grace` ({:?}) must be longer than hints are kept ({:?}), or a removed record can come back",
                self.grace, self.hints.max_age
            ));
        }
        problems
    }
}
