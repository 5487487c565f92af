//! The protected work. It does as little as possible, so that the benchmarks measure the protection.

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use resilient_runtime::{FallbackFailed, Rejection};

/// Error of the work.
#[derive(Debug, thiserror::Error)]
pub enum Failed {
    /// The work failed.
    #[error("the work failed")]
    Body,
    /// A policy rejected the call.
    #[error(transparent)]
    Rejected(#[from] Rejection),
    /// All fallback levels failed.
    #[error(transparent)]
    Fallback(#[from] Box<FallbackFailed>),
}

impl From<FallbackFailed> for Failed {
    fn from(failed: FallbackFailed) -> Self {
        Self::Fallback(Box::new(failed))
    }
}

/// Error of the work for other libraries, which have their own rejection types.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the work failed")]
pub struct BodyError;

/// A number that is opaque to the optimizer.
#[inline]
pub fn number() -> u64 {
    black_box(7)
}

/// The work.
#[inline]
pub fn work<E>(n: u64) -> Result<u64, E> {
    Ok(n.wrapping_mul(3))
}

/// The work as a future that is ready at the first poll.
#[allow(clippy::unused_async)] // must be a future
pub async fn work_async<E>(n: u64) -> Result<u64, E> {
    work(n)
}

/// The work as a future that is ready at the second poll.
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

/// Polls a future until it is ready, so that no executor is measured. Only for futures that wake themselves.
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
