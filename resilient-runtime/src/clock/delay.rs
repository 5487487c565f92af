//! A wait between attempts: blocking, or as a future.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{BoxedTimer, Clock, NoTimer};

/// A pause, for example between two attempts.
///
/// Boxed, because it is created only after a failure and would otherwise enlarge every call. It is one word, and
/// `None` if there is nothing to wait for.
#[derive(Debug, Default)]
pub struct Delay(Option<Box<Wait>>);

#[derive(Debug)]
enum Wait {
    Blocking(Duration),
    Timer(BoxedTimer),
}

impl Delay {
    /// No wait.
    pub(crate) const NONE: Self = Self(None);

    /// Returns whether there is nothing to wait for.
    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Creates a wait that blocks the thread. Never fails; returns a `Result` to match the signature of
    /// [`timer_in`](Self::timer_in).
    #[allow(clippy::unnecessary_wraps)]
    pub(crate) fn blocking_in(_: &Clock, span: Duration) -> Result<Self, NoTimer> {
        Ok(Self((!span.is_zero()).then(|| Box::new(Wait::Blocking(span)))))
    }

    /// Creates a wait that is polled as a future.
    pub(crate) fn timer_in(clock: &Clock, span: Duration) -> Result<Self, NoTimer> {
        if span.is_zero() {
            return Ok(Self::NONE);
        }
        Ok(Self(Some(Box::new(Wait::Timer(BoxedTimer::armed(clock, clock.now().after(span))?)))))
    }

    /// Blocks the thread for the span of the wait.
    #[cold]
    pub(crate) fn block(self, clock: &Clock) {
        if let Some(Wait::Blocking(span)) = self.0.as_deref() {
            clock.sleep(*span);
        }
    }
}

impl Clock {
    /// Returns a future that completes after `span` on this clock.
    ///
    /// Returns `None` if the clock needs a tokio runtime with `enable_time`, and there is none.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use resilient_runtime::clock::ManualClock;
    ///
    /// let time = ManualClock::new();
    /// let delay = time.clock().delay(Duration::from_hours(1)).unwrap();
    /// tokio::join!(delay, async { time.advance(Duration::from_hours(1)) });
    /// # }
    /// ```
    pub fn delay(&self, span: Duration) -> Option<Delay> {
        Delay::timer_in(self, span).ok()
    }
}

impl Future for Delay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match self.0.as_deref_mut() {
            None | Some(Wait::Blocking(..)) => Poll::Ready(()),
            Some(Wait::Timer(timer)) => Pin::new(timer).poll(cx),
        }
    }
}
