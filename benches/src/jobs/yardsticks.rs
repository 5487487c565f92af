//! Cost of the building blocks of a call on this machine, and of well-known libraries.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use governor::{Quota, RateLimiter};

use crate::body::{number, run, work, work_async};
use crate::harness::{Group, Job};

pub(super) fn groups() -> Vec<Group> {
    let counter = Arc::new(AtomicU64::new(0));
    let clock = quanta::Clock::new();
    let histogram = histogram::AtomicHistogram::new(7, 36).map(Arc::new);
    let mut jobs = vec![
        Job::new("atomic add, relaxed", move || {
            let counter = Arc::clone(&counter);
            move || counter.fetch_add(1, Ordering::Relaxed)
        }),
        Job::new("time stamp counter (`quanta`)", move || {
            let clock = clock.clone();
            move || clock.raw()
        }),
        Job::new("`std::time::Instant::now`", || Instant::now),
        Job::new("a call of a function", || || work::<()>(number())),
        Job::new("a poll of a future", || || run(work_async::<()>(number()))),
    ];
    if let Ok(histogram) = histogram {
        jobs.push(Job::new("`histogram::AtomicHistogram::increment`", move || {
            let histogram = Arc::clone(&histogram);
            move || histogram.increment(number())
        }));
    }
    let limiter = Arc::new(RateLimiter::direct(Quota::per_second(NonZeroU32::MAX)));
    jobs.push(Job::new("`governor` check", move || {
        let limiter = Arc::clone(&limiter);
        move || limiter.check().is_ok()
    }));
    vec![
        Group::new("Yardsticks", jobs)
            .note("Lower bounds of the cost of a call, for each use of a building block.")
            .shared(),
    ]
}
