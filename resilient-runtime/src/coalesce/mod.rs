//! Lets equal calls at the same time share one: the first makes it, the others wait for its answer.
//!
//! - Calls are equal that have the same key. Nothing is kept: a call that begins after the answer is made anew (T101).
//! - Each waiting call keeps its own deadline and `max_wait`; with neither, it waits for at most 60 s.
//! - A leader that is dropped or panics hands over to the next waiting call: not all fail, and not all begin. So does one
//!   whose answer panics when it is cloned.
//! - A leader whose task is alive but does not poll it, for example `select!` over `&mut future`, holds up nobody for long:
//!   after a second a waiting call wakes that task, and after another second without a poll it takes the lead. This needs
//!   timers: without a tokio runtime that has them a call that would have to wait is refused, with
//!   [`RejectionKind::NoTimer`]. A synchronous leader is never replaced.
//! - Its failure is shared, or with `share_errors = false` not: then the next makes a call of its own.
//! - A call of the same key inside of the leader's work is made, and does not wait for itself; also on the threads of a
//!   bulkhead, and in a task that is spawned with [`carry`](crate::carry). In any other task it waits for itself, until its
//!   deadline.
//!
//! Known as *single flight* since Go's `golang.org/x/sync/singleflight`, which has no hand-over.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use std::cell::Cell;
//! use resilient_runtime::{Registry, Rejection};
//!
//! let coalesce = Registry::new().coalesce("rates");
//! let made = Cell::new(0);
//! let rate = async || {
//!     made.set(made.get() + 1);
//!     tokio::task::yield_now().await;
//!     Ok::<f64, Rejection>(1.1)
//! };
//! let (a, b) = tokio::join!(coalesce.call_async("EUR", rate), coalesce.call_async("EUR", rate));
//! assert_eq!((a.unwrap(), b.unwrap(), made.get()), (1.1, 1.1, 1));
//! # }
//! ```

mod config;
mod flight;
mod join;
mod stats;
mod table;

use std::any::{Any, TypeId};
use std::hash::Hash;
use std::time::Duration;

pub use config::Config;
pub(crate) use join::{Join, Joined, Lead, Led};
pub use stats::Stats;

use crate::clock::Instant;
use crate::component::{Component, Core, Create, Kind};
use crate::context::Scope;
use crate::key::KeyHasher;
use crate::observe::EventKind;
use crate::outcome::Reject;
use crate::rejection::{Rejection, RejectionKind};
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use stats::Counters;
use table::Table;

/// How long a call waits that has neither a deadline nor a `max_wait`.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Lets equal calls share one. See the [module](self).
///
/// ```
/// use resilient_runtime::{Coalesce, Component, coalesce::Config};
///
/// let coalesce = Coalesce::new(Config::default())?;
/// assert_eq!(coalesce.call("ada", || Some(1)), Some(1));
/// assert_eq!(coalesce.call("ada", || Some(2)), Some(2), "nothing is kept");
/// assert_eq!(coalesce.stats().led, 2);
/// # Ok::<_, resilient_runtime::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct Coalesce {
    core: Core<Config>,
    hasher: KeyHasher,
    table: Table,
    /// Relaxed, both: settings.
    shares_errors: AtomicBool,
    max_wait: AtomicU64,
    counters: Counters,
}

impl Coalesce {
    /// Runs `work`, or waits for the answer of a call that has the same key; blocks the thread.
    ///
    /// Panics of `work` travel on; the next who waits then runs its own.
    ///
    /// ```
    /// use resilient_runtime::{Registry, Rejection};
    ///
    /// let coalesce = Registry::new().coalesce("config");
    /// let load = |file: &str| coalesce.call(file, || Ok::<_, Rejection>(file.len()));
    /// assert_eq!(load("main.toml"), Ok(9));
    /// ```
    pub fn call<K, R>(&self, key: &K, work: impl FnOnce() -> R) -> R
    where
        K: Hash + ?Sized,
        R: Reject + Any + Clone + Send + Sync,
    {
        let joined = self.join_hash(self.hash::<R, K>(key), self.inherited()).block();
        if !matches!(joined, Ok(Joined::Lead(_))) {
            self.core.clock().warn_of_blocking(self.core.name);
        }
        let lead = match joined {
            Ok(Joined::Lead(lead)) => lead,
            Ok(Joined::Shared(answer)) => return answer.get().unwrap_or_else(|| self.foreign()),
            Err(rejection) => return R::from_rejection(rejection),
        };
        let outcome = lead.lead(work);
        self.share_all(lead, &outcome);
        outcome
    }

