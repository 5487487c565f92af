//! Retried calls without the attribute.

use std::time::Duration;

use super::{Progress, Retry, Situation};
use crate::classify::{Class, Judgement, Verdict};
use crate::clock::{Clock, Delay, Instant, NoTimer};
use crate::context::{self, Entered, Retries, Scope, scoped};
use crate::error_text::Words;
use crate::last_error::Cause;
use crate::outcome::Outcome;

impl Retry {
    /// Calls `work` until it succeeds or is not retried, and blocks the thread between attempts.
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
    /// assert_eq!((list, calls), (Err("refused"), 4), "one attempt and three retries");
    /// ```
    pub fn call<R: Outcome<Error: 'static>>(&self, work: impl FnMut() -> R) -> R {
        self.drive(work, Judgement::of, describe_known)
    }

    /// Like [`call`](Self::call), with a custom judge such as [`Verdict::by_class`].
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
    /// assert_eq!(reads, 1, "a retry would not find it either");
    /// ```
    pub fn call_judged<R, J: Into<Judgement>>(&self, work: impl FnMut() -> R, judge: impl Fn(&R) -> J) -> R {
        self.drive(work, judge, |_, _| ())
    }

    #[inline]
    fn drive<R, J: Into<Judgement>>(
        &self,
        mut work: impl FnMut() -> R,
        judge: impl Fn(&R) -> J,
        describe: impl Fn(&R, &mut Words),
    ) -> R {
        let mut run = self.begin(false);
        // The first attempt usually succeeds, in the current scope.
        if !run.is_plain() {
            let entered = run.enter();
            let outcome = work();
            drop(entered);
            return self.go_on(run, outcome, work, judge, describe);
        }
        let outcome = work();
        let judgement = judge(&outcome).into();
        if judgement == Verdict::Success {
            outcome
        } else {
            self.go_on_from(run, outcome, judgement, work, judge, describe)
        }
    }

    #[inline(never)]
    fn go_on<R, J: Into<Judgement>>(
        &self,
        run: Run<'_>,
        outcome: R,
        work: impl FnMut() -> R,
        judge: impl Fn(&R) -> J,
        describe: impl Fn(&R, &mut Words),
    ) -> R {
        let judgement = judge(&outcome).into();
        self.go_on_from(run, outcome, judgement, work, judge, describe)
    }

    /// Continues after the first attempt.
    #[inline(never)]
    fn go_on_from<R, J: Into<Judgement>>(
        &self,
        mut run: Run<'_>,
        mut outcome: R,
        mut judgement: Judgement,
        mut work: impl FnMut() -> R,
        judge: impl Fn(&R) -> J,
        describe: impl Fn(&R, &mut Words),
    ) -> R {
        while let Some(delay) = run.after(judgement, Delay::blocking_in, |words| describe(&outcome, words)) {
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

    /// Calls asynchronous `work` until it succeeds or is not retried.
    ///
    /// `work` can be an async closure that captures by reference. The returned future is `Send` if the future of `work`
    /// is. (With an `AsyncFnMut` bound, rustc would require `Send` for every lifetime.) State that an async closure
    /// changes must be in a `Cell`, an atomic or a lock.
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
    /// Dropping the future drops the current attempt or pause. It holds nothing else.
    pub fn call_async<R: Outcome<Error: 'static>, F: Future<Output = R>>(
        &self,
        work: impl FnMut() -> F,
    ) -> impl Future<Output = R> {
        self.drive_async(work, Judgement::of, describe_known)
    }

    /// Like [`call_async`](Self::call_async), with a custom judge.
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
    /// Same as [`call_async`](Self::call_async).
    pub async fn call_judged_async<R, F: Future<Output = R>, J: Into<Judgement>>(
        &self,
        work: impl FnMut() -> F,
        judge: impl Fn(&R) -> J,
    ) -> R {
        self.drive_async(work, judge, |_, _| ()).await
    }

    async fn drive_async<R, F: Future<Output = R>, J: Into<Judgement>>(
        &self,
        mut work: impl FnMut() -> F,
        judge: impl Fn(&R) -> J,
        describe: impl Fn(&R, &mut Words),
    ) -> R {
        let mut run = self.begin(true);
        loop {
            let delay = {
                // The first attempt usually succeeds, in the current scope.
                let outcome = if run.is_plain() { work().await } else { scoped(run.scope(), work()).await };
                let judgement = judge(&outcome).into();
                match run.after(judgement, Delay::timer_in, |words| describe(&outcome, words)) {
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
}

/// A call without the attribute.
struct Run<'a> {
    retry: &'a Retry,
    progress: Progress,
    started: Instant,
    asynchronous: bool,
    /// The retries that are suppressed in the next attempt.
    inside: Retries,
    /// Whether outer calls suppress retries.
    is_marked: bool,
}

impl Run<'_> {
    /// Whether the attempt can run in the current scope.
    #[inline]
    fn is_plain(&self) -> bool {
        let around = Scope::current();
        around.is_as_in_attempt(self.progress.retries + 1) && around.suppressed().is_empty()
    }

    #[inline]
    fn scope(&mut self) -> Scope {
        let around = Scope::current();
        self.is_marked = !around.suppressed().is_empty();
        around.with_attempt(self.progress.retries + 1, self.inside)
    }

    #[inline]
    fn enter(&mut self) -> Entered {
        if self.is_plain() { Entered::none() } else { self.scope().enter() }
    }

    /// Returns the pause before the next attempt, or `None` if the outcome is returned.
    #[inline]
    fn after(
        &mut self,
        judgement: Judgement,
        pause: Pause,
        describe: impl FnOnce(&mut Words),
    ) -> Option<Delay> {
        match judgement.verdict() {
            Verdict::Success if self.progress.retries == 0 && !self.is_marked => None,
            Verdict::Success => {
                self.succeeded();
                None
            }
            Verdict::Failure(Class::Ignored) => self.after_failure(judgement, pause, None),
            Verdict::Failure(_) => self.after_error(judgement, pause, describe),
        }
    }

    #[cold]
    fn succeeded(&self) {
        if self.progress.retries > 0 {
            self.retry.recovered();
        }
        if self.is_marked {
            context::stop_suppressing(self.retry.bit);
        }
    }

    #[cold]
    fn after_error(
        &mut self,
        judgement: Judgement,
        pause: Pause,
        describe: impl FnOnce(&mut Words),
    ) -> Option<Delay> {
        let attempt = self.progress.retries + 1;
        self.retry.core.environment.texts().capture(describe, |text| {
            self.after_failure(judgement, pause, text.map(|text| Cause { text, attempt }))
        })
    }

    #[cold]
    fn after_failure(
        &mut self,
        judgement: Judgement,
        pause: Pause,
        cause: Option<Cause<'_>>,
    ) -> Option<Delay> {
        // The scope of the body has been left.
        let (clock, around) = (self.retry.core.clock(), Scope::current());
        let situation = Situation {
            operation: None,
            started: self.started,
            now: clock.now(),
            deadline: around.deadline_on(clock),
            idempotent: false,
            is_keyed: false,
            asynchronous: self.asynchronous,
            suppressed: around.suppressed(),
            inside: self.inside,
            refused: &|_| false,
            cause,
        };
        let next = self.retry.next(&mut self.progress, judgement, &situation, |span| pause(clock, span));
        let (delay, inside) = next.ok()?;
        self.inside = inside;
        Some(delay)
    }
}

/// Only describes errors of known types: a type name alone does not explain a failure, and it takes as long to make as
/// the rest of the retry.
fn describe_known<R: Outcome<Error: 'static>>(outcome: &R, words: &mut Words) {
    words.known_error(outcome);
}

type Pause = fn(&Clock, Duration) -> Result<Delay, NoTimer>;
