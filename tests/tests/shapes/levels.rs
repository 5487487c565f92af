//! Fallback levels: time limits, the built-in local cache, and degradation reports.

use std::cell::Cell;
use std::time::Duration;

use resilient_runtime::clock::{Clock, ManualClock};
use resilient_runtime::fallback::{self, NoAnswer};
use resilient_runtime::{
    Component, Degradation, Degraded, FallbackFailed, Level, Registry, Rejection, resilient,
};

use crate::{E, tick};

const SECS: fn(u64) -> Duration = Duration::from_secs;

#[derive(Debug, thiserror::Error)]
enum Error {
    #[error("{0} is down")]
    Down(&'static str),
    #[error(transparent)]
    Rejected(#[from] Rejection),
    #[error(transparent)]
    AllFailed(#[from] FallbackFailed),
}

async fn pends() -> Result<u32, Error> {
    std::future::pending().await
}

struct Rates {
    registry: Registry,
    primary: Cell<Option<u32>>,
}

impl Rates {
    fn on(clock: Clock) -> Self {
        Self { registry: Registry::with_clock(clock), primary: Cell::new(None) }
    }

    fn ask(&self) -> Result<u32, Error> {
        self.primary.get().ok_or(Error::Down("primary"))
    }

    #[resilient(
        registry = self.registry,
        timeout = "10s",
        fallback(
            default = Ok(9),
            backup(async |_| pends().await, timeout = "300ms"),
            replica(pends().await, timeout = "100ms"),
            level_timeout = "200ms",
            distributed_cache = pends().await,
            max_concurrent = 10,
        ),
        name = "bounded"
    )]
    async fn bounded(&self) -> Result<u32, Error> {
        tick().await;
        self.ask()
    }

    #[resilient(registry = self.registry, retry(max = 1, base = "0ms"), fallback(backup(pends().await, timeout = "50ms")), name = "last")]
    async fn last(&self) -> Result<u32, Error> {
        self.ask()
    }

    #[resilient(
        registry = self.registry,
        retry(max = 1, base = "0ms"),
        fallback(local_cache(max_age = "10m", key = currency, max_entries = 100), backup = Err(Error::Down("backup"))),
        name = "kept"
    )]
    fn kept(&self, currency: &str) -> Result<u32, Error> {
        Ok(self.ask()? + u32::try_from(currency.len()).unwrap_or(0))
    }

    #[resilient(
        registry = self.registry,
        retry(max = 1, base = "0ms"),
        fallback(local_cache(max_age = "10m", key = (&currency, 7))),
        name = "kept later"
    )]
    async fn kept_later(&self, currency: String) -> Result<Option<u32>, E> {
        tick().await;
        assert_eq!(currency.len(), 3);
        self.primary.get().map(|n| (n > 0).then_some(n)).ok_or(E::Bad)
    }

    #[resilient(
        registry = self.registry,
        circuit_breaker = "x",
        fallback(local_cache(max_age = "1m", key = ()), default = 0),
        name = "plain"
    )]
    fn plain(&self) -> u32 {
        self.primary.get().unwrap_or(1)
    }

    #[resilient(registry = self.registry, retry(max = 1, base = "0ms"), fallback(local_cache(max_age = "1m", key = ())), name = "optional")]
    async fn optional(&self) -> Option<u32> {
        self.primary.get()
    }

    /// A result computed from a degraded result is not stored as a good result.
    #[resilient(registry = self.registry, retry(max = 1, base = "0ms"), fallback(local_cache(max_age = "1h", key = ())), name = "around")]
    async fn around(&self) -> Result<u32, Error> {
        self.bounded().await
    }

    #[resilient(registry = self.registry, retry(max = 1, base = "0ms"), fallback(local_cache(max_age = "1h", key = ())), name = "around sync")]
    fn around_sync(&self) -> Result<u32, Error> {
        self.kept("EUR")
    }

    #[resilient(
        registry = self.registry,
        retry(max = 1, base = "0ms"),
        fallback(local_cache(max_age = "10m", key = ()), default = Ok(Degraded::fresh(1))),
        name = "marked"
    )]
    fn marked(&self) -> Result<Degraded<u32>, Error> {
        self.ask().map(Degraded::fresh)
    }

    #[resilient(registry = self.registry, circuit_breaker = "x", fallback(default = 5.into()), name = "marked plain")]
    async fn marked_plain(&self) -> Degraded<u32> {
        tick().await;
        Degraded::fresh(6)
    }
}

