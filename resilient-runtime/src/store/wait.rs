//! Waiting for a store or for another call, asynchronously or by blocking the thread.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::{Answer, StoreError};
use crate::clock::{BoxedTimer, Clock, Instant, unparker};

const NO_TIMER: &str = "waiting for the store needs a tokio runtime with `enable_time`";

/// Wraps a store's future so that a panic becomes a [`StoreError`]: it must not replace the result of a call.
pub(crate) fn guarded<'a, T>(ask: impl FnOnce() -> Answer<'a, T>) -> Guarded<'a, T> {
    Guarded(catch_unwind(AssertUnwindSafe(ask)).map_err(|panic| panicked(&*panic)).map(Some))
}

/// See [`guarded`]. Must not be polled again once it is ready.
pub(crate) struct Guarded<'a, T>(Result<Option<Answer<'a, T>>, StoreError>);

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
    let message = panic.downcast_ref::<&str>().copied();
    let message =
        message.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message");
    StoreError::Panicked(message[..message.floor_char_boundary(LONGEST)].to_owned())
}

/// How a call waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    Async,
    /// Every wait blocks, so an `async fn` in this mode is never pending.
    Blocking,
}

impl Mode {
    /// Waits up to `span` for a store. `name` is the component that waits.
    pub(crate) async fn answer<T>(
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

    /// Waits for `span`. Returns false if no timer is available.
    pub(crate) async fn pause(self, (clock, name): (&Clock, &'static str), span: Duration) -> bool {
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

/// Waits for the future until a deadline. The timer is created only if the future is pending.
pub(crate) async fn within<T>(
    clock: &Clock,
    until: Instant,
    answer: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let (mut answer, mut timer) = (pin!(answer), None);
    poll_fn(|cx| {
        // Poll the result first: if it is ready in the same poll as the timer, it is in time (T65).
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

/// Runs a future on this thread until it is ready or the deadline has passed.
fn block<F: Future>((clock, name): (&Clock, &'static str), until: Instant, future: F) -> Option<F::Output> {
    // On a thread that runs an async task, tokio limits the steps of a task, and the check below uses them up. The future
    // could then never become ready.
    let (mut future, waker) = (pin!(tokio::task::unconstrained(future)), unparker());
    let mut cx = Context::from_waker(&waker);
    if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
        return Some(output);
    }
    // Warn if this thread runs an async task.
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

/// Runs a future in [`Mode::Blocking`] and returns its output.
pub(crate) fn blocking<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        // All waits in this mode block, so one poll is enough.
        if let Poll::Ready(output) = Pin::as_mut(&mut future).poll(&mut cx) {
            return output;
        }
        std::thread::yield_now();
    }
}
