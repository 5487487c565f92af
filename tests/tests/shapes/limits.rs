//! Rate limits, hedging and coalescing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use resilient_runtime::clock::Clock;
use resilient_runtime::{Component, Priority, Registry, Rejection, RejectionKind, resilient};

/// An error that is `Clone` and has no class.
#[derive(Clone, Debug, thiserror::Error)]
enum Error {
    #[error("down")]
    Down,
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

type Outcome = Result<u32, Error>;

#[resilient(rate_limit("limits_by_key", rate = "2/h", key = user))]
fn search(user: &str) -> Outcome {
    u32::try_from(user.len()).map_err(|_| Error::Down)
}

#[test]
fn each_key_has_its_own_limit() {
    assert!(search("ada").is_ok() && search("ada").is_ok() && search("bob").is_ok());
    let Err(Error::Rejected(rejection)) = search("ada") else { panic!("the third of ada") };
    assert_eq!((rejection.kind(), rejection.component()), (RejectionKind::RateLimited, "limits_by_key"));
    assert!(rejection.retry_after().is_some_and(|span| span > Duration::from_mins(29)));
}

struct Shop {
    registry: Registry,
    asked: AtomicU32,
}

impl Shop {
    #[resilient(
        registry = self.registry,
        rate_limit("weighted", rate = "10/h", burst = 10, key = (user, "orders"), weight = items.len()),
        retry(max = 1, base = "0ms"),
        bulkhead = "weighted",
        priority = if items.is_empty() { Priority::Low } else { Priority::High },
    )]
    async fn order(&self, user: u64, items: Vec<u32>) -> Outcome {
        self.asked.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        if items.contains(&0) { Err(Error::Down) } else { Ok(items.iter().sum()) }
    }

    #[resilient(registry = self.registry, coalesce(key = id), retry(max = 2, base = "0ms"))]
    async fn price(&self, id: u32, currency: String) -> Result<Arc<str>, Error> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        if id == 0 { Err(Error::Down) } else { Ok(format!("{id} {currency}").into()) }
    }

    #[resilient(registry = self.registry, coalesce(key = (id, "s"), share_errors = false), fallback = 7)]
    async fn rating(&self, id: u32) -> u32 {
        self.asked.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        id
    }

    #[resilient(registry = self.registry, coalesce(key = id))]
    fn stock(&self, id: u32) -> Option<u32> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        id.checked_sub(1)
    }

    #[resilient(registry = self.registry, hedge(after = "50ms", max = 2), idempotent)]
    async fn find(&self, word: &str, mut tries: Vec<u32>) -> Result<(String, usize), Rejection> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        tries.push(number);
        tokio::time::sleep(Duration::from_millis(if number == 0 { 900 } else { 10 })).await;
        Ok((format!("{word}{number}"), tries.len()))
    }

    #[resilient(
        registry = self.registry,
        hedge(after = "p95"),
        retry(max = 1, base = "0ms", when = |error: &Error| matches!(error, Error::Down)),
        circuit_breaker = "all",
        rate_limit("all", rate = "1000/s"),
        bulkhead = "all",
        timeout = "2s",
        coalesce(key = id),
        clone(note),
        idempotent,
        fallback = |failure| Ok(if failure.error().is_some() { 99 } else { 98 }),
    )]
    async fn all(&self, id: u32, note: String) -> Result<u32, Error> {
        let number = self.asked.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        drop(note);
        if number < id { Err(Error::Down) } else { Ok(number) }
    }
}

fn shop() -> Shop {
    Shop { registry: Registry::with_clock(Clock::tokio()), asked: AtomicU32::new(0) }
}

#[tokio::test]
async fn the_weight_of_a_call_counts_for_each_attempt() {
    let shop = shop();
    assert_eq!(shop.order(1, vec![1, 2, 3]).await.unwrap(), 6);
    assert!(matches!(shop.order(1, vec![0, 1, 2]).await, Err(Error::Down)));
    assert_eq!(shop.asked.load(Ordering::Relaxed), 3);
    let Err(Error::Rejected(rejection)) = shop.order(1, vec![1, 2]).await else { panic!("9 of 10 are paid") };
    assert_eq!(rejection.kind(), RejectionKind::RateLimited);
    assert!(shop.order(2, vec![1, 2]).await.is_ok());
    assert!(shop.order(3, vec![1; 11]).await.is_err(), "above the limit");
}

