use std::cell::Cell;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota};
use resilient_runtime::rate_limit::{Algorithm, Config, Rate};
use resilient_runtime::{Component, Pipeline, RateLimiter, Registry, resilient};

use crate::body::{Failed, number, run, work};
use crate::harness::{Goal, Group, Job};

pub(super) fn groups() -> Vec<Group> {
    vec![token(), token_async(), one_key(), many_keys(), refused(), refused_key(), algorithms()]
}

const GOVERNOR: &str = "`governor`";
const KEYS: u64 = 100_000;

/// A burst that no measurement exhausts.
const PLENTY: u32 = 4_000_000_000;

fn limiter(count: u32, algorithm: Algorithm) -> Arc<RateLimiter> {
    let limiter = Registry::new().rate_limiter("bench");
    let rate = Rate::new(count, Duration::from_hours(24 * 31)).expect("a rate within its range");
    let mut config = Config::default().rate(rate).algorithm(algorithm);
    if algorithm == Algorithm::LeakyBucket {
        config = config.max_wait(Duration::from_millis(1));
    }
    limiter.reconfigure(config).expect("settings within their ranges");
    limiter
}

fn plenty() -> Arc<RateLimiter> {
    limiter(PLENTY, Algorithm::TokenBucket)
}

fn quota() -> Quota {
    Quota::per_second(NonZeroU32::MAX)
}

/// One call per month.
fn seldom() -> Quota {
    Quota::with_period(Duration::from_hours(24 * 31)).expect("a period above zero")
}

#[resilient(rate_limit("bench: attribute", rate = "4000000000/day"))]
fn annotated() -> Result<u64, Failed> {
    work(number())
}

fn token() -> Group {
    let (ours, theirs) = (plenty(), Arc::new(DefaultDirectRateLimiter::direct(quota())));
    let around = Pipeline::builder("bench: rate limit").rate_limit(plenty()).build();
    let around = Arc::new(around);
    let jobs = vec![
        Job::new("resilient, component", {
            let ours = Arc::clone(&ours);
            move || {
                let limiter = Arc::clone(&ours);
                move || limiter.try_acquire().is_ok()
            }
        }),
        Job::new("resilient, component, complete decision", move || {
            let limiter = Arc::clone(&ours);
            move || limiter.check()
        }),
        Job::new("resilient, builder", move || {
            let pipeline = Arc::clone(&around);
            move || pipeline.call(|| work::<Failed>(number()))
        }),
        Job::new("resilient, attribute", || annotated),
        Job::new(GOVERNOR, move || {
            let limiter = Arc::clone(&theirs);
            move || limiter.check().is_ok()
        }),
    ];
    Group::new("Rate limit, token acquired", jobs)
        .in_readme()
        .goals([Goal::Times(1.0, GOVERNOR), Goal::NoAllocation])
        .note("Both libraries wait for the time stamp counter (see the yardsticks) and for a compare-and-swap of the word that the previous call wrote. Small differences between them vary from run to run. The attribute and the builder include the statistics of the function.")
        .shared()
}

fn token_async() -> Group {
    let (ours, theirs) = (plenty(), Arc::new(DefaultDirectRateLimiter::direct(quota())));
    let jobs = vec![
        Job::new("resilient, component", move || {
            let limiter = Arc::clone(&ours);
            move || run(async { limiter.acquire().await.is_ok() })
        }),
        Job::new(GOVERNOR, move || {
            let limiter = Arc::clone(&theirs);
            move || run(limiter.until_ready())
        }),
    ];
    Group::new("Rate limit, token acquired, asynchronous", jobs)
        .goals([Goal::Times(1.0, GOVERNOR), Goal::NoAllocation])
        .note("As in the table above, both libraries wait for the clock and for the word that the previous call wrote.")
        .shared()
}

fn one_key() -> Group {
    let (ours, theirs) = (plenty(), Arc::new(DefaultKeyedRateLimiter::<u64>::keyed(quota())));
    let jobs = vec![
        Job::new("resilient, component", move || {
            let limiter = Arc::clone(&ours);
            move || limiter.try_acquire_key(&number()).is_ok()
        }),
        Job::new(GOVERNOR, move || {
            let limiter = Arc::clone(&theirs);
            move || limiter.check_key(&number()).is_ok()
        }),
    ];
    Group::new("Rate limit by key, one hot key", jobs)
        .goals([Goal::Times(1.0, GOVERNOR), Goal::NoAllocation])
        .shared()
}

