//! The permit of a running level: its time limit, and its share of `max_concurrent`.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;
use tracing::Span;
use tracing::span::EnteredSpan;

use super::stats::Count;
use super::{Fallback, Level};
use crate::clock::{BoxedTimer, Instant};
use crate::context::{Entered, Scope};
use crate::store::StoreError;
use crate::store::wait::{Mode, blocking};

/// The reason why a level returned no outcome.
///
/// ```
/// use resilient_runtime::{FallbackFailed, Level, Registry, fallback::{BoxError, Chain, NoAnswer}};
///
/// let fallback = Registry::new().fallback("rates");
/// let chain = || Chain::of(Level::Replica, |_| Err("no route".into())).or_last_good(&fallback, "EUR");
/// let error = fallback.call(|| Err::<f64, BoxError>("closed".into()), chain).unwrap_err();
/// let failed = error.downcast::<FallbackFailed>().unwrap();
/// assert_eq!(failed.last().downcast_ref(), Some(&NoAnswer::Empty));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoAnswer {
    /// The level timed out after this duration.
    TimedOut(Duration),
    /// The level was skipped because of `max_concurrent`.
    Refused,
    /// The level was skipped because the call had no time left.
    OutOfTime,
    /// The cache has no value for this key.
    Empty,
    /// The value in the cache is too old.
    Stale,
    /// The value in the distributed cache has another type or form.
    Unreadable,
    /// The store of the distributed cache failed or is not registered.
    StoreFailed,
}

impl NoAnswer {
    /// Returns the name used in events.
    ///
    /// ```
    /// use resilient_runtime::fallback::NoAnswer;
    ///
    /// assert_eq!(NoAnswer::OutOfTime.as_str(), "out_of_time");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TimedOut(_) => "timed_out",
            Self::Refused => "refused",
            Self::OutOfTime => "out_of_time",
            Self::Empty => "empty",
            Self::Stale => "stale",
            Self::Unreadable => "unreadable",
            Self::StoreFailed => "store_failed",
        }
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(span) => write!(f, "timed out after {span:.1?}"),
            Self::Refused => f.write_str("skipped: `max_concurrent` fallback levels are already running"),
            Self::OutOfTime => f.write_str("skipped: the call has no time left"),
            Self::Empty => f.write_str("the cache has no value for this key"),
            Self::Stale => f.write_str("the value in the cache is too old"),
            Self::Unreadable => f.write_str("the value in the cache has another type or form"),
            Self::StoreFailed => f.write_str("the store of the cache failed or is not registered"),
        }
    }
}

impl std::error::Error for NoAnswer {}

/// The permit of a running level. Dropping it releases the permit.
///
/// ```
/// use resilient_runtime::{Level, Registry, __rt::Call};
///
/// let pipeline = Registry::new().pipeline("rate").fallback("rate").build();
/// let mut call = Call::begin(&pipeline);
/// let mut asking = call.enter_level(Level::Replica).unwrap();
/// let scope = asking.enter();
/// assert!(resilient_runtime::deadline::remaining().is_some(), "a level has a deadline");
/// asking.leave(scope);
/// assert!(resilient_runtime::deadline::remaining().is_none());
/// ```
#[derive(Debug)]
#[must_use = "dropping it releases the permit"]
pub struct LevelPermit<'f> {
    /// `None` if the level is not counted.
    fallback: Option<&'f Fallback>,
    level: Level,
    started: Instant,
    /// [`Instant::NEVER`] for no limit.
    limit: Instant,
    /// Counts towards `max_concurrent`.
    has_permit: bool,
    /// The code of the level is running or being polled. A drop now is caused by a panic.
    runs: bool,
    /// The span of the call, if it is traced.
    span: Option<Box<Span>>,
}

