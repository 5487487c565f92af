//! The built-in distributed cache, with a store in memory that can fail or hang.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::super::*;
use crate::clock::ManualClock;
use crate::outcome::BoxError;
use crate::registry::Registry;
use crate::store::{Answer, Backend, StoreError};

const PATIENCE: Duration = Duration::from_secs(20);
const SECS: fn(u64) -> Duration = Duration::from_secs;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mode {
    Works,
    Fails,
    Refuses,
    Hangs,
    Panics,
    /// The store performs the operation, and the response is late.
    LandsLate,
}

/// A store whose operations work, fail or wait.
#[derive(Debug)]
struct Moody {
    inner: MemoryCache,
    mode: watch::Sender<Mode>,
    /// The mode of puts, if the mode is `Works`.
    puts_are: watch::Sender<Mode>,
    gets: AtomicU32,
    puts: AtomicU32,
    /// Responses that are late.
    landed: AtomicU32,
}

impl Moody {
    fn new(time: &ManualClock) -> Arc<Self> {
        let inner = MemoryCache::new(time.clock(), 100_000);
        let works = || watch::Sender::new(Mode::Works);
        let zero = || AtomicU32::new(0);
        Arc::new(Self { inner, mode: works(), puts_are: works(), gets: zero(), puts: zero(), landed: zero() })
    }

    fn is(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    fn puts_are(&self, mode: Mode) {
        self.puts_are.send_replace(mode);
    }

    fn pass<'a, T: Send + 'a>(&'a self, then: impl FnOnce() -> Answer<'a, T> + Send + 'a) -> Answer<'a, T> {
        Box::pin(async move {
            let mut modes = self.mode.subscribe();
            let mode = *modes.wait_for(|mode| *mode != Mode::Hangs).await.unwrap();
            match mode {
                Mode::Fails => Err(StoreError::Unavailable("down".into())),
                Mode::Refuses => Err(StoreError::Refused("another program uses the key".into())),
                Mode::Panics => panic!("a bug in the store"),
                Mode::Works | Mode::Hangs => then().await,
                Mode::LandsLate => {
                    let result = then().await;
                    self.landed.fetch_add(1, Ordering::Relaxed);
                    let _ = modes.wait_for(|mode| *mode != Mode::LandsLate).await;
                    result
                }
            }
        })
    }
}

impl Backend for Moody {
    fn address(&self) -> String {
        "moody".into()
    }
    fn cache(&self) -> Option<&dyn CacheStore> {
        Some(self)
    }
}

impl CacheStore for Moody {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<CacheEntry>> {
        self.gets.fetch_add(1, Ordering::Relaxed);
        self.pass(|| self.inner.get(key))
    }
    fn put<'a>(&'a self, key: &'a str, entry: CacheEntry, ttl: Duration) -> Answer<'a, ()> {
        self.puts.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            let mut modes = self.puts_are.subscribe();
            let _ = modes.wait_for(|mode| *mode != Mode::Hangs).await;
            if *self.mode.borrow() == Mode::LandsLate {
                return self.inner.put(key, entry, ttl).await;
            }
            self.pass(move || self.inner.put(key, entry, ttl)).await
        })
    }
    fn remove<'a>(&'a self, key: &'a str) -> Answer<'a, bool> {
        match *self.mode.borrow() {
            Mode::LandsLate => self.inner.remove(key),
            _ => self.pass(|| self.inner.remove(key)),
        }
    }
}

/// A fallback of one process, with a cache that processes share.
struct Process {
    registry: Registry,
    fallback: Arc<Fallback>,
}

impl Process {
    fn new(time: &ManualClock, store: &Arc<Moody>) -> Self {
        let registry = Registry::with_clock(time.clock());
        registry.use_store("shared", Arc::clone(store));
        let fallback = registry.fallback("rates");
        let process = Self { registry, fallback };
        process.set(|config| config);
        process
    }

    fn set(&self, change: impl FnOnce(Config) -> Config) {
        self.fallback.reconfigure(change(Config::default().distributed_cache_store("shared"))).unwrap();
    }

    /// Sets the time limit of the store.
    fn limit_store(&self, timeout: Duration) {
        let config = crate::store::Config::default().timeout(timeout);
        self.registry.store("shared").reconfigure(config).unwrap();
    }

