//! Load shedding on functions of every shape.

use std::time::Duration;

use async_trait::async_trait;
use resilient_runtime::clock::{Clock, Instant, ManualClock};
use resilient_runtime::load_shed::LoadShedder;
use resilient_runtime::{Component, Priority, Registry, Rejection, RejectionKind, registry, resilient};

use super::{E, tick};

type Outcome = Result<u32, E>;

#[resilient(load_shed("shed: sync", adaptive = false, max_in_flight = 10), priority = high)]
fn sync(n: u32) -> Outcome {
    Ok(n + in_flight("shed: sync"))
}

#[resilient(load_shed("shed: async", adaptive = false, max_in_flight = 10))]
async fn asynchronous(n: u32) -> Outcome {
    tick().await;
    Ok(n + in_flight("shed: async"))
}

#[resilient(load_shed = "shed: option", priority = if urgent { Priority::Critical } else { Priority::Low })]
fn option<T: Clone + Send>(value: &T, urgent: bool) -> Option<T> {
    Some(value.clone()).filter(|_| urgent)
}

#[resilient(load_shed("shed: answered", adaptive = false, max_in_flight = 1), fallback = 99)]
fn answered(n: u32) -> u32 {
    n
}

#[resilient(load_shed("shed: mapped", adaptive = false, max_in_flight = 1), map_err = |shed: Rejection| shed.to_string())]
async fn mapped(n: u32) -> Result<u32, String> {
    tick().await;
    Ok(n)
}

fn in_flight(name: &str) -> u32 {
    registry().load_shedder(name).stats().in_flight
}

fn shed<T: std::fmt::Debug>(outcome: &Result<T, E>) -> bool {
    matches!(outcome, Err(E::Rejected(rejection)) if rejection.kind() == RejectionKind::Shed)
}

#[test]
fn a_synchronous_function_is_shed_by_priority() {
    let shedder = registry().load_shedder("shed: sync");
    assert_eq!(sync(1), Ok(2));
    let held: Vec<_> = (0..8).map(|_| shedder.try_acquire().unwrap()).collect();
    assert_eq!(sync(1), Ok(10), "the ninth call, of high priority");
    let ninth = shedder.try_acquire_as(Priority::High).unwrap();
    assert!(shed(&sync(1)));
    drop((held, ninth));
    assert_eq!(in_flight("shed: sync"), 0);
}

#[tokio::test]
async fn an_asynchronous_function_is_in_flight_until_it_is_dropped() {
    // T146
    let shedder = registry().load_shedder("shed: async");
    assert_eq!(asynchronous(1).await, Ok(2));
    let mut call = Box::pin(asynchronous(1));
    assert!(futures_poll(&mut call).is_none());
    assert_eq!(shedder.stats().in_flight, 1);
    drop(call);
    assert_eq!(shedder.stats().in_flight, 0);
    let _held: Vec<_> = (0..8).map(|_| shedder.try_acquire().unwrap()).collect();
    assert!(shed(&asynchronous(1).await));
}

fn futures_poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(future).poll(&mut cx) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn functions_of_any_return_type_can_be_shed() {
    assert_eq!(option(&"x", true), Some("x"));
    assert_eq!(option(&"x", false), None);
    let stats = registry().load_shedder("shed: option").stats();
    assert_eq!((stats.classes.critical.admitted, stats.classes.low.admitted), (1, 1));

    let (plain, mapping) =
        (registry().load_shedder("shed: answered"), registry().load_shedder("shed: mapped"));
    assert_eq!((answered(1), mapped(1).await), (1, Ok(1)));
    let _held = (plain.try_acquire().unwrap(), mapping.try_acquire().unwrap());
    assert_eq!(answered(1), 99);
    let told = mapped(1).await.unwrap_err();
    assert!(told.starts_with("load shedder `shed: mapped` is shedding load; try again in "), "{told}");
}

struct Request<'a> {
    arrived: Instant,
    user: &'a str,
}

struct Server {
    registry: Registry,
}

