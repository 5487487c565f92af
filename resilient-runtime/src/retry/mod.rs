//! Retry: repeats calls that fail temporarily.
//!
//! The delays grow and are jittered. The calls share a retry budget, and no retry exceeds the caller's deadline.
//!
//! A failed attempt is retried if all of these conditions hold:
//! - Its [`Class`](crate::Class) permits it: `Transient` and `Overload` do, `Unknown` unless the call has an
//!   idempotency key, `Uncertain` only if the call is idempotent, `NotExecuted` only with a retry-after hint,
//!   `Permanent` and `Ignored` never. A predicate ([`Judgement::retry_when`](crate::Judgement::retry_when),
//!   `retry(when = ..)`) overrides the class.
//! - Fewer than `max` retries were made.
//! - The retry is not suppressed. If an outer call retries because this retry gave up, this retry is suppressed in the
//!   new attempt until one of its calls succeeds. Three nested retries with `max = 3` therefore make 10 calls of the
//!   innermost function, not 64. After a success, for example in a restarted session, the inner retry works again.
//! - The delay, or the longer wait that the server requests, ends before the deadline and `max_elapsed`. Otherwise the
//!   last error is returned at once, without a useless sleep.
//! - The server does not request a longer wait (`Retry-After`, `grpc-retry-pushback-ms`) than `max_retry_after`, 60 s
//!   by default. Otherwise the last error is returned at once, counted as `hint_too_long`, and a
//!   [`RetryAfterTooLong`](crate::EventKind::RetryAfterTooLong) event is published.
//! - The circuit breaker of the pipeline, if any, would admit the next attempt.
//! - The [`RetryBudget`] has a token left, or calls are few. `budget = "off"` disables the budget.
//!
//! When retries stop, the last outcome is returned with its type unchanged. [`stopped`] returns the reason. The span of
//! the call (`stopped`), the statistics, an event and, for the budget, a warning report it too.
//!
//! # Retry budget
//! Each call adds a tenth of a token, and each second adds three. A retry takes one token; without a token it is not
//! made. While calls are few, no token is needed: the n-th retry of a call is free if n times the calls of the last ten
//! seconds is at most 1000. A free retry makes a debt, which later tokens pay first. The load of a long outage
//! therefore stays within 1.1 times the calls, plus three retries a second. [`budget`] shows examples, and
//! [`budget::Config`] has the settings.
//!
//! ```
//! use std::time::Duration;
//! use resilient_runtime::{Registry, clock::ManualClock};
//!
//! let registry = Registry::with_clock(ManualClock::new().clock()); // sleeping on this clock takes no time
//! let retry = registry.retry("inventory");
//! let mut calls = 0;
//! let stock: Result<u32, &str> = retry.call(|| {
//!     calls += 1;
//!     if calls < 3 { Err("connection refused") } else { Ok(7) }
//! });
//! assert_eq!((stock, calls), (Ok(7), 3));
//! ```

mod backoff;
mod call;
mod config;
mod decision;
mod stats;
mod stop;

use std::sync::Arc;
use std::time::Duration;

pub use backoff::Backoff;
pub use config::Config;
pub(crate) use decision::{Progress, Situation};
pub use stats::Stats;
pub use stop::{Stop, Stopped, stopped};

use crate::budget::{self, RetryBudget};
use crate::clock::{Instant, nanos};
use crate::component::{Component, Core, Create, Kind};
use crate::context::Retries;
use crate::last_error::ErrorSlot;
use crate::observe::{EventKind, LogLimit};
use crate::settings::{ConfigError, Settings};
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use stats::Counters;

/// Retries failed calls. See the [module](self).
///
/// ```
/// use resilient_runtime::{Component, Retry, clock::ManualClock, retry::Config};
///
/// let time = ManualClock::new(); // sleeping on this clock takes no time
/// let retry = Retry::with_name_and_clock("dns", time.clock(), Config::default().max(2))?;
/// let mut answers = [None, Some("10.0.0.7")].into_iter();
/// assert_eq!(retry.call(|| answers.next().flatten()), Some("10.0.0.7"));
/// assert_eq!(retry.stats().recovered, 1);
/// # Ok::<_, resilient_runtime::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct Retry {
    core: Core<Config>,
    /// Shared if the settings name a budget.
    budget: Arc<RetryBudget>,
    counters: Mutex<Counters>,
    last_error: ErrorSlot,
    log_limit: LogLimit,
    /// In nanoseconds; `u64::MAX` for none. Relaxed: a call may use the previous setting.
    max_elapsed: AtomicU64,
    /// Relaxed, because it is a setting.
    unbudgeted: AtomicBool,
    is_shared: bool,
    /// The bit of this retry in the set of suppressed retries.
    bit: Retries,
}