    fn stats(&self) -> DistributedCacheStats {
        self.fallback.stats().distributed_cache.unwrap()
    }

    /// Waits until all values are written, replaced, dropped or failed.
    fn settle(&self) {
        until(|| self.stats().queued_writes == 0);
    }

    fn read(&self, key: u32) -> Option<u32> {
        self.fallback
            .call(|| None, || Chain::of(Level::Default, |_| None).or_distributed(&self.fallback, &key))
    }

    fn read_later(&self, key: u32) -> impl Future<Output = Option<u32>> {
        let fallback = Arc::clone(&self.fallback);
        async move {
            let chain = || AsyncChain::of(Level::Default, |_| async { None }).or_distributed(&fallback, &key);
            fallback.call_async(async || None, chain).await
        }
    }
}

fn fresh(bytes: Vec<u8>) -> CacheEntry {
    CacheEntry::new(bytes, Duration::ZERO)
}

#[track_caller]
fn until(condition: impl Fn() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "it does not happen");
        std::thread::yield_now();
    }
}

/// Polls the future until it is ready.
fn finish<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    let start = Instant::now();
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        assert!(start.elapsed() < PATIENCE, "it does not end");
        std::thread::yield_now();
    }
}

#[test]
fn processes_share_values_until_max_age_by_the_clock_of_the_store() {
    // T188
    let time = ManualClock::new();
    let store = Moody::new(&time);
    let [one, other] = [Process::new(&time, &store), Process::new(&time, &store)];
    one.fallback.distribute(&7, &70_u32);
    one.settle();
    time.advance(SECS(300));
    assert_eq!((other.read(7), other.read(8)), (Some(70), None));
    let stats = other.stats();
    assert_eq!((stats.hits, stats.misses, stats.reads, one.stats().written), (1, 1, 2, 1));
    time.advance(SECS(299));
    assert_eq!(other.read(7), Some(70));
    time.advance(SECS(2));
    assert_eq!((one.read(7), other.read(7)), (None, None), "older than 10 min");
}

#[test]
fn a_degraded_result_has_the_level_and_the_age_of_the_value() {
    let time = ManualClock::new();
    let store = Moody::new(&time);
    let [one, other] = [Process::new(&time, &store), Process::new(&time, &store)];
    one.fallback.distribute(&7, &70_u32);
    one.settle();
    time.advance(SECS(60));
    let (found, degraded) = Degradation::collect(|| other.read(7));
    assert_eq!(found, Some(70));
    let degraded = degraded.unwrap();
    assert_eq!((degraded.level, degraded.age), (Level::DistributedCache, Some(SECS(60))));
    assert_eq!(other.fallback.stats().levels[&Level::DistributedCache].served, 1);
}

#[test]
fn a_successful_call_does_not_wait_for_the_store() {
    // T185
    let time = ManualClock::new();
    let store = Moody::new(&time);
    let process = Process::new(&time, &store);
    store.is(Mode::Hangs);
    for key in 0..2_000_u32 {
        process.fallback.distribute(&key, &key);
    }
    let stats = process.stats();
    assert_eq!((stats.queued_writes, stats.dropped_writes, stats.written), (1_024, 976, 0));
    assert_eq!(process.read(1_999), Some(1_999), "a dropped value is still in memory");
    store.is(Mode::Works);
    process.settle();
    assert_eq!((process.stats().written, store.inner.len()), (1_024, 1_024));
    process.fallback.distribute(&1_999, &7_u32);
    process.settle();
    assert_eq!(process.stats().written, 1_025, "there is room again");
}

#[test]
fn the_newest_value_of_a_key_is_written_last() {
    // T185
    let time = ManualClock::new();
    let store = Moody::new(&time);
    let process = Process::new(&time, &store);
    store.is(Mode::Hangs);
    for value in 0..100_u32 {
        process.fallback.distribute(&7, &value);
    }
    assert_eq!(process.stats().queued_writes, 1);
    store.is(Mode::Works);
    process.settle();
    let stats = process.stats();
    assert!(stats.replaced_writes >= 98 && stats.written <= 2, "{stats:?}");
    assert_eq!(Process::new(&time, &store).read(7), Some(99));
}

