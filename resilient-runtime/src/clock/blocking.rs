//! Detects synchronous calls that block a thread of the async runtime.

use std::collections::HashSet;
use std::future::Future;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::task::{Context, Waker};

/// The names that were warned about. Bounded by `MOST`, because names can be created at run time.
static WARNED: Mutex<Option<HashSet<&'static str>>> = Mutex::new(None);
const MOST: usize = 1024;

/// Warns once per `name` if this thread polls asynchronous code. Blocking it stops all other tasks on the thread.
#[cold]
pub(super) fn warn(name: &'static str) {
    if tokio::runtime::Handle::try_current().is_err() || !is_new(name) || !polls_a_task() {
        return;
    }
    remember(name);
    tracing::warn!(
        target: "resilient_runtime::blocking",
        operation = name,
        "`{name}` is synchronous and blocks a thread of the async runtime while it waits for a retry or in a queue: make it an \
         `async fn` (or use `call_async`), or call it in `tokio::task::spawn_blocking`"
    );
}

fn is_new(name: &'static str) -> bool {
    let warned = WARNED.lock().unwrap_or_else(PoisonError::into_inner);
    warned.as_ref().is_none_or(|names| names.len() < MOST && !names.contains(name))
}

fn remember(name: &'static str) {
    WARNED.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default().insert(name);
}

