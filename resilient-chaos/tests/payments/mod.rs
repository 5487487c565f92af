//! A model of the `payments` example: the same components with the same settings, a simulated gateway, and callers.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use resilient_runtime::clock::Clock;
use resilient_runtime::config::Tables;
use resilient_runtime::fallback::{AsyncChain, Level};
use resilient_runtime::settings::Raw;
use resilient_runtime::{
    Class, Classify, Failure, FallbackFailed, Kind, Pipeline, Registry, Rejection, RejectionKind, Verdict,
};

/// A protection that a test breaks on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Nothing,
    /// The circuit breaker opens when a call in twenty fails.
    SensitiveBreaker,
    /// The circuit breaker stays open for minutes.
    SlowBreaker,
    /// The alert about queued charges never fires.
    Alert,
    /// Failed charges are retried ten times at once, with a budget that is too large and no circuit breaker.
    ManyRetries,
    /// A call waits for a permit for many seconds.
    PatientBulkhead,
    /// The circuit breaker is switched off.
    Breaker,
    /// Charges have no timeout for an attempt or in total.
    Timeout,
    /// Charges have no fallback.
    Fallback,
    /// Failed charges are not retried.
    Retry,
}

/// The error of a call to the gateway.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChargeError {
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error(transparent)]
    AllFailed(#[from] FallbackFailed),
}

impl Classify for ChargeError {
    fn classify(&self) -> Class {
        match self {
            Self::Rejected(rejection) => rejection.classify(),
            Self::AllFailed(_) => Class::Permanent,
        }
    }
}

/// How often each order was charged.
pub(crate) type Ledger = Mutex<HashMap<u64, u32>>;

