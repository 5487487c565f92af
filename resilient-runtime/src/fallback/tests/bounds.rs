//! Time limits and the concurrency limit of levels, and calls whose time is over.

use std::future::{pending, ready};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::deadline::{Deadline, remaining};
use crate::observe::EventKind;

const MS: fn(u64) -> Duration = Duration::from_millis;

struct Fixture {
    time: ManualClock,
    registry: Registry,
    fallback: Arc<Fallback>,
}

impl Fixture {
    fn with(config: Config) -> Self {
        let time = ManualClock::new();
        let registry = Registry::with_clock(time.clock());
        let fallback = registry.fallback("f");
        fallback.reconfigure(config).unwrap();
        Self { time, registry, fallback }
    }

    fn new() -> Self {
        Self::with(Config::default())
    }

    fn level(&self, level: Level) -> LevelStats {
        self.fallback.stats().levels[&level]
    }
}

fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

async fn down() -> Option<u32> {
    None
}

/// Increments its counter when dropped.
struct Dropped<'a>(&'a AtomicU32);

impl Drop for Dropped<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn a_level_that_times_out_is_dropped_before_the_next_runs() {
    // T64, T66
    let fixture = Fixture::with(Config::default().level_timeout(MS(200)).replica_timeout(MS(50)));
    let dropped = AtomicU32::new(0);
    let replica = |_: &Failure<()>| async {
        let _guard = Dropped(&dropped);
        pending().await
    };
    let backup = |_: &Failure<()>| async {
        assert_eq!(dropped.load(Ordering::SeqCst), 1, "the replica is dropped before the backup runs");
        pending().await
    };
    let chain = || {
        AsyncChain::of(Level::Replica, replica)
            .or(Level::Backup, backup)
            .or(Level::Default, |_| ready(Some(9)))
    };
    let mut call = pin!(fixture.fallback.call_async(down, chain));
    assert_eq!(poll(call.as_mut()), Poll::Pending);
    fixture.time.advance(MS(49));
    assert_eq!(poll(call.as_mut()), Poll::Pending);
    assert_eq!(fixture.fallback.stats().in_flight, 1);
    fixture.time.advance(MS(1));
    assert_eq!(poll(call.as_mut()), Poll::Pending, "now the backup");
    fixture.time.advance(MS(199));
    assert_eq!(poll(call.as_mut()), Poll::Pending);
    fixture.time.advance(MS(1));
    assert_eq!(poll(call.as_mut()), Poll::Ready(Some(9)));
    let (replica, backup) = (fixture.level(Level::Replica), fixture.level(Level::Backup));
    assert_eq!((replica.asked, replica.timed_out, replica.served), (1, 1, 0));
    assert_eq!((backup.asked, backup.timed_out), (1, 1));
    assert_eq!((fixture.fallback.stats().in_flight, fixture.time.timers()), (0, 0));
}

#[test]
fn a_level_that_is_ready_together_with_its_timer_succeeds() {
    // T65
    let fixture = Fixture::new();
    let (sender, receiver) = tokio::sync::oneshot::channel();
    let chain = || AsyncChain::of(Level::Replica, |_: &Failure<()>| async { receiver.await.ok() });
    let mut call = pin!(fixture.fallback.call_async(down, chain));
    assert_eq!(poll(call.as_mut()), Poll::Pending);
    sender.send(7).unwrap();
    fixture.time.advance(Duration::from_hours(1));
    assert_eq!(poll(call.as_mut()), Poll::Ready(Some(7)));
}

#[test]
fn if_the_last_level_times_out_the_error_contains_both_failures() {
    // T95
    let fixture = Fixture::new();
    let chain = || AsyncChain::of(Level::Backup, |_: &Failure<MyError>| pending());
    let mut call = pin!(fixture.fallback.call_async(async || Outcome::Err(MyError::Primary), chain));
    assert!(poll(call.as_mut()).is_pending());
    fixture.time.advance(Duration::from_secs(1));
    let Poll::Ready(Err(MyError::All(all))) = poll(call.as_mut()) else { panic!("all failed") };
    assert_eq!(all.source().unwrap().to_string(), "primary down");
    assert_eq!(all.last().to_string(), "timed out after 1.0s");
    assert_eq!(all.last().downcast_ref(), Some(&NoAnswer::TimedOut(Duration::from_secs(1))));
    assert_eq!(fixture.fallback.stats().all_failed, 1);
}

