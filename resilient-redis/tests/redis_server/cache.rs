//! The distributed cache of a fallback on a real server.

use std::cell::Cell;
use std::time::{Duration, Instant};

use resilient_redis::{LARGEST_VALUE, RedisStore};
use resilient_runtime::fallback::{CacheEntry, CacheStore};
use resilient_runtime::store::{self, StoreError};
use resilient_runtime::{Component, Degradation, Level, Registry, Rejection, resilient};

use crate::HOUR;
use crate::server::{PATIENCE, Server};

/// One instance of a service that asks a bank for rates.
struct Instance {
    registry: Registry,
    bank: Cell<Option<u32>>,
}

impl Instance {
    fn new(server: &Server) -> Self {
        Self::with(server.store())
    }

    fn with(redis: RedisStore) -> Self {
        let registry = Registry::new();
        registry.use_store("shared", redis);
        Self { registry, bank: Cell::new(None) }
    }

    #[resilient(
        registry = self.registry,
        circuit_breaker("bank", failure_threshold = 1000),
        fallback(
            distributed_cache(store = "shared", key = currency, max_age = "1h", reread_after = "0s", timeout = "500ms"),
            default = Ok(1),
        ),
        name = "rate"
    )]
    async fn rate(&self, currency: &str) -> Result<u32, Rejection> {
        match self.bank.get() {
            Some(rate) => Ok(rate),
            None => Err(self.registry.circuit_breaker("closed bank").try_acquire().unwrap_err()),
        }
    }

    /// Whether the rate came from the distributed cache.
    async fn cached_rate(&self, currency: &str) -> (u32, Option<Level>) {
        self.registry.circuit_breaker("closed bank").force_open();
        let (rate, degraded) = Degradation::scope(self.rate(currency)).await;
        (rate.unwrap(), degraded.map(|degraded| degraded.level))
    }

    /// Calls the bank, and waits until the rate is in Redis.
    async fn learn(&self, currency: &str, rate: u32) {
        self.bank.set(Some(rate));
        let written = self.stats().map_or(0, |stats| stats.written);
        assert_eq!(self.rate(currency).await.unwrap(), rate);
        self.bank.set(None);
        until(async || self.stats().is_some_and(|stats| stats.written > written)).await;
    }

    fn stats(&self) -> Option<resilient_runtime::fallback::DistributedCacheStats> {
        self.registry.fallback("rate").stats().distributed_cache
    }
}

async fn until(condition: impl AsyncFn() -> bool) {
    let start = Instant::now();
    while !condition().await {
        assert!(start.elapsed() < PATIENCE, "it does not happen");
        tokio::task::yield_now().await;
    }
}

const CACHED: fn(u32) -> (u32, Option<Level>) = |rate| (rate, Some(Level::DistributedCache));
const DEFAULT: (u32, Option<Level>) = (1, Some(Level::Default));

fn fresh(value: Vec<u8>) -> CacheEntry {
    CacheEntry::new(value, Duration::ZERO)
}

