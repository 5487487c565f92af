//! How a replica set is built.

use std::fmt;
use std::marker::PhantomData;
#[cfg(feature = "durable")]
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use resilient_runtime::Registry;
#[cfg(feature = "durable")]
use resilient_runtime::{clock::Instant, store::ReplicaKey};

use super::hints::{HintLimits, Hints};
use super::member::Member;
use super::resolver::{LastWriteWins, Merging, Resolver, Value};
use super::stats::Counters;
use super::{Inner, Level, Mode, ReplicaSet};
use crate::resolve::{HybridClock, Merge};
#[cfg(feature = "durable")]
use crate::{OpenError, file::HintFile};

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
    #[cfg(feature = "durable")]
    hints_in: Option<PathBuf>,
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
            #[cfg(feature = "durable")]
            hints_in: None,
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
        Builder {
            name: self.name,
            clock: self.clock,
            members: self.members,
            region: self.region,
            mode: self.mode,
            quorums: self.quorums,
            hedge_after: self.hedge_after,
            hints: self.hints,
            #[cfg(feature = "durable")]
            hints_in: self.hints_in,
            grace: self.grace,
            max_ahead: self.max_ahead,
            kind: PhantomData,
        }
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

    /// Keeps the writes that members missed in a file too, so that they survive a restart. Each set has a file of its own.
    ///
    /// A weak write is accepted when they are on disk. Other writes do not wait for it. Call [`build`](Self::build) inside of a
    /// runtime, so that hints from before the restart are delivered at once. The file stays open until all clones of the set are
    /// dropped and its hints are delivered or too old.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// use resilient_replica::{MemoryReplica, Mode, ReplicaSet, resolve::{Actor, HybridClock}};
    /// use resilient_runtime::Registry;
    /// # let path = std::env::temp_dir().join(format!("resilient-hints-{}", std::process::id()));
    ///
    /// let registry = Registry::new();
    /// registry.use_store("near", MemoryReplica::new()); // `far` is not there yet
    /// let clock = HybridClock::new(Actor::named("orders-0"));
    /// let names = ReplicaSet::<String>::builder("names", clock).member("near").member("far").mode(Mode::Ap);
    /// let names = names.hints_in(&path).build(&registry)?;
    /// assert!(names.write("user 7", &"Ada".to_owned()).await?.is_weak);
    /// assert_eq!(names.stats().hints, 1);
    /// # std::fs::remove_file(&path)?;
    /// # Ok(()) }
    /// ```
    #[cfg(feature = "durable")]
    #[cfg_attr(docsrs, doc(cfg(feature = "durable")))]
    #[must_use]
    pub fn hints_in(self, path: impl Into<PathBuf>) -> Self {
        Self { hints_in: Some(path.into()), ..self }
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
    /// that are forgotten before hints, a file of hints that cannot be opened.
    pub fn build(self, registry: &Registry) -> Result<ReplicaSet<T, R>, InvalidSet> {
        let count = self.members.len();
        let majority = count / 2 + 1;
        let (read, write) = self.quorums.unwrap_or((majority, majority));
        let problems = self.problems(read, write);
        if !problems.is_empty() {
            return Err(InvalidSet { set: self.name, problems });
        }
        let member = |(index, (region, name)): (usize, (Option<String>, String))| {
            let store = registry.store(&name);
            Member { index, name: name.into(), region: region.map(Into::into), store }
        };
        let members: Vec<_> = self.members.into_iter().enumerate().map(member).collect();
        let counters = Counters::default();
        #[cfg(not(feature = "durable"))]
        let hints = Hints::new(self.hints);
        #[cfg(feature = "durable")]
        let hints = match &self.hints_in {
            None => Hints::new(self.hints),
            Some(path) => {
                opened(path, &self.name, self.hints, &members, &counters, registry.clock().now()).map_err(
                    |error| InvalidSet { set: self.name.clone(), problems: vec![error.to_string()] },
                )?
            }
        };
        let inner = Inner {
            name: self.name.into(),
            clock: self.clock,
            timer: registry.clock().clone(),
            members,
            region: self.region.map(Into::into),
            quorums: (read, write),
            hedge_after: self.hedge_after,
            hints,
            is_delivering: AtomicBool::new(false),
            grace: self.grace,
            max_ahead: self.max_ahead,
            counters,
        };
        let (mode, level) = (self.mode, Level::default());
        let set = ReplicaSet { inner: Arc::new(inner), mode, level, kind: PhantomData };
        if set.inner.hints.len() > 0 {
            set.start_delivery();
        }
        Ok(set)
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

/// Opens a file of hints.
#[cfg(feature = "durable")]
fn opened(
    path: &Path,
    set: &str,
    limits: HintLimits,
    members: &[Member],
    counters: &Counters,
    now: Instant,
) -> Result<Hints, OpenError> {
    let names = members.iter().map(|member| Arc::clone(&member.name)).collect();
    let (file, stored) = HintFile::open(path, set, names)?;
    let mut kept = Vec::new();
    for hint in stored {
        match file.member(&hint.member) {
            Some(member) => {
                let left = hint.left(limits.max_age);
                kept.push((left, member, ReplicaKey::new(set, hint.key), hint.record));
            }
            None => {
                file.forget(&hint.member, &hint.key);
                counters.dropped_hints.add();
            }
        }
    }
    let (hints, dropped) = Hints::with_log(limits, file, kept.into_iter(), now);
    (0..dropped).for_each(|_| counters.dropped_hints.add());
    Ok(hints)
}
