//! Errors: which are retried, which the circuit breaker counts, and how a rejection is converted to one.

use std::cell::Cell;
use std::io;

use resilient_runtime::{Class, Classify, Component, Registry, Rejection, resilient};

/// Returns the calls and failures in the window of the breaker `x`.
fn window(registry: &Registry) -> (u64, u64) {
    let window = registry.circuit_breaker("x").stats().window;
    (window.calls, window.failed)
}

#[derive(Debug, thiserror::Error)]
enum Classified {
    #[error("down")]
    Down,
    #[error("not found")]
    NotFound,
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

impl Classify for Classified {
    fn classify(&self) -> Class {
        match self {
            Self::Down => Class::TRANSIENT,
            Self::NotFound => Class::Ignored,
            Self::Rejected(rejection) => rejection.classify(),
        }
    }
}

#[test]
fn classify_determines_the_class_of_an_error() {
    #[resilient(registry = registry, circuit_breaker = "x", retry(max = 2, base = "0ms"))]
    fn call(registry: &Registry, error: fn() -> Classified) -> Result<u32, Classified> {
        Err(error())
    }
    let registry = Registry::new();
    assert!(matches!(call(&registry, || Classified::NotFound), Err(Classified::NotFound)));
    assert_eq!(window(&registry), (0, 0), "ignored");
    assert!(matches!(call(&registry, || Classified::Down), Err(Classified::Down)));
    assert_eq!(window(&registry), (3, 3), "retried");
}

#[test]
fn a_generic_function_classifies_by_its_bounds() {
    #[resilient(registry = registry, circuit_breaker = "x", retry(max = 2, base = "0ms"))]
    fn call<E: Classify + From<Rejection>>(registry: &Registry, error: fn() -> E) -> Result<u32, E> {
        Err(error())
    }
    let registry = Registry::new();
    assert!(call(&registry, || Classified::NotFound).is_err());
    assert_eq!(window(&registry), (0, 0));
}

#[test]
fn a_static_error_of_a_generic_function_is_classified_by_its_value() {
    #[derive(Debug, thiserror::Error)]
    #[error("{0}")]
    struct Plain(io::Error);
    impl From<Rejection> for Plain {
        fn from(rejection: Rejection) -> Self {
            Self(io::Error::other(rejection))
        }
    }
    trait Ask {
        type Error;
        fn ask(&self) -> Result<u32, Self::Error>;
    }
    struct Fails(Cell<u32>);
    impl Ask for Fails {
        type Error = io::Error;
        fn ask(&self) -> io::Result<u32> {
            self.0.set(self.0.get() + 1);
            Err(io::ErrorKind::NotFound.into())
        }
    }
    #[resilient(retry(max = 2, base = "0ms"))]
    fn bound<E: std::error::Error + From<Rejection> + 'static>(ask: impl Fn() -> E) -> Result<u32, E> {
        Err(ask())
    }
    #[resilient(retry(max = 2, base = "0ms"))]
    fn clause<E>(ask: impl Fn() -> E) -> Result<u32, E>
    where
        E: std::error::Error + From<Rejection> + 'static,
    {
        Err(ask())
    }
    #[resilient(retry(max = 2, base = "0ms"))]
    fn no_error<E: 'static>(ask: impl Fn() -> E) -> Result<u32, E> {
        Err(ask())
    }
    #[resilient(retry(max = 2, base = "0ms"))]
    fn projection<A: Ask>(ask: &A) -> Result<u32, A::Error>
    where
        A::Error: std::error::Error + 'static,
    {
        ask.ask()
    }
    #[resilient(retry(max = 2, base = "0ms"), timeout = "1s")]
    async fn later<E: std::error::Error + From<Rejection> + 'static>(ask: impl Fn() -> E) -> Result<u32, E> {
        crate::tick().await;
        Err(ask())
    }
    struct Client<'a, E>(&'a dyn Fn() -> E);
    impl<E: std::error::Error> Client<'_, E> {
        #[resilient(retry(max = 2, base = "0ms"))]
        fn ask(&self) -> Result<u32, E>
        where
            E: 'static,
        {
            Err((self.0)())
        }
    }
    let calls = Cell::new(0);
    let not_found = || {
        calls.set(calls.get() + 1);
        io::Error::from(io::ErrorKind::NotFound)
    };
    assert!(bound(not_found).is_err());
    assert_eq!(calls.take(), 1, "permanent");
    assert!(clause(not_found).is_err());
    assert_eq!(calls.take(), 1);
    assert!(no_error(not_found).is_err());
    assert_eq!(calls.take(), 1);
    assert!(Client(&not_found).ask().is_err());
    assert_eq!(calls.take(), 1);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    assert!(runtime.block_on(later(not_found)).is_err());
    assert_eq!(calls.take(), 1);
    let fails = Fails(Cell::new(0));
    assert!(projection(&fails).is_err());
    assert_eq!(fails.0.get(), 1);
    let unknown = || {
        calls.set(calls.get() + 1);
        Plain(io::Error::from(io::ErrorKind::NotFound))
    };
    assert!(bound(unknown).is_err());
    assert_eq!(calls.take(), 3, "it has no `source()`");
    assert!(no_error(|| std::sync::Arc::new(not_found())).is_err());
    assert_eq!(calls.take(), 1);
}

