//! Tries again what failed for the moment: with growing, jittered delays, within a budget that all calls
//! share, and never beyond the caller's deadline.
//!
//! A failed attempt is repeated when all of this holds:
//! - its [`Class`] is worth it: `Transient` and `Overload` are, `Uncertain` only for what is declared
//!   idempotent, `Permanent` and `Ignored` never;
//! - fewer than `max` retries were made;
//! - the call is not itself part of another call's retry: three nested retries of three would make 64 calls
//!   of one, so the inner ones stand back while an outer one repeats;
//! - the delay, or the server's longer wish, ends before the deadline and `max_elapsed`: else the last error
//!   is returned at once, not after a sleep that nobody can use;
//! - the server does not ask for a longer wait (`Retry-After`, `grpc-retry-pushback-ms`) than `max_retry_after`, 60 s by
//!   default: else the last error is returned at once, counted as `hint_too_long`, with an event
//!   [`RetryAfterTooLong`](crate::Happening::RetryAfterTooLong);
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
//! the load of a lasting storm stays within 1.1 times the calls, plus three a second. [`BudgetConfig`] has the settings,
//! and its module shows what comes of them.
//!
//! ```
//! use std::time::Duration;
//! use resilient::{Registry, clock::ManualClock};
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
mod budget;
mod config;
mod recent;
mod stats;
mod stop;

use std::sync::Arc;
use std::time::Duration;

pub use backoff::Backoff;
pub use budget::{BudgetConfig, BudgetStats, RetryBudget};
pub use config::Config;
pub use stats::Stats;
pub use stop::{Stop, Stopped, stopped};

use crate::classify::Class;
use crate::clock::{Clock, Delay, Instant, NoTimer};
use crate::component::{Component, Core, Create, Kind};
use crate::observe::{Cause, ErrorSlot, Happening, LogLimit, log_limited};
use crate::outcome::{Outcome, Verdict};
use crate::scope::{Entered, Scope};
use crate::settings::{ConfigError, Effective};
use crate::sync::{AtomicBool, Mutex, Ordering};
use stats::Counters;

/// Repeats failed calls. See the [module](self).
///
/// ```
/// use resilient::{Component, Registry, clock::ManualClock};
///
/// let retry = Registry::with_clock(ManualClock::new().clock()).retry("dns");
/// let mut answers = [None, Some("10.0.0.7")].into_iter();
/// assert_eq!(retry.call(|| answers.next().flatten()), Some("10.0.0.7"));
/// assert_eq!(retry.stats().recovered, 1);
/// ```
#[derive(Debug)]
pub struct Retry {
    core: Core<Config>,
    /// Shared where the config names one.
    budget: Arc<RetryBudget>,
    counters: Mutex<Counters>,
    last_error: ErrorSlot,
    log_limit: LogLimit,
    /// Whether it matters when a call began. Relaxed: a call may see the setting before the change.
    needs_time: AtomicBool,
    /// Relaxed: a setting.
    unbudgeted: AtomicBool,
    is_shared: bool,
}

/// How far one call has come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// Retries made so far.
    pub(crate) retries: u32,
    /// The delay before the latest of them, in seconds: one word in every call for both. What is drawn from it is
    /// random anyway.
    previous: f32,
}

/// What one call knows that the retry does not.
pub(crate) struct Situation<'a> {
    /// Of whom the call is, where that is known.
    pub(crate) operation: Option<&'static str>,
    /// [`Instant::NEVER`] if nobody wanted to know.
    pub(crate) started: Instant,
    pub(crate) now: Instant,
    pub(crate) deadline: Instant,
    pub(crate) idempotent: bool,
    /// A call around this one is at its second attempt or later.
    pub(crate) inside_retry: bool,
    /// Whether an attempt that begins then would be refused anyway.
    pub(crate) refused: &'a dyn Fn(Instant) -> bool,
    /// What the attempt failed with, where that is known.
    pub(crate) cause: Option<Cause<'a>>,
}

impl Retry {
    pub(crate) fn with_budget(core: Core<Config>, shared: Option<Arc<RetryBudget>>) -> Self {
        let is_shared = shared.is_some();
        let budget = shared.unwrap_or_else(|| Arc::new(RetryBudget::private(&core)));
        let (needs_time, unbudgeted) = (AtomicBool::new(false), AtomicBool::new(false));
        let (counters, last_error, log_limit) = (Mutex::default(), ErrorSlot::default(), LogLimit::new());
        let retry = Self { core, budget, counters, last_error, log_limit, needs_time, unbudgeted, is_shared };
        retry.apply(&retry.core.config());
        retry
    }

