//! Waiting for a store, or for another call: as a future, or blocking the thread.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::store::{Answer, StoreError};
use crate::clock::{BoxedTimer, Clock, Instant, unparker};

const NO_TIMER: &str =
    "the store has to be waited for, and there is no tokio runtime with `enable_time` here";

/// What a store answers; its panic is a failure like any other, and must not take the place of a call's answer.
pub(super) fn guarded<'a, T>(ask: impl FnOnce() -> Answer<'a, T>) -> Guarded<'a, T> {
    Guarded(catch_unwind(AssertUnwindSafe(ask)).map_err(|panic| panicked(&*panic)).map(Some))
}

/// See [`guarded`]. The answer is gone once it was given.
pub(super) struct Guarded<'a, T>(Result<Option<Answer<'a, T>>, StoreError>);

impl<T> Future for Guarded<'_, T> {
    type Output = Result<T, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match &mut self.0 {
            Ok(Some(answer)) => answer,
            Ok(None) => return Poll::Ready(Err(StoreError::TimedOut)),
            Err(error) => return Poll::Ready(Err(error.clone())),
        };
        match catch_unwind(AssertUnwindSafe(|| answer.as_mut().poll(cx))) {
            Ok(poll) => poll,
            Err(panic) => Poll::Ready(Err(panicked(&*panic))),
        }
    }
}

impl<T> Drop for Guarded<'_, T> {
    fn drop(&mut self) {
        let answer = std::mem::replace(&mut self.0, Ok(None));
        let _ = catch_unwind(AssertUnwindSafe(|| drop(answer)));
    }
}

#[cold]
fn panicked(panic: &(dyn Any + Send)) -> StoreError {
    const LONGEST: usize = 256;
    let said = panic.downcast_ref::<&str>().copied();
    let said = said.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    StoreError::Panicked(said[..said.floor_char_boundary(LONGEST)].to_owned())
}

/// How a call waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Async,
    /// What is written as a future is then ready whenever it is polled.
    Blocking,
}

impl Mode {
    /// The answer of a store, if it comes in time. `name`: of the component that waits.
    pub(super) async fn answer<T>(
        self,
        (clock, name): (&Clock, &'static str),
        span: Duration,
        answer: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let until = clock.now().after(span);
        match self {
            Self::Blocking => block((clock, name), until, answer).unwrap_or(Err(StoreError::TimedOut)),
            Self::Async => within(clock, until, answer).await,
        }
    }

    /// A while. Whether one could wait.
    pub(super) async fn pause(self, (clock, name): (&Clock, &'static str), span: Duration) -> bool {
        match self {
            Self::Blocking => {
                clock.warn_of_blocking(name);
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
fn block<F: Future>((clock, name): (&Clock, &'static str), until: Instant, future: F) -> Option<F::Output> {
    let (mut future, waker) = (pin!(future), unparker());
    let mut cx = Context::from_waker(&waker);
    if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
        return Some(output);
    }
    // E7
    clock.warn_of_blocking(name);
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