/// Returns whether this thread is polling a task. Tokio gives a polled task a budget of steps. Code in
/// `spawn_blocking` and `block_in_place`, where blocking is harmless, has no budget. The only way to tell them
/// apart is to use the budget up. The task then yields once at its next await, which is negligible next to the
/// block itself.
fn polls_a_task() -> bool {
    /// More than tokio's budget, which is 128.
    const STEPS: u32 = 256;
    let mut cx = Context::from_waker(Waker::noop());
    (0..STEPS).any(|_| pin!(tokio::task::consume_budget()).poll(&mut cx).is_pending())
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use tracing::span::{Attributes, Id, Record};
    use tracing::{Event, Metadata, Subscriber};

    use super::*;
    use crate::clock::Clock;
    use crate::{Component, Registry, bulkhead, coalesce, idempotency, rate_limit, retry};

    /// Counts the warnings about blocking.
    #[derive(Clone, Default)]
    struct Warnings(Arc<AtomicU32>);

    impl Subscriber for Warnings {
        fn enabled(&self, metadata: &Metadata<'_>) -> bool {
            metadata.target() == "resilient_runtime::blocking"
        }

        fn new_span(&self, _: &Attributes<'_>) -> Id {
            Id::from_u64(1)
        }

        fn event(&self, _: &Event<'_>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }

        fn record(&self, _: &Id, _: &Record<'_>) {}
        fn record_follows_from(&self, _: &Id, _: &Id) {}
        fn enter(&self, _: &Id) {}
        fn exit(&self, _: &Id) {}
    }

    fn registry() -> Registry {
        let registry = Registry::with_clock(Clock::system());
        let pause = retry::Config::default().base(Duration::from_micros(10)).max(1);
        registry.retry("r").reconfigure(pause).unwrap();
        registry
    }

    #[tokio::test]
    async fn a_synchronous_call_in_asynchronous_code_warns_once_per_operation() {
        let warnings = Warnings::default();
        let _guard = tracing::subscriber::set_default(warnings.clone());
        let registry = registry();
        let one = registry.pipeline("blocks one").retry("r").build();
        let other = registry.pipeline("blocks another").retry("r").build();
        for _ in 0..3 {
            assert!(one.call(|| None::<u32>).is_none());
        }
        assert_eq!(warnings.0.load(Ordering::Relaxed), 1);
        assert!(other.call(|| None::<u32>).is_none());
        assert_eq!(warnings.0.load(Ordering::Relaxed), 2);
        assert!(
            registry
                .pipeline("asynchronous")
                .retry("r")
                .build()
                .call_async(async || None::<u32>)
                .await
                .is_none()
        );
        assert_eq!(warnings.0.load(Ordering::Relaxed), 2, "an asynchronous call blocks nothing");
        assert!(registry.retry("r").call(|| None::<u32>).is_none());
        let short =
            bulkhead::Config::default().max_concurrent(1).max_queue(1).max_wait(Duration::from_micros(10));
        let queue = registry.bulkhead("blocking queue");
        queue.reconfigure(short).unwrap();
        let _held = queue.try_acquire().unwrap();
        assert!(queue.call(|| Some(1)).is_none());
        assert_eq!(warnings.0.load(Ordering::Relaxed), 4, "components used directly warn too");
        let keyed = registry.idempotency("blocks for a key");
        let wait = idempotency::Config::default().max_wait(Duration::from_millis(20));
        keyed.reconfigure(wait).unwrap();
        let _runs = keyed.claim_blocking("order 7", idempotency::Fingerprint::NONE).unwrap();
        assert_eq!(warnings.0.load(Ordering::Relaxed), 4, "the first call does not wait");
        assert!(keyed.claim_blocking("order 7", idempotency::Fingerprint::NONE).is_err());
        assert_eq!(warnings.0.load(Ordering::Relaxed), 5, "the second waits for the first");
    }

    #[tokio::test]
    async fn waiting_for_a_rate_another_call_or_a_thread_warns_too() {
        let warnings = Warnings::default();
        let _guard = tracing::subscriber::set_default(warnings.clone());
        let new_warnings = || warnings.0.swap(0, Ordering::Relaxed);
        let registry = registry();
        let soon = Duration::from_millis(20);

        let rate = rate_limit::Config::default().rate("200/s".parse::<rate_limit::Rate>().unwrap()).burst(1);
        registry.rate_limiter("blocks for a rate").reconfigure(rate.max_wait(soon)).unwrap();
        let limiter = registry.rate_limiter("blocks for a rate");
        assert!(limiter.call(|| Some(1)).is_some());
        assert_eq!(new_warnings(), 0, "a token is available");
        assert!(limiter.call(|| Some(1)).is_some());
        assert_eq!(new_warnings(), 1);
        let pipeline = registry.pipeline("is limited").rate_limit("blocks for a rate").build();
        assert!(pipeline.call(|| Some(1)).is_some());
        assert_eq!(new_warnings(), 1);

        let shared = registry.coalesce("blocks for another");
        shared.reconfigure(coalesce::Config::default().max_wait(soon)).unwrap();
        let mut leader = Box::pin(shared.call_async("key", std::future::pending::<Option<u32>>));
        assert!(leader.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(shared.call("key", || Some(1_u32)).is_none());
        assert_eq!(new_warnings(), 1);
        let follows = registry.pipeline("follows").coalesce("blocks for another").build();
        let mut leads =
            Box::pin(follows.request().coalesce_key("key").call_async(std::future::pending::<Option<u32>>));
        assert!(leads.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(follows.request().coalesce_key("key").call(|| Some(1_u32)).is_none());
        assert_eq!(new_warnings(), 1);

        let threads = registry.bulkhead("blocks for a thread");
        threads.reconfigure(bulkhead::Config::default().threads(1)).unwrap();
        assert_eq!(threads.call_in_threads(|| Some(1)), Some(1));
        assert_eq!(new_warnings(), 1);
        let on_threads = registry.pipeline("on threads").bulkhead("blocks for a thread").build();
        assert_eq!(on_threads.request().call_in_threads(|| Some(1)), Some(1));
        assert_eq!(new_warnings(), 1);
    }

    #[test]
    fn no_warning_outside_a_runtime() {
        let warnings = Warnings::default();
        let _guard = tracing::subscriber::set_default(warnings.clone());
        assert!(registry().pipeline("blocks a thread").retry("r").build().call(|| None::<u32>).is_none());
        assert_eq!(warnings.0.load(Ordering::Relaxed), 0);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_task_is_distinguished_from_blocking_code() {
        assert!(tokio::spawn(async { polls_a_task() }).await.unwrap());
        assert!(polls_a_task(), "the future of `block_on` has a budget too");
        assert!(!tokio::task::spawn_blocking(polls_a_task).await.unwrap());
        let moved = tokio::spawn(async { tokio::task::block_in_place(polls_a_task) });
        assert!(!moved.await.unwrap());
    }
}