#[test]
fn calls_inside_a_level_inherit_its_deadline() {
    // T66
    let fixture = Fixture::with(Config::default().level_timeout(MS(300)));
    let seen = |_: &Failure<()>| async { remaining().map(|left| u32::try_from(left.as_millis()).unwrap()) };
    let chain = || AsyncChain::of(Level::Replica, seen);
    let call = fixture.fallback.call_async(down, chain);
    assert_eq!(poll(pin!(call)), Poll::Ready(Some(300)));
    let short = Deadline::after_on(&fixture.time.clock(), MS(100));
    let call = short.scope_async(fixture.fallback.call_async(down, chain));
    assert_eq!(poll(pin!(call)), Poll::Ready(Some(100)), "the inherited deadline is earlier");
    let now = || Chain::of(Level::Replica, |_| remaining().map(|left| left.subsec_millis()));
    assert_eq!(fixture.fallback.call(|| None, now), Some(300), "synchronous levels, too");
    assert_eq!(remaining(), None);
}

/// Makes a call that exceeds its total timeout, with levels that return their own number.
fn late(fixture: &Fixture, spends: Duration) -> Option<u32> {
    fixture.registry.timeout("t").reconfigure(crate::timeout::Config::default().total(MS(100))).unwrap();
    let pipeline = fixture.registry.pipeline("late").timeout("t").fallback(&fixture.fallback).build();
    let chain = || {
        let answer = move |level: Level, _: &Failure<()>| async move {
            if spends > Duration::ZERO && level < Level::LocalCache {
                pending::<()>().await;
            }
            (level >= Level::LocalCache).then_some(level as u32)
        };
        AsyncChain::of(Level::Default, move |failure| answer(Level::Default, failure))
            .or(Level::Replica, move |failure| answer(Level::Replica, failure))
            .or(Level::LocalCache, move |failure| answer(Level::LocalCache, failure))
    };
    let mut call = pin!(pipeline.request().fallback(chain).call_async(async || pending().await));
    assert!(poll(call.as_mut()).is_pending());
    fixture.time.advance(MS(100));
    match poll(call.as_mut()) {
        Poll::Ready(answer) => answer,
        Poll::Pending => {
            fixture.time.advance(spends);
            let Poll::Ready(answer) = poll(call.as_mut()) else { panic!("it takes longer than {spends:?}") };
            answer
        }
    }
}

#[test]
fn a_call_whose_time_is_over_is_served_by_a_level_that_is_ready_immediately() {
    // T66
    let fixture = Fixture::new();
    assert_eq!(late(&fixture, Duration::ZERO), Some(Level::LocalCache as u32));
    let replica = fixture.level(Level::Replica);
    assert_eq!((replica.asked, replica.skipped), (0, 1));
}

#[test]
fn within_the_grace_a_late_call_runs_levels_that_wait() {
    let fixture = Fixture::with(Config::default().grace(MS(20)));
    assert_eq!(late(&fixture, MS(20)), Some(Level::LocalCache as u32));
    let replica = fixture.level(Level::Replica);
    assert_eq!((replica.asked, replica.timed_out, replica.skipped), (1, 1, 0));
}

#[test]
fn the_grace_does_not_exceed_an_inherited_deadline() {
    // T66
    let fixture = Fixture::with(Config::default().grace(MS(500)));
    let around = Deadline::after_on(&fixture.time.clock(), Duration::ZERO);
    let never = || AsyncChain::of(Level::Backup, |_: &Failure<()>| async { unreachable!("no time is left") });
    let call = around.clone().scope_async(fixture.fallback.call_async(down, never));
    assert_eq!(poll(pin!(call)), Poll::Ready(None));
    assert_eq!(fixture.level(Level::Backup).skipped, 1);
    let never =
        || Chain::of(Level::Backup, |_: &Failure<()>| -> Option<u32> { unreachable!("no time is left") });
    assert_eq!(around.scope(|| fixture.fallback.call(|| None, never)), None);
    assert_eq!(fixture.level(Level::Backup).skipped, 2);
}

#[test]
fn a_custom_local_cache_that_waits_times_out_if_no_time_is_left() {
    let fixture = Fixture::new();
    let around = Deadline::after_on(&fixture.time.clock(), Duration::ZERO);
    let chain = || {
        AsyncChain::of(Level::LocalCache, |_: &Failure<()>| pending()).or(Level::Default, |_| ready(Some(3)))
    };
    let call = around.scope_async(fixture.fallback.call_async(down, chain));
    assert_eq!(poll(pin!(call)), Poll::Ready(Some(3)));
    assert_eq!(fixture.level(Level::LocalCache).timed_out, 1);
}