#[test]
fn a_nested_rejection_is_not_counted_by_the_outer_breaker() {
    // T21 for nested functions: found in the `source()` chain without `Classify`
    #[derive(Debug, thiserror::Error)]
    enum Plain {
        #[error(transparent)]
        Rejected(#[from] Rejection),
    }
    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("nested")]
        Inner(#[source] Plain),
        #[error(transparent)]
        Rejected(#[from] Rejection),
    }
    #[resilient(registry = registry, bulkhead("inner", max_concurrent = 1))]
    fn inner(registry: &Registry) -> Result<u32, Plain> {
        Ok(1)
    }
    #[resilient(registry = registry, circuit_breaker = "x", retry(max = 5, base = "0ms"))]
    fn outer(registry: &Registry) -> Result<u32, Outer> {
        inner(registry).map_err(Outer::Inner)
    }
    #[resilient(registry = registry, circuit_breaker = "x")]
    fn outer_anyhow(registry: &Registry) -> anyhow::Result<u32> {
        Ok(inner(registry)?)
    }
    #[resilient(registry = registry, circuit_breaker = "x")]
    fn outer_boxed(registry: &Registry) -> Result<u32, Box<dyn std::error::Error + Send + Sync>> {
        Ok(inner(registry)?)
    }
    #[resilient(registry = registry, circuit_breaker = "x")]
    fn outer_local(registry: &Registry) -> Result<u32, Box<dyn std::error::Error>> {
        Ok(inner(registry)?)
    }
    let registry = Registry::new();
    assert!(outer(&registry).is_ok());
    let bulkhead = registry.bulkhead("inner");
    let _held = bulkhead.try_acquire().unwrap();
    assert!(outer(&registry).is_err());
    assert!(outer_anyhow(&registry).is_err());
    assert!(outer_boxed(&registry).is_err());
    assert!(outer_local(&registry).is_err());
    assert_eq!(window(&registry), (1, 0), "only the executed call");
}

#[test]
fn io_errors_are_classified_and_can_hold_rejections() {
    // T33
    #[resilient(registry = registry, circuit_breaker = "x", retry(max = 2, base = "0ms"))]
    fn call(registry: &Registry, kind: io::ErrorKind, calls: &Cell<u32>) -> io::Result<u32> {
        calls.set(calls.get() + 1);
        Err(kind.into())
    }
    let registry = Registry::new();
    for (kind, attempts) in [
        (io::ErrorKind::ConnectionRefused, 3),
        (io::ErrorKind::ConnectionReset, 1),
        (io::ErrorKind::NotFound, 1),
    ] {
        let calls = Cell::new(0);
        assert_eq!(call(&registry, kind, &calls).unwrap_err().kind(), kind);
        assert_eq!(calls.get(), attempts, "{kind}");
    }
    registry.circuit_breaker("x").force_open();
    let error = call(&registry, io::ErrorKind::NotFound, &Cell::new(0)).unwrap_err();
    assert!(error.get_ref().and_then(|inner| inner.downcast_ref::<Rejection>()).is_some());
}

#[test]
fn anyhow_and_boxed_errors_can_hold_a_rejection() {
    #[resilient(registry = registry, circuit_breaker = "x")]
    fn anyhow_call(registry: &Registry) -> anyhow::Result<u32> {
        Ok(1)
    }
    #[resilient(registry = registry, circuit_breaker = "x")]
    fn option_call(registry: &Registry) -> Option<u32> {
        Some(1)
    }
    let registry = Registry::new();
    assert_eq!((anyhow_call(&registry).ok(), option_call(&registry)), (Some(1), Some(1)));
    registry.circuit_breaker("x").force_open();
    let error = anyhow_call(&registry).unwrap_err();
    assert!(error.to_string().contains("circuit breaker `x` is open (forced open)"), "{error}");
    assert!(error.is::<Rejection>());
    assert_eq!(option_call(&registry), None);
}

#[test]
fn the_retry_marker_reaches_nested_functions() {
    // T46
    #[resilient(registry = registry, retry("outer", max = 3, base = "0ms"))]
    fn outer(registry: &Registry, calls: &Cell<u32>) -> Result<u32, Classified> {
        inner(registry, calls)
    }
    #[resilient(registry = registry, retry("inner", max = 3, base = "0ms"))]
    fn inner(registry: &Registry, calls: &Cell<u32>) -> Result<u32, Classified> {
        calls.set(calls.get() + 1);
        Err(Classified::Down)
    }
    let calls = Cell::new(0);
    assert!(outer(&Registry::new(), &calls).is_err());
    assert_eq!(calls.get(), 7, "4 of the first attempt and 1 of each repetition, not 16");
}

#[test]
fn a_boxed_error_can_hold_a_rejection() {
    type BoxedSend = Box<dyn std::error::Error + Send + Sync>;
    type Boxed = Box<dyn std::error::Error>;
    #[resilient(registry = registry, circuit_breaker = "x")]
    fn call_send(registry: &Registry) -> Result<u32, BoxedSend> {
        Ok("1".parse()?)
    }
    #[resilient(registry = registry, circuit_breaker = "x")]
    fn call(registry: &Registry) -> Result<u32, Boxed> {
        Ok("1".parse()?)
    }
    let registry = Registry::new();
    assert_eq!((call_send(&registry).ok(), call(&registry).ok()), (Some(1), Some(1)));
    registry.circuit_breaker("x").force_open();
    assert!(call_send(&registry).unwrap_err().is::<Rejection>());
    assert!(call(&registry).unwrap_err().is::<Rejection>());
}

#[test]
fn any_type_can_be_the_error() {
    use std::ops::ControlFlow;
    use std::task::Poll;
    #[resilient(registry = registry, circuit_breaker = "x", map_err = |_| ControlFlow::Continue(()))]
    fn flow(registry: &Registry, up: bool) -> Result<u32, ControlFlow<u32>> {
        if up { Ok(1) } else { Err(ControlFlow::Break(2)) }
    }
    #[resilient(registry = registry, circuit_breaker = "x", map_err = |_| Poll::Pending)]
    fn poll(registry: &Registry, up: bool) -> Result<u32, Poll<u32>> {
        if up { Ok(1) } else { Err(Poll::Ready(2)) }
    }
    let registry = Registry::new();
    assert_eq!((flow(&registry, true), flow(&registry, false)), (Ok(1), Err(ControlFlow::Break(2))));
    assert_eq!((poll(&registry, true), poll(&registry, false)), (Ok(1), Err(Poll::Ready(2))));
    assert_eq!(window(&registry), (4, 2));
    registry.circuit_breaker("x").force_open();
    assert_eq!(flow(&registry, true), Err(ControlFlow::Continue(())));
    assert_eq!(poll(&registry, true), Err(Poll::Pending));
}
