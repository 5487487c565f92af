//! The built-in distributed cache in functions of every kind.

use std::cell::Cell;
use std::sync::Arc;
use std::time::{Duration, Instant};

use resilient_runtime::chaos::Fault;
use resilient_runtime::clock::{Clock, ManualClock};
use resilient_runtime::fallback::{DistributedCacheStats, MemoryCache};
use resilient_runtime::{Class, Component, Degradation, Degraded, Level, Registry, Rejection, resilient};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{E, tick};

/// One instance of a service. All instances share a store.
struct Shop {
    registry: Registry,
    up: Cell<Option<u32>>,
}

impl Shop {
    fn on(clock: Clock, store: &Arc<MemoryCache>) -> Self {
        let registry = Registry::with_clock(clock);
        registry.use_store("shared", Arc::clone(store));
        Self { registry, up: Cell::new(None) }
    }

    fn ask(&self) -> Result<u32, E> {
        self.up.get().ok_or(E::Bad)
    }

    #[resilient(
        registry = self.registry,
        retry(max = 1, base = "0ms"),
        fallback(distributed_cache(store = "shared", key = item, max_age = "10m", timeout = "1s")),
        name = "price"
    )]
    fn price(&self, item: &str) -> Result<u32, E> {
        Ok(self.ask()? + u32::try_from(item.len()).unwrap_or(0))
    }

    #[resilient(
        registry = self.registry,
        timeout = "10s",
        fallback(
            local_cache(max_age = "1s", key = (&item, 7)),
            distributed_cache(store = "shared", key = (&item, 7), max_age = "10m", reread_after = "0s", remember_absent = "5s"),
            backup = Err(E::Bad),
        ),
        name = "price later"
    )]
    async fn price_later(&self, item: String) -> Result<Option<u32>, E> {
        tick().await;
        drop(item);
        self.up.get().map(|n| (n > 0).then_some(n)).ok_or(E::Bad)
    }

    #[resilient(
        registry = self.registry,
        circuit_breaker = "x",
        fallback(distributed_cache(store = "shared", key = (), max_age = "1m"), default = 0),
        name = "plain"
    )]
    fn plain(&self) -> u32 {
        self.up.get().unwrap_or(1)
    }

    #[resilient(registry = self.registry, retry(max = 1, base = "0ms"), fallback(distributed_cache(max_age = "1m", store = "shared", key = ())), name = "optional")]
    async fn optional(&self) -> Option<u32> {
        self.up.get()
    }

    #[resilient(
        registry = self.registry,
        retry(max = 1, base = "0ms"),
        fallback(distributed_cache(store = "shared", key = (), max_age = "1m"), default = Ok(Degraded::fresh(1))),
        name = "marked"
    )]
    fn marked(&self) -> Result<Degraded<u32>, E> {
        self.ask().map(Degraded::fresh)
    }

    #[resilient(registry = self.registry, retry(max = 1, base = "0ms"), fallback(distributed_cache(store = "shared", key = (), max_age = "1m")), name = "generic")]
    fn generic<T: From<u32> + Serialize + DeserializeOwned>(&self) -> Result<T, E> {
        self.ask().map(T::from)
    }

    /// The result depends on a type that is not in it.
    #[resilient(registry = self.registry, retry(max = 1, base = "0ms"), fallback(distributed_cache(store = "shared", key = (), max_age = "1m")), name = "region")]
    async fn in_region<R: Region>(&self, of: &[R]) -> Result<u32, E> {
        let _ = of;
        tick().await;
        self.ask().map(|rate| rate + R::SURCHARGE)
    }

    #[resilient(registry = self.registry, retry(max = 1, base = "0ms"), fallback(distributed_cache(store = "shared", key = (), max_age = "1m")), name = "size")]
    fn of_size<const N: u32>(&self) -> Result<u32, E> {
        self.ask().map(|rate| rate + N)
    }

    /// The same name as another function.
    #[resilient(registry = self.registry, retry(max = 1, base = "0ms"), fallback(distributed_cache(store = "shared", key = item, max_age = "10m")), name = "price")]
    fn discount(&self, item: &str) -> Result<u32, E> {
        let _ = item;
        self.ask()
    }

    /// A result computed from a degraded result is not stored.
    #[resilient(registry = self.registry, retry(max = 1, base = "0ms"), fallback(distributed_cache(store = "shared", key = (), max_age = "1m")), name = "around")]
    async fn around(&self) -> Result<Degraded<u32>, E> {
        let inner = self.marked();
        tick().await;
        inner
    }

    #[resilient(registry = self.registry, retry(max = 1, base = "0ms"), fallback(distributed_cache(store = "shared", key = (), max_age = "1m")), name = "outer")]
    fn outer(&self) -> Result<u32, E> {
        Ok(self.plain())
    }

    #[track_caller]
    fn cache(&self, name: &str) -> DistributedCacheStats {
        let stats = || self.registry.fallback(name).stats().distributed_cache.unwrap_or_default();
        let start = Instant::now();
        while stats().queued_writes > 0 {
            assert!(start.elapsed() < Duration::from_secs(20), "a value is not written");
            std::thread::yield_now();
        }
        stats()
    }
}

