//! The effect of errors, timeouts and rejections on the retry, the circuit breaker and the idempotency key.

use std::cell::Cell;
use std::io;
use std::time::Duration;

use resilient_runtime::{
    Class, Classify, Component, EventKind, Registry, Rejection, RejectionKind, clock::ManualClock, resilient,
};

/// As in the README's first example: no class is set.
#[derive(Debug, thiserror::Error)]
enum PayError {
    #[error("the gateway: {0}")]
    Io(#[from] io::Error),
    #[error("declined")]
    Declined,
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

fn reset() -> PayError {
    io::Error::from(io::ErrorKind::ConnectionReset).into()
}

fn refused(error: &PayError) -> Option<RejectionKind> {
    match error {
        PayError::Rejected(rejection) => Some(rejection.kind()),
        PayError::Io(_) | PayError::Declined => None,
    }
}

/// The sleeps of this registry take no time.
fn registry() -> Registry {
    Registry::with_clock(ManualClock::new().clock())
}

struct Shop {
    registry: Registry,
    calls: Cell<u32>,
}

impl Shop {
    fn new() -> Self {
        Self { registry: registry(), calls: Cell::new(0) }
    }

    fn fail(&self, error: PayError) -> Result<u32, PayError> {
        self.calls.set(self.calls.get() + 1);
        Err(error)
    }

    #[resilient(registry = self.registry, retry(max = 1, base = "0ms"), idempotent(key = order, fingerprint = none))]
    fn charge(&self, order: u64, error: fn() -> PayError) -> Result<u32, PayError> {
        self.fail(error())
    }

    #[resilient(
        registry = self.registry,
        retry(max = 1, base = "0ms"),
        idempotent(key = order, fingerprint = none, on_unknown = reexecute),
    )]
    fn charge_at_least_once(&self, order: u64, error: fn() -> PayError) -> Result<u32, PayError> {
        self.fail(error())
    }

    #[resilient(registry = self.registry, retry(max = 2, base = "0ms"))]
    fn ask(&self, error: fn() -> PayError) -> Result<u32, PayError> {
        self.fail(error())
    }

    #[resilient(registry = self.registry, retry(max = 2, base = "0ms"), idempotent)]
    fn ask_again(&self, error: fn() -> PayError) -> Result<u32, PayError> {
        self.fail(error())
    }

    #[resilient(registry = self.registry, failure = |_| true, retry(max = 1, base = "0ms"), idempotent(key = order))]
    fn unacceptable(&self, order: u64) -> Result<u32, PayError> {
        self.calls.set(self.calls.get() + 1);
        Ok(1)
    }
}

#[test]
fn an_error_with_unknown_effect_keeps_the_idempotency_key() {
    // Regression: the first call charged twice, and the next one a third time.
    for error in [reset, || PayError::Declined] {
        let shop = Shop::new();
        assert_eq!(refused(&shop.charge(7, error).unwrap_err()), None, "the error itself");
        assert_eq!(shop.calls.get(), 1);
        let next = shop.charge(7, error).unwrap_err();
        assert_eq!((refused(&next), shop.calls.get()), (Some(RejectionKind::OutcomeUnknown), 1));
    }
}

#[test]
fn an_error_with_unknown_effect_is_retried_with_a_key_if_allowed() {
    for error in [reset, || PayError::Declined] {
        let shop = Shop::new();
        assert!(shop.charge_at_least_once(7, error).is_err());
        assert_eq!(shop.calls.get(), 2);
        assert!(shop.charge_at_least_once(7, error).is_err());
        assert_eq!(shop.calls.get(), 4);
    }
}

#[test]
fn an_error_without_effect_releases_the_idempotency_key() {
    let shop = Shop::new();
    let refused = || PayError::from(io::Error::from(io::ErrorKind::ConnectionRefused));
    assert!(shop.charge(7, refused).is_err());
    assert!(shop.charge(7, refused).is_err());
    assert_eq!(shop.calls.get(), 4, "both attempts of both calls");
}

