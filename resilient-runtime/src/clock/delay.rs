//! A wait that is made once the call knows that it must wait: blocking or as a future.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{BoxedTimer, Clock, NoTimer};

/// A pause between two attempts.
///
/// Boxed: it is made only after a failure, and would otherwise be part of every call. One word, none of them where
/// there is nothing to wait for.
#[derive(Debug, Default)]
pub struct Delay(Option<Box<Wait>>);

#[derive(Debug)]
enum Wait {
    Blocking(Duration),
    Timer(BoxedTimer),
}

impl Delay {
    /// Nothing to wait for.
    pub(crate) const NONE: Self = Self(None);

    /// Whether there is nothing to wait for.
    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        self.0.is_none()
    }

    /// Blocks the thread. Never refused; a `Result` so that it can stand where [`timer_in`](Self::timer_in) does.
    #[allow(clippy::unnecessary_wraps)]
    pub(crate) fn blocking_in(_: &Clock, span: Duration) -> Result<Self, NoTimer> {
        Ok(Self((!span.is_zero()).then(|| Box::new(Wait::Blocking(span)))))
    }

    /// A future.
    pub(crate) fn timer_in(clock: &Clock, span: Duration) -> Result<Self, NoTimer> {
        if span.is_zero() {
            return Ok(Self::NONE);
        }
        Ok(Self(Some(Box::new(Wait::Timer(BoxedTimer::armed(clock, clock.now().after(span))?)))))
    }

    /// Blocks the thread for as long, on the same clock.
    #[cold]
    pub(crate) fn block(self, clock: &Clock) {
        if let Some(Wait::Blocking(span)) = self.0.as_deref() {
            clock.sleep(*span);
        }
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