/// The service under load. Dropping it stops the load.
pub(crate) struct Payments {
    pub(crate) registry: Registry,
    /// How often the gateway charged each order.
    pub(crate) ledger: Arc<Ledger>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Drop for Payments {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// The settings of `payments`: kind, name, field and value.
const SETTINGS: &[(Kind, &str, &str, Setting)] = &[
    (Kind::LoadShed, "orders", "max_in_flight", Number(400)),
    (Kind::LoadShed, "orders", "target_latency", Text("1s")),
    (Kind::RateLimit, "customers", "rate", Text("50/s")),
    (Kind::RateLimit, "customers", "burst", Number(100)),
    (Kind::CircuitBreaker, "payment", "window", Text("10s")),
    (Kind::CircuitBreaker, "payment", "min_calls", Number(5)),
    (Kind::CircuitBreaker, "payment", "failure_rate", Text("50%")),
    (Kind::CircuitBreaker, "payment", "open_for", Text("2s")),
    (Kind::CircuitBreaker, "payment", "open_max", Text("10s")),
    (Kind::CircuitBreaker, "payment", "half_open_calls", Number(2)),
    (Kind::Retry, "payment", "max", Number(2)),
    (Kind::Retry, "payment", "base", Text("20ms")),
    (Kind::Retry, "payment", "max_delay", Text("200ms")),
    (Kind::Retry, "payment", "budget_ratio", Text("20%")),
    (Kind::Retry, "payment", "budget_reserve", Number(5)),
    (Kind::Bulkhead, "gateway", "max_concurrent", Number(32)),
    (Kind::Bulkhead, "gateway", "max_queue", Number(64)),
    (Kind::Bulkhead, "gateway", "max_wait", Text("200ms")),
    (Kind::Timeout, "payment", "total", Text("1500ms")),
    (Kind::Timeout, "payment", "attempt", Text("400ms")),
    (Kind::Timeout, "rates", "total", Text("400ms")),
    (Kind::Idempotency, "orders", "on_unknown", Text("reexecute")),
    (Kind::Alert, "charges_degraded", "operation", Text("charge")),
    (Kind::Alert, "charges_degraded", "signal", Text("degraded_rate")),
    (Kind::Alert, "charges_degraded", "critical", Text("0.5")),
    (Kind::Alert, "charges_degraded", "window", Text("5s")),
    (Kind::Alert, "charges_degraded", "hold", Text("2s")),
    (Kind::Alert, "charges_degraded", "min_samples", Number(10)),
    (Kind::Alert, "orders_failing", "operation", Text("order")),
    (Kind::Alert, "orders_failing", "critical", Text("0.05")),
    (Kind::Alert, "orders_failing", "window", Text("5s")),
    (Kind::Alert, "orders_failing", "hold", Text("2s")),
    (Kind::Alert, "orders_failing", "min_samples", Number(10)),
];

#[derive(Clone, Copy)]
enum Setting {
    Text(&'static str),
    Number(i64),
}
use Setting::{Number, Text};

/// The settings of a protection that is broken on purpose.
fn broken(broken: Broken) -> &'static [(Kind, &'static str, &'static str, Setting)] {
    match broken {
        Broken::Breaker => &[(Kind::CircuitBreaker, "payment", "enabled", Text("false"))],
        Broken::Timeout => &[
            (Kind::Timeout, "payment", "enabled", Text("false")),
            (Kind::Timeout, "rates", "enabled", Text("false")),
        ],
        Broken::Retry => &[(Kind::Retry, "payment", "max", Number(0))],
        Broken::SensitiveBreaker => &[
            (Kind::CircuitBreaker, "payment", "failure_rate", Text("2%")),
            (Kind::CircuitBreaker, "payment", "min_calls", Number(1)),
            (Kind::Retry, "payment", "max", Number(0)),
        ],
        Broken::SlowBreaker => &[
            (Kind::CircuitBreaker, "payment", "open_for", Text("5m")),
            (Kind::CircuitBreaker, "payment", "open_max", Text("5m")),
        ],
        Broken::Alert => &[(Kind::Alert, "charges_degraded", "min_samples", Number(100_000))],
        Broken::ManyRetries => &[
            (Kind::CircuitBreaker, "payment", "enabled", Text("false")),
            (Kind::Retry, "payment", "max", Number(10)),
            (Kind::Retry, "payment", "base", Text("1ms")),
            (Kind::Retry, "payment", "max_delay", Text("5ms")),
            (Kind::Retry, "payment", "budget_ratio", Text("100%")),
            (Kind::Timeout, "payment", "total", Text("10s")),
        ],
        Broken::PatientBulkhead => &[
            (Kind::Bulkhead, "gateway", "max_wait", Text("10s")),
            (Kind::Bulkhead, "gateway", "max_queue", Number(1000)),
            (Kind::Timeout, "payment", "total", Text("10s")),
        ],
        Broken::Nothing | Broken::Fallback => &[],
    }
}

impl Payments {
    /// Starts the service with so many orders per second.
    pub(crate) fn start(orders_per_second: u32, is_broken: Broken) -> Self {
        let registry = Registry::with_seed(Clock::tokio(), 1);
        let mut tables = Tables::default();
        for (kind, name, field, value) in SETTINGS.iter().chain(broken(is_broken)) {
            let raw = match value {
                Text("true") => Raw::Flag(true),
                Text("false") => Raw::Flag(false),
                Text(text) => text.parse().map_or_else(|_| Raw::Text((*text).to_owned()), Raw::Float),
                Number(number) => Raw::Integer(*number),
            };
            tables.set(*kind, Some(name), field, &raw).unwrap();
        }
        registry.apply("model", &tables).unwrap_or_else(|problems| panic!("{problems:?}"));
        for alert in ["charges_degraded", "orders_failing"] {
            registry.alert(alert);
        }
        let ledger = Arc::<Ledger>::default();
        let service = Arc::new(Service::new(&registry, &ledger, is_broken));
        let load = tokio::spawn(async move {
            for number in 0_u64.. {
                tokio::time::sleep(Duration::from_secs(1) / orders_per_second).await;
                let service = Arc::clone(&service);
                // Some customers repeat an earlier order.
                let number = if number.is_multiple_of(7) { number / 7 } else { number };
                // The outcome is in the statistics.
                tokio::spawn(async move { service.order(number).await });
            }
        });
        let watched = registry.watch_alerts();
        let alerts = tokio::spawn(async move { match watched.await {} });
        Self { registry, ledger, tasks: vec![load, alerts] }
    }
}

/// The functions of the service.
struct Service {
    order: Pipeline,
    charge: Pipeline,
    exchange: Pipeline,
    ledger: Arc<Ledger>,
    has_fallback: bool,
}

impl Service {
    fn new(registry: &Registry, ledger: &Arc<Ledger>, broken: Broken) -> Self {
        let has_fallback = broken != Broken::Fallback;
        let charge = registry
            .pipeline("charge")
            .idempotency("orders")
            .circuit_breaker("payment")
            .retry("payment")
            .bulkhead("gateway")
            .timeout("payment");
        registry.pipeline("ping").circuit_breaker("payment").build();
        Self {
            order: registry.pipeline("order").load_shed("orders").rate_limit("customers").build(),
            charge: if has_fallback { charge.fallback("charge") } else { charge }.build(),
            exchange: registry
                .pipeline("exchange")
                .circuit_breaker("payment")
                .timeout("rates")
                .fallback("exchange")
                .build(),
            ledger: Arc::clone(ledger),
            has_fallback,
        }
    }

    async fn order(&self, number: u64) -> Result<&'static str, ChargeError> {
        let customer = number % 10;
        let work = || async {
            self.exchange().await?;
            self.charge(number).await
        };
        self.order.request().rate_key(&customer).judge(Verdict::by_class).call_async(work).await
    }

    /// Charges an order once. If that fails, it is queued.
    async fn charge(&self, number: u64) -> Result<&'static str, ChargeError> {
        let work = || async {
            gateway().await;
            *self.ledger.lock().unwrap().entry(number).or_default() += 1;
            Ok("charged".to_owned())
        };
        let queue = |failure: &Failure<ChargeError>| {
            let own = failure.rejection().filter(|rejection| {
                matches!(rejection.kind(), RejectionKind::KeyReused | RejectionKind::InProgress)
            });
            let answer =
                own.map_or_else(|| Ok("queued".to_owned()), |rejection| Err(rejection.clone().into()));
            std::future::ready(answer)
        };
        let request = self.charge.request().judge(Verdict::by_class);
        let answer: Result<String, ChargeError> = if self.has_fallback {
            request.fallback(|| AsyncChain::of(Level::Default, queue)).key(&number).call_async(work).await
        } else {
            request.key(&number).call_async(work).await
        };
        answer.map(|answer| if answer == "charged" { "charged" } else { "queued" })
    }

    async fn exchange(&self) -> Result<f64, ChargeError> {
        let work = || async {
            {
                gateway().await;
                Ok(0.86)
            }
        };
        let known = |_: &Failure<ChargeError>| std::future::ready(Ok(1.0));
        let chain = || AsyncChain::of(Level::Default, known);
        self.exchange.request().judge(Verdict::by_class).fallback(chain).call_async(work).await
    }
}

/// A call to the gateway, which takes 20 ms.
async fn gateway() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}