impl Retry {
    pub(crate) fn with_budget(core: Core<Config>, shared: Option<Arc<RetryBudget>>) -> Self {
        let is_shared = shared.is_some();
        let budget = shared.unwrap_or_else(|| Arc::new(Self::own_budget(&core)));
        let retry = Self {
            core,
            budget,
            counters: Mutex::default(),
            last_error: ErrorSlot::default(),
            log_limit: LogLimit::new(),
            max_elapsed: AtomicU64::new(u64::MAX),
            unbudgeted: AtomicBool::new(false),
            is_shared,
            bit: Retries::next(),
        };
        retry.apply(&retry.core.config());
        retry
    }

    fn own_budget(core: &Core<Config>) -> RetryBudget {
        let config = core.config().budget_config(budget::Config::default());
        RetryBudget::standing_alone(core.name, core.environment.clone(), config)
    }

    fn apply(&self, config: &Config) {
        self.max_elapsed.store(config.max_elapsed.map_or(u64::MAX, nanos), Ordering::Relaxed);
        self.unbudgeted.store(config.is_unbudgeted(), Ordering::Relaxed);
    }

    /// Whether other retries can share its budget.
    fn is_shared(&self) -> bool {
        self.is_shared
    }

    #[inline]
    pub(crate) fn needs_time(&self) -> bool {
        self.max_elapsed.load(Ordering::Relaxed) != u64::MAX
    }

    /// The latest time at which an attempt of a call that began at `started` can begin.
    pub(crate) fn latest(&self, started: Instant) -> Instant {
        started.after(Duration::from_nanos(self.max_elapsed.load(Ordering::Relaxed)))
    }

    /// How many more retries a call can make.
    pub(crate) fn left(&self, progress: Progress) -> u32 {
        self.core.config().max.saturating_sub(progress.retries)
    }

    /// The bit of this retry in the set of suppressed retries.
    #[inline]
    pub(crate) fn bit(&self) -> Retries {
        self.bit
    }

    /// Returns the retry budget.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, clock::ManualClock};
    ///
    /// let retry = Registry::with_clock(ManualClock::new().clock()).retry("geo");
    /// retry.call(|| None::<u32>);
    /// let budget = retry.budget().stats();
    /// assert_eq!((budget.calls, budget.withdrawn), (1, 3));
    /// ```
    pub fn budget(&self) -> &Arc<RetryBudget> {
        &self.budget
    }

    /// Records that a retried call succeeded.
    pub(crate) fn recovered(&self) {
        self.counters.lock().recovered += 1;
    }
}

impl Create for Retry {
    fn create(core: Core<Config>) -> Self {
        Self::with_budget(core, None)
    }

    fn check_standalone(config: &Config, error: &mut ConfigError) {
        let allowed = "a retry without a registry has its own budget: omit it, or set it to `off`";
        error.require(config.shared_budget().is_none(), "budget", config.budget.clone(), allowed);
    }

    fn notes(&self) -> Vec<String> {
        if self.unbudgeted.load(Ordering::Relaxed) {
            return vec!["the retry budget is off".to_owned()];
        }
        let denied = self.counters.lock().denied_by_budget();
        if denied == 0 {
            return Vec::new();
        }
        let budget::Stats { tokens, capacity, .. } = self.budget.stats();
        let name = self.budget.name();
        vec![format!(
            "{denied} failed calls were not retried because retry budget `{name}` was exhausted; it has {tokens:.1} of {capacity:.0} tokens now"
        )]
    }
}

impl Component for Retry {
    const KIND: Kind = Kind::Retry;
    type Config = Config;
    type Stats = Stats;

    fn core(&self) -> &Core<Config> {
        &self.core
    }

    fn stats(&self) -> Stats {
        let last_error = self.last_error.get(self.core.clock().now());
        self.counters.lock().snapshot(self.budget.name(), self.budget.stats(), last_error)
    }

    fn reset(&self) {
        *self.counters.lock() = Counters::default();
        self.last_error.forget();
        if !self.is_shared() {
            self.budget.begin_anew();
        }
        self.core.publish(Self::KIND, EventKind::Reset);
    }

    fn reconfigure(&self, config: Config) -> Result<(), ConfigError> {
        let mut error = config.validate().err().unwrap_or_default();
        let shared = self.is_shared().then(|| self.budget.name());
        let same = config.is_unbudgeted() || config.shared_budget().map(|name| &**name) == shared;
        let allowed = "the budget cannot be replaced after the retry is created; only `off` and the original value are allowed";
        error.require(same, "budget", config.budget.clone(), allowed);
        error.finish()?;
        self.core.reconfigure(Self::KIND, config, |config| {
            self.apply(config);
            if !self.is_shared() {
                // The other budget settings stay unchanged.
                let own = budget::Config::clone(&self.budget.config());
                self.budget.follow(config.budget_config(own));
            }
        })
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod simulation;
#[cfg(all(test, not(resilient_loom)))]
mod tests;
