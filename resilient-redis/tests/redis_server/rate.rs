//! Rate limits that several instances share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use resilient_redis::{Config, RedisStore};
use resilient_runtime::clock::{Clock, ManualClock};
use resilient_runtime::rate_limit::{
    self, Algorithm, Mode, OnStoreFailure, Rate, RateRequest, RateRule, RateStore, ReturnedTokens,
};
use resilient_runtime::store::{InstanceStore, StoreError};
use resilient_runtime::{Component, RateLimiter, Registry, RejectionKind, store};

use crate::server::{PATIENCE, Server, run};
use crate::wait::in_time;

pub(crate) fn rate(text: &str) -> rate_limit::Config {
    rate_limit::Config::default().rate(text.parse::<Rate>().unwrap())
}

/// An instance of the service. The time limit of its store is long, for a slow machine.
pub(crate) struct Instance {
    pub(crate) registry: Registry,
    pub(crate) limiter: Arc<RateLimiter>,
}

impl Instance {
    pub(crate) fn new(url: &str, config: rate_limit::Config) -> Self {
        Self::with(Registry::new(), url, PATIENCE, config)
    }

    pub(crate) fn with(registry: Registry, url: &str, timeout: Duration, config: rate_limit::Config) -> Self {
        resilient_redis::register(&registry);
        registry.store("shared").reconfigure(store::Config::default().url(url).timeout(timeout)).unwrap();
        let limiter = registry.rate_limiter("api");
        limiter.reconfigure(config.store("shared")).unwrap();
        Self { registry, limiter }
    }

    /// Another limiter of this instance.
    pub(crate) fn add(&self, name: &str, config: rate_limit::Config) -> Arc<RateLimiter> {
        let limiter = self.registry.rate_limiter(name);
        limiter.reconfigure(config.store("shared")).unwrap();
        limiter
    }

    pub(crate) fn shared(&self) -> rate_limit::SharedStats {
        self.limiter.stats().shared.unwrap()
    }
}

fn request(rule: RateRule, tokens: u32) -> RateRequest {
    RateRequest { limit: "api\0".to_owned(), rule, tokens, at_least: tokens, max_wait: Duration::ZERO }
}

