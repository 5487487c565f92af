//! The context of a call: the deadline, the attempt number, the correlation id, the collector of degraded results, the
//! lease of an idempotent call, and the coalesced calls it belongs to.
//!
//! The context is thread-local. It is set while the body runs (for a future, while it is polled), so that nested
//! protected calls inherit it without an argument. It does not follow `tokio::spawn`, because a task can outlive the
//! call that spawned it; [`carry`] passes it on.
//!
//! A nested call never extends the deadline: of two deadlines the earlier one applies.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use std::time::Duration;
//! use resilient_runtime::{correlation::CorrelationId, deadline::Deadline};
//!
//! let id = CorrelationId::parse("order-7").unwrap();
//! let work = async { (CorrelationId::current().unwrap(), Deadline::current().unwrap().remaining()) };
//! let work = Deadline::after(Duration::from_secs(5)).scope_async(work);
//! let (seen, left) = id.clone().scope_async(work).await;
//! assert!(seen == id && left <= Duration::from_secs(5));
//! # }
//! ```

mod correlated;
mod entered;
mod rest;
mod retries;
mod scope;
mod scoped;

use std::future::Future;

use tracing::{Instrument, Span};

pub(crate) use entered::{Entered, Part};
pub(crate) use rest::{
    Before, Flights, degradation, enter_degradation, enter_flight, enter_lease, leads_flight, lease,
    notes_degradation,
};
#[cfg(feature = "chaos")]
pub(crate) use rest::{enter_token, token};
pub(crate) use retries::{Retries, gave_up, take_given_up};
pub(crate) use scope::{Scope, is_cut_short, stop_suppressing};
pub use scope::{attempt, is_hedge};
pub use scoped::Scoped;
pub(crate) use scoped::{Enter, scoped};

use rest::Rest;

/// The complete context of the current code.
#[derive(Clone, Debug)]
pub(crate) struct Context {
    scope: Scope,
    /// `None` for most calls.
    rest: Option<Box<Rest>>,
    span: Span,
}

impl Context {
    /// Copies the current context for another thread or task.
    pub(crate) fn current() -> Self {
        Self { scope: Scope::current(), rest: Rest::current(), span: Span::current() }
    }

    /// Replaces the scope.
    pub(crate) fn with_scope(self, scope: Scope) -> Self {
        Self { scope, ..self }
    }

    /// Runs `work` in this context.
    pub(crate) fn run<R>(&self, work: impl FnOnce() -> R) -> R {
        let _entered = self.enter();
        self.span.in_scope(work)
    }
}

/// Passes the current context to another task.
///
/// The context consists of the deadline with the attempt number, the correlation id, the collector of degraded results,
/// the lease, the coalesced calls, and the `tracing` span. A spawned task does not inherit it, because the task can
/// outlive the call that spawned it. Use `carry` for a task that is part of the call.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient_runtime::correlation::CorrelationId;
///
/// let seen = CorrelationId::parse("order-7").unwrap().scope_async(async {
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
    let context = Context::current();
    let span = context.span.clone();
    scoped(context, work).instrument(span)
}

impl Enter for Context {
    fn enter(&self) -> impl Sized + use<> {
        (self.rest.as_ref().map(|rest| rest.enter()), Enter::enter(&self.scope))
    }

