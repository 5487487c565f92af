//! The built-in local cache.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::clock::ManualClock;

const SECS: fn(u64) -> Duration = Duration::from_secs;

fn fixture(max_age: Duration, max_entries: u32) -> (ManualClock, Arc<Fallback>) {
    let time = ManualClock::new();
    let fallback = Registry::with_clock(time.clock()).fallback("f");
    let config = Config::default().cache_max_age(max_age).cache_max_entries(max_entries);
    fallback.reconfigure(config).unwrap();
    (time, fallback)
}

#[test]
fn a_value_older_than_the_maximum_age_is_not_served() {
    // T98
    let (time, fallback) = fixture(SECS(10), 100);
    fallback.keep("a", 1_u32);
    time.advance(SECS(4));
    assert_eq!(fallback.last_good("a"), Some((1_u32, SECS(4))));
    time.advance(SECS(6));
    assert_eq!(fallback.last_good("a"), Some((1_u32, SECS(10))), "exactly the maximum age");
    time.advance(Duration::from_nanos(1));
    assert_eq!(fallback.last_good::<u32, _>("a"), None);
    let cache = fallback.stats().cache;
    assert_eq!((cache.stored, cache.stale), (1, 1));
    fallback.keep("a", 2_u32);
    assert_eq!(fallback.last_good("a"), Some((2_u32, Duration::ZERO)));
}

#[test]
fn empty_values_are_stored_like_others() {
    // T102
    let (_, fallback) = fixture(SECS(10), 100);
    fallback.keep("zero", 0_u32);
    fallback.keep("none", None::<u32>);
    fallback.keep("text", String::new());
    fallback.keep("list", Vec::<u8>::new());
    fallback.keep("unit", ());
    assert_eq!(fallback.last_good("zero").map(|(value, _)| value), Some(0_u32));
    assert_eq!(fallback.last_good("none").map(|(value, _)| value), Some(None::<u32>));
    assert_eq!(fallback.last_good("text").map(|(value, _)| value), Some(String::new()));
    assert_eq!(fallback.last_good("list").map(|(value, _)| value), Some(Vec::<u8>::new()));
    assert_eq!(fallback.last_good("unit").map(|(value, _)| value), Some(()));
}

#[test]
fn the_same_key_with_two_types_is_two_entries() {
    let (_, fallback) = fixture(SECS(10), 100);
    fallback.keep("a", 1_u32);
    fallback.keep("a", String::from("one"));
    assert_eq!(fallback.last_good::<u32, _>("a").map(|(value, _)| value), Some(1));
    assert_eq!(fallback.last_good::<String, _>("a").map(|(value, _)| value), Some("one".into()));
    assert_eq!(fallback.last_good::<u64, _>("a"), None);
}

#[test]
fn the_cache_is_bounded_and_keeps_entries_in_use() {
    let (_, fallback) = fixture(SECS(10), 64);
    for number in 0..10_000_u32 {
        fallback.keep(&number, number);
        // Stored again each time.
        fallback.keep("hot", 7_u32);
        assert!(fallback.stats().cache.entries <= 64);
    }
    assert_eq!(fallback.last_good::<u32, _>("hot").map(|(value, _)| value), Some(7));
    let cache = fallback.stats().cache;
    assert_eq!(cache.stored, 20_000);
    assert_eq!(cache.evicted + cache.entries, 10_001, "each key is stored or evicted");
}

#[test]
fn a_smaller_limit_evicts_only_the_surplus() {
    // T117
    let (_, fallback) = fixture(SECS(10), 1600);
    (0..1000_u32).for_each(|number| fallback.keep(&number, number));
    assert!(fallback.stats().cache.entries > 900);
    fallback.reconfigure(Config::default().cache_max_age(SECS(10)).cache_max_entries(160)).unwrap();
    let left = (0..1000_u32).filter(|number| fallback.last_good::<u32, _>(number).is_some()).count();
    assert_eq!((left, fallback.stats().cache.entries), (160, 160));
    fallback.reset();
    assert_eq!(fallback.stats().cache, CacheStats::default());
}

