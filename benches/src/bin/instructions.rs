//! Runs one job many times, so that `callgrind` can count its instructions: `instructions <job>`.
//!
//! Without an argument, lists the jobs. Instruction counts do not depend on the load of the machine, so that a test can
//! compare them with a budget.

use std::sync::Arc;
use std::time::Duration;

use resilient_benches::body::{Failed, number, run, work, work_async, work_later};
use resilient_runtime::circuit_breaker::{self, Window};
use resilient_runtime::{
    Component, Pipeline, RateLimiter, Registry, Rejection, hedge, rate_limit, registry, resilient, retry,
    timeout,
};

/// Number of counted calls.
const CALLS: u32 = 1000;

type Work = Box<dyn FnMut()>;
type Make = fn() -> Work;

#[resilient(circuit_breaker = "breaker")]
fn breaker() -> Result<u64, Failed> {
    work(number())
}

#[resilient(retry(max = 3))]
fn retried() -> Result<u64, Failed> {
    work(number())
}

#[resilient(bulkhead = "bulkhead")]
fn bulkhead() -> Result<u64, Failed> {
    work(number())
}

#[resilient(fallback = Ok(0))]
fn fallback() -> Result<u64, Failed> {
    work(number())
}

#[resilient(fallback(local_cache(max_age = "10m", key = id), default = Ok(0)))]
fn kept(id: u64) -> Result<u64, Failed> {
    work(id)
}

#[resilient(fallback(replica = Err(Failed::Body), backup = Ok(id)))]
fn second_level(id: u64) -> Result<u64, Failed> {
    Err(Failed::Body).map(|()| id)
}

#[resilient(circuit_breaker = "three", retry(max = 3), bulkhead = "three")]
fn three() -> Result<u64, Failed> {
    work(number())
}

#[resilient(circuit_breaker = "four", retry(max = 3), bulkhead = "four", timeout = "1s")]
async fn four() -> Result<u64, Failed> {
    work_async(number()).await
}

#[resilient(circuit_breaker = "four", retry(max = 3), bulkhead = "four", timeout = "1s")]
async fn four_later() -> Result<u64, Failed> {
    work_later(number()).await
}

/// A separate function, so that the compiler inlines `four` with and without this job.
#[cfg(feature = "fault-injection")]
#[resilient(circuit_breaker = "four", retry(max = 3), bulkhead = "four", timeout = "1s")]
async fn four_beside() -> Result<u64, Failed> {
    work_async(number()).await
}

#[resilient(circuit_breaker = "open", retry(max = 3), bulkhead = "open", timeout = "1s")]
async fn four_open() -> Result<u64, Failed> {
    work_async(number()).await
}

#[resilient(rate_limit("limited", rate = "1000000/s"))]
fn limited() -> Result<u64, Failed> {
    work(number())
}

#[resilient(hedge(after = "1s"), idempotent)]
async fn hedged() -> Result<u64, Failed> {
    work_async(number()).await
}

#[resilient(coalesce(key = id))]
fn shared(id: u64) -> Result<u64, Rejection> {
    work(id)
}

fn job<T>(mut work: impl FnMut() -> T + 'static) -> Work {
    Box::new(move || {
        std::hint::black_box(work());
    })
}

