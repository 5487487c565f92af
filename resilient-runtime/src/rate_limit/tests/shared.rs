//! Limits that several registries share through a store in memory.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::clock::{Clock, ManualClock};
use crate::observe::EventKind;
use crate::rate_limit::{
    Algorithm, Config, MemoryStore, Mode, OnStoreFailure, Rate, RateRequest, RateRule, RateStore,
    ReturnedTokens, Taken,
};
use crate::store::{Answer, Backend, InstanceStore, StoreError};
use crate::sync::{AtomicBool, Ordering};
use crate::{Component, RateLimiter, Registry, RejectionKind};

/// Upper bound of every wait. Only a broken program reaches it.
const PATIENCE: Duration = Duration::from_secs(20);

/// A store that can be down.
#[derive(Debug)]
struct Switch {
    store: MemoryStore,
    is_down: AtomicBool,
    /// Whether responses are held back, until `resumed`.
    hangs: AtomicBool,
    resumed: tokio::sync::Notify,
    /// Whether it panics.
    is_broken: AtomicBool,
}

impl Switch {
    /// The number of tokens that are left.
    fn remaining(&self, config: &Config) -> u32 {
        let rule = RateRule::of(config).unwrap();
        let (limit, max_wait) = ("api\0".to_owned(), Duration::ZERO);
        let mut state = self.store.take(RateRequest { limit, rule, tokens: 0, at_least: 0, max_wait });
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(state) = state.as_mut().poll(&mut cx) else { panic!("it is in memory") };
        state.unwrap().remaining
    }

    fn set(&self, is_down: bool) {
        self.is_down.store(is_down, Ordering::SeqCst);
    }
}

impl Backend for Switch {
    fn address(&self) -> String {
        "memory".into()
    }
    fn rate(&self) -> Option<&dyn RateStore> {
        Some(self)
    }
    fn instances(&self) -> Option<&dyn InstanceStore> {
        Some(&self.store)
    }
}

impl RateStore for Switch {
    fn take(&self, request: RateRequest) -> Answer<'_, Taken> {
        if self.is_down.load(Ordering::SeqCst) {
            return Box::pin(async { Err(StoreError::Unavailable("it is switched off".into())) });
        }
        assert!(!self.is_broken.load(Ordering::SeqCst), "the store is broken");
        if self.hangs.load(Ordering::SeqCst) {
            let taken = self.store.take(request);
            return Box::pin(async move {
                self.resumed.notified().await;
                taken.await
            });
        }
        self.store.take(request)
    }
    fn give_back(&self, returned: ReturnedTokens) -> Answer<'_, ()> {
        assert!(!self.is_broken.load(Ordering::SeqCst), "the store is broken");
        self.store.give_back(returned)
    }
}

struct Fleet {
    time: ManualClock,
    store: Arc<Switch>,
}

impl Fleet {
    fn new() -> Self {
        let time = ManualClock::new();
        let store = MemoryStore::new(time.clock(), 100);
        Self {
            time,
            store: Arc::new(Switch {
                store,
                is_down: AtomicBool::new(false),
                hangs: AtomicBool::new(false),
                resumed: tokio::sync::Notify::new(),
                is_broken: AtomicBool::new(false),
            }),
        }
    }

    /// Another instance of the service.
    fn instance(&self, config: Config) -> (Registry, Arc<RateLimiter>) {
        self.instance_at(self.time.clock(), config)
    }

    fn instance_at(&self, clock: Clock, config: Config) -> (Registry, Arc<RateLimiter>) {
        let registry = Registry::with_clock(clock);
        registry.use_store("shared", self.store.clone());
        let limiter = registry.rate_limiter("api");
        limiter.reconfigure(config.store("shared")).unwrap();
        (registry, limiter)
    }
}

fn rate(text: &str) -> Config {
    Config::default().rate(text.parse::<Rate>().unwrap())
}

/// Waits until the background has done its part.
fn until(mut is_done: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !is_done() {
        assert!(start.elapsed() < PATIENCE, "it did not happen");
        std::thread::yield_now();
    }
}

fn admitted(limiter: &RateLimiter, calls: u32) -> u32 {
    u32::try_from((0..calls).filter(|_| limiter.try_acquire().is_ok()).count()).unwrap()
}