#[tokio::test(start_paused = true)]
async fn each_level_has_its_own_timeout() {
    // T64, T148
    let rates = Rates::on(Clock::tokio());
    let start = tokio::time::Instant::now();
    assert!(matches!(rates.bounded().await, Ok(9)));
    let took = start.elapsed();
    assert!((600..620).contains(&took.as_millis()), "100 + 200 + 300 ms, and not {took:?}");
    let levels = rates.registry.fallback("bounded").stats().levels;
    for level in [Level::Replica, Level::DistributedCache, Level::Backup] {
        assert_eq!((levels[&level].asked, levels[&level].timed_out), (1, 1), "{level}");
    }
    assert_eq!(levels[&Level::Default].served, 1);
}

#[tokio::test(start_paused = true)]
async fn if_the_last_level_times_out_the_error_holds_the_first_error() {
    // T95
    let error = Rates::on(Clock::tokio()).last().await.unwrap_err();
    assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "primary is down");
    let Error::AllFailed(all) = error else { panic!("{error:?}") };
    assert!(matches!(all.last().downcast_ref(), Some(NoAnswer::TimedOut(_))), "{all}");
}

#[test]
fn explain_shows_the_levels_with_their_limits() {
    let rates = Rates::on(ManualClock::new().clock());
    rates.primary.set(Some(1));
    assert!(rates.kept("EUR").is_ok());
    assert!(futures_util::FutureExt::now_or_never(rates.bounded()).is_none());
    let text = rates.registry.explain("bounded").unwrap().to_string();
    for line in [
        "level_timeout = 200ms  (attribute)",
        "replica_timeout = 100ms  (attribute)",
        "max_concurrent = 10  (attribute)",
        "1. replica, timeout 100ms",
        "2. distributed_cache, timeout 200ms",
        "3. backup, timeout 300ms",
        "4. default\n",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
    let kept = rates.registry.explain("kept").unwrap().to_string();
    assert!(kept.contains("1. local_cache, max age 600s\n    2. backup\n"), "{kept}");
}

#[test]
fn the_last_good_result_of_a_key_is_returned_until_it_is_too_old() {
    // T98
    let time = ManualClock::new();
    let rates = Rates::on(time.clock());
    assert!(matches!(rates.kept("EUR"), Err(Error::AllFailed(_))), "nothing is stored yet");
    rates.primary.set(Some(10));
    assert!(matches!((rates.kept("EUR"), rates.kept("CHFR")), (Ok(13), Ok(14))));
    rates.primary.set(None);
    time.advance(SECS(60));
    let (answers, collected) =
        Degradation::collect(|| (rates.kept("EUR"), rates.kept("CHFR"), rates.kept("X")));
    assert!(matches!(answers, (Ok(13), Ok(14), Err(_))), "{answers:?}");
    let degraded = collected.unwrap();
    assert_eq!((degraded.level, degraded.age), (Level::LocalCache, Some(SECS(60))));
    let reason = &degraded.reasons[0];
    assert_eq!((reason.operation, &*reason.text), ("kept", "primary is down"));
    time.advance(SECS(541));
    assert!(rates.kept("EUR").is_err());
    let stats = rates.registry.fallback("kept").stats();
    assert_eq!((stats.levels[&Level::LocalCache].served, stats.cache.stored, stats.cache.stale), (2, 2, 1));
}

#[tokio::test]
async fn false_and_empty_results_of_every_shape_are_cached() {
    // T102
    let rates = Rates::on(ManualClock::new().clock());
    assert_eq!(rates.kept_later("EUR".to_owned()).await, Err(E::Bad));
    for (given, kept) in [(0, None), (5, Some(5))] {
        rates.primary.set(Some(given));
        assert_eq!(rates.kept_later("EUR".to_owned()).await, Ok(kept));
        rates.primary.set(None);
        assert_eq!(rates.kept_later("EUR".to_owned()).await, Ok(kept));
        assert_eq!(rates.kept_later("USD".to_owned()).await, Err(E::Bad));
    }
    rates.primary.set(Some(3));
    assert_eq!((rates.plain(), rates.optional().await), (3, Some(3)));
    rates.primary.set(None);
    rates.registry.circuit_breaker("x").force_open();
    assert_eq!((rates.plain(), rates.optional().await), (3, Some(3)));
    rates.registry.fallback("plain").reset();
    assert_eq!(rates.plain(), 0, "the default");
}

#[tokio::test(start_paused = true)]
async fn results_computed_from_degraded_results_are_not_cached() {
    // T114
    let rates = Rates::on(Clock::tokio());
    assert!(matches!(rates.around().await, Ok(9)), "from a nested default");
    assert_eq!(rates.registry.fallback("around").stats().cache.stored, 0);
    rates.primary.set(Some(1));
    assert!(matches!((rates.around().await, rates.around_sync()), (Ok(1), Ok(4))));
    assert_eq!(rates.registry.fallback("around").stats().cache.stored, 1);
    rates.primary.set(None);
    assert!(matches!(rates.around_sync(), Ok(4)), "from a nested cache");
    assert_eq!(rates.registry.fallback("around sync").stats().cache.stored, 1);
    // The result of a level is not cached either.
    assert_eq!(rates.registry.fallback("bounded").stats().cache.stored, 0);
}

#[tokio::test]
async fn a_degraded_value_reports_its_level() {
    // T98
    let time = ManualClock::new();
    let rates = Rates::on(time.clock());
    let first = rates.marked().unwrap();
    assert_eq!((*first, first.level(), first.reason()), (1, Some(Level::Default), Some("primary is down")));
    rates.primary.set(Some(8));
    assert!(!rates.marked().unwrap().is_degraded());
    rates.primary.set(None);
    time.advance(SECS(2));
    let kept = rates.marked().unwrap();
    assert_eq!((*kept, kept.level(), kept.age()), (8, Some(Level::LocalCache), Some(SECS(2))));
    assert_eq!(rates.marked_plain().await, Degraded::fresh(6));
    rates.registry.circuit_breaker("x").force_open();
    let plain = rates.marked_plain().await;
    assert_eq!((*plain, plain.level()), (5, Some(Level::Default)));
    assert!(plain.reason().unwrap().contains("is open"));
}

#[tokio::test(start_paused = true)]
async fn a_level_can_be_an_annotated_function() {
    #[resilient(registry = registry, timeout("second", total = "10s"), fallback(default = Ok(4)), name = "second")]
    async fn second(registry: &Registry, left: &Cell<Option<Duration>>) -> Result<u32, Error> {
        left.set(resilient_runtime::deadline::remaining());
        pends().await
    }
    #[resilient(
        registry = registry,
        retry(max = 1, base = "0ms"),
        fallback(backup(second(registry, left).await, timeout = "400ms"), default = Ok(5)),
        name = "first"
    )]
    async fn first(registry: &Registry, left: &Cell<Option<Duration>>) -> Result<u32, Error> {
        Err(Error::Down("first"))
    }
    let (registry, left) = (Registry::with_clock(Clock::tokio()), Cell::new(None));
    let (answer, degraded) = Degradation::scope(first(&registry, &left)).await;
    let operations: Vec<_> =
        degraded.unwrap().reasons.iter().map(|reason| (reason.operation, reason.level)).collect();
    // The inner call inherits the time limit of the level, so both expire together; either may report it first.
    assert!(left.get().is_some_and(|span| span <= Duration::from_millis(400)), "{left:?}");
    match answer {
        Ok(4) => assert_eq!(operations, [("second", Level::Default), ("first", Level::Backup)]),
        Ok(5) => assert_eq!(operations, [("first", Level::Default)]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_rejected_level_is_counted_and_the_next_one_is_used() {
    // T97
    #[resilient(
        registry = registry,
        retry(max = 1, base = "0ms"),
        fallback(backup = nested(registry, depth + 1), max_concurrent = 2, default = Ok(depth)),
        name = "nested"
    )]
    fn nested(registry: &Registry, depth: u32) -> Result<u32, E> {
        Err(E::Bad)
    }
    let registry = Registry::new();
    assert_eq!(nested(&registry, 0), Ok(2), "the third nested call was rejected");
    let fallback = registry.fallback("nested");
    let backup = fallback.stats().levels[&Level::Backup];
    assert_eq!((backup.asked, backup.refused, backup.served, fallback.stats().in_flight), (2, 1, 2, 0));
    fallback.reconfigure(fallback::Config::default().max_concurrent(5)).unwrap();
    assert_eq!(nested(&registry, 0), Ok(5), "the new limit applies immediately");
}

