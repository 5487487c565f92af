//! Counts the allocations of each job and prints them as JSON. The benchmark runs this program.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use allocation_counter::measure;
use governor::{DefaultKeyedRateLimiter, Quota};
use resilient_benches::harness::Job;
use resilient_benches::jobs;
use resilient_benches::memory::{COMPONENTS, KEYS, Make, Memory};
use resilient_runtime::rate_limit::{self, Rate};
use resilient_runtime::{Component, Registry};

const CALLS: u64 = 64;
const MADE: u64 = 256;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let _entered = runtime.enter();
    let mut memory = Memory::default();
    for group in jobs::all() {
        let jobs: BTreeMap<_, _> =
            group.jobs.iter().map(|job| (job.who.to_owned(), for_each_call(job))).collect();
        memory.calls.insert(group.title.to_owned(), jobs);
    }
    memory.components =
        COMPONENTS.iter().map(|(what, make)| ((*what).to_owned(), for_each_component(*make))).collect();
    memory.keys = vec![("ours".to_owned(), ours()), ("governor".to_owned(), theirs())];
    println!("{}", serde_json::to_string(&memory).expect("numbers and names"));
}

fn for_each_call(job: &Job) -> (f64, f64) {
    // Excludes one-time allocations of the first calls.
    job.run(CALLS);
    let (before, with) = (measure(|| job.run(0)), measure(|| job.run(CALLS)));
    let each = |with: u64, before: u64| with.saturating_sub(before) as f64 / CALLS as f64;
    (each(with.count_total, before.count_total), each(with.bytes_total, before.bytes_total))
}

fn ours() -> f64 {
    let limiter = Registry::new().rate_limiter("keys");
    let rate: Rate = "1/h".parse().expect("a rate");
    let config = rate_limit::Config::default().rate(rate).max_keys(KEYS);
    limiter.reconfigure(config).expect("settings within their ranges");
    for_each_key(|key| limiter.check_key(&key).allowed)
}

fn theirs() -> f64 {
    let limiter = DefaultKeyedRateLimiter::<u32>::keyed(Quota::per_hour(NonZeroU32::MIN));
    for_each_key(|key| limiter.check_key(&key).is_ok())
}

fn for_each_key(mut check: impl FnMut(u32) -> bool) -> f64 {
    let mut admitted = 0;
    let held = measure(|| admitted = (0..KEYS).filter(|key| check(*key)).count());
    assert!(admitted > 999_000, "keys share limits: {admitted}");
    held.bytes_current as f64 / f64::from(KEYS)
}

fn for_each_component(make: Make) -> u64 {
    let registry = Registry::new();
    make(&registry, "the first component, which can make the registry grow");
    let held = measure(|| (0..MADE).for_each(|number| make(&registry, &format!("{number:03}"))));
    held.bytes_current.unsigned_abs() / MADE
}