#[test]
fn the_settings_of_a_shared_limit_are_checked_together() {
    let registry = Registry::new();
    let refused = |config: Config| registry.rate_limiter("x").reconfigure(config).unwrap_err().to_string();
    assert!(refused(rate("1/s").mode(Mode::Exact)).contains("mode"), "without a store");
    assert!(refused(rate("1/s").on_store_failure(OnStoreFailure::Open)).contains("only with `store`"));
    let log = rate("1/s").algorithm(Algorithm::SlidingLog).store("shared");
    assert!(refused(log).contains("use `sliding_window`"));
    assert_eq!(rate("200/s").shared_mode(), Mode::Exact);
    assert_eq!(rate("201/s").shared_mode(), Mode::Lease);
    assert!(RateLimiter::new(rate("1/s").store("shared")).is_err(), "a limiter without a registry");
    registry.rate_limiter("x").reconfigure(rate("1/s").store("shared")).unwrap();
    let report = registry.validate().unwrap_err().to_string();
    assert!(report.contains("rate_limit: `x`: no store is named `shared`"), "{report}");
    registry.use_store("shared", crate::idempotency::MemoryStore::new(registry.clock().clone(), 1));
    let report = registry.validate().unwrap_err().to_string();
    assert!(report.contains("keeps no rate limits"), "{report}");
}

#[tokio::test]
async fn all_instances_together_admit_no_more_than_the_limit() {
    // T173
    let fleet = Fleet::new();
    for (config, most) in [
        (rate("6/h"), 6),
        (rate("100/h").burst(6), 6),
        (rate("6/h").algorithm(Algorithm::SlidingWindow), 6),
        (rate("6/h").mode(Mode::Lease), 6),
    ] {
        let (_a, first) = fleet.instance(config.clone());
        let (_b, second) = fleet.instance(config);
        let mut sum = 0;
        for turn in 0..20 {
            sum += match turn % 4 {
                0 => admitted(&first, 1),
                1 => u32::from(second.acquire().await.is_ok()),
                2 => u32::from(first.check().allowed),
                _ => u32::from(second.check_async().await.allowed),
            };
        }
        assert_eq!(sum, most);
        let refused = first.try_acquire().unwrap_err();
        assert_eq!(refused.kind(), RejectionKind::RateLimited);
        assert!(refused.retry_after().unwrap() <= Duration::from_hours(2), "{refused}");
        fleet.time.advance(Duration::from_hours(24));
        assert_eq!(admitted(&first, 9) + admitted(&second, 9), most, "after a day");
        fleet.time.advance(Duration::from_hours(24));
    }
}

#[test]
fn a_refused_key_is_not_asked_about_again_until_it_can_have_a_token() {
    let fleet = Fleet::new();
    let (_registry, limiter) = fleet.instance(rate("2/h").mode(Mode::Exact));
    assert!((0..2).all(|_| limiter.check_key("ada").allowed));
    let before = limiter.stats().shared.unwrap().store_calls;
    let first = limiter.check_key("ada");
    for _ in 0..10 {
        let refused = limiter.check_key("ada");
        assert_eq!((refused.allowed, refused.retry_after), (false, first.retry_after));
    }
    assert_eq!(limiter.stats().shared.unwrap().store_calls, before + 1);
    assert!(limiter.check_key("bob").allowed, "another key");
    fleet.time.advance(first.retry_after.unwrap());
    assert!(limiter.check_key("ada").allowed);
}

#[tokio::test]
async fn a_call_that_did_not_run_returns_its_token() {
    let fleet = Fleet::new();
    for mode in [Mode::Exact, Mode::Lease] {
        let (_a, first) = fleet.instance(rate("1/h").mode(mode));
        let (_b, second) = fleet.instance(rate("1/h").mode(mode));
        let token = first.acquire().await.unwrap();
        assert!(second.acquire().await.is_err());
        token.give_back();
        assert!(first.acquire().await.is_ok() || mode == Mode::Exact);
        fleet.time.advance(Duration::from_hours(9));
        first.acquire().await.unwrap().give_back();
        if mode == Mode::Exact {
            until(|| second.check_weighted(0).remaining == 1);
        }
        fleet.time.advance(Duration::from_hours(9));
    }
}