#[test]
fn no_user_code_runs_under_the_lock_of_the_cache() {
    // T150
    static WITHIN: std::sync::OnceLock<Arc<Fallback>> = std::sync::OnceLock::new();
    static RAN: AtomicU32 = AtomicU32::new(0);
    struct Nosy;
    fn look() {
        RAN.fetch_add(1, Ordering::SeqCst);
        // Deadlocks if the lock is held.
        let _ = WITHIN.get().unwrap().stats();
    }
    impl Clone for Nosy {
        fn clone(&self) -> Self {
            look();
            Self
        }
    }
    impl Drop for Nosy {
        fn drop(&mut self) {
            look();
        }
    }
    let (time, fallback) = fixture(SECS(10), 16);
    WITHIN.set(Arc::clone(&fallback)).unwrap();
    (0..100_u32).for_each(|number| fallback.keep(&(number % 40), Nosy));
    drop(fallback.last_good::<Nosy, _>(&39_u32));
    time.advance(SECS(11));
    assert!(fallback.last_good::<Nosy, _>(&39_u32).is_none());
    fallback.reset();
    assert!(RAN.load(Ordering::SeqCst) >= 100);
}

#[test]
fn many_threads_can_use_the_cache() {
    let (_, fallback) = fixture(SECS(10), 160);
    let found = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8_u32 {
            let (fallback, answers) = (&fallback, &found);
            scope.spawn(move || {
                for number in 0..2000_u32 {
                    // Enough keys to overfill each shard, however they are distributed.
                    let key = number % 2000;
                    fallback.keep(&key, (key, thread));
                    if let Some(((found, _), _)) = fallback.last_good::<(u32, u32), _>(&key) {
                        assert_eq!(found, key, "another key's value");
                        answers.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let cache = fallback.stats().cache;
    assert_eq!((cache.stored, cache.entries), (16_000, 160));
    // Other threads can evict an entry between a thread's `keep` and its lookup, but not often.
    let found = found.into_inner();
    assert!(found > 8_000, "{found} of 16000 were found");
}

#[test]
fn in_a_chain_the_cache_reports_the_age_of_its_value() {
    // T98
    let (time, fallback) = fixture(SECS(60), 100);
    fallback.keep("EUR", 1.1_f64);
    time.advance(SECS(7));
    let call = || {
        fallback
            .call(|| None::<f64>, || Chain::of(Level::Default, |_| Some(1.0)).or_last_good(&fallback, "EUR"))
    };
    let (rate, degraded) = Degradation::collect(call);
    let degraded = degraded.unwrap();
    assert_eq!((rate, degraded.level, degraded.age), (Some(1.1), Level::LocalCache, Some(SECS(7))));
    time.advance(SECS(60));
    assert_eq!(call(), Some(1.0), "too old");
    let cache = fallback.stats().levels[&Level::LocalCache];
    assert_eq!((cache.asked, cache.served), (2, 1));
    let later = || {
        AsyncChain::of(Level::Default, |_: &Failure<()>| std::future::ready(None))
            .or_last_good(&fallback, "EUR")
    };
    fallback.keep("EUR", 1.2_f64);
    let call = std::pin::pin!(fallback.call_async(async || None::<f64>, later));
    let poll = call.poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
    assert_eq!(poll, std::task::Poll::Ready(Some(1.2)));
}

proptest! {
    /// Compares the cache with a map that stores times. A lookup returns the last stored value, or nothing if it was
    /// evicted or is too old.
    #[test]
    fn it_serves_what_was_stored_last(steps in prop::collection::vec((0_u8..24, 0_u64..8, any::<bool>()), 1..200)) {
        let (time, fallback) = fixture(SECS(20), 16);
        let mut model = std::collections::BTreeMap::new();
        let mut now = 0;
        let mut stored_last = None;
        for (number, (key, wait, stores)) in steps.into_iter().enumerate() {
            time.advance(SECS(wait));
            now += wait;
            if stores {
                fallback.keep(&key, number);
                model.insert(key, (number, now));
                stored_last = Some(key);
            } else if let Some((value, age)) = fallback.last_good::<usize, _>(&key) {
                let (stored, at) = model[&key];
                prop_assert_eq!((value, age), (stored, SECS(now - at)));
                prop_assert!(now - at <= 20);
            } else if let Some((_, at)) = model.get(&key) {
                // The entry stored last is missing only if it is too old.
                prop_assert!(stored_last != Some(key) || now - at > 20, "the value is missing");
            }
            prop_assert!(fallback.stats().cache.entries <= 16);
        }
    }
}