fn rule(config: &rate_limit::Config) -> RateRule {
    RateRule::of(config).unwrap()
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn it_keeps_every_rule_of_a_store_of_rate_limits() {
    let server = Server::start(&[]).await;
    let pass = async |span| tokio::time::sleep(span).await;
    resilient_runtime::testing::check_rate_store(&server.store(), pass).await.unwrap();
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_limit_is_one_key_that_redis_removes_when_it_has_all_its_tokens() {
    let server = Server::start(&[]).await;
    let store = server.store();
    for config in [rate("100/s"), rate("9/100ms").algorithm(Algorithm::SlidingWindow)] {
        store.take(request(rule(&config), 5)).await.unwrap();
        let start = Instant::now();
        let mut admin = server.admin().await;
        let ttl: i64 =
            redis::cmd("PTTL").arg(store.limit_key("api\0")).query_async(&mut admin).await.unwrap();
        assert!(ttl <= 120 && ttl != -1, "{ttl}");
        while redis::cmd("DBSIZE").query_async(&mut admin).await != Ok(0) {
            assert!(start.elapsed() < PATIENCE);
        }
    }
}

/// Four instances ask as fast as they can. Returns how many calls were admitted, in how many seconds by the server.
async fn ask_for(url: &str, config: &rate_limit::Config, span: Duration) -> (u64, f64, u64) {
    let instances: Vec<_> = (0..4).map(|_| Arc::new(Instance::new(url, config.clone()))).collect();
    let (admitted, is_over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let start = Instant::now();
    let callers = instances.iter().flat_map(|instance| [instance, instance]).map(|instance| {
        let (instance, admitted, is_over) =
            (Arc::clone(instance), Arc::clone(&admitted), Arc::clone(&is_over));
        tokio::spawn(async move {
            while !is_over.load(Ordering::SeqCst) {
                let taken = instance.limiter.acquire().await;
                if taken.is_ok() {
                    admitted.fetch_add(1, Ordering::SeqCst);
                }
                tokio::task::yield_now().await;
            }
        })
    });
    let callers: Vec<_> = callers.collect();
    tokio::time::sleep(span).await;
    is_over.store(true, Ordering::SeqCst);
    for caller in callers {
        caller.await.unwrap();
    }
    // The time after the last admission, so that the bound is too large rather than too small.
    let elapsed = start.elapsed().as_secs_f64();
    let calls = instances.iter().map(|instance| instance.shared().store_calls).sum();
    (admitted.load(Ordering::SeqCst), elapsed, calls)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn all_instances_admit_no_more_than_the_rate_and_the_burst() {
    // T173
    let server = Server::start(&[]).await;
    for (config, per_second, burst) in [
        (rate("500/s").burst(50).mode(Mode::Exact), 500.0, 50.0),
        (rate("2000/s").burst(100).mode(Mode::Lease), 2000.0, 100.0),
        (rate("50000/s").burst(5000), 50_000.0, 5000.0),
        (rate("100/200ms").algorithm(Algorithm::SlidingWindow).mode(Mode::Exact), 500.0, 100.0),
        (rate("200/200ms").algorithm(Algorithm::SlidingWindow).mode(Mode::Lease), 1000.0, 200.0),
        (rate("500/s").algorithm(Algorithm::LeakyBucket).max_wait(Duration::from_millis(20)), 500.0, 11.0),
    ] {
        server.run("FLUSHALL").await;
        let (admitted, seconds, calls) = ask_for(&server.url(), &config, Duration::from_millis(700)).await;
        #[allow(clippy::cast_precision_loss)]
        let (admitted, most) = (admitted as f64, per_second * seconds + burst);
        assert!(admitted <= most, "{admitted} > {most} in {seconds} s: {config:?}");
        assert!(admitted >= burst / 2.0, "{admitted}, {calls} requests: {config:?}");
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_lease_needs_few_requests_and_returns_its_tokens() {
    // T174
    let server = Server::start(&[]).await;
    // A token takes 36 s, so that none is refilled during the test.
    let config = || rate("100/h").burst(1000).mode(Mode::Lease);
    let (first, second) = (Instance::new(&server.url(), config()), Instance::new(&server.url(), config()));
    for _ in 0..100 {
        drop(first.limiter.acquire().await.unwrap());
    }
    let comes_to = async |free: u32, how: &str| {
        let start = Instant::now();
        loop {
            let remaining = second.limiter.check_weighted(0).remaining;
            if remaining == free {
                return;
            }
            assert!(remaining < free && start.elapsed() < PATIENCE, "{how}: {remaining}, not {free}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    comes_to(900, "an idle limiter returns its tokens").await;
    drop(first.limiter.acquire().await.unwrap());
    first.registry.return_leases().await;
    comes_to(899, "by hand").await;
    drop(first.limiter.acquire().await.unwrap());
    drop(first);
    comes_to(898, "a limiter that is dropped returns its tokens").await;
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn keys_and_weights_have_their_own_tokens_in_all_instances() {
    let server = Server::start(&[]).await;
    let (first, second) =
        (Instance::new(&server.url(), rate("5/h")), Instance::new(&server.url(), rate("5/h")));
    assert!(first.limiter.check_key_weighted("ada", 4).allowed);
    assert!(!second.limiter.check_key_weighted(&String::from("ada"), 2).allowed, "an equal key");
    assert!(second.limiter.acquire_key("ada").await.is_ok());
    assert!(first.limiter.acquire_key("ada").await.is_err());
    assert!(first.limiter.acquire_key("bob").await.is_ok());
    assert!(first.limiter.acquire_weighted(5).await.is_ok(), "the limit without a key");
    assert!(second.limiter.acquire().await.is_err());
    let heavy = second.limiter.acquire_weighted(6).await.unwrap_err();
    assert_eq!(heavy.kind(), RejectionKind::WeightExceedsLimit);
    let keys = server.run("KEYS *").await;
    let keys = format!("{keys:?}");
    assert!(!keys.contains("ada") && !keys.contains("api"), "keys are hashed: {keys}");
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn after_a_step_back_of_the_clock_the_tokens_that_were_taken_are_refilled_from_then_on() {
    let server = Server::start(&[]).await;
    let store = server.store();
    let key = store.limit_key("api\0");
    let mut admin = server.admin().await;
    let hour = 3_600_000_000_u64;
    let future = server_micros(&mut admin).await + 1000 * hour;
    let bucket = rule(&rate("1/h").burst(3));
    let window = rule(&rate("3/10h").algorithm(Algorithm::SlidingWindow));
    let (seconds, micros) = (future / 1_000_000, future % 1_000_000);
    for (of, state, reset) in [
        (bucket, format!("{seconds}:{micros}:{}:b:{}:3:0", 2000 * hour, 1000 * hour), 2),
        (window, format!("{}:2,0,0,0,0,0,0,0,0,0,0:w:1:3:{}", future / hour, 10 * hour), 11),
    ] {
        run(&mut admin, &format!("SET {key} 1:{state}")).await.unwrap();
        let refused = store.take(request(of, 2)).await.unwrap();
        assert_eq!((refused.granted, refused.remaining), (0, 1), "{state}");
        assert!(refused.reset_after <= Duration::from_micros(hour * reset), "{refused:?}");
        // The next request sees that time passes.
        let later = store.take(request(of, 2)).await.unwrap();
        assert!(later.reset_after < refused.reset_after, "{later:?} after {refused:?}");
        assert_eq!(store.take(request(of, 1)).await.unwrap().granted, 1);
    }
}

async fn server_micros(admin: &mut redis::aio::MultiplexedConnection) -> u64 {
    let (seconds, micros): (u64, u64) = redis::cmd("TIME").query_async(admin).await.unwrap();
    seconds * 1_000_000 + micros
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_foreign_value_stays_and_the_limiter_says_whose_key_it_is() {
    // T176
    let server = Server::start(&[]).await;
    let store = server.store();
    let key = store.limit_key("api\0");
    let mut admin = server.admin().await;
    // Enough for the share of each of the instances below, whose announcements last for some seconds.
    let config = rate("500/h").mode(Mode::Exact);
    for (write, expected) in [
        ("SET {} hello", "another program has written to the key"),
        ("HSET {} name Ada", "another program has written to the key"),
        ("SET {} 1:7:7:7:b:x:y:z", "another program has written to the key"),
        ("SET {} 1:7:7:7", "another program has written to the key"),
        ("SET {} 1:7:2:w:1:2:", "another program has written to the key"),
        ("SET {} 2:00000000:b:1", "a later version of resilient-redis"),
    ] {
        run(&mut admin, &format!("DEL {key}")).await.unwrap();
        run(&mut admin, &write.replace("{}", &key)).await.unwrap();
        let before = run(&mut admin, &format!("DUMP {key}")).await.unwrap();
        let answer = store.take(request(rule(&config), 1)).await;
        let Err(StoreError::Refused(problem)) = answer else { panic!("{write}: {answer:?}") };
        assert!(problem.contains(expected), "{write}: {problem}");
        let returned = ReturnedTokens { limit: "api\0".to_owned(), rule: rule(&config), tokens: 1, mark: 0 };
        let _ = store.give_back(returned).await;
        assert_eq!(run(&mut admin, &format!("DUMP {key}")).await.unwrap(), before, "{write}");
        let instance = Instance::new(&server.url(), config.clone());
        for _ in 0..5 {
            assert!(instance.limiter.acquire().await.is_ok(), "the local limiter decides");
        }
        assert!(instance.shared().degraded);
        let stats = instance.registry.store("shared").stats();
        assert_eq!((stats.failures, stats.degraded), (0, false), "the store works for other limits");
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn clocks_of_instances_and_flushed_scripts_make_no_difference() {
    let server = Server::start(&[]).await;
    let ahead = ManualClock::new();
    ahead.advance(Duration::from_hours(1000));
    let skewed = Registry::with_clock(ahead.clock());
    let first = Instance::with(skewed, &server.url(), PATIENCE, rate("4/h"));
    let second = Instance::with(
        Registry::with_clock(Clock::system().skewable()),
        &server.url(),
        PATIENCE,
        rate("4/h"),
    );
    let mut admitted = 0;
    for _ in 0..4 {
        admitted += u32::from(first.limiter.acquire().await.is_ok());
        server.run("SCRIPT FLUSH").await;
        admitted += u32::from(second.limiter.acquire().await.is_ok());
    }
    assert_eq!(admitted, 4);
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn without_the_server_the_settings_decide_and_no_call_waits_longer_than_the_store() {
    // T91
    const TIMEOUT: Duration = Duration::from_millis(200);
    for (mode, choice) in [
        (Mode::Exact, OnStoreFailure::Local),
        (Mode::Exact, OnStoreFailure::Open),
        (Mode::Exact, OnStoreFailure::Closed),
        (Mode::Lease, OnStoreFailure::Local),
        (Mode::Lease, OnStoreFailure::Closed),
        (Mode::Observe, OnStoreFailure::Closed),
    ] {
        let mut server = Server::start(&[]).await;
        let config = rate("20/h").mode(mode).on_store_failure(choice);
        let instance = Instance::with(Registry::new(), &server.url(), TIMEOUT, config);
        let limiter = &instance.limiter;
        // Until the store has decided, however slow the machine is.
        let start = Instant::now();
        loop {
            let _ = limiter.acquire().await;
            let shared = instance.shared();
            if mode == Mode::Observe || !shared.degraded && shared.store_calls > shared.store_failures {
                break;
            }
            assert!(start.elapsed() < PATIENCE);
        }
        for fault in ["STOP", "KILL"] {
            // Without the refusals that it remembers.
            limiter.reset();
            if fault == "STOP" {
                server.signal("STOP");
            } else {
                server.kill();
            }
            let mut outcomes = Vec::new();
            for _ in 0..60 {
                let outcome = in_time(TIMEOUT, limiter.acquire()).await;
                outcomes.push(outcome.map(drop).map_err(|rejection| rejection.kind()));
            }
            let all = |expected: Result<(), RejectionKind>| {
                outcomes.iter().filter(|found| **found == expected).count()
            };
            match (mode, choice) {
                (Mode::Observe, _) | (_, OnStoreFailure::Open) => assert_eq!(all(Ok(())), 60),
                (_, OnStoreFailure::Local) => {
                    assert!(all(Ok(())) <= 24 && all(Ok(())) + all(Err(RejectionKind::RateLimited)) == 60);
                }
                _ => assert!(all(Err(RejectionKind::StoreUnavailable)) >= 40, "{outcomes:?}"),
            }
            assert!(mode == Mode::Observe || instance.shared().degraded, "{mode:?} {choice:?} {fault}");
            if fault == "STOP" {
                server.signal("CONT");
            } else {
                server.start_again().await;
            }
            let start = Instant::now();
            while instance.shared().degraded {
                let _ = limiter.acquire().await;
                assert!(start.elapsed() < PATIENCE, "shared again");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn an_observing_limit_and_other_settings_are_counted() {
    let server = Server::start(&[]).await;
    let observing = Instance::new(&server.url(), rate("2/h").mode(Mode::Observe));
    for _ in 0..5 {
        drop(observing.limiter.acquire().await.unwrap());
    }
    let start = Instant::now();
    while observing.shared().would_reject < 3 {
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let other = Instance::new(&server.url(), rate("3/h"));
    let _ = other.limiter.acquire().await;
    assert!(other.shared().settings_differ);
    assert!(observing.registry.validate().is_ok());
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn instances_that_share_a_limit_are_counted() {
    let server = Server::start(&[]).await;
    let instance = Instance::new(&server.url(), rate("20/h"));
    let other = RedisStore::new(Config::new(server.url()).timeout(PATIENCE)).unwrap();
    other.announce(7, Duration::from_hours(1)).await.unwrap();
    let start = Instant::now();
    while instance.shared().instances != 2 {
        let _ = instance.limiter.acquire().await;
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}