#[tokio::test]
async fn a_dropped_future_returns_the_token_that_it_was_promised() {
    // T175
    let fleet = Fleet::new();
    let config = rate("1/h").mode(Mode::Exact).max_wait(Duration::from_hours(2));
    let (_a, limiter) = fleet.instance(config);
    drop(limiter.acquire().await.unwrap());
    let mut second = Box::pin(limiter.acquire());
    assert!(std::future::poll_fn(|cx| std::task::Poll::Ready(second.as_mut().poll(cx).is_pending())).await);
    assert_eq!(limiter.stats().queued, 1);
    drop(second);
    assert_eq!(limiter.stats().queued, 0);
    until(|| limiter.check_weighted(0).reset_after <= Duration::from_hours(1));
    let third = limiter.acquire();
    let (third, ()) = tokio::join!(third, async { fleet.time.advance(Duration::from_hours(1)) });
    assert!(third.is_ok(), "it has the turn of the second call");
}

#[test]
fn a_lease_takes_tokens_in_advance_and_returns_them() {
    // T174
    let fleet = Fleet::new();
    // A token takes an hour, so what is returned soon is returned in full.
    let config = || rate("100/h").mode(Mode::Lease);
    let (a, first) = fleet.instance(config());
    assert_eq!(admitted(&first, 10), 10);
    let (_b, second) = fleet.instance(config());
    // The store has given away what is leased. The first instance may take more in the background.
    let leased = || first.stats().shared.unwrap().leased;
    until(|| u64::from(second.check_weighted(0).remaining) + leased() == 90);
    drop((first, a));
    until(|| second.check_weighted(0).remaining == 90);
}

#[test]
fn a_lease_that_is_used_up_at_once_needs_few_requests_and_wastes_no_token() {
    let fleet = Fleet::new();
    let config = rate("50000/s").burst(5000).mode(Mode::Lease);
    let (_registry, limiter) = fleet.instance(config);
    let mut calls = 0;
    for _ in 0..5000 {
        fleet.time.advance(Duration::from_micros(200));
        while limiter.try_acquire().is_ok() {
            calls += 1;
        }
    }
    // In a second, the burst and the rate, apart from the tokens of a lease.
    let requests = limiter.stats().shared.unwrap().store_calls;
    assert!((50_000..=55_000).contains(&calls), "{calls} calls with {requests} requests");
    assert!(requests < 150, "{requests} requests");
}

#[test]
fn without_the_store_a_limiter_decides_as_it_was_told_and_says_so() {
    // T91
    for (choice, expected) in [
        (OnStoreFailure::Local, Err(RejectionKind::RateLimited)),
        (OnStoreFailure::Open, Ok(())),
        (OnStoreFailure::Closed, Err(RejectionKind::StoreUnavailable)),
    ] {
        for mode in [Mode::Exact, Mode::Lease] {
            let fleet = Fleet::new();
            let (registry, limiter) = fleet.instance(rate("3/h").mode(mode).on_store_failure(choice));
            let mut events = registry.subscribe();
            assert_eq!(admitted(&limiter, 3), 3);
            fleet.store.set(true);
            fleet.time.advance(Duration::from_mins(21));
            let first = limiter.try_acquire().map(drop).map_err(|rejection| rejection.kind());
            let admits_one = if choice == OnStoreFailure::Closed { expected } else { Ok(()) };
            assert_eq!(first, admits_one, "one token was refilled: {choice:?} {mode:?}");
            let second = limiter.try_acquire().map(drop).map_err(|rejection| rejection.kind());
            assert_eq!(second, expected, "the local limiter was warm: {choice:?} {mode:?}");
            let shared = limiter.stats().shared.unwrap();
            assert!(shared.degraded && shared.store_failures > 0);
            let is_told = |event: crate::Event| matches!(event.what, EventKind::StoreFailed { .. });
            assert!(std::iter::from_fn(|| events.try_recv()).any(is_told));
            fleet.store.set(false);
            fleet.time.advance(Duration::from_hours(1));
            until(|| {
                fleet.time.advance(Duration::from_millis(200));
                let _ = limiter.try_acquire();
                !limiter.stats().shared.unwrap().degraded
            });
        }
    }
}