#[test]
fn values_in_memory_serve_an_outage_of_the_store_too() {
    // T186
    let time = ManualClock::new();
    let store = Moody::new(&time);
    let process = Process::new(&time, &store);
    process.fallback.distribute(&7, &70_u32);
    process.settle();
    for mode in [Mode::Fails, Mode::Panics, Mode::Refuses] {
        store.is(mode);
        time.advance(SECS(100));
        assert_eq!((process.read(7), process.read(8)), (Some(70), None), "{mode:?}");
    }
    time.advance(SECS(400));
    assert_eq!(process.read(7), None, "too old");
    assert!(process.registry.store("shared").stats().failures > 0);
}

#[test]
fn a_store_that_hangs_takes_no_longer_than_the_level() {
    // T186
    let time = ManualClock::new();
    let store = Moody::new(&time);
    let process = Process::new(&time, &store);
    process.set(|config| config.distributed_cache_timeout(Duration::from_millis(100)));
    store.is(Mode::Hangs);
    let mut waits = std::pin::pin!(process.read_later(7));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(waits.as_mut().poll(&mut cx).is_pending());
    time.advance(Duration::from_millis(99));
    assert!(waits.as_mut().poll(&mut cx).is_pending());
    time.advance(Duration::from_millis(1));
    assert_eq!(finish(waits), None, "the default");
    let level = process.fallback.stats().levels[&Level::DistributedCache];
    assert_eq!((level.asked, level.timed_out, level.served), (1, 1, 0));

    // A synchronous call blocks for the same time.
    let (registry, start) = (Registry::new(), Instant::now());
    registry.use_store("shared", Arc::clone(&store));
    let process = Process { fallback: registry.fallback("rates"), registry };
    process.set(|config| config.distributed_cache_timeout(Duration::from_millis(50)));
    assert_eq!(process.read(7), None);
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(50) && took < PATIENCE, "{took:?}");
}

#[test]
fn concurrent_calls_for_a_key_share_one_read() {
    // T187
    let time = ManualClock::new();
    let store = Moody::new(&time);
    let [writer, reader] = [Process::new(&time, &store), Process::new(&time, &store)];
    writer.fallback.distribute(&7, &70_u32);
    writer.settle();
    store.is(Mode::Hangs);
    let mut cx = Context::from_waker(Waker::noop());
    // More than `max_concurrent`, and the first one is dropped while it waits.
    let mut calls: Vec<_> = (0..200).map(|_| Box::pin(reader.read_later(7))).collect();
    assert!(calls.iter_mut().all(|call| call.as_mut().poll(&mut cx).is_pending()));
    drop(calls.remove(0));
    store.is(Mode::Works);
    let found: BTreeMap<_, u32> = calls.into_iter().fold(BTreeMap::new(), |mut found, call| {
        *found.entry(finish(call)).or_default() += 1;
        found
    });
    assert_eq!(found, BTreeMap::from([(Some(70), 199)]));
    let stats = reader.stats();
    assert_eq!((store.gets.load(Ordering::Relaxed), stats.reads, stats.joined_reads), (1, 1, 199));
    // The value is in memory for a while.
    assert_eq!(reader.read(7), Some(70));
    assert_eq!((reader.stats().reads, reader.stats().near_hits), (1, 1));
    time.advance(SECS(1));
    assert_eq!(reader.read(7), Some(70));
    assert_eq!(reader.stats().reads, 2, "after `reread_after`");
}

#[test]
fn a_missing_key_is_remembered_only_if_it_is_set() {
    let time = ManualClock::new();
    let store = Moody::new(&time);
    let process = Process::new(&time, &store);
    for reads in 1..3 {
        assert_eq!((process.read(7), process.stats().reads), (None, reads));
    }
    process.set(|config| config.distributed_cache_remember_absent(SECS(5)));
    for _ in 0..3 {
        assert_eq!((process.read(7), process.stats().reads), (None, 3));
    }
    assert_eq!(process.stats().absent_hits, 2);
    Process::new(&time, &store).fallback.distribute(&7, &70_u32);
    until(|| store.inner.len() == 1);
    time.advance(SECS(5));
    assert_eq!((process.read(7), process.stats().reads), (Some(70), 4));
}

