//! Tries again what failed for the moment: with growing, jittered delays, within a budget that all calls
//! share, and never beyond the caller's deadline.
//!
//! A failed attempt is repeated when all of this holds:
//! - its [`Class`] is worth it: `Transient`, `Overload` and `Unknown` are, `Uncertain` only for what is declared
//!   idempotent, `NotExecuted` only where it says when to come again, `Permanent` and `Ignored` never; or a predicate
//!   ([`Judgement::retry_when`], `retry(when = ..)`) says so;
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
//! the load of a lasting storm stays within 1.1 times the calls, plus three a second. [`budget`](crate::budget) shows what
//! comes of them, and [`budget::Config`](crate::budget::Config) has the settings.
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
mod config;
mod stats;
mod stop;

use std::sync::Arc;
use std::time::Duration;

pub use backoff::Backoff;
pub use config::Config;
pub use stats::Stats;
pub use stop::{Stop, Stopped, stopped};

use crate::budget::{self, RetryBudget};
use crate::classify::Class;
use crate::clock::{Clock, Delay, Instant, NoTimer, nanos};
use crate::component::{Component, Core, Create, Kind};
use crate::observe::{Cause, ErrorSlot, EventKind, LogLimit, log_limited};
use crate::outcome::{Judgement, Outcome, Verdict};
use crate::scope::{self, Entered, Retries, Scope};
use crate::settings::{ConfigError, Effective};
use crate::sync::{AtomicBool, AtomicU64, Mutex, Ordering};
use stats::Counters;