trait Region {
    const SURCHARGE: u32;
}

struct Near;
impl Region for Near {
    const SURCHARGE: u32 = 1;
}

struct Far;
impl Region for Far {
    const SURCHARGE: u32 = 2;
}

impl<R: Region> Region for Option<R> {
    const SURCHARGE: u32 = 10 + R::SURCHARGE;
}

/// A method of a generic type.
struct Branch<'a, R>(&'a Shop, std::marker::PhantomData<R>);

impl<R: Region> Branch<'_, R> {
    #[resilient(registry = self.0.registry, retry(max = 1, base = "0ms"), fallback(distributed_cache(store = "shared", key = (), max_age = "1m")), name = "branch")]
    fn rate(&self) -> Result<u32, E> {
        self.0.ask().map(|rate| rate + R::SURCHARGE)
    }
}

#[tokio::test]
async fn functions_with_other_type_parameters_do_not_share_results() {
    // T188
    let (_, _, [one, other]) = two_shops();
    for (shop, up) in [(&one, Some(5)), (&other, None)] {
        shop.up.set(up);
        assert_eq!((shop.of_size::<1>(), shop.of_size::<2>()), (Ok(6), Ok(7)));
        assert_eq!((shop.in_region::<Near>(&[]).await, shop.in_region::<Far>(&[]).await), (Ok(6), Ok(7)));
        assert_eq!(shop.in_region::<Option<Far>>(&[]).await, Ok(17));
        assert_eq!(
            (
                Branch::<Near>(shop, std::marker::PhantomData).rate(),
                Branch::<Far>(shop, std::marker::PhantomData).rate()
            ),
            (Ok(6), Ok(7))
        );
        for name in ["size", "region", "branch"] {
            shop.cache(name);
        }
    }
    assert_eq!(other.of_size::<3>(), Err(E::Bad));
}

fn two_shops() -> (ManualClock, Arc<MemoryCache>, [Shop; 2]) {
    let time = ManualClock::new();
    let store = Arc::new(MemoryCache::new(time.clock(), 1000));
    let shops = [Shop::on(time.clock(), &store), Shop::on(time.clock(), &store)];
    (time, store, shops)
}

#[tokio::test]
async fn functions_of_every_kind_share_their_results() {
    // T188
    let (time, _, [one, other]) = two_shops();
    one.up.set(Some(5));
    assert_eq!((one.price("ham"), one.plain(), one.optional().await), (Ok(8), 5, Some(5)));
    assert_eq!(one.price_later("ham".to_owned()).await, Ok(Some(5)));
    assert_eq!((one.generic(), one.generic()), (Ok(5_u32), Ok(5_u64)));
    for name in ["price", "plain", "optional", "price later", "generic"] {
        assert!(one.cache(name).written > 0, "{name}");
    }
    time.advance(Duration::from_secs(30));
    other.registry.circuit_breaker("x").force_open();
    assert_eq!((other.price("ham"), other.price("egg")), (Ok(8), Err(E::Bad)));
    assert_eq!((other.plain(), other.optional().await), (5, Some(5)));
    assert_eq!((other.generic(), other.generic()), (Ok(5_u32), Ok(5_u64)));
    let (found, degraded) = Degradation::scope(other.price_later("ham".to_owned())).await;
    let (level, age) = degraded.map(|it| (it.level, it.age)).unwrap();
    assert_eq!((found, level), (Ok(Some(5)), Level::DistributedCache));
    assert_eq!(age, Some(Duration::from_secs(30)));
    for _ in 0..2 {
        assert_eq!(other.price_later("egg".to_owned()).await, Err(E::Bad));
    }
    let stats = other.cache("price later");
    assert_eq!((stats.hits, stats.misses, stats.absent_hits), (1, 1, 1));
    assert_eq!(other.discount("ham"), Err(E::Bad), "a function of the same name has values of its own");
    time.advance(Duration::from_secs(31));
    assert_eq!((other.plain(), other.price("ham")), (0, Ok(8)), "older than 1 min, not than 10 min");
}

