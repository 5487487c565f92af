//! Replica sets.

mod builder;
mod deliver;
mod error;
mod fallback;
mod gather;
mod hints;
mod member;
mod mode;
mod read;
mod resolver;
mod session;
mod stats;
mod sweep;
mod update;
mod write;

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

pub use builder::{Builder, InvalidSet};
pub use error::{Problem, ReplicaError};
pub use hints::HintLimits;
pub use mode::{Level, Mode};
pub use read::Read;
use resilient_runtime::Component;
use resilient_runtime::clock::Clock;
use resilient_runtime::store::{ReplicaKey, ReplicaRecord, ReplicaVersion};
pub use resolver::{LastWriteWins, Merging, Resolver, Value};
pub use session::{InvalidSession, Session};
pub use stats::Stats;
pub use sweep::Sweep;
pub use write::Accepted;

use crate::resolve::{HybridClock, Timestamp};
use hints::Hints;
use member::Member;
use stats::Counters;

/// The same data in several stores, with an explicit choice between consistency and availability.
///
/// Each key has one value of type `T`. The members are stores that the registry has by name, so each has its own time
/// limit, circuit breaker, statistics and health. Clones are the same set. See the [crate](crate) for what each mode
/// promises.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use resilient_replica::{MemoryReplica, ReplicaSet, resolve::{Actor, HybridClock}};
/// use resilient_runtime::Registry;
///
/// let registry = Registry::new();
/// for name in ["a", "b", "c"] {
///     registry.use_store(name, MemoryReplica::new());
/// }
/// let names = ReplicaSet::<String>::builder("names", HybridClock::new(Actor::named("orders-0")))
///     .member("a")
///     .member("b")
///     .member("c")
///     .build(&registry)?;
///
/// names.write("user 7", &"Ada".to_owned()).await?;
/// let read = names.read("user 7").await?;
/// assert_eq!(read.value.as_deref(), Some("Ada"));
/// assert!(!read.may_be_stale);
/// # Ok(()) }
/// ```
pub struct ReplicaSet<T, R = LastWriteWins> {
    inner: Arc<Inner>,
    mode: Mode,
    level: Level,
    kind: PhantomData<fn() -> (T, R)>,
}

struct Inner {
    name: Arc<str>,
    clock: HybridClock,
    timer: Clock,
    members: Vec<Member>,
    region: Option<Arc<str>>,
    /// Read and write.
    quorums: (usize, usize),
    hedge_after: Duration,
    hints: Hints,
    /// Whether a task delivers hints.
    is_delivering: AtomicBool,
    grace: Duration,
    max_ahead: Duration,
    counters: Counters,
}

impl<T, R> Clone for ReplicaSet<T, R> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner), kind: PhantomData, ..*self }
    }
}

impl<T, R> fmt::Debug for ReplicaSet<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let members: Vec<_> = self.inner.members.iter().map(|member| &member.name).collect();
        f.debug_struct("ReplicaSet")
            .field("name", &self.inner.name)
            .field("mode", &self.mode)
            .field("level", &self.level)
            .field("members", &members)
            .finish_non_exhaustive()
    }
}

impl<T: Value> ReplicaSet<T> {
    /// Starts to build a set. Its name is part of the keys in the stores.
    ///
    /// The clock belongs to this instance. Use one for all sets of a process.
    pub fn builder(name: impl Into<String>, clock: HybridClock) -> Builder<T, LastWriteWins> {
        Builder::new(name.into(), clock)
    }
}

impl<T, R> ReplicaSet<T, R> {
    /// Returns the name of the set.
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Returns the same set, whose operations need other members.
    #[must_use]
    pub fn at(&self, level: Level) -> Self {
        Self { level, ..self.clone() }
    }

    /// Returns the same set, whose operations do something else if they cannot reach enough members.
    #[must_use]
    pub fn in_mode(&self, mode: Mode) -> Self {
        Self { mode, ..self.clone() }
    }