/// The only key in the cache.
async fn only_key(server: &Server) -> String {
    let mut admin = server.admin().await;
    let keys: Vec<String> = redis::cmd("KEYS").arg("*:cache:*").query_async(&mut admin).await.unwrap();
    assert_eq!(keys.len(), 1);
    keys[0].clone()
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn it_keeps_every_rule_of_a_cache() {
    let server = Server::start(&[]).await;
    let pass = async |span| tokio::time::sleep(span).await;
    resilient_runtime::testing::check_cache_store(&server.store(), pass).await.unwrap();
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn instances_share_values_and_serve_an_outage_of_redis() {
    // T186, T188
    let mut server = Server::start(&[]).await;
    let [one, other, late] = [Instance::new(&server), Instance::new(&server), Instance::new(&server)];
    one.learn("EUR", 11).await;
    assert_eq!((other.cached_rate("EUR").await, other.cached_rate("USD").await), (CACHED(11), DEFAULT));
    one.learn("EUR", 12).await;
    assert_eq!(other.cached_rate("EUR").await, CACHED(12), "`reread_after` is zero");
    let key = only_key(&server).await;
    assert!(key.starts_with("resilient:cache:{") && key.ends_with('}'), "{key}");
    let ttl: i64 = redis::cmd("PTTL").arg(&key).query_async(&mut server.admin().await).await.unwrap();
    assert!((3_000_000..=3_600_000).contains(&ttl), "{ttl}");

    // Redis and the bank are down.
    server.kill();
    let start = Instant::now();
    for _ in 0..20 {
        assert_eq!((other.cached_rate("EUR").await, late.cached_rate("EUR").await), (CACHED(12), DEFAULT));
    }
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    assert!(late.registry.store("shared").stats().degraded, "further reads fail at once");
    // A successful call does not notice.
    one.bank.set(Some(13));
    assert_eq!(one.rate("EUR").await.unwrap(), 13);

    // The values are gone, because this server keeps nothing on its disk.
    server.start_again().await;
    until(async || {
        one.bank.set(Some(14));
        let _ = one.rate("EUR").await;
        late.cached_rate("EUR").await == CACHED(14)
    })
    .await;
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_server_that_hangs_or_evicts_values_leaves_the_chain_within_its_limit() {
    // T186
    let server = Server::start(&[]).await;
    let [one, other] = [Instance::new(&server), Instance::new(&server)];
    other.registry.store("shared").reconfigure(store::Config::default().open_after(3)).unwrap();
    one.learn("EUR", 11).await;
    server.signal("STOP");
    let start = Instant::now();
    for _ in 0..10 {
        assert_eq!((other.cached_rate("EUR").await, one.cached_rate("EUR").await), (DEFAULT, CACHED(11)));
    }
    // The first reads end with the time limit of the store, and the others at once.
    assert!(start.elapsed() < PATIENCE / 2, "{:?}", start.elapsed());
    server.signal("CONT");
    until(async || other.cached_rate("EUR").await == CACHED(11)).await;
    server.run("CONFIG SET maxmemory-policy allkeys-lru").await;
    server.run("CONFIG SET maxmemory 1").await;
    // An eviction happens with the next write.
    one.bank.set(Some(12));
    let _ = one.rate("USD").await;
    let third = Instance::new(&server);
    until(async || third.cached_rate("EUR").await == DEFAULT).await;
    server.run("CONFIG SET maxmemory 0").await;
    until(async || {
        one.bank.set(Some(13));
        let _ = one.rate("EUR").await;
        third.cached_rate("EUR").await == CACHED(13)
    })
    .await;
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_foreign_value_is_not_used_or_changed() {
    // T161, T186
    let server = Server::start(&[]).await;
    let one = Instance::new(&server);
    one.learn("EUR", 11).await;
    let key = only_key(&server).await;
    let mut admin = server.admin().await;
    let good: Vec<u8> = redis::cmd("GET").arg(&key).query_async(&mut admin).await.unwrap();
    let later = [b"RC2", &good[3..]].concat();
    let mut damaged = good.clone();
    damaged.pop();
    let other_type = [&good[..30], b"something else"].concat();
    for foreign in [b"42".to_vec(), b"RC".to_vec(), vec![0xff; 3_000_000], later, damaged, other_type] {
        let () = redis::cmd("SET").arg(&key).arg(&foreign).query_async(&mut admin).await.unwrap();
        let other = Instance::new(&server);
        assert_eq!(other.cached_rate("EUR").await, DEFAULT, "{:?}", &foreign[..foreign.len().min(20)]);
        let stats = other.stats().unwrap();
        assert_eq!((stats.unreadable, stats.failed_reads, stats.hits), (1, 0, 0));
        assert_eq!(other.registry.store("shared").stats().failures, 0);
    }
    for command in ["SET KEY foreign", "HSET KEY a b", "RPUSH KEY a"] {
        server.run("FLUSHALL").await;
        server.run(&command.replace("KEY", &key)).await;
        let failed = one.stats().unwrap().failed_writes;
        one.bank.set(Some(12));
        assert_eq!(one.rate("EUR").await.unwrap(), 12);
        one.bank.set(None);
        until(async || one.stats().unwrap().failed_writes > failed).await;
        let kind: String = redis::cmd("TYPE").arg(&key).query_async(&mut admin).await.unwrap();
        assert_ne!(kind, "none");
        assert_eq!(Instance::new(&server).cached_rate("EUR").await, DEFAULT);
    }
    let foreign: Vec<String> =
        redis::cmd("LRANGE").arg(&key).arg(0).arg(-1).query_async(&mut admin).await.unwrap();
    assert_eq!(foreign, ["a"]);
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_value_that_is_too_large_is_refused() {
    let server = Server::start(&[]).await;
    let store = server.store();
    let largest = vec![7; LARGEST_VALUE];
    assert_eq!(store.put("k", fresh(largest.clone()), HOUR).await, Ok(()));
    let found = store.get("k").await.unwrap().map(|CacheEntry { value, .. }| value);
    assert_eq!(found.map(|value| value.len()), Some(LARGEST_VALUE));
    let refused = store.put("k", fresh([largest, vec![7]].concat()), HOUR).await;
    assert!(
        matches!(&refused, Err(StoreError::Refused(why)) if why.contains("16777217 bytes")),
        "{refused:?}"
    );
    assert_eq!(store.put("k", fresh(Vec::new()), Duration::MAX).await, Ok(()));
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_value_from_the_future_counts_as_absent() {
    // T188
    let server = Server::start(&[]).await;
    let store = server.store();
    store.put("k", fresh(b"1".to_vec()), HOUR).await.unwrap();
    let key = only_key(&server).await;
    let mut admin = server.admin().await;
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(&mut admin).await.unwrap();
    // As after a failover to a server whose clock is behind.
    for (ahead, is_found) in [(0, true), (500_000, true), (3_600_000_000, false), (u64::MAX / 4, false)] {
        let form = format!("RC1{} 1", seconds * 1_000_000 + micros + ahead);
        let () = redis::cmd("SET").arg(&key).arg(form).query_async(&mut admin).await.unwrap();
        assert_eq!(store.get("k").await.unwrap().is_some(), is_found, "{ahead}");
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_value_is_as_old_as_it_was_when_it_was_stored() {
    // T188
    let server = Server::start(&[]).await;
    let store = server.store();
    for age in [Duration::ZERO, Duration::from_micros(1), HOUR, Duration::MAX] {
        let start = Instant::now();
        store.put("k", CacheEntry::new(b"1".to_vec(), age), HOUR).await.unwrap();
        let found = store.get("k").await.unwrap().unwrap().age;
        let expected = age.min(30 * 365 * 24 * HOUR);
        // The time on the server is known to a few milliseconds.
        assert!(found + Duration::from_millis(100) >= expected, "{age:?} {found:?}");
        assert!(found <= expected + start.elapsed() + Duration::from_secs(1), "{age:?} {found:?}");
    }
}