impl<'f> LevelPermit<'f> {
    pub(crate) fn unbounded(fallback: Option<&'f Fallback>, level: Level) -> Self {
        let (started, limit) = (Instant::NEVER, Instant::NEVER);
        Self { fallback, level, started, limit, has_permit: false, runs: false, span: None }
    }

    pub(super) fn bounded(fallback: &'f Fallback, level: Level, started: Instant, limit: Instant) -> Self {
        let fallback = Some(fallback);
        Self { fallback, level, started, limit, has_permit: true, runs: false, span: None }
    }

    /// With a time limit, but without a share of `max_concurrent`.
    pub(super) fn timed(fallback: &'f Fallback, level: Level, started: Instant, limit: Instant) -> Self {
        let fallback = Some(fallback);
        Self { fallback, level, started, limit, has_permit: false, runs: false, span: None }
    }

    /// Blocks the thread until the result of the level is there or its time is over.
    pub(super) fn block<T>(
        mut self,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<Result<T, StoreError>, NoAnswer> {
        let Some(fallback) = self.fallback else { return Err(NoAnswer::OutOfTime) };
        let (clock, name) = (fallback.clock(), fallback.name());
        let scope = self.enter();
        let answer = blocking(Mode::Blocking.answer((clock, name), self.limit.since(clock.now()), answer));
        drop(scope);
        self.runs = false;
        match answer {
            Err(StoreError::TimedOut) if clock.now() >= self.limit => Err(self.cut_off()),
            answer => Ok(answer),
        }
    }

    /// Sets the span in which the level runs.
    pub(crate) fn set_span(&mut self, span: Option<Box<Span>>) {
        self.span = span;
    }

    #[inline]
    fn enter_span(&self) -> Option<InSpan> {
        // In a cold function, because most calls have no span.
        #[cold]
        fn entered(span: &Span) -> InSpan {
            InSpan { _entered: Box::new(span.clone().entered()) }
        }
        self.span.as_deref().map(entered)
    }

    /// The scope with the deadline of the level.
    fn scope(&self) -> Option<Scope> {
        let fallback = self.fallback.filter(|_| self.limit != Instant::NEVER)?;
        Some(Scope::current().with_deadline(self.limit, fallback.clock()))
    }

    /// Enters the scope of the level. Call it before the synchronous code of the level.
    ///
    /// Calls that the level makes inherit its deadline.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{Level, Registry, deadline, __rt::Call};
    ///
    /// let pipeline = Registry::new().pipeline("stock").fallback("stock").build();
    /// let mut asking = Call::begin(&pipeline).enter_level(Level::Backup).unwrap();
    /// let scope = asking.enter();
    /// assert!(deadline::remaining().unwrap() <= Duration::from_secs(1), "its `level_timeout`");
    /// # asking.leave(scope);
    /// ```
    pub fn enter(&mut self) -> AskingScope {
        self.runs = true;
        AskingScope {
            _span: self.enter_span(),
            _scope: self.scope().map_or_else(Entered::none, Scope::enter),
        }
    }

    /// Leaves the scope of the level. Call it after the synchronous code of the level.
    ///
    /// ```
    /// use resilient_runtime::{Component, Level, Registry, __rt::Call};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("stock").fallback("stock").build();
    /// let mut asking = Call::begin(&pipeline).enter_level(Level::Backup).unwrap();
    /// let scope = asking.enter();
    /// asking.leave(scope);
    /// let backup = &registry.fallback("stock").stats().levels[&Level::Backup];
    /// assert_eq!((backup.asked, backup.panicked), (1, 0));
    /// ```
    pub fn leave(mut self, scope: AskingScope) {
        drop(scope);
        self.runs = false;
    }

    /// Runs the synchronous code of the level.
    pub(super) fn run<R>(mut self, answer: impl FnOnce() -> R) -> R {
        let scope = self.enter();
        let outcome = answer();
        self.leave(scope);
        outcome
    }

    /// Runs the asynchronous code of the level, with its time limit.
    pub(crate) fn wait<F>(self, answer: F) -> Waiting<'f, F> {
        Waiting { running: self.run_later(answer), timer: None }
    }

