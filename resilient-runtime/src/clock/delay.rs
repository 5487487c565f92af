//! A wait that is made once the call knows that it must wait: blocking or as a future.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use super::{BoxedTimer, Clock, NoTimer};

/// A pause between two attempts.
///
/// The timer of an asynchronous one is boxed: it is made only after a failure, and would otherwise be part of
/// every future.
#[derive(Debug)]
pub struct Delay(Wait);

#[derive(Debug)]
enum Wait {
    None,
    Blocking(Duration),
    Timer(BoxedTimer),
}

impl Delay {
    /// Blocks the thread. Never refused; a `Result` so that it can stand where [`timer_in`](Self::timer_in) does.
    #[allow(clippy::unnecessary_wraps)]
    pub(crate) fn blocking_in(_: &Clock, span: Duration) -> Result<Self, NoTimer> {
        Ok(Self(if span.is_zero() { Wait::None } else { Wait::Blocking(span) }))
    }

    /// A future.
    pub(crate) fn timer_in(clock: &Clock, span: Duration) -> Result<Self, NoTimer> {
        if span.is_zero() {
            return Ok(Self(Wait::None));
        }
        Ok(Self(Wait::Timer(BoxedTimer::armed(clock, clock.now().after(span))?)))
    }

    /// Blocks the thread for as long, on the same clock.
    #[cold]
    pub(crate) fn block(self, clock: &Clock) {
        if let Wait::Blocking(span) = self.0 {
            clock.sleep(span);
        }
    }
}

impl Future for Delay {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.0 {
            Wait::None | Wait::Blocking(..) => Poll::Ready(()),
            Wait::Timer(timer) => Pin::new(timer).poll(cx),
        }
    }
}