    fn polled(&mut self) {
        self.scope.polled();
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use std::io;
    use std::time::Duration;

    use super::*;
    use crate::clock::ManualClock;
    use crate::correlation::CorrelationId;
    use crate::deadline::{self, Deadline};
    use crate::fallback::{Chain, Degradation};
    use crate::idempotency::{Fingerprint, lease_is_lost};
    use crate::level::Level;
    use crate::{Component, Registry, attempt, retry};

    #[tokio::test]
    async fn a_carried_context_does_not_extend_an_outer_deadline() {
        let long = Deadline::after(Duration::from_mins(10));
        let carried = long.scope(|| carry(async { deadline::remaining().unwrap() }));
        let left = Deadline::after(Duration::from_secs(1)).scope_async(carried).await;
        assert!(left <= Duration::from_secs(1), "{left:?}");
        let short = Deadline::after(Duration::from_secs(1));
        let carried = short.scope(|| carry(async { deadline::remaining().unwrap() }));
        let left = Deadline::after(Duration::from_mins(10)).scope_async(carried).await;
        assert!(left <= Duration::from_secs(1), "{left:?}");
    }

    #[tokio::test]
    async fn a_call_that_began_with_more_time_does_not_extend_an_outer_deadline() {
        // They begin in one scope and are polled in another.
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
        let (by_hand, repeated, built) = Deadline::after(Duration::from_secs(1)).scope_async(rest).await;
        for left in [by_hand, repeated, built] {
            assert!(left.unwrap() <= Duration::from_secs(1), "{left:?}");
        }
    }

    #[tokio::test]
    async fn a_carried_task_has_the_context_of_its_call() {
        // T135
        let registry = Registry::new();
        let config = retry::Config::default().base(Duration::ZERO);
        registry.retry("r").reconfigure(config).unwrap();
        let seen = || (CorrelationId::current().is_some(), deadline::remaining().is_some(), attempt());
        let work = || async move {
            let alone = tokio::spawn(async move { seen() }).await.unwrap();
            assert_eq!(alone, (false, false, 1), "a spawned task does not inherit it");
            let carried = tokio::spawn(carry(async move {
                tokio::task::yield_now().await;
                seen()
            }));
            let (id, deadline, number) = carried.await.unwrap();
            assert!(id && deadline);
            if number < 2 { Err(io::ErrorKind::ConnectionRefused.into()) } else { io::Result::Ok(number) }
        };
        let retry = registry.retry("r");
        let call = Deadline::after(Duration::from_mins(1)).scope_async(retry.call_async(work));
        assert_eq!(CorrelationId::random().scope_async(call).await.unwrap(), 2);
    }
    #[tokio::test]
    async fn a_carried_task_reports_degraded_results_to_its_request() {
        let rates = Registry::new().fallback("rates");
        let ask = async move { rates.call(|| None, || Chain::of(Level::Default, |_| Some(1.0))) };
        let work = async { tokio::spawn(carry(ask)).await.unwrap() };
        let (rate, degradation) = Degradation::scope(work).await;
        assert_eq!((rate, degradation.unwrap().level), (Some(1.0), Level::Default));
    }

    #[test]
    fn a_thread_with_the_context_sees_the_lease_of_the_call() {
        let time = ManualClock::new();
        let once = Registry::with_clock(time.clock()).idempotency("export");
        let lost = once.call("today", Fingerprint::NONE, || {
            let context = Context::current();
            let seen = || {
                std::thread::spawn({
                    let context = context.clone();
                    move || context.run(lease_is_lost)
                })
            };
            let before = seen().join().unwrap();
            time.advance(Duration::from_mins(1));
            Some((before, seen().join().unwrap()))
        });
        assert_eq!(lost, Some((false, true)), "the lease was not renewed");
    }

    #[test]
    fn a_panic_restores_the_whole_context() {
        let id = CorrelationId::parse("order-7").unwrap();
        let context = id.scope(|| Deadline::after(Duration::from_mins(1)).scope(Context::current));
        let body = || context.run(|| std::panic::resume_unwind(Box::new(())));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)).is_err());
        assert!(CorrelationId::current().is_none() && Deadline::current().is_none());
    }

    #[test]
    fn missing_parts_stay_from_the_outer_context() {
        let (a, b) = (CorrelationId::parse("a").unwrap(), CorrelationId::parse("b").unwrap());
        let (none, other) = (Context::current(), b.scope(Context::current));
        assert_eq!(a.scope(|| none.run(CorrelationId::current)), Some(a.clone()));
        assert_eq!(a.scope(|| other.run(CorrelationId::current)), Some(b));
    }
}