#[test]
fn the_concurrency_limit_applies_to_a_storm_of_fallbacks() {
    // T97
    let fixture = Fixture::with(Config::default().max_concurrent(3));
    let chain =
        || AsyncChain::of(Level::Backup, |_: &Failure<()>| pending()).or(Level::Default, |_| ready(Some(0)));
    let mut calls: Vec<_> = (0..10).map(|_| Box::pin(fixture.fallback.call_async(down, chain))).collect();
    let served = calls.iter_mut().filter_map(|call| match poll(call.as_mut()) {
        Poll::Ready(answer) => Some(answer),
        Poll::Pending => None,
    });
    assert_eq!(served.count(), 7, "calls beyond the limit go to the next level immediately");
    let backup = fixture.level(Level::Backup);
    assert_eq!((backup.asked, backup.refused, fixture.fallback.stats().in_flight), (3, 7, 3));
    drop(calls);
    assert_eq!(fixture.fallback.stats().in_flight, 0);
    assert_eq!(fixture.level(Level::Default).refused, 0, "a default has no limit");
}

#[test]
fn synchronous_levels_count_towards_the_concurrency_limit() {
    // T97
    let fixture = Fixture::with(Config::default().max_concurrent(1));
    let inner =
        || Chain::of(Level::Backup, |_| -> Option<u32> { unreachable!("a level is already running") });
    let outer = || Chain::of(Level::Backup, |_| fixture.fallback.call(|| None, inner).or(Some(5)));
    assert_eq!(fixture.fallback.call(|| None, outer), Some(5));
    assert_eq!((fixture.level(Level::Backup).refused, fixture.fallback.stats().in_flight), (1, 0));
}

#[test]
fn limits_can_change_while_levels_run() {
    // T117
    let fixture = Fixture::with(Config::default().max_concurrent(1).level_timeout(MS(50)));
    let chain = || AsyncChain::of(Level::Backup, |_: &Failure<()>| pending::<Option<u32>>());
    let mut first = pin!(fixture.fallback.call_async(down, chain));
    assert!(poll(first.as_mut()).is_pending());
    assert_eq!(poll(pin!(fixture.fallback.call_async(down, chain))), Poll::Ready(None));
    let config = Config::default().max_concurrent(2).level_timeout(MS(100));
    fixture.fallback.reconfigure(config).unwrap();
    let mut second = pin!(fixture.fallback.call_async(down, chain));
    assert!(poll(second.as_mut()).is_pending());
    fixture.time.advance(MS(50));
    assert!(poll(first.as_mut()).is_ready() && poll(second.as_mut()).is_pending());
    fixture.time.advance(MS(50));
    assert!(poll(second.as_mut()).is_ready());
    assert_eq!(fixture.fallback.stats().in_flight, 0);
    let backup = fixture.level(Level::Backup);
    assert_eq!((backup.asked, backup.refused, backup.timed_out), (2, 1, 2));
}

#[test]
fn dropping_a_call_after_any_number_of_polls_releases_all_permits() {
    // T146
    for polls in 0..12 {
        let fixture = Fixture::new();
        let waits = |_: &Failure<()>| async {
            for _ in 0..3 {
                tokio::task::yield_now().await;
            }
            None
        };
        let chain = || {
            AsyncChain::of(Level::Replica, waits)
                .or(Level::DistributedCache, waits)
                .or(Level::Backup, waits)
                .or(Level::Default, waits)
        };
        let pipeline = fixture.registry.pipeline("p").fallback(&fixture.fallback).build();
        let mut call = Box::pin(pipeline.request().fallback(chain).call_async(down));
        let ended = (0..polls).any(|_| poll(call.as_mut()).is_ready());
        drop(call);
        let stats = pipeline.stats();
        assert_eq!((fixture.fallback.stats().in_flight, fixture.time.timers()), (0, 0), "{polls} polls");
        let expected = match polls {
            // The call has not begun.
            0 => (0, 0),
            _ if ended => (0, 1),
            _ => (1, 0),
        };
        assert_eq!((stats.cancelled, stats.failed), expected, "{polls} polls");
    }
}