/// A pseudorandom key: a multiplicative generator.
fn any_key(state: &Cell<u64>) -> u64 {
    let next = state.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    state.set(next);
    (next >> 33) % KEYS
}

fn many_keys() -> Group {
    let (ours, theirs) = (plenty(), Arc::new(DefaultKeyedRateLimiter::<u64>::keyed(quota())));
    for key in 0..KEYS {
        assert!(ours.check_key(&key).allowed && theirs.check_key(&key).is_ok());
    }
    let jobs = vec![
        Job::new("resilient, component", move || {
            let (limiter, state) = (Arc::clone(&ours), Cell::new(number()));
            move || limiter.try_acquire_key(&any_key(&state)).is_ok()
        }),
        Job::new(GOVERNOR, move || {
            let (limiter, state) = (Arc::clone(&theirs), Cell::new(number()));
            move || limiter.check_key(&any_key(&state)).is_ok()
        }),
        Job::new("the choice of a key alone", || {
            let state = Cell::new(number());
            move || any_key(&state)
        }),
    ];
    Group::new("Rate limit by key, 100 000 keys", jobs)
        .goals([Goal::Times(1.0, GOVERNOR), Goal::NoAllocation])
        .note("The keys are in random order, so that a key is rarely in the fastest cache. Each call reads one or two cache lines out of some megabytes, and their latency depends on other load of the machine. The fastest samples are more meaningful than the medians.")
        .shared()
}

fn refused() -> Group {
    let (ours, theirs) =
        (limiter(1, Algorithm::TokenBucket), Arc::new(DefaultDirectRateLimiter::direct(seldom())));
    let jobs = vec![
        Job::new("resilient, component", move || {
            let limiter = Arc::clone(&ours);
            let _ = limiter.check();
            move || limiter.call(|| work::<Failed>(number()))
        }),
        Job::new(GOVERNOR, move || {
            let limiter = Arc::clone(&theirs);
            let _ = limiter.check();
            move || limiter.check().is_ok()
        }),
    ];
    Group::new("Rate limit, exhausted: rejection", jobs)
        .goals([Goal::AtMost(30.0), Goal::NoAllocation])
        .note("Resilient counts the rejection, and its error contains the name of the limiter and the retry-after time.")
        .shared()
}

fn refused_key() -> Group {
    let (ours, theirs) =
        (limiter(1, Algorithm::TokenBucket), Arc::new(DefaultKeyedRateLimiter::<u64>::keyed(seldom())));
    let jobs = vec![
        Job::new("resilient, component", move || {
            let limiter = Arc::clone(&ours);
            let _ = limiter.check_key(&number());
            move || limiter.try_acquire_key(&number()).is_ok()
        }),
        Job::new(GOVERNOR, move || {
            let limiter = Arc::clone(&theirs);
            let _ = limiter.check_key(&number());
            move || limiter.check_key(&number()).is_ok()
        }),
    ];
    Group::new("Rate limit by key, exhausted: rejection", jobs)
        .goals([Goal::AtMost(30.0), Goal::NoAllocation])
        .note("As for an admitted key: reading the clock, the keyed hash, acquiring and releasing a lock. In addition, an atomic addition that counts the rejection, and the error.")
        .shared()
}

fn algorithms() -> Group {
    let job = |who, algorithm, count| {
        let limiter = limiter(count, algorithm);
        Job::new(who, move || {
            let limiter = Arc::clone(&limiter);
            move || limiter.try_acquire().is_ok()
        })
    };
    let jobs = vec![
        job("token bucket", Algorithm::TokenBucket, PLENTY),
        job("sliding window", Algorithm::SlidingWindow, PLENTY),
        job("sliding log, of 1000, full", Algorithm::SlidingLog, 1000),
        job("leaky bucket, full", Algorithm::LeakyBucket, 1),
    ];
    Group::new("Rate limit, a check by each algorithm", jobs)
        .goals([Goal::NoAllocation])
        .note("A full limiter rejects.")
        .shared()
}
