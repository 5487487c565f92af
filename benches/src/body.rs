//! The work that is protected: as little as can be, so that what is measured is the protection.

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use resilient_runtime::{FallbackFailed, Rejection};

/// How the work can fail.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// By itself.
    #[error("the work failed")]
    Body,
    /// It was refused.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// No fallback had an answer.
    #[error(transparent)]
    Fallback(#[from] Box<FallbackFailed>),
}

impl From<FallbackFailed> for Failed {
    fn from(failed: FallbackFailed) -> Self {
        Self::Fallback(Box::new(failed))
    }
}

/// How it fails with the peers, whose refusals have types of their own.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the work failed")]
pub struct BodyError;

/// A number that the optimiser does not know.
#[inline]
pub fn number() -> u64 {
    black_box(7)
}

/// The work.
#[inline]
pub fn work<E>(n: u64) -> Result<u64, E> {
    Ok(n.wrapping_mul(3))
}

/// The work of an asynchronous function, ready at its first poll.
#[allow(clippy::unused_async)] // it is to be a future
pub async fn work_async<E>(n: u64) -> Result<u64, E> {
    work(n)
}

/// The same, ready at its second poll.
pub async fn work_later<E>(n: u64) -> Result<u64, E> {
    let mut polled = false;
    std::future::poll_fn(|cx| {
        if polled {
            return Poll::Ready(());
        }
        polled = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
    work(n)
}

/// Polls a future until it is ready, without an executor in the figure. Only for futures that wake themselves.
#[inline]
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
    }
}
