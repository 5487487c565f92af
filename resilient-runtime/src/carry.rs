//! What is around a call, for a task of its own.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;
use tracing::Instrument;

use crate::coalesce::Leading;
use crate::correlation::CorrelationId;
use crate::scope::{Scope, scoped};

/// Takes along what is around this code: the correlation id, the deadline with the number of the attempt, the coalesced call
/// that it is a part of, and the span of `tracing`. A task of its own does not have them by itself, because it may outlive the call that made it; one that is a
/// part of the call should.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient_runtime::correlation::CorrelationId;
///
/// let seen = CorrelationId::parse("order-7").unwrap().scope(async {
///     let part = resilient_runtime::carry(async { CorrelationId::current() });
///     tokio::spawn(part).await.unwrap()
/// });
/// assert_eq!(seen.await.unwrap().as_str(), "order-7");
/// # }
/// ```
///
/// # Cancel safety
/// Dropping the future drops the work.
pub fn carry<F: Future>(work: F) -> impl Future<Output = F::Output> + use<F> {
    let id = CorrelationId::current();
    let work = Part { work: scoped(Scope::current(), work), leading: Leading::here() };
    CorrelationId::scope_of(id, work).in_current_span()
}

pin_project! {
    /// A part of a call that others may wait for.
    struct Part<F> {
        #[pin]
        work: F,
        leading: Leading,
    }
}

impl<F: Future> Future for Part<F> {
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        this.leading.run(|| this.work.poll(cx))
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;
    use crate::deadline::{self, Deadline};
    use crate::{Component, Registry, attempt, retry};

    #[tokio::test]
    async fn it_does_not_extend_the_time_of_what_it_is_polled_in() {
        // D4
        let long = Deadline::after(Duration::from_mins(10));
        let carried = long.sync_scope(|| carry(async { deadline::remaining().unwrap() }));
        let left = Deadline::after(Duration::from_secs(1)).scope(carried).await;
        assert!(left <= Duration::from_secs(1), "{left:?}");
        let short = Deadline::after(Duration::from_secs(1));
        let carried = short.sync_scope(|| carry(async { deadline::remaining().unwrap() }));
        let left = Deadline::after(Duration::from_mins(10)).scope(carried).await;
        assert!(left <= Duration::from_secs(1), "{left:?}");
    }

    #[tokio::test]
    async fn neither_do_calls_that_began_with_more_time() {
        // D4: they begin in one scope, and are polled in another.
        use std::future::poll_fn;
        use std::pin::pin;
        let registry = Registry::new();
        let seen = async || -> Option<Duration> {
            tokio::task::yield_now().await;
            deadline::remaining()
        };
        let timeout = registry.timeout("t");
        let retry = registry.retry("r");
        let pipeline = registry.pipeline("p").timeout("t").build();
        let mut by_hand = pin!(timeout.call_async(seen));
        let mut repeated = pin!(retry.call_async(seen));
        let mut built = pin!(pipeline.call_async(seen));
        poll_fn(|cx| {
            assert!(by_hand.as_mut().poll(cx).is_pending());
            assert!(repeated.as_mut().poll(cx).is_pending());
            assert!(built.as_mut().poll(cx).is_pending());
            std::task::Poll::Ready(())
        })
        .await;
        let rest = async { (by_hand.await, repeated.await, built.await) };
        let (by_hand, repeated, built) = Deadline::after(Duration::from_secs(1)).scope(rest).await;
        for left in [by_hand, repeated, built] {
            assert!(left.unwrap() <= Duration::from_secs(1), "{left:?}");
        }
    }

    #[tokio::test]
    async fn a_task_has_what_the_call_has_that_spawned_it() {
        // T135
        let registry = Registry::new();
        let config = retry::Config::default().base(Duration::ZERO);
        registry.retry("r").reconfigure(config).unwrap();
        let seen = || (CorrelationId::current().is_some(), deadline::remaining().is_some(), attempt());
        let work = || async move {
            let alone = tokio::spawn(async move { seen() }).await.unwrap();
            assert_eq!(alone, (false, false, 1), "it does not by itself");
            let carried = tokio::spawn(carry(async move {
                tokio::task::yield_now().await;
                seen()
            }));
            let (id, deadline, number) = carried.await.unwrap();
            assert!(id && deadline);
            if number < 2 { Err(io::ErrorKind::ConnectionRefused.into()) } else { io::Result::Ok(number) }
        };
        let retry = registry.retry("r");
        let call = Deadline::after(Duration::from_mins(1)).scope(retry.call_async(work));
        assert_eq!(CorrelationId::random().scope(call).await.unwrap(), 2);
    }
}
