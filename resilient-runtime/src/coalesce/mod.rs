//! Coalescing: concurrent calls with the same key share one execution and its result.
//!
//! The first call is the leader and runs the work. The other calls wait for its result.
//!
//! - Results are not stored: a call that begins after the result is available runs its own work.
//! - Each waiting call keeps its own deadline and `max_wait`. Without either, it waits for at most 60 s.
//! - If the leader is dropped or panics, or if cloning its result panics, the next waiting call takes the lead. The
//!   other calls keep waiting.
//! - If an asynchronous leader is not polled, for example in a `select!` over `&mut future`, a waiting call wakes its
//!   task after a second. If the leader is not polled within another second, the waiting call takes the lead. A
//!   synchronous leader is never replaced.
//! - An asynchronous call needs timers to wait. Without a tokio runtime that has them enabled, it is rejected with
//!   [`RejectionKind::NoTimer`] instead of waiting.
//! - A failure of the leader is shared too. With `share_errors = false` it is not, and the next waiting call runs its
//!   own work.
//! - A call with the same key inside the leader's work runs at once and does not wait for itself. This also applies on
//!   the threads of a bulkhead and in a task spawned with [`carry`](crate::carry). In any other task, such a call waits
//!   for itself until its deadline.
//!
//! This is known as *single flight*, after Go's `golang.org/x/sync/singleflight`, which does not replace a leader.
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

/// How long a call waits if it has no deadline and no `max_wait`.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Coalesces concurrent calls with the same key. See the [module](self).
///
/// ```
/// use resilient_runtime::{Coalesce, Component, coalesce::Config};
///
/// let coalesce = Coalesce::new(Config::default())?;
/// assert_eq!(coalesce.call("ada", || Some(1)), Some(1));
/// assert_eq!(coalesce.call("ada", || Some(2)), Some(2), "results are not stored");
/// assert_eq!(coalesce.stats().led, 2);
/// # Ok::<_, resilient_runtime::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct Coalesce {
    core: Core<Config>,
    hasher: KeyHasher,
    table: Table,
    /// Relaxed, both: they are settings.
    shares_errors: AtomicBool,
    max_wait: AtomicU64,
    counters: Counters,
}

impl Coalesce {
    /// Runs `work`, or waits for the result of a running call with the same key.
    ///
    /// It blocks the thread while it waits. A panic of `work` propagates to the caller; the next waiting call then runs
    /// its own work.
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

    /// Runs `work`, or waits for the result of a running call with the same key.
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
    /// If the future of the leader is dropped, its work is dropped and the next waiting call runs its own work. If the
    /// future of a waiting call is dropped, it stops waiting.
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

    /// The rejection for a result of another type. Unreachable, because the type is part of the key.
    #[cold]
    fn foreign<R: Reject>(&self) -> R {
        R::from_rejection(self.refuse(RejectionKind::InvalidKey))
    }

    fn inherited(&self) -> Instant {
        Scope::current().deadline_on(self.core.clock())
    }

    // Used by the pipeline ------------------------------------------------------------------------------

    /// Hashes the key of calls whose result has type `S`.
    pub(crate) fn hash<S: Any, K: Hash + ?Sized>(&self, key: &K) -> u128 {
        self.hasher.hash(&(TypeId::of::<S>(), key))
    }

    /// Joins the calls with this [`hash`](Self::hash). Await the returned value or block on it.
    pub(crate) fn join_hash(&self, hash: u128, deadline: Instant) -> Join<'_> {
        Join::new(self, hash, deadline)
    }

    /// Whether failures are shared with waiting calls.
    pub(crate) fn shares_errors(&self) -> bool {
        self.shares_errors.load(Ordering::Relaxed)
    }

    /// The time until which a call that arrives now may wait.
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
        tracing::debug!(target: "resilient_runtime::coalesce", coalesce = %self.core.name, kind = kind.as_str(), "call rejected");
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

    /// Sets the counters to zero; running calls continue.
    fn reset(&self) {
        self.counters.reset();
        self.table.count_anew();
        self.core.publish(Self::KIND, EventKind::Reset);
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
