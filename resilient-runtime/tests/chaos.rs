//! Faults in annotated functions of every shape.
#![cfg(feature = "chaos")]
// Tests run on the tokio runtime.
#![allow(clippy::disallowed_methods)]

use std::error::Error;
use std::fmt;

use resilient_runtime::chaos::{Fault, FaultGuard};
use resilient_runtime::clock::ManualClock;
use resilient_runtime::{Class, Classify, Component, Failure, Registry, Rejection, RejectionKind, resilient};

#[derive(Debug)]
enum PayError {
    Timeout,
    Rejected(Rejection),
}

impl fmt::Display for PayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("the gateway timed out"),
            Self::Rejected(rejection) => rejection.fmt(f),
        }
    }
}

impl Error for PayError {}

impl From<Rejection> for PayError {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}

impl Classify for PayError {
    fn classify(&self) -> Class {
        match self {
            Self::Timeout => Class::Permanent,
            Self::Rejected(rejection) => rejection.classify(),
        }
    }
}

/// An error that cannot be made from a rejection.
#[derive(Debug, PartialEq)]
struct Closed;

struct Shop(Registry);

impl Shop {
    fn new() -> Self {
        Self(Registry::with_seed(ManualClock::new().clock(), 7))
    }

    fn inject(&self, fault: Fault) -> FaultGuard {
        self.0.chaos().inject(fault).unwrap()
    }

    fn error(&self) -> FaultGuard {
        self.inject(Fault::error(Class::TRANSIENT).on("*").times(1))
    }

    #[resilient(circuit_breaker = "a", registry = self.0, name = "breaker")]
    fn breaker(&self) -> Result<u32, PayError> {
        Ok(1)
    }

    #[resilient(circuit_breaker = "b", registry = self.0, name = "breaker async")]
    async fn breaker_async(&self) -> Result<u32, PayError> {
        Ok(1)
    }

    #[resilient(timeout = "2s", retry(max = 3), registry = self.0, name = "timed")]
    async fn timed(&self) -> Result<u32, PayError> {
        Ok(1)
    }

    #[resilient(retry(max = 3), registry = self.0, name = "only retry")]
    fn only_retry(&self) -> Result<u32, PayError> {
        Ok(1)
    }

    #[resilient(retry(max = 3), registry = self.0, name = "only retry async")]
    async fn only_retry_async(&self) -> Option<u32> {
        Some(1)
    }

    #[resilient(retry(max = 3), registry = self.0, name = "cannot hold")]
    fn cannot_hold(&self) -> Result<u32, Closed> {
        Ok(1)
    }

    #[resilient(retry(max = 3), registry = self.0, name = "cannot hold async")]
    async fn cannot_hold_async(&self) -> Result<u32, Closed> {
        Ok(1)
    }

    #[resilient(retry(max = 3), registry = self.0, name = "opaque")]
    fn opaque(&self) -> Result<impl fmt::Debug, Closed> {
        Ok(1)
    }

    #[resilient(circuit_breaker = "c", map_err = |_| Closed, registry = self.0, name = "mapped")]
    fn mapped(&self) -> Result<u32, Closed> {
        Ok(1)
    }

    #[resilient(fallback = |why: Failure<Closed>| Ok(if why.rejection().is_some() { 2 } else { 3 }), registry = self.0, name = "with fallback")]
    fn with_fallback(&self) -> Result<u32, Closed> {
        Ok(1)
    }

    #[resilient(hedge(after = "1s"), idempotent, registry = self.0, name = "hedged")]
    async fn hedged(&self) -> Result<u32, PayError> {
        Ok(1)
    }

    #[resilient(bulkhead = "shared", retry(max = 3), registry = self.0, name = "beside threads")]
    async fn beside_threads(&self) -> Result<u32, PayError> {
        Ok(1)
    }

    #[resilient(bulkhead = "shared", registry = self.0, name = "beside threads sync")]
    fn beside_threads_sync(&self) -> Result<u32, PayError> {
        Ok(1)
    }

    #[resilient(circuit_breaker = "d", chaos = off, registry = self.0, name = "exempt")]
    fn exempt(&self) -> Result<u32, PayError> {
        Ok(1)
    }

    #[resilient(circuit_breaker = "e", chaos = "payments", registry = self.0, name = "grouped")]
    fn grouped(&self) -> Result<u32, PayError> {
        Ok(1)
    }

    #[resilient(circuit_breaker = "f", retry(max = 3), chaos("payments", error = || PayError::Timeout), registry = self.0, name = "typed")]
    fn typed(&self) -> Result<u32, PayError> {
        Ok(1)
    }

    #[resilient(timeout = "2s", retry(max = 3), chaos(error = || PayError::Timeout), registry = self.0, name = "typed async")]
    async fn typed_async(&self) -> Result<u32, PayError> {
        Ok(1)
    }

    #[resilient(retry(max = 3), chaos(error = || Closed), registry = self.0, name = "typed only")]
    fn typed_only(&self) -> Result<u32, Closed> {
        Ok(1)
    }

    #[resilient(retry(max = 3), chaos(error = || Closed), registry = self.0, name = "typed only async")]
    async fn typed_only_async(&self) -> Result<u32, Closed> {
        Ok(1)
    }