#[test]
fn a_result_that_counts_as_failed_keeps_the_idempotency_key() {
    let shop = Shop::new();
    assert_eq!(shop.unacceptable(7).ok(), Some(1));
    assert_eq!(refused(&shop.unacceptable(7).unwrap_err()), Some(RejectionKind::OutcomeUnknown));
    assert_eq!(shop.calls.get(), 1);
}

#[test]
fn a_broken_connection_inside_an_error_is_retried_only_if_idempotent() {
    // T33
    let shop = Shop::new();
    assert!(shop.ask(reset).is_err());
    assert_eq!(shop.calls.get(), 1);
    assert!(shop.ask_again(reset).is_err());
    assert_eq!(shop.calls.get(), 4);
    assert!(shop.ask(|| PayError::Declined).is_err());
    assert_eq!(shop.calls.get(), 7, "unknown class: retried as configured");
}

#[test]
fn a_retry_that_was_not_made_is_reported() {
    let shop = Shop::new();
    let mut events = shop.registry.subscribe();
    assert!(shop.ask(reset).is_err());
    assert!(std::iter::from_fn(|| events.try_recv()).any(|event| event.what == EventKind::NotRepeated));
    let stats = &shop.registry.stats().retry["shapes::meaning::ask"];
    assert_eq!((stats.may_have_run, stats.not_retryable), (1, 0));
    let explained = shop.registry.explain("shapes::meaning::ask").unwrap();
    let uncertain = explained.outcomes.iter().find(|outcome| outcome.outcome == "uncertain").unwrap();
    assert!(uncertain.treatment.contains("may have had an effect; declare the function `idempotent`"));
    assert!(explained.to_string().contains(&uncertain.treatment));
}

#[test]
fn context_does_not_change_the_class_of_an_error() {
    type Boxed = Box<dyn std::error::Error + Send + Sync>;
    type Local = Box<dyn std::error::Error>;
    fn missing() -> io::Result<u32> {
        Err(io::ErrorKind::NotFound.into())
    }
    macro_rules! alike {
        ($calls:ident, $registry:ident; $($name:ident: $output:ty = $body:expr;)*) => {$({
            #[resilient(registry = $registry, circuit_breaker("x", failure_threshold = 2), retry(max = 2, base = "0ms"))]
            fn $name($registry: &Registry, $calls: &Cell<u32>) -> $output {
                $calls.set($calls.get() + 1);
                $body
            }
            let ($registry, $calls) = (registry(), Cell::new(0));
            assert!($name(&$registry, &$calls).is_err());
            assert_eq!(($calls.get(), $registry.circuit_breaker("x").stats().failed), (1, 1), stringify!($name));
        })*};
    }
    alike! { calls, registry;
        bare: io::Result<u32> = missing();
        any: anyhow::Result<u32> = Ok(missing()?);
        any_in_context: anyhow::Result<u32> = anyhow::Context::context(anyhow::Context::context(missing(), "reading"), "starting");
        report: eyre::Result<u32> = Ok(missing()?);
        report_in_context: eyre::Result<u32> = eyre::WrapErr::wrap_err(missing(), "reading");
        boxed: Result<u32, Boxed> = Ok(missing()?);
        boxed_enum: Result<u32, Boxed> = Ok(missing().map_err(PayError::from)?);
        local: Result<u32, Local> = Ok(missing()?);
        in_an_enum: Result<u32, PayError> = Ok(missing()?);
    }
}

#[test]
fn the_breaker_counts_errors_by_its_own_predicate() {
    fn is_outage(error: &PayError) -> bool {
        !matches!(error, PayError::Declined)
    }
    #[resilient(registry = registry, circuit_breaker("x", failure_threshold = 9, when = is_outage), retry(max = 1, base = "0ms"))]
    fn call(registry: &Registry, error: fn() -> PayError) -> Result<u32, PayError> {
        Err(error())
    }
    let registry = registry();
    let breaker = registry.circuit_breaker("x");
    assert!(call(&registry, || PayError::Declined).is_err());
    assert_eq!((breaker.stats().failed, breaker.stats().ignored), (0, 2), "they are retried");
    assert!(call(&registry, reset).is_err());
    assert_eq!((breaker.stats().failed, breaker.stats().ignored), (1, 2));
}

