//! Timeouts, deadlines and adaptive attempt timeouts.

use std::time::Duration;

use async_trait::async_trait;
use resilient_runtime::clock::Clock;
use resilient_runtime::deadline::{self, Deadline};
use resilient_runtime::{Component, Registry, Rejection, RejectionKind, resilient};

struct Gateway {
    registry: Registry,
    reads: u32,
}

#[async_trait]
trait Reach {
    async fn reach<T: Clone + Send + Sync>(&self, value: T) -> Result<T, Rejection>;
}

#[async_trait]
impl Reach for Gateway {
    #[resilient(registry = self.registry, timeout("gateway", total = "9s", attempt = "5s", connect = "300ms", read = "1s"))]
    async fn reach<T: Clone + Send + Sync>(&self, value: T) -> Result<T, Rejection> {
        deadline::connect(std::future::pending::<Result<(), Rejection>>()).await?;
        Ok(value)
    }
}

impl Gateway {
    #[resilient(registry = self.registry, timeout("gateway", total = "9s", attempt = "5s", connect = "300ms", read = "1s"))]
    async fn read(&mut self) -> Result<Duration, Rejection> {
        self.reads += 1;
        deadline::connect(async { Ok::<_, Rejection>(()) }).await?;
        deadline::read(std::future::pending()).await
    }

    #[resilient(registry = self.registry, timeout("usual"))]
    async fn left(self) -> Result<Duration, Rejection> {
        Ok(deadline::remaining().unwrap_or_default())
    }
}

fn gateway() -> Gateway {
    Gateway { registry: Registry::with_clock(Clock::tokio()), reads: 0 }
}