#[test]
fn a_panic_in_a_level_is_counted_and_propagated() {
    // T147
    let fixture = Fixture::new();
    let pipeline = fixture.registry.pipeline("p").fallback(&fixture.fallback).build();
    let panics = || Chain::of(Level::Backup, |_| -> Option<u32> { panic!("level") });
    let panicked = std::panic::AssertUnwindSafe(|| pipeline.request().fallback(panics).call(|| None));
    std::panic::catch_unwind(panicked).unwrap_err();
    let later = || {
        AsyncChain::of(Level::Backup, |_: &Failure<()>| async {
            tokio::task::yield_now().await;
            if true { panic!("level") } else { Some(1) }
        })
    };
    let mut call = Box::pin(pipeline.request().fallback(later).call_async(down));
    assert!(poll(call.as_mut()).is_pending());
    let panicked = std::panic::AssertUnwindSafe(|| poll(call.as_mut()).is_ready());
    std::panic::catch_unwind(panicked).unwrap_err();
    drop(call);
    let backup = fixture.level(Level::Backup);
    assert_eq!((backup.asked, backup.panicked, fixture.fallback.stats().in_flight), (2, 2, 0));
    let stats = pipeline.stats();
    assert_eq!((stats.panicked, stats.cancelled), (2, 0));
}

#[test]
fn a_level_dropped_by_another_panic_is_not_counted_as_panicked() {
    // T68
    let fixture = Fixture::new();
    let chain = || AsyncChain::of(Level::Backup, |_: &Failure<()>| pending::<Option<u32>>());
    let panicked = std::panic::AssertUnwindSafe(|| {
        let mut call = Box::pin(fixture.fallback.call_async(down, chain));
        assert!(poll(call.as_mut()).is_pending());
        panic!("not in the level");
    });
    std::panic::catch_unwind(panicked).unwrap_err();
    assert_eq!(fixture.level(Level::Backup).panicked, 0);
    assert_eq!(fixture.fallback.stats().in_flight, 0);
}

#[test]
fn without_a_timer_a_level_times_out_at_the_next_poll() {
    // T149
    let fallback = Registry::new().fallback("f");
    fallback.reconfigure(Config::default().level_timeout(Duration::from_nanos(1))).unwrap();
    let chain = || AsyncChain::of(Level::Backup, |_: &Failure<()>| pending::<Option<u32>>());
    let mut call = pin!(fallback.call_async(down, chain));
    let answered = (0..1_000_000).any(|_| poll(call.as_mut()).is_ready());
    assert!(answered);
    assert_eq!(fallback.stats().levels[&Level::Backup].timed_out, 1);
}

#[tokio::test(start_paused = true)]
async fn levels_use_virtual_time() {
    // T148
    let fallback = Registry::with_clock(Clock::tokio()).fallback("f");
    let chain =
        || AsyncChain::of(Level::Replica, |_: &Failure<()>| pending()).or(Level::Default, |_| ready(Some(1)));
    let start = tokio::time::Instant::now();
    assert_eq!(fallback.call_async(down, chain).await, Some(1));
    assert!((MS(1000)..MS(1010)).contains(&start.elapsed()), "{:?}", start.elapsed());
}

#[test]
fn a_skipped_level_is_published_as_an_event() {
    let fixture = Fixture::with(Config::default().max_concurrent(1));
    let mut events = fixture.registry.subscribe();
    let inner = || Chain::of(Level::Replica, |_| Some(1)).or(Level::Default, |_| Some(2));
    let outer = || Chain::of(Level::Backup, |_| fixture.fallback.call(|| None, inner));
    assert_eq!(fixture.fallback.call(|| None::<u32>, outer), Some(2));
    let published: Vec<_> = std::iter::from_fn(|| events.try_recv()).map(|event| event.what).collect();
    let served = |level| EventKind::FallbackServed { level };
    let missed = EventKind::FallbackMissed { level: "replica", why: "refused" };
    assert_eq!(published, [missed, served("default"), served("backup")]);
}

#[test]
fn all_invalid_settings_are_reported_together() {
    let fallback = fallback();
    let config = Config::default()
        .level_timeout(Duration::ZERO)
        .replica_timeout(Duration::MAX)
        .grace(Duration::from_hours(1))
        .max_concurrent(0)
        .cache_max_age(Duration::ZERO)
        .cache_max_entries(15);
    let error = fallback.reconfigure(config).unwrap_err();
    assert_eq!(error.problems().len(), 6, "{error}");
    assert_eq!(*fallback.config(), Config::default());
}