    /// Runs `work`, or waits for the answer of a call that has the same key.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Registry};
    ///
    /// let coalesce = Registry::new().coalesce("geocode");
    /// let look_up = async || {
    ///     tokio::task::yield_now().await;
    ///     Some((59.9, 10.7))
    /// };
    /// tokio::join!(
    ///     coalesce.call_async("Oslo", look_up),
    ///     coalesce.call_async("Oslo", look_up),
    ///     coalesce.call_async("Bergen", look_up),
    /// );
    /// assert_eq!((coalesce.stats().led, coalesce.stats().shared), (2, 1));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future drops the work, and the next who waits runs its own; a place among those who wait is given
    /// up.
    pub async fn call_async<K, R>(&self, key: &K, work: impl AsyncFnOnce() -> R) -> R
    where
        K: Hash + ?Sized,
        R: Reject + Any + Clone + Send + Sync,
    {
        let lead = match self.join_hash(self.hash::<R, K>(key), self.inherited()).await {
            Ok(Joined::Lead(lead)) => lead,
            Ok(Joined::Shared(answer)) => return answer.get().unwrap_or_else(|| self.foreign()),
            Err(rejection) => return R::from_rejection(rejection),
        };
        let outcome = lead.lead_async(work()).await;
        self.share_all(lead, &outcome);
        outcome
    }

    fn share_all<R: Reject + Any + Clone + Send + Sync>(&self, lead: Lead<'_>, outcome: &R) {
        if !outcome.is_failure() || self.shares_errors() {
            lead.share(outcome);
        }
    }

    /// The type is part of the key, so this cannot be.
    #[cold]
    fn foreign<R: Reject>(&self) -> R {
        R::from_rejection(self.refuse(RejectionKind::InvalidKey))
    }

    fn inherited(&self) -> Instant {
        Scope::current().deadline_on(self.core.clock())
    }

    // What the pipeline calls ------------------------------------------------------------------------------

    /// The key of calls whose answer is of type `S`.
    pub(crate) fn hash<S: Any, K: Hash + ?Sized>(&self, key: &K) -> u128 {
        self.hasher.hash(&(TypeId::of::<S>(), key))
    }

    /// Asks who else asks the same, by a [`hash`](Self::hash): to be awaited, or blocked on.
    pub(crate) fn join_hash(&self, hash: u128, deadline: Instant) -> Join<'_> {
        Join::new(self, hash, deadline)
    }

    /// Whether those who wait get a failure.
    pub(crate) fn shares_errors(&self) -> bool {
        self.shares_errors.load(Ordering::Relaxed)
    }

    /// Until when a call that arrives now may wait.
    fn patience(&self, deadline: Instant) -> Instant {
        let now = self.core.clock().now();
        match self.max_wait.load(Ordering::Relaxed) {
            u64::MAX if deadline == Instant::NEVER => now.after(LONGEST_WAIT),
            u64::MAX => deadline,
            nanos => now.after(Duration::from_nanos(nanos)).min(deadline),
        }
    }

    #[cold]
    fn give_up(&self) -> Rejection {
        self.counters.gave_up();
        self.refuse(RejectionKind::QueueTimeout)
    }

    #[cold]
    fn refuse(&self, kind: RejectionKind) -> Rejection {
        tracing::debug!(target: "resilient_runtime::coalesce", coalesce = %self.core.name, kind = kind.as_str(), "refused");
        self.core.publish_made(Self::KIND, || EventKind::Rejected { rejection: kind, retry_after: None });
        Rejection::new(kind, self.core.name)
    }
}

impl Create for Coalesce {
    const REFUSALS: &[RejectionKind] =
        &[RejectionKind::InvalidKey, RejectionKind::QueueTimeout, RejectionKind::NoTimer];

    fn create(core: Core<Config>) -> Self {
        let config = core.config();
        let coalesce = Self {
            core,
            hasher: KeyHasher::default(),
            table: Table::new(config.max_flights),
            shares_errors: AtomicBool::new(true),
            max_wait: AtomicU64::new(u64::MAX),
            counters: Counters::default(),
        };
        coalesce.apply(&config);
        coalesce
    }
}

impl Component for Coalesce {
    const KIND: Kind = Kind::Coalesce;
    type Config = Config;
    type Stats = Stats;

    fn core(&self) -> &Core<Config> {
        &self.core
    }

    fn apply(&self, config: &Config) {
        self.shares_errors.store(config.share_errors, Ordering::Relaxed);
        let nanos = config.max_wait.map_or(u64::MAX, crate::clock::nanos);
        self.max_wait.store(nanos, Ordering::Relaxed);
        self.table.resize(if config.enabled { config.max_flights } else { 0 });
    }

    fn stats(&self) -> Stats {
        self.counters.snapshot(self.table.len(), self.table.led())
    }

    /// Zeroes the counts; calls in flight go on.
    fn reset(&self) {
        self.counters.reset();
        self.table.count_anew();
        self.core.publish(Self::KIND, EventKind::Reset);
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