/// An error that implements `Classify`.
#[derive(Debug)]
struct Said(Class);

impl From<Rejection> for Said {
    fn from(_: Rejection) -> Self {
        Self(Class::Ignored)
    }
}

impl Classify for Said {
    fn classify(&self) -> Class {
        self.0
    }
}

#[tokio::test(start_paused = true)]
async fn the_breaker_uses_the_class_of_a_timeout_error() {
    #[resilient(registry = registry, circuit_breaker("x", failure_threshold = 1), timeout(attempt = "10ms"))]
    async fn once(registry: &Registry) -> Result<u32, Said> {
        std::future::pending().await
    }
    #[resilient(registry = registry, circuit_breaker("x", failure_threshold = 1), timeout(attempt = "10ms"), retry(max = 2), idempotent)]
    async fn repeated(registry: &Registry) -> Result<u32, Said> {
        std::future::pending().await
    }
    #[resilient(registry = registry, circuit_breaker("x", failure_threshold = 1), timeout(attempt = "10ms"), hedge(after = "1ms"), idempotent)]
    async fn hedged(registry: &Registry) -> Result<u32, Said> {
        std::future::pending().await
    }
    #[resilient(registry = registry, circuit_breaker("x", failure_threshold = 1), timeout(attempt = "10ms"), fallback = Ok(7))]
    async fn answered(registry: &Registry) -> Result<u32, Said> {
        std::future::pending().await
    }
    #[resilient(registry = registry, circuit_breaker("x", failure_threshold = 1), timeout(total = "10ms"))]
    async fn in_all(registry: &Registry) -> Result<u32, Said> {
        std::future::pending().await
    }
    let registry = Registry::with_clock(resilient_runtime::clock::Clock::tokio());
    assert!(once(&registry).await.is_err());
    assert!(repeated(&registry).await.is_err());
    assert!(hedged(&registry).await.is_err());
    assert_eq!(answered(&registry).await.ok(), Some(7));
    assert!(in_all(&registry).await.is_err());
    let stats = registry.circuit_breaker("x").stats();
    assert_eq!((stats.failed, stats.state.as_str()), (0, "closed"));
    assert_eq!(registry.stats().retry["shapes::meaning::repeated"].retries, 0);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_classified_as_permanent_is_not_retried() {
    #[derive(Debug)]
    struct Final;
    impl From<Rejection> for Final {
        fn from(_: Rejection) -> Self {
            Self
        }
    }
    impl Classify for Final {
        fn classify(&self) -> Class {
            Class::Permanent
        }
    }
    #[resilient(registry = registry, timeout(attempt = "10ms"), retry(max = 2, base = "0ms"), idempotent)]
    async fn call(registry: &Registry, calls: &Cell<u32>) -> Result<u32, Final> {
        calls.set(calls.get() + 1);
        std::future::pending().await
    }
    let (registry, calls) = (Registry::with_clock(resilient_runtime::clock::Clock::tokio()), Cell::new(0));
    assert!(call(&registry, &calls).await.is_err());
    assert_eq!(calls.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_timeout_is_not_retried_even_if_the_error_type_calls_it_transient() {
    // T33
    #[derive(Debug)]
    struct Lax;
    impl From<Rejection> for Lax {
        fn from(_: Rejection) -> Self {
            Self
        }
    }
    impl Classify for Lax {
        fn classify(&self) -> Class {
            Class::TRANSIENT
        }
    }
    #[resilient(registry = registry, timeout(attempt = "10ms"), retry(max = 2, base = "0ms"))]
    async fn call(registry: &Registry, calls: &Cell<u32>) -> Result<u32, Lax> {
        calls.set(calls.get() + 1);
        std::future::pending().await
    }
    let (registry, calls) = (Registry::with_clock(resilient_runtime::clock::Clock::tokio()), Cell::new(0));
    assert!(call(&registry, &calls).await.is_err());
    assert_eq!(calls.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_retry_predicate_decides_on_timeouts() {
    fn always(_: &PayError) -> bool {
        true
    }
    fn never(_: &PayError) -> bool {
        false
    }
    #[resilient(registry = registry, timeout(attempt = "10ms"), retry(max = 2, base = "0ms", when = always))]
    async fn insists(registry: &Registry, calls: &Cell<u32>) -> Result<u32, PayError> {
        calls.set(calls.get() + 1);
        std::future::pending().await
    }
    #[resilient(registry = registry, timeout(attempt = "10ms"), retry(max = 2, base = "0ms", when = never), idempotent)]
    async fn declines(registry: &Registry, calls: &Cell<u32>) -> Result<u32, PayError> {
        calls.set(calls.get() + 1);
        std::future::pending().await
    }
    let (registry, calls) = (Registry::with_clock(resilient_runtime::clock::Clock::tokio()), Cell::new(0));
    assert!(insists(&registry, &calls).await.is_err());
    assert_eq!(calls.replace(0), 3);
    assert!(declines(&registry, &calls).await.is_err());
    assert_eq!(calls.get(), 1);
}

#[test]
fn the_retry_predicate_decides_on_rejections() {
    fn never(_: &PayError) -> bool {
        false
    }
    fn always(_: &PayError) -> bool {
        true
    }
    #[resilient(registry = registry, bulkhead("full", max_concurrent = 1), retry(max = 3, base = "100ms", jitter = 0, when = never))]
    fn declines(registry: &Registry) -> Result<u32, PayError> {
        Ok(1)
    }
    #[resilient(registry = registry, bulkhead("full", max_concurrent = 1), retry(max = 3, base = "100ms", jitter = 0))]
    fn says_nothing(registry: &Registry) -> Result<u32, PayError> {
        Ok(1)
    }
    #[resilient(registry = registry, bulkhead("full", max_concurrent = 1), retry(max = 3, base = "100ms", jitter = 0, when = always))]
    fn insists(registry: &Registry) -> Result<u32, PayError> {
        Ok(1)
    }
    #[resilient(registry = registry, bulkhead("full", max_concurrent = 1), fallback = 7, retry(max = 3, base = "100ms", jitter = 0))]
    fn answered(registry: &Registry) -> u32 {
        1
    }
    let time = ManualClock::new();
    let registry = Registry::with_clock(time.clock());
    assert_eq!(declines(&registry).ok(), Some(1));
    let bulkhead = registry.bulkhead("full");
    let _held = bulkhead.try_acquire().unwrap();
    let start = time.clock().now();
    assert_eq!(refused(&declines(&registry).unwrap_err()), Some(RejectionKind::BulkheadFull));
    assert_eq!(refused(&says_nothing(&registry).unwrap_err()), Some(RejectionKind::BulkheadFull));
    assert_eq!(answered(&registry), 7);
    assert_eq!(time.clock().now().since(start), Duration::ZERO, "rejected immediately");
    assert_eq!(refused(&insists(&registry).unwrap_err()), Some(RejectionKind::BulkheadFull));
    assert_eq!(time.clock().now().since(start), Duration::from_millis(700));
}

#[test]
fn a_thread_does_not_sleep_for_a_rejection_longer_than_its_limits() {
    #[resilient(registry = registry, rate_limit("slow", rate = "1/h"), retry(max = 3, max_delay = "5s"))]
    fn beyond(registry: &Registry) -> Result<u32, PayError> {
        Ok(1)
    }
    #[resilient(registry = registry, rate_limit("quick", rate = "1/s"), retry(max = 3, max_delay = "5s"))]
    fn within(registry: &Registry) -> Result<u32, PayError> {
        Ok(1)
    }
    let time = ManualClock::new();
    let registry = Registry::with_clock(time.clock());
    let start = time.clock().now();
    assert!(beyond(&registry).is_ok());
    assert_eq!(refused(&beyond(&registry).unwrap_err()), Some(RejectionKind::RateLimited));
    assert_eq!(time.clock().now().since(start), Duration::ZERO);
    assert!(within(&registry).is_ok());
    assert!(within(&registry).is_ok(), "the rejection has a retry delay");
    assert!(time.clock().now().since(start) >= Duration::from_secs(1));
}

#[test]
fn the_retry_waits_for_an_open_circuit_only_if_the_predicate_accepts() {
    // T34
    fn always(_: &PayError) -> bool {
        true
    }
    #[resilient(registry = registry, circuit_breaker("x", open_for = "1s"), retry("again", max = 3, base = "10ms", when = always))]
    fn insists(registry: &Registry) -> Result<u32, PayError> {
        Ok(1)
    }
    #[resilient(registry = registry, circuit_breaker = "x", retry(max = 3, base = "10ms"))]
    fn says_nothing(registry: &Registry) -> Result<u32, PayError> {
        Ok(1)
    }
    let time = ManualClock::new();
    let registry = Registry::with_clock(time.clock());
    assert!(insists(&registry).is_ok());
    let breaker = registry.circuit_breaker("x");
    breaker.force_open();
    let start = time.clock().now();
    assert_eq!(refused(&insists(&registry).unwrap_err()), Some(RejectionKind::CircuitOpen));
    assert_eq!(
        time.clock().now().since(start),
        Duration::ZERO,
        "a circuit that was forced open has no retry delay"
    );
    breaker.reset();
    while breaker.try_acquire().map(|permit| permit.settle(Class::TRANSIENT)).is_ok() {}
    assert_eq!(refused(&says_nothing(&registry).unwrap_err()), Some(RejectionKind::CircuitOpen));
    assert_eq!(time.clock().now().since(start), Duration::ZERO);
    assert_eq!(insists(&registry).ok(), Some(1), "after the circuit admitted a probe");
    assert_eq!(registry.retry("again").stats().retries, 1);
}

#[test]
fn without_the_attribute_a_nested_rejection_is_neither_counted_nor_retried() {
    // T21
    use resilient_runtime::bulkhead;
    let registry = registry();
    let (breaker, bulkhead) = (registry.circuit_breaker("outer"), registry.bulkhead("full"));
    bulkhead.reconfigure(bulkhead::Config::default().max_concurrent(1)).unwrap();
    let held = bulkhead.try_acquire().unwrap();
    for _ in 0..30 {
        assert!(breaker.call(|| bulkhead.call(|| Ok::<u32, Rejection>(1))).is_err());
        assert!(breaker.call(|| bulkhead.call(|| anyhow::Ok(1))).is_err());
        assert!(
            breaker
                .call_judged(|| bulkhead.call(|| Ok::<u32, PayError>(1)), resilient_runtime::judge!())
                .is_err()
        );
    }
    assert_eq!((breaker.stats().failed, breaker.stats().state.as_str()), (0, "closed"));
    drop(held);
    breaker.force_open();
    let (retry, asked) = (registry.retry("again"), Cell::new(0));
    let ask = || {
        asked.set(asked.get() + 1);
        breaker.call(|| Ok::<u32, Rejection>(1))
    };
    assert!(retry.call(ask).is_err());
    assert_eq!(asked.get(), 1);
}

#[test]
fn without_the_attribute_a_permanent_failure_is_not_retried() {
    let registry = registry();
    let pipeline = registry.pipeline("read").retry("again").build();
    let calls = Cell::new(0);
    let missing = || {
        calls.set(calls.get() + 1);
        io::Result::<u32>::Err(io::ErrorKind::NotFound.into())
    };
    assert!(pipeline.call(missing).is_err());
    assert_eq!(calls.replace(0), 1);
    let said = || {
        calls.set(calls.get() + 1);
        Err::<u32, _>(Said(Class::Permanent))
    };
    assert!(pipeline.request::<Result<u32, Said>>().judge(resilient_runtime::judge!()).call(said).is_err());
    assert_eq!(calls.get(), 1);
}

#[test]
fn a_reused_key_is_rejected_permanently() {
    #[resilient(registry = registry, idempotent(key = id))]
    fn book(registry: &Registry, id: u64, cents: u32) -> Result<u32, Rejection> {
        Ok(cents)
    }
    let registry = registry();
    assert_eq!(book(&registry, 7, 1), Ok(1));
    let reused = book(&registry, 7, 2).unwrap_err();
    assert_eq!((reused.kind(), reused.classify()), (RejectionKind::KeyReused, Class::Permanent));
}

#[test]
fn explain_shows_the_handling_of_each_failure() {
    let shop = Shop::new();
    assert!(shop.charge(7, reset).is_err());
    let explained = shop.registry.explain("shapes::meaning::charge").unwrap();
    let of = |name| &explained.outcomes.iter().find(|outcome| outcome.outcome == name).unwrap().treatment;
    assert!(of("unknown").contains("`on_unknown = reexecute` allows the retry"));
    assert!(of("unknown").contains("the idempotency key stays claimed"));
    assert!(of("transient").contains("the idempotency key is freed"));
    assert_eq!(of("key_reused"), "not retried");
    assert!(of("error").contains("first known cause in its `source()` chain"));
}

/// An error that classifies everything as `Ignored`.
#[derive(Debug, thiserror::Error)]
enum OwnMistake {
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

impl Classify for OwnMistake {
    fn classify(&self) -> Class {
        Class::Ignored
    }
}

struct Scale {
    registry: Registry,
}

fn is_too_heavy(error: &Rejection) -> bool {
    error.kind() == RejectionKind::WeightExceedsLimit
}

impl Scale {
    #[resilient(registry = self.registry, rate_limit("inner", rate = "1/h", burst = 3, weight = weight))]
    fn weigh(&self, weight: u32) -> Result<u32, Rejection> {
        Ok(weight)
    }

    #[resilient(registry = self.registry, rate_limit("outer", rate = "5/h"))]
    fn judged_by_rejection(&self) -> Result<u32, Rejection> {
        self.weigh(4)
    }

    #[resilient(registry = self.registry, rate_limit("outer", rate = "5/h"))]
    fn judged_by_own(&self) -> Result<u32, OwnMistake> {
        Ok(self.weigh(4)?)
    }

    #[resilient(
        registry = self.registry,
        retry("again", max = 2, base = "0ms", when = is_too_heavy),
        rate_limit("inner", rate = "1/h", burst = 3, weight = weight)
    )]
    fn insist(&self, weight: u32) -> Result<u32, Rejection> {
        Ok(weight)
    }
}

#[test]
fn a_nested_rejection_uses_no_budget_token() {
    let scale = Scale { registry: registry() };
    for _ in 0..8 {
        assert_eq!(scale.judged_by_rejection().unwrap_err().kind(), RejectionKind::WeightExceedsLimit);
        let OwnMistake::Rejected(refused) = scale.judged_by_own().unwrap_err();
        assert_eq!(refused.kind(), RejectionKind::WeightExceedsLimit, "{refused}");
    }
    assert_eq!(scale.registry.rate_limiter("outer").stats().rejected, 0);
}

#[test]
fn the_retry_predicate_is_called_for_a_weight_above_the_limit() {
    let scale = Scale { registry: registry() };
    assert_eq!(scale.insist(4).unwrap_err().kind(), RejectionKind::WeightExceedsLimit);
    assert_eq!(scale.registry.retry("again").stats().retries, 2);
}
