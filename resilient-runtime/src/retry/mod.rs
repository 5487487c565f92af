//! Tries again what failed for the moment: with growing, jittered delays, within a budget that all calls
//! share, and never beyond the caller's deadline.
//!
//! A failed attempt is repeated when all of this holds:
//! - its [`Class`](crate::Class) is worth it: `Transient`, `Overload` and `Unknown` are, `Uncertain` only for what is declared
//!   idempotent, `NotExecuted` only where it says when to come again, `Permanent` and `Ignored` never; or a predicate
//!   ([`Judgement::retry_when`](crate::Judgement::retry_when), `retry(when = ..)`) says so;
//! - fewer than `max` retries were made;
//! - it would not multiply: where a call around this one repeats because this retry gave up, the retry stands back
//!   until one of its calls has succeeded in the new attempt. Three nested retries of three thus make 10 calls of the
//!   innermost and not 64, while a session that was restarted once still repeats what fails in it later;
//! - the delay, or the server's longer wish, ends before the deadline and `max_elapsed`: else the last error
//!   is returned at once, not after a sleep that nobody can use;
//! - the server does not ask for a longer wait (`Retry-After`, `grpc-retry-pushback-ms`) than `max_retry_after`, 60 s by
//!   default: else the last error is returned at once, counted as `hint_too_long`, with an event
//!   [`RetryAfterTooLong`](crate::EventKind::RetryAfterTooLong);
//! - the circuit breaker of the pipeline, where there is one, would admit the next attempt;
//! - the [`RetryBudget`] has a token left, or calls are few; `budget = "off"` leaves it out.
//!
//! Whatever stops it, the last real outcome is returned with its type unchanged. [`stopped`] says afterwards why the call was
//! not repeated; so do the span of the call (`stopped`), the statistics, an event and, for the budget, a warning.
//!
//! # The budget
//! Each call adds a tenth of a token and each second three; a retry costs one, and a retry that finds none is not made.
//! While calls are few they need none: the n-th retry of a call is made without a token as long as n times the calls
//! of the last ten seconds is at most 1000. What is made so is a debt that later tokens pay first, so that
//! the load of a lasting storm stays within 1.1 times the calls, plus three a second. [`budget`] shows what
//! comes of them, and [`budget::Config`] has the settings.
//!
//! ```
//! use std::time::Duration;
//! use resilient_runtime::{Registry, clock::ManualClock};
//!
//! let registry = Registry::with_clock(ManualClock::new().clock()); // its sleeps take no time
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

/// Repeats failed calls. See the [module](self).
///
/// ```
/// use resilient_runtime::{Component, Retry, clock::ManualClock, retry::Config};
///
/// let time = ManualClock::new(); // its sleeps take no time
/// let retry = Retry::with_name_and_clock("dns", time.clock(), Config::default().max(2))?;
/// let mut answers = [None, Some("10.0.0.7")].into_iter();
/// assert_eq!(retry.call(|| answers.next().flatten()), Some("10.0.0.7"));
/// assert_eq!(retry.stats().recovered, 1);
/// # Ok::<_, resilient_runtime::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct Retry {
    core: Core<Config>,
    /// Shared where the config names one.
    budget: Arc<RetryBudget>,
    counters: Mutex<Counters>,
    last_error: ErrorSlot,
    log_limit: LogLimit,
    /// In nanoseconds, `u64::MAX` for none. Relaxed: a call may see the setting before the change.
    max_elapsed: AtomicU64,
    /// Relaxed: a setting.
    unbudgeted: AtomicBool,
    is_shared: bool,
    /// Itself, among those that stand back.
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

    /// Whether its budget is one that others may name, too.
    fn is_shared(&self) -> bool {
        self.is_shared
    }

    #[inline]
    pub(crate) fn needs_time(&self) -> bool {
        self.max_elapsed.load(Ordering::Relaxed) != u64::MAX
    }

    /// After this no attempt of a call begins that began at `started`.
    pub(crate) fn latest(&self, started: Instant) -> Instant {
        started.after(Duration::from_nanos(self.max_elapsed.load(Ordering::Relaxed)))
    }

    /// How many retries a call may still make.
    pub(crate) fn left(&self, progress: Progress) -> u32 {
        self.core.config().max.saturating_sub(progress.retries)
    }

    /// Itself, among the retries that stand back.
    #[inline]
    pub(crate) fn bit(&self) -> Retries {
        self.bit
    }

    /// The budget it draws on.
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

    /// A call that was repeated has succeeded.
    pub(crate) fn recovered(&self) {
        self.counters.lock().recovered += 1;
    }
}

impl Create for Retry {
    fn create(core: Core<Config>) -> Self {
        Self::with_budget(core, None)
    }

    fn check_standalone(config: &Config, error: &mut ConfigError) {
        let allowed = "a retry without a registry has a budget of its own: leave it away, or `off`";
        error.require(config.shared_budget().is_none(), "budget", config.budget.clone(), allowed);
    }

    fn notes(&self) -> Vec<String> {
        if self.unbudgeted.load(Ordering::Relaxed) {
            return vec!["retries need no budget".to_owned()];
        }
        let denied = self.counters.lock().denied_by_budget();
        if denied == 0 {
            return Vec::new();
        }
        let budget::Stats { tokens, capacity, .. } = self.budget.stats();
        let name = self.budget.name();
        vec![format!(
            "{denied} failed calls were not repeated because budget `{name}` was used up; it has {tokens:.1} of {capacity:.0} tokens now"
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
        let allowed = "the budget is chosen when the retry is made; afterwards it can only be taken away with `off`, and given back";
        error.require(same, "budget", config.budget.clone(), allowed);
        error.finish()?;
        self.core.reconfigure(Self::KIND, config, |config| {
            self.apply(config);
            if !self.is_shared() {
                // The rest of it is the budget's own affair.
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
