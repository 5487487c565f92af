//! The attribute `#[resilient(..)]` on functions.

use std::cell::Cell;
use std::io;

use resilient_runtime::circuit_breaker::State;
use resilient_runtime::{Registry, resilient};

use crate::{refused, registry};

#[test]
fn a_synchronous_function_is_protected() {
    #[resilient(registry = registry, retry(max = 2), circuit_breaker("sync", failure_threshold = 3))]
    fn charge(registry: &Registry, calls: &Cell<u32>) -> io::Result<u32> {
        calls.set(calls.get() + 1);
        if calls.get() < 3 { Err(refused()) } else { Ok(calls.get()) }
    }
    let ((_, registry), calls) = (registry(), Cell::new(0));
    assert_eq!(charge(&registry, &calls).unwrap(), 3);
    assert_eq!(registry.circuit_breaker("sync").state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn an_asynchronous_function_is_protected() {
    #[resilient(registry = registry, retry(max = 1), circuit_breaker("async", failure_threshold = 2), fallback = Ok(0))]
    async fn charge(registry: &Registry, calls: &Cell<u32>) -> io::Result<u32> {
        calls.set(calls.get() + 1);
        tokio::task::yield_now().await;
        Err(refused())
    }
    let (registry, calls) = (Registry::with_clock(resilient_runtime::clock::Clock::tokio()), Cell::new(0));
    assert_eq!(charge(&registry, &calls).await.unwrap(), 0, "the fallback is used");
    assert_eq!(charge(&registry, &calls).await.unwrap(), 0);
    assert_eq!(calls.get(), 2, "an open circuit prevents further calls");
    assert_eq!(registry.circuit_breaker("async").state(), State::Open);
}