    /// Runs the asynchronous code of the level, without a time limit.
    pub(crate) fn run_later<F>(self, answer: F) -> Running<'f, F> {
        Running { answer, asking: self }
    }

    #[cold]
    fn cut_off(&self) -> NoAnswer {
        let elapsed =
            self.fallback.map_or(Duration::ZERO, |fallback| fallback.clock().now().since(self.started));
        let none = NoAnswer::TimedOut(elapsed);
        if let Some(fallback) = self.fallback {
            fallback.missed(self.level, Count::TimedOut, none);
        }
        none
    }
}

impl Drop for LevelPermit<'_> {
    fn drop(&mut self) {
        let Some(fallback) = self.fallback else { return };
        if self.has_permit {
            fallback.leave();
        }
        if self.runs && std::thread::panicking() {
            fallback.count(self.level, Count::Panicked);
        }
    }
}

/// A separate type, so that a call without levels does not contain the code that leaves the span.
#[derive(Debug)]
struct InSpan {
    _entered: Box<EnteredSpan>,
}

/// Restores the enclosing scope when dropped.
///
/// ```
/// use resilient_runtime::{Registry, __rt::Call};
///
/// let pipeline = Registry::new().pipeline("mail").fallback("mail").build();
/// let mut asking = Call::begin(&pipeline).enter_default();
/// let scope = asking.enter();
/// assert_eq!(resilient_runtime::deadline::remaining(), None, "a default has no deadline");
/// # asking.leave(scope);
/// ```
#[derive(Debug)]
pub struct AskingScope {
    // Dropped first.
    _span: Option<InSpan>,
    _scope: Entered,
}

pin_project! {
    /// The future of a level, without a time limit.
    ///
    /// # Cancel safety
    /// Dropping it drops the level and releases its permit.
    #[derive(Debug)]
    pub(crate) struct Running<'f, F> {
        #[pin]
        answer: F,
        asking: LevelPermit<'f>,
    }
}

impl<F: Future> Future for Running<'_, F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let entered = this.asking.scope().map(Scope::enter);
        let span = this.asking.enter_span();
        this.asking.runs = true;
        let poll = this.answer.poll(cx);
        this.asking.runs = false;
        drop(span);
        drop(entered);
        poll
    }
}

pin_project! {
    /// The future of a level, with its time limit.
    ///
    /// # Cancel safety
    /// The same as for [`Running`].
    #[derive(Debug)]
    pub(crate) struct Waiting<'f, F> {
        #[pin]
        running: Running<'f, F>,
        // Boxed, because it is created only after a failure and if the level has to wait.
        timer: Option<BoxedTimer>,
    }
}

impl<F: Future> Future for Waiting<'_, F> {
    type Output = Result<F::Output, NoAnswer>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        // Poll the level first: if it is ready together with its timer, it succeeds (T65).
        match this.running.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(Ok(outcome)),
            Poll::Pending => poll_limit(&this.running.asking, this.timer, cx).map(Err),
        }
    }
}

/// Checks the time limit of a level. Without a timer it is checked only when the level is polled.
fn poll_limit(
    asking: &LevelPermit<'_>,
    timer: &mut Option<BoxedTimer>,
    cx: &mut Context<'_>,
) -> Poll<NoAnswer> {
    let Some(fallback) = asking.fallback.filter(|_| asking.limit != Instant::NEVER) else {
        return Poll::Pending;
    };
    let clock = fallback.clock();
    if timer.is_none() {
        if clock.now() >= asking.limit {
            return Poll::Ready(asking.cut_off());
        }
        *timer = BoxedTimer::armed(clock, asking.limit).ok();
    }
    match timer {
        Some(timer) => Pin::new(timer).poll(cx).map(|()| asking.cut_off()),
        None => Poll::Pending,
    }
}
