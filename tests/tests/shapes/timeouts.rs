//! Limits of time, and what is left of them.

use std::time::Duration;

use async_trait::async_trait;
use resilient::clock::Clock;
use resilient::deadline::{self, Deadline};
use resilient::{Component, Registry, Rejection, RejectionKind, resilient};

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
async fn a_phase_has_the_limit_of_the_attribute() {
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
async fn a_timeout_that_says_nothing_is_the_hierarchy() {
    let gateway = gateway();
    let stats = gateway.registry.timeout("usual").stats();
    let hierarchy = [stats.total, stats.read, stats.connect];
    let [minute, half, three] = [60, 30, 3].map(Duration::from_secs);
    assert_eq!(hierarchy, [Some(minute), Some(half), Some(three)]);
    assert_eq!(gateway.left().await, Ok(minute));
}

#[tokio::test(start_paused = true)]
async fn a_deadline_that_a_server_opens_holds_in_annotated_functions_and_what_they_spawn() {
    let within = Deadline::after_on(&Clock::tokio(), Duration::from_millis(40));
    let left = within.clone().scope(gateway().left()).await.unwrap();
    assert_eq!(left, Duration::from_millis(40));
    let taken = within.scope(async { Deadline::current().map(|deadline| deadline.scope(gateway().left())) });
    let spawned = tokio::spawn(taken.await.unwrap());
    assert_eq!(spawned.await.unwrap(), Ok(Duration::from_millis(40)));
    let over = Deadline::after_on(&Clock::tokio(), Duration::ZERO);
    let rejection = over.scope(gateway().left()).await.unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::QueueTimeout);
}