    /// Returns what happened since the set was built.
    pub fn stats(&self) -> Stats {
        let Inner { members, counters, hints, timer, .. } = &*self.inner;
        Stats {
            members: members.iter().map(|member| Arc::clone(&member.name)).collect(),
            degraded: members
                .iter()
                .filter(|member| member.store.stats().degraded)
                .map(|member| Arc::clone(&member.name))
                .collect(),
            reads: counters.reads.get(),
            stale_reads: counters.stale_reads.get(),
            writes: counters.writes.get(),
            weak_writes: counters.weak_writes.get(),
            refused: counters.refused.get(),
            conflicts: counters.conflicts.get(),
            repairs: counters.repairs.get(),
            hedges: counters.hedges.get(),
            hints: hints.len(),
            hint_bytes: hints.bytes(),
            oldest_hint: hints.oldest(timer.now()),
            dropped_hints: counters.dropped_hints.get(),
            unsaved_hints: counters.unsaved_hints.get(),
        }
    }

    fn key(&self, key: &str) -> ReplicaKey {
        ReplicaKey::new(&*self.inner.name, key)
    }

    fn error(&self, problem: Problem) -> ReplicaError {
        problem.of(&self.inner.name)
    }

    /// The members that count for an operation, and how many of them it needs.
    fn plan(&self, is_read: bool) -> Plan {
        let Inner { members, region, quorums, .. } = &*self.inner;
        let is_local = |member: &&Member| region.is_some() && member.region == *region;
        let local = members.iter().filter(is_local);
        let all = members.iter().map(|member| member.index);
        let (counted, needed): (Vec<usize>, usize) = match self.level {
            Level::LocalQuorum if region.is_some() => {
                let local: Vec<usize> = local.map(|member| member.index).collect();
                let needed = local.len() / 2 + 1;
                (local, needed)
            }
            level => {
                // The nearest first.
                let mut order: Vec<usize> = all.collect();
                order.sort_by_key(|&index| !is_local(&&members[index]));
                let quorum = if is_read { quorums.0 } else { quorums.1 };
                let needed = match level {
                    Level::One => 1,
                    Level::All => members.len(),
                    Level::Quorum | Level::LocalQuorum => quorum,
                };
                (order, needed)
            }
        };
        let within = match self.mode {
            Mode::Within(span) => Some(span),
            Mode::Cp | Mode::Ap => None,
        };
        Plan { counted, needed, within, is_available: self.mode != Mode::Cp }
    }

    /// Why an answer of a member is missing.
    fn cause(&self, member: usize, error: &impl fmt::Display) -> String {
        format!("`{}`: {error}", self.inner.members[member].name)
    }
}

struct Plan {
    /// Indexes of the members that count.
    counted: Vec<usize>,
    needed: usize,
    within: Option<Duration>,
    /// Whether one member is enough if no more can be reached.
    is_available: bool,
}

impl<T: Value, R: Resolver<T>> ReplicaSet<T, R> {
    fn encode(value: &T) -> Result<Vec<u8>, Problem> {
        let bytes = serde_json::to_vec(value).map_err(|error| Problem::NotStorable(error.to_string()))?;
        if bytes.len() > LARGEST {
            let problem = format!("it has {} bytes, more than {LARGEST}", bytes.len());
            return Err(Problem::NotStorable(problem));
        }
        Ok(bytes)
    }

    fn decode(&self, member: usize, bytes: &[u8]) -> Result<T, Problem> {
        serde_json::from_slice(bytes).map_err(|error| Problem::OtherType {
            member: Arc::clone(&self.inner.members[member].name),
            error: error.to_string(),
        })
    }

    /// Makes the clock of this instance later than a version that a member has.
    fn observe(&self, member: usize, version: ReplicaVersion) -> Result<(), Problem> {
        self.inner.clock.observe(timestamp(version)).map_err(|error| Problem::FromTheFuture {
            member: Arc::clone(&self.inner.members[member].name),
            error,
        })
    }

    fn record(&self, value: Option<Vec<u8>>) -> ReplicaRecord {
        ReplicaRecord { version: version(self.inner.clock.now()), value }
    }
}

/// Maximum size of a value in bytes.
const LARGEST: usize = 1 << 20;

fn version(timestamp: Timestamp) -> ReplicaVersion {
    ReplicaVersion(u128::from_be_bytes(timestamp.to_bytes()))
}

fn timestamp(version: ReplicaVersion) -> Timestamp {
    Timestamp::from_bytes(version.0.to_be_bytes())
}