#[tokio::test]
async fn equal_calls_share_one_result_of_any_type() {
    let shop = shop();
    let (a, b, c) =
        tokio::join!(shop.price(5, "EUR".into()), shop.price(5, "EUR".into()), shop.price(6, "EUR".into()));
    assert_eq!((a.unwrap(), b.unwrap(), c.unwrap()), ("5 EUR".into(), "5 EUR".into(), "6 EUR".into()));
    assert_eq!(shop.asked.swap(0, Ordering::Relaxed), 2);
    let both = tokio::join!(shop.price(0, String::new()), shop.price(0, String::new()));
    assert!(matches!(both, (Err(Error::Down), Err(Error::Down))));
    assert_eq!(shop.asked.swap(0, Ordering::Relaxed), 3, "three attempts of one call");
    assert_eq!(tokio::join!(shop.rating(3), shop.rating(3)), (3, 3));
    assert_eq!(shop.asked.swap(0, Ordering::Relaxed), 1);
    assert_eq!((shop.stock(3), shop.stock(0)), (Some(2), None));
}

#[tokio::test(start_paused = true)]
async fn a_slow_attempt_is_hedged_with_its_own_arguments() {
    let shop = shop();
    assert_eq!(shop.find("x", Vec::new()).await.unwrap(), ("x1".into(), 1));
    assert_eq!(
        shop.registry.hedge("shapes::limits::Shop::find").stats().sent,
        0,
        "the hedge has another name"
    );
    let sent: u64 = shop.registry.stats().hedge.values().map(|stats| stats.sent).sum();
    assert_eq!(sent, 1);
}

#[tokio::test(start_paused = true)]
async fn all_stages_together() {
    let shop = shop();
    let (a, b) = tokio::join!(shop.all(1, "n".into()), shop.all(1, "n".into()));
    assert_eq!((a.unwrap(), b.unwrap()), (1, 1), "the first attempt failed, the hedge did not");
    assert_eq!(shop.asked.load(Ordering::Relaxed), 2);
    assert_eq!(shop.all(100, "n".into()).await.unwrap(), 99, "the fallback");
    let stats = shop.registry.stats();
    let operation = stats.operations.values().next().unwrap();
    assert_eq!(
        (operation.calls, operation.succeeded, operation.fell_back, operation.in_flight),
        (3, 2, 1, 0)
    );
    assert_eq!(stats.bulkhead["all"].in_use, 0);
    let explained = shop.registry.explain(stats.operations.keys().next().unwrap()).unwrap();
    let kinds: Vec<_> = explained.stages.iter().map(|stage| stage.kind.as_str()).collect();
    let order =
        ["fallback", "coalesce", "timeout", "retry", "hedge", "circuit_breaker", "rate_limit", "bulkhead"];
    assert_eq!(kinds, order);
}

fn is_send<T: Send>(_: &T) {}

#[test]
fn the_futures_are_send() {
    // T152
    let shop = shop();
    is_send(&shop.find("x", Vec::new()));
    is_send(&shop.all(1, String::new()));
    is_send(&shop.price(1, String::new()));
}

#[tokio::test]
async fn calls_with_the_key_none_are_not_shared() {
    #[resilient(registry = registry, coalesce(key = user))]
    async fn page(registry: &Registry, asked: &AtomicU32, user: Option<u32>) -> Result<u32, Error> {
        asked.fetch_add(1, Ordering::Relaxed);
        tokio::task::yield_now().await;
        Ok(user.unwrap_or_default())
    }
    let (registry, asked) = (Registry::new(), AtomicU32::new(0));
    let anonymous = || page(&registry, &asked, None);
    assert!(tokio::join!(anonymous(), anonymous()).1.is_ok());
    assert_eq!(asked.load(Ordering::Relaxed), 2);
    let known = || page(&registry, &asked, Some(1));
    assert!(matches!(tokio::join!(known(), known()), (Ok(1), Ok(1))));
    assert_eq!(asked.load(Ordering::Relaxed), 3, "equal calls share one");
}
