//! Waiting for a store, or for another call: as a future, or blocking the thread.

use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::store::StoreError;
use crate::clock::{BoxedTimer, Clock, Instant, unparker};
use crate::timeout::{Timed, TimedOut};

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
            Self::Async => match Timed::new(answer, clock, until).await {
                Ok(answer) => answer,
                Err(TimedOut::Fired) => Err(StoreError::TimedOut),
                Err(TimedOut::NoTimer) => {
                    let why =
                        "it has to be waited for, and there is no tokio runtime with `enable_time` here";
                    Err(StoreError::Unavailable(why.into()))
                }
            },
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
