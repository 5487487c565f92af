//! One level while it is asked: how long it may take, and its place among those that are asked at once.

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

/// Why a level gave no outcome at all.
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
    /// It was cut off after so long.
    TimedOut(Duration),
    /// Too many levels were being asked already.
    Refused,
    /// Nothing was left of the call's time.
    OutOfTime,
    /// The local cache holds nothing for this key.
    Empty,
    /// The local cache holds an answer that is too old.
    Stale,
}

impl NoAnswer {
    /// The name used in events.
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
        }
    }
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TimedOut(span) => write!(f, "it ran out of its time after {span:.1?}"),
            Self::Refused => f.write_str("it was not asked: too many levels are being asked already"),
            Self::OutOfTime => f.write_str("it was not asked: nothing is left of the call's time"),
            Self::Empty => f.write_str("it holds nothing for this call"),
            Self::Stale => f.write_str("what it holds is too old"),
        }
    }
}

impl std::error::Error for NoAnswer {}

/// The place of a level among those that are asked; dropped, it is given back.
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
#[must_use = "dropped, its place is given back"]
pub struct LevelPermit<'f> {
    /// `None` where nobody counts.
    fallback: Option<&'f Fallback>,
    level: Level,
    started: Instant,
    /// [`Instant::NEVER`] for none.
    limit: Instant,
    /// It is one of `max_concurrent`.
    has_place: bool,
    /// Its code runs, or is being polled: who drops it now is a panic.
    runs: bool,
    /// Of the call, if that is traced.
    span: Option<Box<Span>>,
}

impl<'f> LevelPermit<'f> {
    pub(crate) fn unbounded(fallback: Option<&'f Fallback>, level: Level) -> Self {
        let (started, limit) = (Instant::NEVER, Instant::NEVER);
        Self { fallback, level, started, limit, has_place: false, runs: false, span: None }
    }

    pub(super) fn bounded(fallback: &'f Fallback, level: Level, started: Instant, limit: Instant) -> Self {
        let fallback = Some(fallback);
        Self { fallback, level, started, limit, has_place: true, runs: false, span: None }
    }

    /// In this span the level runs.
    pub(crate) fn set_span(&mut self, span: Option<Box<Span>>) {
        self.span = span;
    }

    #[inline]
    fn enter_span(&self) -> Option<InSpan> {
        // Out of the way of those who have none: as a rule nobody traces.
        #[cold]
        fn entered(span: &Span) -> InSpan {
            InSpan { _entered: Box::new(span.clone().entered()) }
        }
        self.span.as_deref().map(entered)
    }

    /// The deadline of what runs in it.
    fn scope(&self) -> Option<Scope> {
        let fallback = self.fallback.filter(|_| self.limit != Instant::NEVER)?;
        Some(Scope::current().with_deadline(self.limit, fallback.clock()))
    }

    /// Before synchronous code of the level; what it asks in turn inherits the level's deadline.
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

    /// Behind it.
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

    /// Runs synchronous code of the level.
    pub(super) fn run<R>(mut self, answer: impl FnOnce() -> R) -> R {
        let scope = self.enter();
        let outcome = answer();
        self.leave(scope);
        outcome
    }

    /// Waits for asynchronous code of the level.
    pub(crate) fn wait<F>(self, answer: F) -> Waiting<'f, F> {
        Waiting { running: self.run_later(answer), timer: None }
    }

    /// Runs asynchronous code of the level, as long as that takes.
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
        if self.has_place {
            fallback.leave();
        }
        if self.runs && std::thread::panicking() {
            fallback.count(self.level, Count::Panicked);
        }
    }
}

/// A type of its own: to leave it is not to be a function that a call without levels has to call, too.
#[derive(Debug)]
struct InSpan {
    _entered: Box<EnteredSpan>,
}

/// Restores the scope around a level.
///
/// ```
/// use resilient_runtime::{Registry, __rt::Call};
///
/// let pipeline = Registry::new().pipeline("mail").fallback("mail").build();
/// let mut asking = Call::begin(&pipeline).enter_default();
/// let scope = asking.enter();
/// assert_eq!(resilient_runtime::deadline::remaining(), None, "nothing bounds a default");
/// # asking.leave(scope);
/// ```
#[derive(Debug)]
pub struct AskingScope {
    // Left first.
    _span: Option<InSpan>,
    _scope: Entered,
}

pin_project! {
    /// A level while its future runs.
    ///
    /// # Cancel safety
    /// Dropping it drops the level, and gives its place back.
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
    /// A level that is waited for, as long as it may take.
    ///
    /// # Cancel safety
    /// As of [`Running`].
    #[derive(Debug)]
    pub(crate) struct Waiting<'f, F> {
        #[pin]
        running: Running<'f, F>,
        // Boxed: made only after a failure, by a level that has to wait.
        timer: Option<BoxedTimer>,
    }
}

impl<F: Future> Future for Waiting<'_, F> {
    type Output = Result<F::Output, NoAnswer>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        // The level first: what is ready in the same poll as its timer has made it (T65).
        match this.running.as_mut().poll(cx) {
            Poll::Ready(outcome) => Poll::Ready(Ok(outcome)),
            Poll::Pending => poll_limit(&this.running.asking, this.timer, cx).map(Err),
        }
    }
}

/// Where no timer can be had, the time is looked at whenever the level is polled.
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