/// The jobs by name, with their constructors.
const JOBS: &[(&str, Make)] = &[
    ("nothing", || job(number)),
    ("pipeline_without_stages", || {
        let pipeline = Pipeline::builder("empty").build();
        job(move || pipeline.call(|| work::<Failed>(number())))
    }),
    ("breaker_count_window", || {
        let breaker = registry().circuit_breaker("count");
        let config = circuit_breaker::Config::default().window(Window::Count(100));
        breaker.reconfigure(config).expect("a setting within its range");
        job(move || breaker.call(|| work::<Failed>(number())))
    }),
    ("breaker_count_window_async", || {
        let breaker = registry().circuit_breaker("count");
        let config = circuit_breaker::Config::default().window(Window::Count(100));
        breaker.reconfigure(config).expect("a setting within its range");
        job(move || run(breaker.call_async(async || work_async::<Failed>(number()).await)))
    }),
    ("breaker_time_window", || {
        let breaker = registry().circuit_breaker("time");
        let config = circuit_breaker::Config::default().slow_call(Duration::from_secs(1));
        breaker.reconfigure(config).expect("a setting within its range");
        job(move || breaker.call(|| work::<Failed>(number())))
    }),
    ("breaker_attribute", || job(breaker)),
    // A fault in force that affects other operations.
    #[cfg(feature = "fault-injection")]
    ("four_beside_a_fault", || {
        let fault = resilient_runtime::chaos::Fault::hang().on("another");
        registry().chaos().arm(fault, "benchmark").expect("a valid fault");
        job(|| run(four_beside()))
    }),
    ("breaker_refusal", || {
        let breaker = registry().circuit_breaker("refusing");
        let hour = Duration::from_hours(1);
        let config = circuit_breaker::Config::default().failure_threshold(1).open_for(hour).open_max(hour);
        breaker.reconfigure(config).expect("settings within their ranges");
        breaker.call(|| Err::<(), _>(Failed::Body)).expect_err("the failure that opens it");
        job(move || breaker.call(|| work::<Failed>(number())))
    }),
    ("retry", || {
        let retry = registry().retry("retry");
        job(move || retry.call(|| work::<Failed>(number())))
    }),
    ("retry_async", || {
        let retry = registry().retry("retry");
        job(move || run(retry.call_async(async || work_async::<Failed>(number()).await)))
    }),
    ("retry_attribute", || job(retried)),
    ("retry_one_failure", || {
        let retry = registry().retry("failing");
        let config = retry::Config::default().base(Duration::ZERO).budget_reserve(1e6);
        retry.reconfigure(config).expect("settings within their ranges");
        let mut failed = false;
        let mut flaky = move || {
            failed = !failed;
            if failed { Err(Failed::Body) } else { work(number()) }
        };
        job(move || retry.call(&mut flaky))
    }),
    ("bulkhead_permit", || {
        let bulkhead = registry().bulkhead("permit");
        job(move || bulkhead.try_acquire().is_ok())
    }),
    ("bulkhead_attribute", || job(bulkhead)),
    ("bulkhead_adaptive", || {
        let bulkhead = registry().bulkhead("adaptive");
        let config = resilient_runtime::bulkhead::Config::default().adaptive(true);
        bulkhead.reconfigure(config).expect("settings within their ranges");
        job(move || bulkhead.call(|| work::<Failed>(number())))
    }),
    ("timeout_ready", || {
        let timeout = limit();
        job(move || run(timeout.call_async(async || work_async::<Failed>(number()).await)))
    }),
    ("timeout_adaptive", || {
        let timeout = registry().timeout("adaptive");
        timeout.reconfigure(timeout::Config::default().adaptive(true)).expect("settings within their ranges");
        let pipeline = registry().pipeline("adaptive").timeout(timeout).build();
        job(move || run(pipeline.call_async(async || work_async::<Failed>(number()).await)))
    }),
    ("timeout_fixed", || {
        let pipeline = registry().pipeline("fixed").timeout(limit()).build();
        job(move || run(pipeline.call_async(async || work_async::<Failed>(number()).await)))
    }),
    ("fallback_not_needed", || job(fallback)),
    ("fallback_kept", || job(|| kept(number()))),
    ("fallback_second_level", || job(|| second_level(number()))),
    ("rate_limit_token", || {
        let limiter = limiter("token", "1000000/s");
        job(move || limiter.try_acquire().is_ok())
    }),
    ("rate_limit_by_key", || {
        let limiter = limiter("by key", "1000000/s");
        job(move || limiter.try_acquire_key(&number()).is_ok())
    }),
    ("rate_limit_refusal", || {
        let limiter = limiter("refusing", "1/day");
        limiter.call(|| work::<Failed>(number())).expect("the one of this day");
        job(move || limiter.call(|| work::<Failed>(number())))
    }),
    ("rate_limit_attribute", || job(limited)),
    ("hedge_not_needed", || {
        let hedge = registry().hedge("hedge");
        let config = hedge::Config::default().after(Duration::from_secs(1));
        hedge.reconfigure(config).expect("a setting within its range");
        job(move || run(hedge.call_async(|| work_async::<Failed>(number()))))
    }),
    ("hedge_attribute", || job(|| run(hedged()))),
    ("coalesce_alone", || {
        let coalesce = registry().coalesce("alone");
        job(move || coalesce.call(&number(), || work::<Rejection>(number())))
    }),
    ("coalesce_attribute", || job(|| shared(number()))),
    ("three_attribute", || job(three)),
    ("four_attribute", || job(|| run(four()))),
    ("four_builder", || {
        let pipeline = registry().pipeline("four").circuit_breaker("built").retry("built").bulkhead("built");
        let pipeline = pipeline.timeout(limit()).build();
        job(move || run(pipeline.call_async(async || work_async::<Failed>(number()).await)))
    }),
    ("four_pending_once", || job(|| run(four_later()))),
    ("four_refused", || {
        registry().circuit_breaker("open").force_open();
        job(|| run(four_open()))
    }),
    ("look_up_by_name", || {
        let registry = Registry::new();
        (0..1000).for_each(|name| drop(registry.circuit_breaker(&format!("breaker {name}"))));
        job(move || registry.circuit_breaker("breaker 471"))
    }),
];

fn limiter(name: &str, rate: &str) -> Arc<RateLimiter> {
    let limiter = registry().rate_limiter(name);
    let rate: rate_limit::Rate = rate.parse().expect("a rate");
    limiter.reconfigure(rate_limit::Config::default().rate(rate)).expect("a setting within its range");
    limiter
}

fn limit() -> Arc<resilient_runtime::Timeout> {
    let timeout = registry().timeout("limit");
    let config = timeout::Config::default().total(Duration::from_secs(1));
    timeout.reconfigure(config).expect("a setting within its range");
    timeout
}

/// The counted function: callgrind counts everything called from here.
#[inline(never)]
fn counted(work: &mut Work) {
    for _ in 0..CALLS {
        work();
    }
}

fn main() {
    let Some(asked) = std::env::args().nth(1) else {
        JOBS.iter().for_each(|(name, _)| println!("{name}"));
        return;
    };
    let Some((_, make)) = JOBS.iter().find(|(name, _)| *name == asked) else {
        eprintln!("unknown job `{asked}`");
        std::process::exit(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let _entered = runtime.enter();
    let mut work = make();
    // Excludes one-time work of the first calls.
    (0..CALLS).for_each(|_| work());
    counted(&mut work);
}