    fn apply(&self, config: &Config) {
        self.needs_time.store(config.max_elapsed.is_some(), Ordering::Relaxed);
        self.unbudgeted.store(config.is_unbudgeted(), Ordering::Relaxed);
    }

    /// Whether its budget is one that others may name, too.
    fn is_shared(&self) -> bool {
        self.is_shared
    }

    #[inline]
    pub(crate) fn needs_time(&self) -> bool {
        self.needs_time.load(Ordering::Relaxed)
    }

    /// The budget it draws on.
    ///
    /// ```
    /// use resilient::{Component, Registry, clock::ManualClock};
    ///
    /// let retry = Registry::with_clock(ManualClock::new().clock()).retry("geo");
    /// retry.call(|| None::<u32>);
    /// let budget = retry.budget().stats();
    /// assert_eq!((budget.calls, budget.withdrawn), (1, 3));
    /// ```
    pub fn budget(&self) -> &Arc<RetryBudget> {
        &self.budget
    }

    /// Calls `work` until it succeeds or must not be repeated, blocking the thread in between.
    ///
    /// ```
    /// use resilient::{Registry, clock::ManualClock};
    ///
    /// let retry = Registry::with_clock(ManualClock::new().clock()).retry("ftp");
    /// let mut calls = 0;
    /// let list: Result<u32, &str> = retry.call(|| {
    ///     calls += 1;
    ///     Err("refused")
    /// });
    /// assert_eq!((list, calls), (Err("refused"), 4), "once, and three times again");
    /// ```
    pub fn call<R: Outcome>(&self, work: impl FnMut() -> R) -> R {
        self.call_judged(work, Verdict::of)
    }

    /// Like [`call`](Self::call), with a judge of your own, such as [`Verdict::by_class`].
    ///
    /// ```
    /// use resilient::{Registry, Verdict};
    ///
    /// let mut reads = 0;
    /// let read = || {
    ///     reads += 1;
    ///     std::fs::read("/no/such/file")
    /// };
    /// assert!(Registry::new().retry("disk").call_judged(read, Verdict::by_class).is_err());
    /// assert_eq!(reads, 1, "it would not be there the next time either");
    /// ```
    pub fn call_judged<R>(&self, mut work: impl FnMut() -> R, judge: impl Fn(&R) -> Verdict) -> R {
        let mut run = self.begin();
        loop {
            let outcome = {
                let _scope = run.enter();
                work()
            };
            match run.after(judge(&outcome), Delay::blocking_in) {
                Some(delay) => delay.block(self.core.clock()),
                None => return outcome,
            }
        }
    }

    /// Calls `work` until it succeeds or must not be repeated.
    ///
    /// `work` may be an async closure that captures by reference, and the future can be spawned if that of `work`
    /// can. (With `AsyncFnMut` it could not: rustc then asks for `Send` for every lifetime.) What an async
    /// closure changes has to be in a `Cell`, an atomic or a lock.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use std::cell::Cell;
    /// use resilient::{Registry, clock::Clock};
    ///
    /// let retry = Registry::with_clock(Clock::tokio()).retry("news");
    /// let calls = Cell::new(0);
    /// let news = retry.call_async(async || {
    ///     calls.set(calls.get() + 1);
    ///     (calls.get() == 3).then_some("late news")
    /// });
    /// assert_eq!(news.await, Some("late news"));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future drops the attempt or the pause it is in; nothing is held.
    pub fn call_async<R: Outcome, F: Future<Output = R>>(
        &self,
        work: impl FnMut() -> F,
    ) -> impl Future<Output = R> {
        self.call_judged_async(work, Verdict::of)
    }

    /// Like [`call_async`](Self::call_async), with a judge of your own.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::cell::Cell;
    /// use resilient::{Class, Registry, Verdict};
    ///
    /// let (retry, calls) = (Registry::new().retry("users"), Cell::new(0));
    /// let get = async || {
    ///     calls.set(calls.get() + 1);
    ///     Err::<u32, u16>(404)
    /// };
    /// let judge = |answer: &Result<u32, u16>| match answer {
    ///     Ok(_) => Verdict::Success,
    ///     Err(500..) => Verdict::Failure(Class::TRANSIENT),
    ///     Err(_) => Verdict::Failure(Class::Permanent),
    /// };
    /// assert_eq!((retry.call_judged_async(get, judge).await, calls.get()), (Err(404), 1));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// As of [`call_async`](Self::call_async).
    pub async fn call_judged_async<R, F: Future<Output = R>>(
        &self,
        mut work: impl FnMut() -> F,
        judge: impl Fn(&R) -> Verdict,
    ) -> R {
        let mut run = self.begin();
        loop {
            let delay = {
                let outcome = crate::scope::scoped(run.scope(), work()).await;
                match run.after(judge(&outcome), Delay::timer_in) {
                    Some(delay) => delay,
                    None => return outcome,
                }
            };
            delay.await;
        }
    }