#[tokio::test]
async fn a_degraded_value_from_another_instance_reports_its_level_and_age() {
    // T98
    let (time, _, [one, other]) = two_shops();
    one.up.set(Some(5));
    assert!(!one.marked().unwrap().is_degraded());
    assert_eq!(one.cache("marked").written, 1);
    time.advance(Duration::from_secs(3));
    let found = other.marked().unwrap();
    assert_eq!((*found, found.level()), (5, Some(Level::DistributedCache)));
    assert_eq!((found.age(), found.reason()), (Some(Duration::from_secs(3)), Some("bad")));
}

#[tokio::test]
async fn fallback_results_and_injected_results_are_not_stored() {
    // T114
    let (_, store, [shop, _]) = two_shops();
    // From a default, from another function's default, and with a mark.
    assert_eq!(
        (shop.marked().unwrap().level(), shop.around().await.unwrap().level()),
        (Some(Level::Default), Some(Level::Default))
    );
    shop.registry.circuit_breaker("x").force_open();
    assert_eq!((shop.plain(), shop.outer()), (0, Ok(0)));
    shop.registry.circuit_breaker("x").reset();
    shop.up.set(Some(5));
    for class in [Class::Permanent, Class::TRANSIENT, Class::UNCERTAIN] {
        let fault = shop.registry.chaos().inject(Fault::error(class).on("optional")).unwrap();
        assert_eq!(shop.optional().await, None);
        drop(fault);
    }
    assert_eq!(store.len(), 0);
    for name in ["marked", "around", "plain", "outer", "optional"] {
        assert_eq!(shop.cache(name).in_memory, 0, "{name}");
    }
    assert_eq!((shop.optional().await, shop.cache("optional").written), (Some(5), 1));
    let _fault = shop.registry.chaos().inject(Fault::error(Class::Permanent).on("optional")).unwrap();
    assert_eq!(shop.optional().await, Some(5), "an injected failure is served from the cache");
}

#[test]
fn the_explanation_shows_the_limits_of_the_level_and_a_missing_store() {
    let (_, _, [shop, _]) = two_shops();
    drop(shop.price("ham"));
    let stage = &shop.registry.explain("price").unwrap().stages[0];
    let level = &stage.levels[0];
    assert_eq!((level.level, level.timeout), (Level::DistributedCache, Some(Duration::from_secs(1))));
    assert_eq!((level.max_age, &*stage.notes), (Some(Duration::from_mins(10)), &[][..]));
    let alone = Shop { registry: Registry::new(), up: Cell::new(None) };
    assert_eq!(alone.price("ham"), Err(E::Bad));
    let note = &alone.registry.explain("price").unwrap().stages[0].notes[0];
    assert!(note.starts_with("the distributed cache is skipped: no store is named `shared`"), "{note}");
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Price {
    cents: u32,
}

#[tokio::test]
async fn the_future_of_a_function_with_a_cache_is_send() {
    #[resilient(
        retry(max = 1, base = "0ms"),
        fallback(distributed_cache(store = "no such store", key = id, max_age = "1m"), default = Ok(Price { cents: 1 })),
        name = "distributed: send"
    )]
    async fn price(id: u32, is_up: bool) -> Result<Price, Rejection> {
        tick().await;
        if is_up {
            return Ok(Price { cents: id });
        }
        let breaker = Registry::new().circuit_breaker("closed");
        breaker.force_open();
        let rejection = breaker.try_acquire().unwrap_err();
        Err(rejection)
    }
    let up = tokio::spawn(price(7, true)).await.unwrap().unwrap();
    let down = tokio::spawn(price(7, false)).await.unwrap().unwrap();
    assert_eq!((up, down), (Price { cents: 7 }, Price { cents: 1 }));
}