/// Repeats failed calls. See the [module](self).
///
/// ```
/// use resilient_runtime::{Component, Registry, clock::ManualClock};
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
    /// In nanoseconds, `u64::MAX` for none. Relaxed: a call may see the setting before the change.
    max_elapsed: AtomicU64,
    /// Relaxed: a setting.
    unbudgeted: AtomicBool,
    is_shared: bool,
    /// Itself, among those that stand back.
    bit: Retries,
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
#[allow(clippy::struct_excessive_bools)] // each a question of its own
pub(crate) struct Situation<'a> {
    /// Of whom the call is, where that is known.
    pub(crate) operation: Option<&'static str>,
    /// [`Instant::NEVER`] if nobody wanted to know.
    pub(crate) started: Instant,
    pub(crate) now: Instant,
    pub(crate) deadline: Instant,
    pub(crate) idempotent: bool,
    /// It has an idempotency key: what is unknown must not be done twice.
    pub(crate) is_keyed: bool,
    pub(crate) asynchronous: bool,
    /// The retries that stand back here.
    pub(crate) standing_back: Retries,
    /// The retries that stood back in the attempt that has ended.
    pub(crate) inside: Retries,
    /// Whether an attempt that begins then would be refused anyway.
    pub(crate) refused: &'a dyn Fn(Instant) -> bool,
    /// What the attempt failed with, where that is known.
    pub(crate) cause: Option<Cause<'a>>,
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

    /// Calls `work` until it succeeds or must not be repeated, blocking the thread in between.
    ///
    /// ```
    /// use resilient_runtime::{Registry, clock::ManualClock};
    ///
    /// let retry = Registry::with_clock(ManualClock::new().clock()).retry("ftp");
    /// let mut calls = 0;
    /// let list: Result<u32, &str> = retry.call(|| {
    ///     calls += 1;
    ///     Err("refused")
    /// });
    /// assert_eq!((list, calls), (Err("refused"), 4), "once, and three times again");
    /// ```
    pub fn call<R: Outcome<Error: 'static>>(&self, work: impl FnMut() -> R) -> R {
        self.call_judged(work, Judgement::of)
    }

    /// Like [`call`](Self::call), with a judge of your own, such as [`Verdict::by_class`].
    ///
    /// ```
    /// use resilient_runtime::{Registry, Verdict};
    ///
    /// let mut reads = 0;
    /// let read = || {
    ///     reads += 1;
    ///     std::fs::read("/no/such/file")
    /// };
    /// assert!(Registry::new().retry("disk").call_judged(read, Verdict::by_class).is_err());
    /// assert_eq!(reads, 1, "it would not be there the next time either");
    /// ```
    pub fn call_judged<R, J: Into<Judgement>>(
        &self,
        mut work: impl FnMut() -> R,
        judge: impl Fn(&R) -> J,
    ) -> R {
        let (mut run, around) = (self.begin(false), Scope::current());
        // As a rule the first attempt succeeds, in the scope that there is.
        if !around.is_as_in_attempt(1) || !around.standing_back().is_empty() {
            let entered = run.enter();
            let outcome = work();
            drop(entered);
            return self.go_on(run, outcome, work, judge);
        }
        let outcome = work();
        let judgement = judge(&outcome).into();
        if judgement == Verdict::Success {
            outcome
        } else {
            self.go_on_from(run, outcome, judgement, work, judge)
        }
    }

    #[inline(never)]
    fn go_on<R, J: Into<Judgement>>(
        &self,
        run: Run<'_>,
        outcome: R,
        work: impl FnMut() -> R,
        judge: impl Fn(&R) -> J,
    ) -> R {
        let judgement = judge(&outcome).into();
        self.go_on_from(run, outcome, judgement, work, judge)
    }

    /// What comes after the first attempt.
    #[inline(never)]
    fn go_on_from<R, J: Into<Judgement>>(
        &self,
        mut run: Run<'_>,
        mut outcome: R,
        mut judgement: Judgement,
        mut work: impl FnMut() -> R,
        judge: impl Fn(&R) -> J,
    ) -> R {
        while let Some(delay) = run.after(judgement, Delay::blocking_in) {
            drop(outcome);
            let clock = self.core.clock();
            if !delay.is_none() {
                clock.warn_of_blocking(self.core.name);
            }
            delay.block(clock);
            let entered = run.enter();
            outcome = work();
            drop(entered);
            judgement = judge(&outcome).into();
        }
        outcome
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
    /// use resilient_runtime::{Registry, clock::Clock};
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
    pub fn call_async<R: Outcome<Error: 'static>, F: Future<Output = R>>(
        &self,
        work: impl FnMut() -> F,
    ) -> impl Future<Output = R> {
        self.call_judged_async(work, Judgement::of)
    }

    /// Like [`call_async`](Self::call_async), with a judge of your own.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::cell::Cell;
    /// use resilient_runtime::{Class, Registry, Verdict};
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
    pub async fn call_judged_async<R, F: Future<Output = R>, J: Into<Judgement>>(
        &self,
        mut work: impl FnMut() -> F,
        judge: impl Fn(&R) -> J,
    ) -> R {
        let mut run = self.begin(true);
        loop {
            let delay = {
                let outcome = crate::scope::scoped(run.scope(), work()).await;
                match run.after(judge(&outcome).into(), Delay::timer_in) {
                    Some(delay) => delay,
                    None => return outcome,
                }
            };
            delay.await;
        }
    }

    #[inline]
    fn begin(&self, asynchronous: bool) -> Run<'_> {
        let started = if self.needs_time() { self.core.clock().now() } else { Instant::NEVER };
        self.budget.deposit();
        Run {
            retry: self,
            progress: Progress::default(),
            started,
            asynchronous,
            inside: Retries::NONE,
            is_marked: false,
        }
    }

    /// The `pause` before the next attempt and the retries that stand back in it, or why there is none.
    pub(crate) fn next(
        &self,
        progress: &mut Progress,
        judgement: Judgement,
        situation: &Situation<'_>,
        pause: impl FnOnce(Duration) -> Result<Delay, NoTimer>,
    ) -> Result<(Delay, Retries), Stop> {
        let given_up = scope::take_given_up().and(situation.inside);
        let next = self.decide(*progress, judgement, situation).and_then(|span| {
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
                Ok((delay, given_up))
            }
            Err(stop) => {
                let is_final = matches!(stop, Stop::NotRetryable | Stop::MayHaveRun);
                scope::gave_up(given_up.and(if is_final { Retries::NONE } else { self.bit }));
                self.stopped(stop, situation);
                Err(stop)
            }
        }
    }

    fn decide(
        &self,
        progress: Progress,
        judgement: Judgement,
        situation: &Situation<'_>,
    ) -> Result<Duration, Stop> {
        let config = self.core.config();
        let Some(class) = judgement.class() else { return Err(Stop::NotRetryable) };
        worth_it(judgement, class, situation)?;
        if progress.retries >= config.max || !config.enabled {
            return Err(Stop::Exhausted);
        }
        if situation.standing_back.contains(self.bit) {
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
        let latest = self.latest(situation.started);
        // A thread does not sleep longer for a refusal than for a failure.
        let is_refusal = matches!(class, Class::NotExecuted { .. });
        let is_too_long = is_refusal && !situation.asynchronous && hint > config.longest_delay();
        if is_too_long || begins >= situation.deadline || begins > latest {
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
        tracing::debug!(target: "resilient_runtime::retry", retry = %self.core.name, attempt, ?delay, error, "attempt failed, will retry");
        if self.core.events().are_wanted() {
            let error = error.map(Arc::from);
            self.core.publish(Self::KIND, EventKind::Retrying { attempt, delay, error });
        }
    }

    /// Says that the call gives up, and why: the caller sees only the error that it would have seen anyway.
    fn hint_too_long(&self, retry_after: Duration, most: Duration) {
        tracing::debug!(
            target: "resilient_runtime::retry",
            retry = %self.core.name,
            ?retry_after,
            max_retry_after = ?most,
            "not repeated: the server asks for a longer wait than `max_retry_after`"
        );
        self.core.publish(Self::KIND, EventKind::RetryAfterTooLong { retry_after, most });
    }

    fn stopped(&self, stop: Stop, situation: &Situation<'_>) {
        self.counters.lock().stopped(stop);
        stop::note(self.core.name, stop);
        if stop == Stop::MayHaveRun {
            tracing::debug!(
                target: "resilient_runtime::retry", retry = %self.core.name,
                "not repeated: the attempt may have had an effect; declare the function `idempotent` to repeat it, \
                 or with an idempotency key `on_unknown = reexecute`"
            );
            self.core.publish(Self::KIND, EventKind::NotRepeated);
        }
        if stop == Stop::Budget {
            self.warn(situation);
            self.core.publish(Self::KIND, EventKind::BudgetExhausted);
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
            target: "resilient_runtime::retry",
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

fn worth_it(judgement: Judgement, class: Class, situation: &Situation<'_>) -> Result<(), Stop> {
    let may_run_twice = |may: bool| if may { Ok(()) } else { Err(Stop::MayHaveRun) };
    match (judgement.again(), class) {
        // The predicate has the last word.
        (Some(true), _)
        | (
            None,
            Class::Transient { .. } | Class::Overload { .. } | Class::NotExecuted { retry_after: Some(_) },
        ) => Ok(()),
        (None, Class::Uncertain { .. }) => may_run_twice(situation.idempotent),
        (None, Class::Unknown { .. }) => may_run_twice(situation.idempotent || !situation.is_keyed),
        (Some(false), _)
        | (None, Class::NotExecuted { retry_after: None } | Class::Permanent | Class::Ignored) => {
            Err(Stop::NotRetryable)
        }
    }
}

/// One call by hand.
struct Run<'a> {
    retry: &'a Retry,
    progress: Progress,
    started: Instant,
    asynchronous: bool,
    /// The retries that stand back in the next attempt.
    inside: Retries,
    /// Retries stand back around it.
    is_marked: bool,
}

impl Run<'_> {
    #[inline]
    fn scope(&mut self) -> Scope {
        let around = Scope::current();
        self.is_marked = !around.standing_back().is_empty();
        around.with_attempt(self.progress.retries + 1, self.inside)
    }

    #[inline]
    fn enter(&mut self) -> Entered {
        let around = Scope::current();
        let is_same = around.is_as_in_attempt(self.progress.retries + 1) && around.standing_back().is_empty();
        if is_same { Entered::none() } else { self.scope().enter() }
    }

    /// The pause before the next attempt, or `None` when the outcome stands.
    #[inline]
    fn after(&mut self, judgement: Judgement, pause: Pause) -> Option<Delay> {
        match judgement.verdict() {
            Verdict::Success if self.progress.retries == 0 && !self.is_marked => None,
            Verdict::Success => {
                self.succeeded();
                None
            }
            Verdict::Failure(_) => self.after_failure(judgement, pause),
        }
    }

    #[cold]
    fn succeeded(&self) {
        if self.progress.retries > 0 {
            self.retry.recovered();
        }
        if self.is_marked {
            scope::stand_back_no_longer(self.retry.bit);
        }
    }

    #[cold]
    fn after_failure(&mut self, judgement: Judgement, pause: Pause) -> Option<Delay> {
        // The scope of the body has been left again.
        let (clock, around) = (self.retry.core.clock(), Scope::current());
        let situation = Situation {
            operation: None,
            started: self.started,
            now: clock.now(),
            deadline: around.deadline_on(clock),
            idempotent: false,
            is_keyed: false,
            asynchronous: self.asynchronous,
            standing_back: around.standing_back(),
            inside: self.inside,
            refused: &|_| false,
            cause: None,
        };
        let next = self.retry.next(&mut self.progress, judgement, &situation, |span| pause(clock, span));
        let (delay, inside) = next.ok()?;
        self.inside = inside;
        Some(delay)
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
        self.core.publish(Self::KIND, EventKind::Reset);
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
                let own = budget::Config::clone(&self.budget.config());
                self.budget.follow(config.budget_config(own));
            }
        })
    }

    fn effective(&self) -> Vec<Effective> {
        self.core.settings.effective()
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod simulation;
#[cfg(all(test, not(resilient_loom)))]
mod tests;