    #[inline]
    fn begin(&self) -> Run<'_> {
        let started = if self.needs_time() { self.core.clock().now() } else { Instant::NEVER };
        self.budget.deposit();
        Run { retry: self, progress: Progress::default(), started }
    }

    /// The `pause` before the next attempt, or why there is none.
    pub(crate) fn next(
        &self,
        progress: &mut Progress,
        class: Class,
        situation: &Situation<'_>,
        pause: impl FnOnce(Duration) -> Result<Delay, NoTimer>,
    ) -> Result<Delay, Stop> {
        let next = self.decide(*progress, class, situation).and_then(|span| {
            let delay = pause(span).map_err(|_| Stop::NoTimer)?;
            // Last, so that a token is taken only for a retry that will be made.
            let is_paid = self.unbudgeted.load(Ordering::Relaxed)
                || self.budget.try_withdraw_retry(progress.retries.saturating_add(1));
            if is_paid { Ok((delay, span)) } else { Err(Stop::Budget) }
        });
        if let Some(cause) = situation.cause {
            self.last_error.set(cause, situation.now);
        }
        match next {
            Ok((delay, span)) => {
                self.retrying(progress, span, situation.cause);
                Ok(delay)
            }
            Err(stop) => {
                self.stopped(stop, situation);
                Err(stop)
            }
        }
    }

    fn decide(&self, progress: Progress, class: Class, situation: &Situation<'_>) -> Result<Duration, Stop> {
        let config = self.core.config();
        if !worth_it(class, situation.idempotent) {
            return Err(Stop::NotRetryable);
        }
        if progress.retries >= config.max || !config.enabled {
            return Err(Stop::Exhausted);
        }
        if situation.inside_retry {
            return Err(Stop::Nested);
        }
        let hint = class.retry_after().unwrap_or_default();
        if hint > config.max_retry_after {
            self.hint_too_long(hint, config.max_retry_after);
            return Err(Stop::HintTooLong);
        }
        let random = self.core.environment.random.share();
        let previous = Duration::try_from_secs_f32(progress.previous).unwrap_or_default();
        let delay = backoff::delay(&config, progress.retries + 1, previous, random).max(hint);
        let begins = situation.now.after(delay);
        let latest = config.max_elapsed.map_or(Instant::NEVER, |span| situation.started.after(span));
        if begins >= situation.deadline || begins > latest {
            return Err(Stop::OutOfTime);
        }
        if (situation.refused)(begins) {
            return Err(Stop::CircuitOpen);
        }
        Ok(delay)
    }

    fn retrying(&self, progress: &mut Progress, delay: Duration, cause: Option<Cause<'_>>) {
        progress.retries += 1;
        progress.previous = delay.as_secs_f32();
        self.counters.lock().retries += 1;
        let attempt = progress.retries;
        let error = cause.map(|cause| cause.text);
        tracing::debug!(target: "resilient::retry", retry = %self.core.name, attempt, ?delay, error, "attempt failed, will retry");
        if self.core.events().are_wanted() {
            let error = error.map(Arc::from);
            self.core.publish(Self::KIND, Happening::Retrying { attempt, delay, error });
        }
    }

    /// Says that the call gives up, and why: the caller sees only the error that it would have seen anyway.
    fn hint_too_long(&self, retry_after: Duration, most: Duration) {
        tracing::debug!(
            target: "resilient::retry",
            retry = %self.core.name,
            ?retry_after,
            max_retry_after = ?most,
            "not repeated: the server asks for a longer wait than `max_retry_after`"
        );
        self.core.publish(Self::KIND, Happening::RetryAfterTooLong { retry_after, most });
    }

    fn stopped(&self, stop: Stop, situation: &Situation<'_>) {
        self.counters.lock().stopped(stop);
        stop::note(self.core.name, stop);
        if stop == Stop::Budget {
            self.warn(situation);
            self.core.publish(Self::KIND, Happening::BudgetExhausted);
        }
    }

    /// Warns that the budget is used up, at most once a second.
    fn warn(&self, situation: &Situation<'_>) {
        let (retry, budget) = (self.core.name, self.budget.name());
        let operation = situation.operation.unwrap_or(retry);
        log_limited!(
            self.log_limit,
            self.core.clock(),
            WARN,
            target: "resilient::retry",
            %operation,
            %retry,
            %budget,
            "the retry budget is used up: failed calls are returned instead of repeated; give it more with \
             `budget(ratio = .., reserve = .., free = ..)`, or take it away with `budget = off`"
        );
    }

    /// A call that was repeated has succeeded.
    pub(crate) fn recovered(&self) {
        self.counters.lock().recovered += 1;
    }
}