#[test]
fn two_functions_of_one_name_do_not_share_cached_results() {
    mod other {
        use super::*;
        #[resilient(registry = registry, retry(max = 1, base = "0ms"), fallback(local_cache(max_age = "1m", key = id)), name = "same")]
        pub(super) fn get(registry: &Registry, id: u32, is_up: bool) -> Result<u32, E> {
            if is_up { Ok(id + 100) } else { Err(E::Bad) }
        }
    }
    #[resilient(registry = registry, retry(max = 1, base = "0ms"), fallback(local_cache(max_age = "1m", key = id)), name = "same")]
    fn get(registry: &Registry, id: u32, is_up: bool) -> Result<u32, E> {
        if is_up { Ok(id) } else { Err(E::Bad) }
    }
    let registry = Registry::new();
    assert_eq!((get(&registry, 1, true), other::get(&registry, 1, false)), (Ok(1), Err(E::Bad)));
    assert_eq!((other::get(&registry, 1, true), get(&registry, 1, false)), (Ok(101), Ok(1)));
}

#[resilient(circuit_breaker = "levels", fallback(local_cache = "10m", default = 1))]
fn without_parameters() -> u32 {
    2
}

#[derive(Clone, Debug, PartialEq, thiserror::Error)]
enum Shareable {
    #[error("down")]
    Down,
    #[error("rejected")]
    Rejected,
}