    #[resilient(fallback = |why: Failure<Closed>| Ok(if why.error() == Some(&Closed) { 3 } else { 2 }), chaos(error = || Closed), registry = self.0, name = "typed fallback")]
    fn typed_fallback(&self) -> Result<u32, Closed> {
        Ok(1)
    }
}

fn is_injected<T>(outcome: Result<T, PayError>) -> bool {
    matches!(outcome, Err(PayError::Rejected(rejection)) if rejection.kind() == RejectionKind::Injected)
}

#[tokio::test]
async fn every_annotated_function_is_a_target() {
    let shop = Shop::new();
    let _fault = shop.error();
    assert!(is_injected(shop.breaker()));
    assert_eq!(shop.0.circuit_breaker("a").stats().failed, 1, "a failure of the dependency");
    let _fault = shop.error();
    assert!(is_injected(shop.breaker_async().await));
    let _fault = shop.error();
    assert_eq!(shop.mapped(), Err(Closed));
    let _fault = shop.error();
    assert_eq!(shop.with_fallback(), Ok(2), "the fallback sees a rejection");
    let _fault = shop.error();
    assert_eq!(shop.only_retry().unwrap(), 1, "the second attempt succeeds");
    assert_eq!(shop.0.retry("only retry").stats().retries, 1);
    let _fault = shop.inject(Fault::error(Class::Permanent).on("hedged").times(1));
    assert!(is_injected(shop.hedged().await));
}

#[tokio::test(start_paused = true)]
async fn an_asynchronous_function_retries_after_an_injected_error() {
    let shop = Shop(Registry::with_clock(resilient_runtime::clock::Clock::tokio()));
    let _fault = shop.error();
    assert_eq!(shop.only_retry_async().await, Some(1));
    let _fault = shop.error();
    assert_eq!(shop.timed().await.unwrap(), 1);
    for name in ["only retry async", "timed"] {
        assert_eq!(shop.0.retry(name).stats().retries, 1, "{name}");
    }
    assert_eq!(shop.0.chaos().injected(), 2);
}

#[tokio::test]
async fn a_type_that_cannot_hold_a_rejection_is_not_failed_and_not_counted() {
    let shop = Shop::new();
    let fault = shop.inject(Fault::error(Class::TRANSIENT).on("*"));
    let refuses = shop.inject(Fault::refuse(RejectionKind::CircuitOpen).on("*"));
    assert_eq!(shop.cannot_hold(), Ok(1));
    assert_eq!(shop.cannot_hold_async().await, Ok(1));
    assert!(shop.opaque().is_ok());
    assert_eq!(shop.typed_only(), Ok(1));
    let counted = (fault.injected(), refuses.injected(), shop.0.chaos().injected());
    assert_eq!(counted, (0, 0, 0), "what had no effect was not injected");
    assert!(shop.0.stats().operations["cannot hold"].injected.is_empty());
    let typed = shop.inject(Fault::typed_error().on("*"));
    assert_eq!(shop.typed_only(), Err(Closed));
    assert_eq!((shop.cannot_hold(), typed.injected()), (Ok(1), 4), "with its retries");
}

#[test]
fn a_function_can_be_exempt_or_in_a_group() {
    let shop = Shop::new();
    let all = shop.inject(Fault::error(Class::TRANSIENT).on("*"));
    assert!(shop.exempt().is_ok() && shop.grouped().is_err());
    drop(all);
    let _group = shop.inject(Fault::error(Class::TRANSIENT).group("payments"));
    assert!(shop.exempt().is_ok() && shop.grouped().is_err() && shop.breaker().is_ok());
}

#[tokio::test]
async fn a_typed_error_is_the_error_of_the_function() {
    let shop = Shop::new();
    let fault = shop.inject(Fault::typed_error().on("typed*"));
    assert!(matches!(shop.typed(), Err(PayError::Timeout)));
    assert!(matches!(shop.typed_async().await, Err(PayError::Timeout)));
    assert_eq!(shop.0.retry("typed").stats().retries, 0, "its class is permanent");
    assert_eq!(shop.0.circuit_breaker("f").stats().failed, 1);
    assert_eq!(shop.typed_fallback(), Ok(3), "the fallback sees the error");
    drop(fault);
    let fault = shop.inject(Fault::typed_error().on("typed*").times(9));
    assert_eq!(shop.typed_only(), Err(Closed), "after the retries");
    assert!(shop.0.retry("typed only").stats().retries > 0);
    drop(fault);
    let _last = shop.inject(Fault::typed_error().on("breaker"));
    assert!(is_injected(shop.breaker()), "without an error of its own");
}

#[tokio::test(start_paused = true)]
async fn a_typed_error_of_an_asynchronous_function_without_a_stage_that_rejects() {
    let shop = Shop(Registry::with_clock(resilient_runtime::clock::Clock::tokio()));
    let _fault = shop.inject(Fault::typed_error().on("*"));
    assert_eq!(shop.typed_only_async().await, Err(Closed));
}

#[tokio::test]
async fn a_bulkhead_that_gets_threads_elsewhere_swallows_no_fault() {
    let shop = Shop::new();
    let threads = resilient_runtime::bulkhead::Config::default().threads(1);
    shop.0.bulkhead("shared").reconfigure(threads).unwrap();
    let _fault = shop.inject(Fault::error(Class::Permanent).on("beside threads*"));
    assert!(is_injected(shop.beside_threads().await));
    assert!(is_injected(shop.beside_threads_sync()));
}
