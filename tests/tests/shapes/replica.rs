//! A replica set as a fallback level.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use resilient_runtime::fallback::{NoAnswer, ReplicaSource};
use resilient_runtime::observe::EventKind;
use resilient_runtime::{Component, Degradation, Degraded, Level, Registry, resilient};

use crate::{E, tick};

/// A set with some values. A value of 0 cannot be read, and one of 1 takes a minute.
#[derive(Default)]
struct Copies {
    values: BTreeMap<String, u32>,
    reads: AtomicUsize,
}

impl ReplicaSource for Copies {
    type Value = u32;

    async fn read_replica(&self, key: &str) -> Result<u32, NoAnswer> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        match self.values.get(key) {
            None => Err(NoAnswer::Empty),
            Some(0) => Err(NoAnswer::StoreFailed),
            Some(1) => {
                tokio::time::sleep(Duration::from_mins(1)).await;
                Ok(1)
            }
            Some(value) => Ok(*value),
        }
    }
}

struct Shop {
    registry: Registry,
    copies: Arc<Copies>,
}

impl Shop {
    fn new() -> Self {
        let known = [("7 apples", 70), ("empty", 0), ("slow", 1)];
        let values = known.map(|(key, value)| (key.to_owned(), value)).into();
        let registry = Registry::with_clock(resilient_runtime::clock::Clock::tokio());
        Self { registry, copies: Arc::new(Copies { values, ..Copies::default() }) }
    }

    #[resilient(registry = self.registry, name = "price", fallback(
        replica(self.copies, key = format_args!("{count} {item}"), timeout = "1s"),
        default = Ok(5),
    ))]
    async fn price(&self, count: u32, item: String, is_up: bool) -> Result<u32, E> {
        tick().await;
        if is_up { Ok(count) } else { Err(E::Bad) }
    }

    #[resilient(registry = self.registry, name = "only", fallback(replica(&*self.copies, key = item)))]
    async fn only(&self, item: &str) -> Result<Degraded<u32>, E> {
        tick().await;
        Err(E::Bad)
    }

    /// Can be spawned, although the key of the set cannot be shared with other threads.
    fn can_be_spawned(&self) -> impl Future<Output = Result<u32, E>> + Send {
        self.price(7, "apples".to_owned(), false)
    }

    fn served(&self, name: &str, level: Level) -> u64 {
        self.registry.fallback(name).stats().levels.get(&level).map_or(0, |counts| counts.served)
    }
}

#[tokio::test(start_paused = true)]
async fn a_replica_set_is_read_if_the_call_fails() {
    // T212
    let shop = Shop::new();
    assert_eq!(shop.price(3, "apples".to_owned(), true).await, Ok(3));
    assert_eq!(shop.copies.reads.load(Ordering::Relaxed), 0, "only after a failure");
    assert_eq!(shop.can_be_spawned().await, Ok(70));
    assert_eq!(shop.served("price", Level::Replica), 1);

    let (found, degradations) = Degradation::scope(shop.price(7, "apples".to_owned(), false)).await;
    assert_eq!((found, degradations.unwrap().level), (Ok(70), Level::Replica));
    let marked = shop.only("7 apples").await.unwrap();
    assert!(marked.is_degraded(), "the value of a replica is marked");
}

#[tokio::test(start_paused = true)]
async fn without_a_value_the_next_level_runs_and_an_event_says_why() {
    let shop = Shop::new();
    let mut events = shop.registry.subscribe();
    assert_eq!(shop.price(8, "apples".to_owned(), false).await, Ok(5));
    assert_eq!(shop.only("empty").await.unwrap_err(), E::Bad, "the last level failed");
    assert_eq!(shop.only("slow").await.unwrap_err(), E::Bad);
    let expected = [("replica", "empty"), ("replica", "store_failed"), ("replica", "timed_out")];
    let mut missed = Vec::new();
    while let Some(event) = events.try_recv() {
        if let EventKind::FallbackMissed { level, why } = event.what {
            missed.push((level, why));
        }
    }
    assert_eq!(missed, expected);
    assert_eq!(shop.registry.fallback("only").stats().all_failed, 2);
}
