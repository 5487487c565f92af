//! Waiting for a store, or for another call: as a future, or blocking the thread.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::store::StoreError;
use crate::clock::{BoxedTimer, Clock, Instant, unparker};

const NO_TIMER: &str =
    "the store has to be waited for, and there is no tokio runtime with `enable_time` here";

/// How a call waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Async,
    /// What is written as a future is then ready whenever it is polled.
    Blocking,
}

impl Mode {
    /// The answer of a store, if it comes in time.
    pub(super) async fn answer<T>(
        self,
        clock: &Clock,
        span: Duration,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let until = clock.now().after(span);
        match self {
            Self::Blocking => block(clock, until, answer).unwrap_or(Err(StoreError::TimedOut)),
            Self::Async => within(clock, until, answer).await,
        }
    }

    /// A while. Whether one could wait.
    pub(super) async fn pause(self, clock: &Clock, span: Duration) -> bool {
        match self {
            Self::Blocking => {
                clock.sleep(span);
                true
            }
            Self::Async => match BoxedTimer::armed(clock, clock.now().after(span)) {
                Ok(timer) => {
                    timer.await;
                    true
                }
                Err(_) => false,
            },
        }
    }
}

/// The answer, or that it did not come in time; a timer is made only once there is something to wait for.
async fn within<T>(
    clock: &Clock,
    until: Instant,
    answer: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let (mut answer, mut timer) = (pin!(answer), None);
    poll_fn(|cx| {
        // The answer first: what is ready in the same poll as its timer has made it (T65).
        if let Poll::Ready(answer) = answer.as_mut().poll(cx) {
            return Poll::Ready(answer);
        }
        if timer.is_none() {
            match BoxedTimer::armed(clock, until) {
                Ok(armed) => timer = Some(armed),
                Err(_) => return Poll::Ready(Err(StoreError::Unavailable(NO_TIMER.into()))),
            }
        }
        let is_over = timer.as_mut().is_some_and(|timer| pin!(timer).poll(cx).is_ready());
        if is_over { Poll::Ready(Err(StoreError::TimedOut)) } else { Poll::Pending }
    })
    .await
}

/// Runs a future on this thread until it is ready, or the time is over.
fn block<F: Future>(clock: &Clock, until: Instant, future: F) -> Option<F::Output> {
    let (mut future, waker) = (pin!(future), unparker());
    let mut cx = Context::from_waker(&waker);
    let mut is_over = false;
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return Some(output);
        }
        if is_over {
            return None;
        }
        is_over = clock.park(until);
    }
}

/// The output of a future in [`Mode::Blocking`].
pub(super) fn blocking<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        // Each of its waits blocks; there is nothing that it could be pending for.
        if let Poll::Ready(output) = Pin::as_mut(&mut future).poll(&mut cx) {
            return output;
        }
        std::thread::yield_now();
    }
}