impl From<Rejection> for Shareable {
    fn from(_: Rejection) -> Self {
        Self::Rejected
    }
}

#[test]
fn functions_with_other_type_parameters_do_not_share_cached_results() {
    #[resilient(
        registry = registry,
        retry(max = 1, base = "0ms"),
        fallback(local_cache(max_age = "1h", key = ())),
        name = "of size"
    )]
    fn of_size<const N: u32>(registry: &Registry, is_up: bool) -> Result<u32, Error> {
        if is_up { Ok(N) } else { Err(Error::Down("primary")) }
    }

    let registry = Registry::new();
    assert_eq!((of_size::<1>(&registry, true).ok(), of_size::<2>(&registry, true).ok()), (Some(1), Some(2)));
    assert_eq!(
        (of_size::<1>(&registry, false).ok(), of_size::<2>(&registry, false).ok()),
        (Some(1), Some(2))
    );
    assert!(of_size::<3>(&registry, false).is_err());
}

#[tokio::test]
async fn a_shared_degraded_result_is_not_cached_and_is_reported_to_all_callers() {
    // T98, T114
    #[resilient(registry = registry, retry(max = 1, base = "0ms"), fallback(backup = Ok(2)), name = "inner")]
    async fn inner(registry: &Registry, is_up: bool) -> Result<u32, Shareable> {
        tick().await;
        if is_up { Ok(1) } else { Err(Shareable::Down) }
    }
    #[resilient(registry = registry, coalesce(key = 7), fallback(local_cache(max_age = "1m", key = 7)), name = "outer")]
    async fn outer(registry: &Registry, is_up: bool) -> Result<u32, Shareable> {
        inner(registry, is_up).await
    }
    let registry = Registry::new();
    let (led, follows) = tokio::join!(
        Degradation::scope(outer(&registry, false)),
        Degradation::scope(outer(&registry, false))
    );
    assert_eq!((led.0, follows.0), (Ok(2), Ok(2)));
    let of = |told: Option<Degradation>| {
        let degraded = told.unwrap();
        (degraded.level, degraded.reasons[0].operation)
    };
    assert_eq!((of(led.1), of(follows.1)), ((Level::Backup, "inner"), (Level::Backup, "outer")));
    assert_eq!(registry.coalesce("outer").stats().shared, 1);
    assert_eq!(registry.fallback("outer").stats().cache.stored, 0);
    let (first, second) =
        tokio::join!(Degradation::scope(outer(&registry, true)), Degradation::scope(outer(&registry, true)));
    assert_eq!((first, second), ((Ok(1), None), (Ok(1), None)));
    assert!(registry.fallback("outer").stats().cache.stored > 0);
}

#[test]
fn degradation_on_a_bulkhead_thread_is_reported_to_the_caller() {
    // T98, T114
    #[resilient(registry = registry, retry(max = 1, base = "0ms"), fallback(default = Ok(2)), name = "pooled inner")]
    fn inner(registry: &Registry) -> Result<u32, E> {
        Err(E::Bad)
    }
    #[resilient(
        registry = registry,
        bulkhead("pooled", threads = 1),
        fallback(local_cache(max_age = "1m", key = ())),
        name = "pooled"
    )]
    fn outer(registry: Registry) -> Result<u32, E> {
        inner(&registry)
    }
    let registry = Registry::new();
    let (answer, degraded) = Degradation::collect(|| outer(registry.clone()));
    assert_eq!((answer, degraded.unwrap().reasons[0].operation), (Ok(2), "pooled inner"));
    assert_eq!(registry.fallback("pooled").stats().cache.stored, 0);
}