mod older {
    #[derive(serde::Serialize, serde::Deserialize)]
    pub(super) struct Price {
        pub(super) cents: u32,
    }
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Price {
    amount: u64,
}

#[test]
fn a_value_of_another_type_or_form_counts_as_missing() {
    // T186, T188
    let time = ManualClock::new();
    let store = Moody::new(&time);
    let [old, new] = [Process::new(&time, &store), Process::new(&time, &store)];
    let read = || -> Option<Price> {
        let chain = || Chain::of(Level::Default, |_| None).or_distributed(&new.fallback, &7);
        new.fallback.call(|| None, chain)
    };
    // The same name, other fields: a version of the program that has not been updated.
    old.fallback.distribute(&7, &older::Price { cents: 995 });
    old.settle();
    assert_eq!((read(), new.stats().unreadable), (None, 1));
    // Another type has a key of its own.
    old.fallback.distribute(&7, &995_u32);
    old.settle();
    assert_eq!((read(), new.stats().unreadable), (None, 2));
    let key = new.fallback.distributed_key::<Price, u32>("", &7).unwrap();
    let good = stored::write(&Price { amount: 995 }).unwrap();
    let mut later = good.clone();
    later[1] = 99;
    let mut cut = good.clone();
    cut.pop();
    let json = br#"{"ok":{"amount":995}}"#.to_vec();
    for (index, foreign) in (3..).zip([later, cut, json, Vec::new(), vec![0xff; 70_000]]) {
        finish(store.inner.put(key.text(), fresh(foreign), SECS(60))).unwrap();
        assert_eq!((read(), new.stats().unreadable), (None, index));
    }
    // Every changed byte is another value or none, and never a panic.
    for place in 0..good.len() {
        let mut changed = good.clone();
        changed[place] ^= 0x15;
        finish(store.inner.put(key.text(), fresh(changed), SECS(60))).unwrap();
        read();
        new.fallback.reset();
    }
    finish(store.inner.put(key.text(), fresh(good), SECS(60))).unwrap();
    assert_eq!(read(), Some(Price { amount: 995 }));
}

#[test]
fn a_value_that_cannot_be_stored_is_counted_and_not_stored() {
    #[derive(Serialize, Deserialize)]
    struct Partial {
        #[serde(skip_serializing)]
        #[allow(dead_code, reason = "it is only read by serde")]
        left_out: u32,
    }
    let time = ManualClock::new();
    let store = Moody::new(&time);
    let process = Process::new(&time, &store);
    process.set(|config| config.distributed_cache_max_bytes(100));
    process.fallback.distribute(&7, &"x".repeat(100));
    process.fallback.distribute(&"k".repeat(1_025), &7_u32);
    process.fallback.distribute(&7, &Partial { left_out: 1 });
    process.settle();
    assert_eq!((process.stats().not_stored, process.stats().written, store.inner.len()), (3, 0, 0));
    let long = "k".repeat(1_025);
    let chain = || Chain::of(Level::Default, |_| None).or_distributed(&process.fallback, &long);
    assert_eq!(process.fallback.call(|| None::<u32>, chain), None);
    process.fallback.distribute(&7, &"x".to_owned());
    process.settle();
    assert_eq!(process.stats().written, 1);
}

#[test]
fn an_unknown_store_is_reported_and_the_level_is_skipped() {
    let registry = Registry::new();
    let fallback = registry.fallback("rates");
    fallback.reconfigure(Config::default().distributed_cache_store("shraed")).unwrap();
    registry.use_store("shared", MemoryCache::new(registry.clock().clone(), 100));
    fallback.distribute(&7, &70_u32);
    let chain = || Chain::of(Level::Default, |_| Some(1)).or_distributed(&fallback, &7);
    assert_eq!(fallback.call(|| None, chain), Some(1));
    let problem = "its distributed cache is skipped: no store is named `shraed`; did you mean `shared`?";
    let error = registry.validate().unwrap_err();
    assert_eq!(error.problems(), [format!("fallback: `rates`: {problem}")]);
    // A store with another role.
    let records = crate::idempotency::MemoryStore::new(registry.clock().clone(), 10);
    registry.use_store("shraed", records);
    let error = registry.validate().unwrap_err();
    assert!(error.problems()[0].ends_with("the store at memory has no cache: use another store"), "{error}");
    assert_eq!(fallback.call(|| None, chain), Some(1));
    let problem = Fallback::new(Config::default().distributed_cache_store("shared")).unwrap_err();
    assert!(problem.to_string().contains("named stores exist only in a registry"), "{problem}");
}

#[test]
fn the_last_error_names_the_cache_if_it_is_the_last_level() {
    let time = ManualClock::new();
    let store = Moody::new(&time);
    let process = Process::new(&time, &store);
    store.is(Mode::Fails);
    let chain =
        || Chain::of(Level::Replica, |_| Err("no route".into())).or_distributed(&process.fallback, &7);
    let error = process.fallback.call(|| Err::<u32, BoxError>("closed".into()), chain).unwrap_err();
    let failed = error.downcast::<FallbackFailed>().unwrap();
    assert_eq!(
        (failed.level(), failed.last().downcast_ref()),
        (Level::DistributedCache, Some(&NoAnswer::StoreFailed))
    );
}

#[test]
fn a_removed_value_is_gone_everywhere_and_not_written_later() {
    let time = ManualClock::new();
    let store = Moody::new(&time);
    let process = Process::new(&time, &store);
    process.fallback.distribute(&7, &70_u32);
    process.settle();
    assert_eq!(finish(process.fallback.remove_distributed::<u32, _>(&7)), Ok(true));
    assert_eq!((process.read(7), store.inner.len()), (None, 0));
    store.is(Mode::Fails);
    assert!(finish(process.fallback.remove_distributed::<u32, _>(&7)).is_err());
}

/// Returns the key of a value, and the value in its stored form.
fn stored_u32(process: &Process, key: u32) -> (DistributedKey, CacheEntry) {
    let key = process.fallback.distributed_key::<u32, u32>("", &key).unwrap();
    (key, fresh(stored::write(&70_u32).unwrap()))
}

#[test]
fn a_value_that_another_process_removed_is_not_served_from_memory() {
    let time = ManualClock::new();
    let store = Moody::new(&time);
    let [one, other] = [Process::new(&time, &store), Process::new(&time, &store)];
    one.fallback.distribute(&7, &70_u32);
    one.settle();
    assert_eq!(other.read(7), Some(70));
    assert_eq!(finish(one.fallback.remove_distributed::<u32, _>(&7)), Ok(true));
    time.advance(SECS(1));
    assert_eq!((other.read(7), other.stats().in_memory), (None, 0), "after `reread_after`");
    store.is(Mode::Fails);
    assert_eq!(other.read(7), None);
}

#[test]
fn a_value_that_waits_for_the_store_is_served_although_the_store_does_not_have_it() {
    let time = ManualClock::new();
    let store = Moody::new(&time);
    let process = Process::new(&time, &store);
    process.limit_store(SECS(60));
    store.puts_are(Mode::Hangs);
    process.fallback.distribute(&7, &70_u32);
    for _ in 0..3 {
        time.advance(SECS(1));
        assert_eq!(process.read(7), Some(70));
    }
    assert_eq!((process.stats().reads, process.stats().queued_writes), (3, 1));
    store.puts_are(Mode::Works);
    process.settle();
    assert_eq!(Process::new(&time, &store).read(7), Some(70));
}

#[test]
fn a_value_that_is_stored_during_a_read_is_kept() {
    let time = ManualClock::new();
    let store = Moody::new(&time);
    let process = Process::new(&time, &store);
    process.set(|config| config.distributed_cache_remember_absent(SECS(60)));
    let mut cx = Context::from_waker(Waker::noop());
    store.is(Mode::LandsLate);
    let mut call = Box::pin(process.read_later(7));
    assert!(call.as_mut().poll(&mut cx).is_pending());
    until(|| store.landed.load(Ordering::Relaxed) > 0);
    process.fallback.distribute(&7, &70_u32);
    process.settle();
    store.is(Mode::Works);
    assert_eq!(finish(call), Some(70), "the read found nothing, but the value is newer");
    assert_eq!(process.read(7), Some(70));
}

#[test]
fn a_removal_is_not_undone_by_a_write_in_progress() {
    let time = ManualClock::new();
    let store = Moody::new(&time);
    let process = Process::new(&time, &store);
    store.puts_are(Mode::Hangs);
    process.fallback.distribute(&7, &70_u32);
    until(|| store.puts.load(Ordering::Relaxed) == 1);
    let mut removal = Box::pin(process.fallback.remove_distributed::<u32, _>(&7));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(removal.as_mut().poll(&mut cx).is_pending(), "it waits for the write");
    store.puts_are(Mode::Works);
    assert_eq!(finish(removal), Ok(true));
    process.settle();
    assert_eq!((store.inner.len(), process.read(7)), (0, None));
}

#[test]
fn a_removal_is_not_undone_by_a_read_in_progress() {
    let time = ManualClock::new();
    let store = Moody::new(&time);
    let process = Process::new(&time, &store);
    let (key, entry) = stored_u32(&process, 7);
    finish(store.inner.put(key.text(), entry, SECS(60))).unwrap();
    let mut cx = Context::from_waker(Waker::noop());
    store.is(Mode::LandsLate);
    let mut call = Box::pin(process.read_later(7));
    assert!(call.as_mut().poll(&mut cx).is_pending());
    until(|| store.landed.load(Ordering::Relaxed) > 0);
    assert_eq!(finish(process.fallback.remove_distributed::<u32, _>(&7)), Ok(true));
    let mut later = Box::pin(process.read_later(7));
    assert!(later.as_mut().poll(&mut cx).is_pending());
    store.is(Mode::Works);
    assert_eq!(finish(call), Some(70), "the call was made before the removal");
    assert_eq!(process.stats().in_memory, 0);
    assert_eq!(
        finish(later),
        None,
        "the call was made after the removal, and does not share the earlier read"
    );
    assert_eq!((process.read(7), process.stats().in_memory), (None, 0));
}

#[test]
fn a_value_that_waited_for_the_store_is_as_old_as_it_is() {
    // T188
    let time = ManualClock::new();
    let store = Moody::new(&time);
    let process = Process::new(&time, &store);
    process.limit_store(SECS(60));
    store.puts_are(Mode::Hangs);
    // All workers wait, so the values of 1 and 2 wait in the queue.
    for key in 100..108_u32 {
        process.fallback.distribute(&key, &0_u32);
    }
    until(|| store.puts.load(Ordering::Relaxed) == 8);
    process.fallback.distribute(&1, &1_u32);
    time.advance(SECS(50));
    process.fallback.distribute(&2, &2_u32);
    // The first writes time out, and the next ones begin.
    process.set(|config| config.distributed_cache_max_age(SECS(600)));
    time.advance(SECS(10));
    until(|| process.stats().failed_writes == 8);
    store.puts_are(Mode::Works);
    process.settle();
    let other = Process::new(&time, &store);
    other.set(|config| config.distributed_cache_max_age(SECS(55)));
    assert_eq!((other.read(1), other.read(2)), (None, Some(2)), "60 s and 10 s old");
    time.advance(SECS(46));
    assert_eq!(other.read(2), None);
}

#[test]
fn a_value_that_waited_longer_than_its_maximum_age_is_not_written() {
    // T188
    let time = ManualClock::new();
    let store = Moody::new(&time);
    let process = Process::new(&time, &store);
    process.set(|config| config.distributed_cache_max_age(SECS(1)));
    store.puts_are(Mode::Hangs);
    for key in 0..9_u32 {
        process.fallback.distribute(&key, &0_u32);
    }
    until(|| store.puts.load(Ordering::Relaxed) == 8);
    time.advance(SECS(60));
    store.puts_are(Mode::Works);
    process.settle();
    assert_eq!(process.stats().dropped_writes, 1);
}

#[test]
fn values_in_memory_and_in_the_queue_are_bounded_in_bytes() {
    // T195
    let time = ManualClock::new();
    let store = Moody::new(&time);
    let process = Process::new(&time, &store);
    process.set(|config| config.distributed_cache_max_bytes(16 << 20));
    store.puts_are(Mode::Hangs);
    let large = "x".repeat(15 << 20);
    for key in 0..6_u32 {
        process.fallback.distribute(&key, &large);
    }
    let stats = process.stats();
    assert_eq!((stats.queued_writes, stats.dropped_writes, stats.in_memory), (4, 2, 4));
    store.puts_are(Mode::Works);
    process.settle();
    process.fallback.distribute(&7, &large);
    process.settle();
    assert_eq!((process.stats().written, process.stats().in_memory), (5, 4), "there is room again");
    // A reader with a smaller limit serves the value, and does not keep it.
    let reader = Process::new(&time, &store);
    let chain = || Chain::of(Level::Default, |_| None).or_distributed(&reader.fallback, &7);
    assert_eq!(reader.fallback.call(|| None::<String>, chain).map(|value| value.len()), Some(large.len()));
    assert_eq!(reader.stats().in_memory, 0);
}