fn worth_it(class: Class, idempotent: bool) -> bool {
    match class {
        Class::Transient { .. } | Class::Overload { .. } => true,
        Class::Uncertain { .. } => idempotent,
        Class::NotExecuted { retry_after } => retry_after.is_some(),
        Class::Permanent | Class::Ignored => false,
    }
}

/// One call by hand.
struct Run<'a> {
    retry: &'a Retry,
    progress: Progress,
    started: Instant,
}

impl Run<'_> {
    #[inline]
    fn scope(&self) -> Scope {
        Scope::current().with_attempt(self.progress.retries + 1)
    }

    #[inline]
    fn enter(&self) -> Entered {
        let is_same = Scope::current().is_as_in_attempt(self.progress.retries + 1);
        if is_same { Entered::none() } else { self.scope().enter() }
    }

    /// The pause before the next attempt, or `None` when the outcome stands.
    #[inline]
    fn after(&mut self, verdict: Verdict, pause: Pause) -> Option<Delay> {
        match verdict {
            Verdict::Success if self.progress.retries == 0 => None,
            Verdict::Success => {
                self.retry.recovered();
                None
            }
            Verdict::Failure(class) => self.after_failure(class, pause),
        }
    }

    #[cold]
    fn after_failure(&mut self, class: Class, pause: Pause) -> Option<Delay> {
        // The scope of the body has been left again.
        let (clock, around) = (self.retry.core.clock(), Scope::current());
        let situation = Situation {
            operation: None,
            started: self.started,
            now: clock.now(),
            deadline: around.deadline_on(clock),
            idempotent: false,
            inside_retry: around.inside_retry(),
            refused: &|_| false,
            cause: None,
        };
        self.retry.next(&mut self.progress, class, &situation, |span| pause(clock, span)).ok()
    }
}

type Pause = fn(&Clock, Duration) -> Result<Delay, NoTimer>;

impl Create for Retry {
    fn create(core: Core<Config>) -> Self {
        Self::with_budget(core, None)
    }

    fn core(&self) -> &Core<Config> {
        &self.core
    }

    fn notes(&self) -> Vec<String> {
        if self.unbudgeted.load(Ordering::Relaxed) {
            return vec!["retries need no budget".to_owned()];
        }
        let denied = self.counters.lock().denied_by_budget();
        if denied == 0 {
            return Vec::new();
        }
        let BudgetStats { tokens, capacity, .. } = self.budget.stats();
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

    fn name(&self) -> &str {
        self.core.name
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
        self.core.publish(Self::KIND, Happening::Reset);
    }

    fn config(&self) -> Arc<Config> {
        self.core.config()
    }

    fn reconfigure(&self, config: Config) -> Result<(), ConfigError> {
        let mut error = ConfigError::default();
        config.check(&mut error);
        let shared = self.is_shared().then(|| self.budget.name());
        let same = config.is_unbudgeted() || config.shared_budget().map(|name| &**name) == shared;
        let allowed = "the budget is chosen when the retry is made; afterwards it can only be taken away with `off`, and given back";
        error.require(same, "budget", config.budget.clone(), allowed);
        error.finish()?;
        self.core.reconfigure(Self::KIND, config, |config| {
            self.apply(config);
            if !self.is_shared() {
                // The rest of it is the budget's own affair.
                let own = BudgetConfig::clone(&self.budget.config());
                self.budget.follow(config.budget_config(own));
            }
        })
    }

    fn effective(&self) -> Vec<Effective> {
        self.core.settings.effective()
    }
}

#[cfg(all(test, resilient_loom))]
mod loom_models;
#[cfg(all(test, not(resilient_loom)))]
mod model_tests;
#[cfg(all(test, not(resilient_loom)))]
mod simulation;
#[cfg(all(test, not(resilient_loom)))]
mod tests;