#[test]
fn without_the_store_each_instance_has_its_share() {
    let fleet = Fleet::new();
    let config = || rate("8/h").mode(Mode::Exact);
    let instances: Vec<_> = (0..4).map(|_| fleet.instance(config())).collect();
    for (_, limiter) in &instances {
        limiter.check_weighted(0);
    }
    until(|| {
        fleet.time.advance(Duration::from_secs(2));
        instances.iter().all(|(_, limiter)| {
            limiter.check_weighted(0);
            limiter.stats().shared.unwrap().instances == 4
        })
    });
    instances.iter().for_each(|(_, limiter)| _ = limiter.check_weighted(0));
    fleet.store.set(true);
    for (_, limiter) in &instances {
        limiter.reconfigure(rate("4/h").mode(Mode::Exact).store("shared")).unwrap();
        limiter.reconfigure(config().store("shared")).unwrap();
        assert_eq!(admitted(limiter, 9), 2, "8 for 4 instances, also after a change of the settings");
        assert!(limiter.try_acquire_weighted(8).is_err());
        assert_eq!(limiter.try_acquire_weighted(9).unwrap_err().kind(), RejectionKind::WeightExceedsLimit);
    }
}

#[test]
fn an_instance_without_a_call_knows_its_share_when_the_store_fails() {
    let fleet = Fleet::new();
    let instances: Vec<_> = (0..4).map(|_| fleet.instance(rate("8/h").mode(Mode::Exact))).collect();
    until(|| {
        fleet.time.advance(Duration::from_secs(2));
        instances.iter().all(|(registry, _)| registry.store("shared").stats().instances == Some(4))
    });
    fleet.store.set(true);
    for (_, limiter) in &instances {
        assert_eq!(admitted(limiter, 9), 2, "8 for 4 instances");
    }
}

#[test]
fn an_observing_limit_rejects_nothing_and_counts() {
    let fleet = Fleet::new();
    let (_registry, limiter) = fleet.instance(rate("2/h").mode(Mode::Observe));
    assert_eq!(admitted(&limiter, 5), 5);
    assert!(limiter.check().allowed);
    until(|| limiter.stats().shared.unwrap().would_reject == 4);
    assert_eq!(limiter.stats().rejected, 0);
    fleet.store.set(true);
    assert_eq!(admitted(&limiter, 5), 5, "also without the store");
}

#[test]
fn other_settings_of_another_instance_are_reported_once() {
    let fleet = Fleet::new();
    let (_a, first) = fleet.instance(rate("5/h"));
    let (b, second) = fleet.instance(rate("6/h"));
    let mut events = b.subscribe();
    assert!(first.check().allowed);
    for _ in 0..3 {
        assert!(second.check().allowed);
        assert!(first.check_weighted(0).allowed);
    }
    assert!(second.stats().shared.unwrap().settings_differ);
    let told = std::iter::from_fn(|| events.try_recv())
        .filter(|event| event.what == EventKind::SharedSettingsDiffer);
    assert_eq!(told.count(), 1);
}

#[test]
fn clocks_of_the_instances_make_no_difference() {
    let fleet = Fleet::new();
    let ahead = ManualClock::new();
    ahead.advance(Duration::from_hours(1000));
    for mode in [Mode::Exact, Mode::Lease] {
        let (_a, first) = fleet.instance(rate("4/h").mode(mode));
        let (_b, second) = fleet.instance_at(ahead.clock(), rate("4/h").mode(mode));
        assert_eq!(admitted(&second, 3) + admitted(&first, 3) + admitted(&second, 3), 4, "{mode:?}");
        fleet.time.advance(Duration::from_hours(9));
        ahead.advance(Duration::from_hours(9));
    }
}

#[test]
fn a_shared_limit_can_be_changed_and_made_local() {
    let fleet = Fleet::new();
    let (_registry, limiter) = fleet.instance(rate("1/h").mode(Mode::Lease));
    assert_eq!(admitted(&limiter, 9), 1);
    limiter.reconfigure(rate("3/h").mode(Mode::Lease).store("shared")).unwrap();
    assert_eq!(admitted(&limiter, 9), 2, "one token is used");
    limiter.reconfigure(rate("3/h")).unwrap();
    assert_eq!(limiter.stats().shared, None);
    assert!(admitted(&limiter, 9) <= 3);
}