impl Server {
    #[resilient(
        registry = self.registry,
        load_shed("api", target_delay = "5ms", interval = "10ms", adaptive = false, arrived_at = request.arrived),
        priority = if request.user == "root" { Priority::Critical } else { Priority::Low },
    )]
    fn handle(&self, request: &Request<'_>) -> Outcome {
        Ok(u32::try_from(request.user.len()).unwrap_or(0))
    }

    #[resilient(
        registry = self.registry,
        load_shed("all", throttle(factor = 1.5, window = "1m", floor = "20%"), share(low = 0.3), target_latency = "50ms"),
        priority = low,
        retry(max = 2, base = "0ms"),
        circuit_breaker = "all",
        hedge(after = "10s"),
        bulkhead = "all",
        timeout = "2s",
        coalesce(key = id),
        idempotent,
        fallback = |_| Ok(98),
    )]
    async fn all(&self, id: u32) -> Result<u32, Shared> {
        tick().await;
        if id > 0 { Ok(id) } else { Err(Shared) }
    }

    fn shedder(&self, name: &str) -> std::sync::Arc<LoadShedder> {
        self.registry.load_shedder(name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Shared;

impl From<Rejection> for Shared {
    fn from(_: Rejection) -> Self {
        Self
    }
}

#[test]
fn arrived_at_sets_the_arrival_of_the_request() {
    let time = ManualClock::new();
    let server = Server { registry: Registry::with_clock(time.clock()) };
    let handle = |user: &str| {
        let request = Request { arrived: time.clock().now(), user };
        time.advance(Duration::from_millis(8));
        server.handle(&request)
    };
    assert_eq!(handle("ada"), Ok(3));
    assert_eq!(handle("ada"), Ok(3));
    assert!(shed(&handle("ada")), "each request of a whole interval waited for 8 ms");
    assert_eq!(handle("root"), Ok(4));
    assert_eq!(server.shedder("api").stats().shed_by.delay, 1);
}

#[tokio::test(start_paused = true)]
async fn shedding_runs_after_coalescing_and_timeout_and_before_the_other_stages() {
    let server = Server { registry: Registry::with_clock(Clock::tokio()) };
    let (a, b) = tokio::join!(server.all(1), server.all(1));
    assert_eq!((a, b), (Ok(1), Ok(1)));
    assert_eq!(server.all(0).await, Ok(98));
    let stats = server.shedder("all").stats();
    assert_eq!(
        (stats.in_flight, stats.admitted()),
        (0, 2),
        "a call that shares a result is not counted as load"
    );
    assert_eq!((stats.classes.low.requests, stats.classes.low.accepts), (2, 1));
    let operation = server.registry.stats().operations.into_keys().next().unwrap();
    let explained = server.registry.explain(&operation).unwrap();
    let kinds: Vec<_> = explained.stages.iter().map(|stage| stage.kind.as_str()).collect();
    let order =
        ["fallback", "coalesce", "timeout", "load_shed", "retry", "hedge", "circuit_breaker", "bulkhead"];
    assert_eq!(kinds, order);
    let text = explained.to_string();
    for setting in ["throttle = true", "throttle_factor = 1.5", "throttle_floor = 20 %", "share_low = 30 %"] {
        assert!(text.contains(&format!("{setting}  (attribute)")), "{text}");
    }
}

#[async_trait]
trait Store {
    async fn get(&self, key: &str) -> Outcome;
}

struct Disk;

#[async_trait]
impl Store for Disk {
    #[resilient(load_shed("shed: trait", throttle), priority = normal)]
    async fn get(&self, key: &str) -> Outcome {
        tick().await;
        key.parse().map_err(E::from)
    }
}

trait Native {
    fn get(&self, key: &str) -> impl Future<Output = Outcome> + Send;
}

impl Native for Disk {
    #[resilient(load_shed = "shed: trait")]
    async fn get(&self, key: &str) -> Outcome {
        tick().await;
        key.parse().map_err(E::from)
    }
}

#[tokio::test]
async fn trait_methods_can_be_shed() {
    let boxed: Box<dyn Store + Send + Sync> = Box::new(Disk);
    assert_eq!(boxed.get("7").await, Ok(7));
    assert!(boxed.get("x").await.is_err());
    assert_eq!(Native::get(&Disk, "8").await, Ok(8));
    let stats = registry().load_shedder("shed: trait").stats();
    assert_eq!((stats.classes.normal.requests, stats.classes.normal.accepts, stats.in_flight), (3, 2, 0));
}

fn is_send<T: Send>(_: &T) {}

#[test]
fn the_futures_are_send() {
    // T152
    let server = Server { registry: Registry::new() };
    is_send(&asynchronous(1));
    is_send(&server.all(1));
    is_send(&Native::get(&Disk, "8"));
}