#[tokio::test(start_paused = true)]
async fn connect_and_read_use_the_limits_of_the_attribute() {
    let (mut gateway, start) = (gateway(), tokio::time::Instant::now());
    let rejection = gateway.reach("x").await.unwrap_err();
    assert_eq!((rejection.kind(), rejection.component()), (RejectionKind::ConnectTimeout, "gateway"));
    assert!((300..310).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    assert_eq!(gateway.read().await.unwrap_err().kind(), RejectionKind::ReadTimeout);
    assert_eq!(gateway.reads, 1);
    let stats = gateway.registry.timeout("gateway").stats();
    assert_eq!((stats.connect_timeouts, stats.read_timeouts, stats.attempt_timeouts), (1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_timeout_without_settings_uses_the_defaults() {
    let gateway = gateway();
    let stats = gateway.registry.timeout("usual").stats();
    let hierarchy = [stats.total, stats.read, stats.connect];
    let [minute, half, three] = [60, 30, 3].map(Duration::from_secs);
    assert_eq!(hierarchy, [Some(minute), Some(half), Some(three)]);
    assert_eq!(gateway.left().await, Ok(minute));
}

#[tokio::test(start_paused = true)]
async fn a_server_deadline_applies_to_annotated_functions_and_their_tasks() {
    let within = Deadline::after_on(&Clock::tokio(), Duration::from_millis(40));
    let left = within.clone().scope_async(gateway().left()).await.unwrap();
    assert_eq!(left, Duration::from_millis(40));
    let taken = within
        .scope_async(async { Deadline::current().map(|deadline| deadline.scope_async(gateway().left())) });
    let spawned = tokio::spawn(taken.await.unwrap());
    assert_eq!(spawned.await.unwrap(), Ok(Duration::from_millis(40)));
    let over = Deadline::after_on(&Clock::tokio(), Duration::ZERO);
    let rejection = over.scope_async(gateway().left()).await.unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::QueueTimeout);
}

#[resilient(
    registry = registry,
    timeout("learns", attempt = "1s", adaptive(percentile = 90, factor = 2, min = "10ms", max = "2s", min_samples = 10)),
    retry(max = 1, base = "0ms"),
    bulkhead = "learns",
    idempotent
)]
async fn learns<T: Clone>(registry: &Registry, value: T, millis: u64) -> Result<T, Rejection> {
    tokio::time::sleep(Duration::from_millis(millis)).await;
    Ok(value.clone())
}

#[tokio::test(start_paused = true)]
async fn an_adaptive_attempt_timeout_follows_the_measured_latency() {
    // T73
    let registry = Registry::with_clock(Clock::tokio());
    let limit = || registry.timeout("learns").stats().attempt.unwrap();
    assert_eq!(learns(&registry, "x", 100).await, Ok("x"));
    assert_eq!(
        limit(),
        Duration::from_secs(1),
        "the value of the attribute, until ten attempts were measured"
    );
    for _ in 0..40 {
        assert_eq!(learns(&registry, "x", 100).await, Ok("x"));
    }
    assert!((195..210).contains(&limit().as_millis()), "twice 100 ms: {:?}", limit());
    let rejection = learns(&registry, (), 600).await.unwrap_err();
    assert_eq!((rejection.kind(), rejection.component()), (RejectionKind::AttemptTimeout, "learns"));
    let stats = registry.timeout("learns").stats();
    let known = stats.adaptive.unwrap();
    assert_eq!((known.samples, known.censored, stats.attempt_timeouts), (43, 2, 2));
    let operation = registry.stats().operations.into_keys().next().unwrap();
    let explained = registry.explain(&operation).unwrap().to_string();
    assert!(explained.contains("percentile = 90  (attribute)"), "{explained}");
}

#[tokio::test(start_paused = true)]
async fn adaptive_is_enabled_by_the_word_or_by_a_flag() {
    #[resilient(registry = registry, timeout(adaptive, total = "5s"))]
    async fn on(registry: &Registry) -> Option<Duration> {
        registry.stats().timeout.values().next()?.attempt
    }
    #[resilient(registry = registry, timeout(total = "5s", adaptive = false))]
    async fn off(registry: &Registry) -> Option<Duration> {
        registry.stats().timeout.values().next()?.attempt
    }
    let fresh = || Registry::with_clock(Clock::tokio());
    assert_eq!(on(&fresh()).await, Some(Duration::from_secs(30)));
    assert_eq!(off(&fresh()).await, None);
}

#[tokio::test(start_paused = true)]
async fn adaptive_can_replace_a_fixed_limit() {
    #[resilient(registry = registry, timeout(attempt = adaptive(percentile = 90, min = "10ms"), total = "5s"), name = "adapts")]
    async fn adapts(registry: &Registry) -> Option<bool> {
        Some(registry.stats().timeout.values().next()?.adaptive.is_some())
    }
    #[resilient(registry = registry, timeout(attempt = adaptive), bulkhead("found", max_concurrent = adaptive(max = 7)))]
    async fn found(registry: &Registry) -> Option<bool> {
        Some(registry.stats().timeout.values().next()?.adaptive.is_some())
    }
    assert_eq!(adapts(&Registry::with_clock(Clock::tokio())).await, Some(true));
    let registry = Registry::with_clock(Clock::tokio());
    assert_eq!(found(&registry).await, Some(true));
    let explained = registry.explain(registry.stats().operations.keys().next().unwrap()).unwrap().to_string();
    assert!(explained.contains("percentile") && explained.contains('7'), "{explained}");
}

#[tokio::test(start_paused = true)]
async fn a_timeout_has_a_total_unless_it_is_none() {
    #[resilient(registry = registry, timeout(attempt = "5s"), retry("often", max = 99, base = "1s"), idempotent)]
    async fn usual(registry: &Registry) -> Result<(), Rejection> {
        std::future::pending().await
    }
    #[resilient(registry = registry, timeout("endless", total = none, attempt = "90s", read = "2m"))]
    async fn endless(registry: &Registry) -> Result<Option<Duration>, Rejection> {
        tokio::time::sleep(Duration::from_secs(80)).await;
        Ok(deadline::remaining())
    }
    #[resilient(registry = registry, timeout("quiet", total = "none", connect = none, read = none))]
    async fn quiet(registry: &Registry) -> Result<(), Rejection> {
        deadline::read_timeout(tokio::time::sleep(Duration::from_hours(2))).await
    }
    let (registry, start) = (Registry::with_clock(Clock::tokio()), tokio::time::Instant::now());
    assert!(usual(&registry).await.unwrap_err().is_timeout());
    assert!((55..=60).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert_eq!(endless(&registry).await, Ok(None));
    assert_eq!(registry.timeout("endless").config().total, None);
    assert_eq!(quiet(&registry).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_late_stream_item_is_an_error() {
    #[resilient(registry = registry, timeout("stream", read = "1s"))]
    async fn all(
        registry: &Registry,
        lines: &mut tokio::sync::mpsc::Receiver<u32>,
    ) -> Result<Vec<u32>, Rejection> {
        let mut all = Vec::new();
        while let Some(line) = deadline::read_timeout(lines.recv()).await? {
            all.push(line);
        }
        Ok(all)
    }
    let registry = Registry::with_clock(Clock::tokio());
    let (send, mut lines) = tokio::sync::mpsc::channel(4);
    send.send(1).await.unwrap();
    assert_eq!(all(&registry, &mut lines).await.unwrap_err().kind(), RejectionKind::ReadTimeout);
    send.send(2).await.unwrap();
    drop(send);
    assert_eq!(all(&registry, &mut lines).await, Ok(vec![2]));
}