#[tokio::test]
async fn a_pipeline_waits_for_the_store_and_refunds_attempts_that_do_not_run() {
    let fleet = Fleet::new();
    for mode in [Mode::Exact, Mode::Lease, Mode::Observe] {
        let (registry, limiter) = fleet.instance(rate("2/h").mode(mode));
        let pipeline = registry.pipeline("op").rate_limit("api").bulkhead("one").build();
        let one = registry.bulkhead("one");
        one.reconfigure(crate::bulkhead::Config::default().max_concurrent(1)).unwrap();
        let held = one.try_acquire().unwrap();
        let full = pipeline.request().call_async(async || Ok::<_, crate::Rejection>(1)).await;
        assert_eq!(full.unwrap_err().kind(), RejectionKind::BulkheadFull);
        let full = pipeline.request().call(|| Ok::<_, crate::Rejection>(1));
        assert_eq!(full.unwrap_err().kind(), RejectionKind::BulkheadFull);
        drop(held);
        if mode == Mode::Exact {
            until(|| limiter.check_weighted(0).remaining == 2);
        }
        assert_eq!(
            pipeline.request().call_async(async || Ok::<_, crate::Rejection>(1)).await,
            Ok(1),
            "{mode:?}"
        );
        assert_eq!(pipeline.request().call(|| Ok::<_, crate::Rejection>(1)), Ok(1), "{mode:?}");
        let third = pipeline.request().call_async(async || Ok::<_, crate::Rejection>(1)).await;
        if mode == Mode::Observe {
            assert_eq!(third, Ok(1));
        } else {
            let refused = third.unwrap_err();
            assert_eq!((refused.kind(), refused.component()), (RejectionKind::RateLimited, "api"));
        }
        fleet.time.advance(Duration::from_hours(9));
    }
}

#[tokio::test]
async fn a_call_without_time_for_the_store_times_out_and_costs_nothing() {
    // T175
    let fleet = Fleet::new();
    let (registry, limiter) = fleet.instance(rate("2/h").mode(Mode::Exact));
    let timeout = crate::timeout::Config::default().total(Duration::from_millis(50));
    registry.timeout("short").reconfigure(timeout).unwrap();
    let pipeline = registry.pipeline("op").timeout("short").rate_limit("api").build();
    fleet.store.hangs.store(true, Ordering::SeqCst);
    let call = pipeline.request().call_async(async || Ok::<_, crate::Rejection>(1));
    let (late, ()) = tokio::join!(call, async { fleet.time.advance(Duration::from_millis(60)) });
    assert_eq!(late.unwrap_err().kind(), RejectionKind::QueueTimeout);
    fleet.store.hangs.store(false, Ordering::SeqCst);
    fleet.store.resumed.notify_waiters();
    until(|| limiter.check_weighted(0).remaining == 2);
    assert!(!limiter.stats().shared.unwrap().degraded, "the call was out of time, not the store");
}

#[test]
fn a_heavy_call_that_has_too_few_tokens_does_not_stop_light_calls() {
    let fleet = Fleet::new();
    for mode in [Mode::Exact, Mode::Lease] {
        let (_registry, limiter) = fleet.instance(rate("10/h").mode(mode));
        assert_eq!(admitted(&limiter, 5), 5);
        assert!(limiter.try_acquire_weighted(8).is_err());
        assert_eq!(admitted(&limiter, 9), 5, "{mode:?}");
        fleet.time.advance(Duration::from_hours(9));
    }
}

#[tokio::test]
async fn a_heavy_call_that_waits_does_not_stop_light_calls() {
    let fleet = Fleet::new();
    let (_registry, limiter) =
        fleet.instance(rate("10/h").mode(Mode::Lease).max_wait(Duration::from_hours(2)));
    assert_eq!(admitted(&limiter, 5), 5);
    let mut heavy = pin!(limiter.acquire_weighted(8));
    let mut light = pin!(limiter.acquire());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(heavy.as_mut().poll(&mut cx).is_pending());
    until(|| light.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready());
}