#[test]
fn a_call_dropped_at_any_await_releases_the_permits_of_its_levels() {
    // T146
    #[resilient(
        registry = registry,
        bulkhead = "b",
        fallback(replica = fails(3).await, distributed_cache = async |_| fails(2).await, backup(fails(2).await, timeout = "1s")),
        name = "dropped"
    )]
    async fn call(registry: &Registry) -> Result<u32, E> {
        fails(2).await
    }
    async fn fails(polls: u32) -> Result<u32, E> {
        for _ in 0..polls {
            tick().await;
        }
        Err(E::Bad)
    }
    for polls in 0..14 {
        let registry = Registry::with_clock(ManualClock::new().clock());
        let mut future = Box::pin(call(&registry));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        let ended = (0..polls).any(|_| future.as_mut().poll(&mut cx).is_ready());
        drop(future);
        let held = (registry.fallback("dropped").stats().in_flight, registry.bulkhead("b").stats().in_use);
        assert_eq!(held, (0, 0), "after {polls} polls");
        let stats = registry.stats().operations.remove("dropped").unwrap_or_default();
        assert_eq!(stats.in_flight, 0);
        assert_eq!(stats.cancelled, u64::from(polls > 0 && !ended), "after {polls} polls");
        assert!(polls < 10 || ended, "{polls} polls are enough");
    }
}

trait Lookup {
    fn look(&self, registry: &Registry, id: u32) -> impl Future<Output = Result<u32, E>> + Send;
}

#[async_trait::async_trait]
trait BoxedLookup {
    async fn look(&self, registry: &Registry, id: u32) -> Result<Degraded<String>, E>;
}

struct Up(bool);

impl Lookup for Up {
    #[resilient(registry = registry, retry(max = 1, base = "0ms"), fallback(replica = Err(E::Bad), local_cache(max_age = "1m", key = id), backup = async |_| Ok(7)))]
    async fn look(&self, registry: &Registry, id: u32) -> Result<u32, E> {
        tick().await;
        if self.0 { Ok(id) } else { Err(E::Bad) }
    }
}

#[async_trait::async_trait]
impl BoxedLookup for Up {
    #[resilient(registry = registry, retry(max = 1, base = "0ms"), fallback(local_cache(max_age = "1m", key = id), backup = Ok(format!("no {id}").into())))]
    async fn look(&self, registry: &Registry, id: u32) -> Result<Degraded<String>, E> {
        tick().await;
        if self.0 { Ok(id.to_string().into()) } else { Err(E::Bad) }
    }
}

#[resilient(registry = registry, circuit_breaker = "generic", fallback(local_cache(max_age = "1m", key = (std::any::type_name::<T>(), id)), default = T::default()))]
fn generic<T: Clone + Default + Send + Sync + 'static>(registry: &Registry, id: u32, given: Option<T>) -> T
where
    T: From<u32>,
{
    given.unwrap_or_else(|| id.into())
}

#[tokio::test]
async fn every_shape_can_have_levels() {
    let registry = Registry::new();
    assert_eq!(without_parameters(), 2);
    resilient_runtime::registry().circuit_breaker("levels").force_open();
    assert_eq!(without_parameters(), 2);
    let (up, down) = (Up(true), Up(false));
    assert_eq!(Lookup::look(&down, &registry, 1).await, Ok(7));
    assert_eq!(Lookup::look(&up, &registry, 1).await, Ok(1));
    let spawned = {
        let own = registry.clone();
        tokio::spawn(async move { Lookup::look(&Up(false), &own, 1).await })
    };
    assert_eq!(spawned.await.unwrap(), Ok(1));
    let none = BoxedLookup::look(&down, &registry, 3).await.unwrap();
    assert_eq!((none.as_str(), none.level()), ("no 3", Some(Level::Backup)));
    assert!(!BoxedLookup::look(&up, &registry, 3).await.unwrap().is_degraded());
    let kept = BoxedLookup::look(&down, &registry, 3).await.unwrap();
    assert_eq!((kept.as_str(), kept.level()), ("3", Some(Level::LocalCache)));
    assert_eq!(generic(&registry, 1, Some(5_u64)), 5);
    registry.circuit_breaker("generic").force_open();
    assert_eq!((generic::<u64>(&registry, 1, None), generic(&registry, 1, Some(6_i64))), (5, 0));
}