#[test]
fn a_leased_token_that_a_call_held_for_long_is_not_admitted_again() {
    let fleet = Fleet::new();
    let (_registry, limiter) = fleet.instance(rate("100/s").mode(Mode::Lease));
    let hold = |span: Duration| {
        let held: Vec<_> = std::iter::from_fn(|| limiter.try_acquire().ok()).collect();
        let taken = held.len();
        fleet.time.advance(span);
        held.into_iter().for_each(crate::rate_limit::Token::give_back);
        (taken, limiter.stats().shared.unwrap().leased)
    };
    let (taken, in_pool) = hold(Duration::from_millis(5));
    assert!(taken >= 100 && (1..=20).contains(&in_pool), "{in_pool} of {taken}: at most the last leases");
    // Tokens in the pool are not returned to the store, which has granted others.
    let free = fleet.store.remaining(&rate("100/s"));
    limiter.reconfigure(rate("100/s").mode(Mode::Exact).store("shared")).unwrap();
    assert_eq!(fleet.store.remaining(&rate("100/s")), free);
    limiter.reconfigure(rate("100/s").mode(Mode::Lease).store("shared")).unwrap();
    fleet.time.advance(Duration::from_secs(10));
    let (taken, in_pool) = hold(Duration::from_millis(50));
    assert!(taken >= 100 && in_pool == 0, "{in_pool} of {taken}");
}

#[tokio::test]
async fn a_lease_for_earlier_settings_is_returned() {
    let fleet = Fleet::new();
    let config = rate("10/h").mode(Mode::Lease);
    let (_registry, limiter) = fleet.instance(config.clone());
    fleet.store.hangs.store(true, Ordering::SeqCst);
    {
        let mut call = pin!(limiter.acquire_weighted(6));
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        until(|| fleet.store.remaining(&config) == 4);
    }
    limiter.reconfigure(rate("5/h").mode(Mode::Lease).store("shared")).unwrap();
    fleet.store.hangs.store(false, Ordering::SeqCst);
    let leased = || limiter.stats().shared.unwrap().leased;
    until(|| {
        fleet.store.resumed.notify_waiters();
        leased() > 0 || fleet.store.remaining(&config) == 10
    });
    assert_eq!(leased(), 0, "tokens of another rule");
}

#[test]
fn a_store_that_panics_has_failed_and_can_work_again() {
    for mode in [Mode::Exact, Mode::Lease, Mode::Observe] {
        let fleet = Fleet::new();
        let (_registry, limiter) = fleet.instance(rate("100/h").mode(mode));
        assert_eq!(admitted(&limiter, 1), 1);
        fleet.store.is_broken.store(true, Ordering::SeqCst);
        until(|| {
            assert_eq!(admitted(&limiter, 1), 1, "the local limiter decides: {mode:?}");
            limiter.stats().shared.unwrap().degraded
        });
        fleet.store.is_broken.store(false, Ordering::SeqCst);
        until(|| {
            fleet.time.advance(Duration::from_mins(1));
            assert_eq!(admitted(&limiter, 1), 1);
            !limiter.stats().shared.unwrap().degraded
        });
    }
}

#[test]
fn a_store_that_hangs_takes_from_the_time_that_a_call_can_wait() {
    for has_time in [true, false] {
        let fleet = Fleet::new();
        let timeout = Registry::new().store("shared").config().timeout;
        // The next token of the local limiter.
        let at = Duration::from_secs(10);
        let max_wait = if has_time { at + timeout / 2 } else { at.saturating_sub(timeout / 2) };
        let config = rate("1/10s").burst(1).mode(Mode::Exact).max_wait(max_wait);
        let (_registry, limiter) = fleet.instance(config);
        assert_eq!(admitted(&limiter, 1), 1);
        fleet.store.hangs.store(true, Ordering::SeqCst);
        let mut cx = Context::from_waker(Waker::noop());
        let mut call = pin!(limiter.acquire());
        assert!(call.as_mut().poll(&mut cx).is_pending());
        fleet.time.advance(timeout);
        assert_eq!(call.as_mut().poll(&mut cx).is_pending(), has_time);
    }
}

#[tokio::test]
async fn a_token_of_the_store_is_not_returned_to_a_local_limit() {
    let fleet = Fleet::new();
    for mode in [Mode::Exact, Mode::Lease] {
        let (_registry, limiter) = fleet.instance(rate("3/h").mode(mode));
        let token = limiter.acquire().await.unwrap();
        limiter.reconfigure(rate("3/h")).unwrap();
        assert!(admitted(&limiter, 9) <= 3);
        token.give_back();
        assert_eq!(admitted(&limiter, 9), 0, "{mode:?}");
        fleet.time.advance(Duration::from_hours(9));
    }
}
