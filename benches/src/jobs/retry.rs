use std::cell::Cell;
use std::future::ready;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

use backon::{BlockingRetryable, ConstantBuilder, ExponentialBuilder, Retryable};
use resilient_runtime::RetryBudget;
use resilient_runtime::retry::{Backoff, Config};
use resilient_runtime::{Component, Pipeline, Ratio, Registry, Retry, resilient};
use tower::retry::backoff::{ExponentialBackoffMaker, MakeBackoff};
use tower::util::rng::HasherRng;
use tower::{Layer, Service, ServiceExt};
use tower_resilience::retry::RetryLayer;

use super::each;
use crate::body::{BodyError, Failed, number, run, work, work_async};
use crate::harness::{Goal, Group, Job};

pub(super) fn groups() -> Vec<Group> {
    vec![first_try(), first_try_async(), one_failure(), one_failure_async()]
}

fn retry(config: Config) -> Arc<Retry> {
    let retry = Registry::new().retry("bench");
    retry.reconfigure(config).expect("these settings are within their ranges");
    retry
}

/// A retry without delays that has a token for each retry.
fn at_once() -> Arc<Retry> {
    let config = Config::default().backoff(Backoff::Constant).base(Duration::ZERO).jitter(Ratio::ZERO);
    retry(config.budget_ratio(Ratio::ONE).budget_reserve(1e6))
}

#[resilient(retry(max = 3))]
fn annotated() -> Result<u64, Failed> {
    work(number())
}

#[resilient(retry(max = 3))]
async fn annotated_async() -> Result<u64, Failed> {
    work_async(number()).await
}

/// Work that fails every second time, beginning with the first.
fn flaky<E>(error: fn() -> E) -> impl Fn() -> Result<u64, E> {
    let failing = Cell::new(false);
    move || {
        failing.set(!failing.get());
        if failing.get() { Err(error()) } else { work(number()) }
    }
}

fn first_try() -> Group {
    let (direct, budget) = (retry(Config::default()), Registry::new().retry_budget("bench"));
    let jobs = vec![
        Job::new("resilient, component", move || {
            let retry = Arc::clone(&direct);
            // Keeps the optimizer from hoisting work out of the loop.
            move || black_box(&*retry).call(|| work::<Failed>(number()))
        }),
        Job::new("resilient, attribute", || annotated),
        Job::new("`backon`", || {
            let policy = ExponentialBuilder::default();
            move || (|| work::<BodyError>(number())).retry(policy).call()
        }),
        deposit(budget),
    ];
    Group::new("Retry, the first attempt succeeds", jobs)
        .in_readme()
        .goals([Goal::AtMost(12.0), Goal::NoAllocation])
        .note("`backon` has no budget and does not expose the attempt number. Resilient deposits into a budget with each call.")
        .shared()
}

fn deposit(budget: Arc<RetryBudget>) -> Job {
    Job::new("one deposit in a budget of ours", move || {
        let budget = Arc::clone(&budget);
        move || black_box(&*budget).deposit()
    })
}

fn tower_resilience() -> RetryLayer<u64, u64, BodyError> {
    RetryLayer::builder().max_attempts(4).exponential_backoff(Duration::from_millis(100)).build()
}

/// The retry of `tower`, with its budget and backoff.
#[derive(Clone)]
struct Policy {
    left: usize,
    budget: Arc<tower::retry::budget::TpsBudget>,
    backoff: tower::retry::backoff::ExponentialBackoff,
}

impl Policy {
    fn new() -> Self {
        let delays = Duration::from_millis(100)..Duration::from_secs(5);
        let mut maker = ExponentialBackoffMaker::new(delays.start, delays.end, 0.5, HasherRng::default())
            .expect("these settings are within their ranges");
        Self { left: 3, budget: Arc::default(), backoff: maker.make_backoff() }
    }
}

impl tower::retry::Policy<u64, u64, BodyError> for Policy {
    type Future = tokio::time::Sleep;

    fn retry(&mut self, _: &mut u64, result: &mut Result<u64, BodyError>) -> Option<Self::Future> {
        use tower::retry::backoff::Backoff;
        use tower::retry::budget::Budget;
        if result.is_ok() {
            self.budget.deposit();
            return None;
        }
        self.left = self.left.checked_sub(1)?;
        self.budget.withdraw().then(|| self.backoff.next_backoff())
    }

    fn clone_request(&mut self, request: &u64) -> Option<u64> {
        Some(*request)
    }
}

fn first_try_async() -> Group {
    let direct = retry(Config::default());
    let resilience = each(tower_resilience().layer(tower::service_fn(work_async::<BodyError>)));
    let plain =
        each(tower::retry::RetryLayer::new(Policy::new()).layer(tower::service_fn(work_async::<BodyError>)));
    let jobs = vec![
        Job::new("resilient, component", move || {
            let retry = Arc::clone(&direct);
            move || run(retry.call_async(async || work_async::<Failed>(number()).await))
        }),
        Job::new("resilient, attribute", || || run(annotated_async())),
        Job::new("`backon`", || {
            let policy = ExponentialBuilder::default();
            move || run(async { (|| work_async::<BodyError>(number())).retry(policy).await })
        }),
        Job::new("`tower`, with a budget", move || {
            let mut service = plain();
            move || run(async { service.ready().await?.call(number()).await })
        }),
        Job::new("`tower-resilience`", move || {
            let mut service = resilience();
            move || run(async { service.ready().await?.call(number()).await })
        }),
    ];
    Group::new("Retry, the first attempt succeeds, asynchronous", jobs)
        .goals([Goal::Times(1.5, "`backon`"), Goal::NoAllocation])
        .shared()
}

fn one_failure() -> Group {
    let direct = at_once();
    let pipeline = Arc::new(Pipeline::builder("bench: one failure").retry(at_once()).build());
    let jobs = vec![
        Job::new("resilient, component", move || {
            let (retry, work) = (Arc::clone(&direct), flaky(|| Failed::Body));
            move || retry.call(&work)
        }),
        Job::new("resilient, builder", move || {
            let (pipeline, work) = (Arc::clone(&pipeline), flaky(|| Failed::Body));
            move || pipeline.call(&work)
        }),
        Job::new("`backon`", || {
            let (policy, work) = (ConstantBuilder::default().with_delay(Duration::ZERO), flaky(|| BodyError));
            move || (&work).retry(policy).call()
        }),
    ];
    Group::new("Retry, one failure and no delay", jobs)
        .goals([Goal::NoAllocation])
        .note("Resilient takes a token from the budget under a lock, and reads the clock. `backon` has no budget and no deadline.")
        .shared()
}

fn one_failure_async() -> Group {
    let direct = at_once();
    let jobs = vec![
        Job::new("resilient, component", move || {
            let (retry, work) = (Arc::clone(&direct), flaky(|| Failed::Body));
            move || run(retry.call_async(async || work()))
        }),
        Job::new("`backon`", || {
            let (policy, work) = (ConstantBuilder::default().with_delay(Duration::ZERO), flaky(|| BodyError));
            move || run(async { (async || work()).retry(policy).sleep(|_| ready(())).await })
        }),
    ];
    Group::new("Retry, one failure and no delay, asynchronous", jobs)
        .goals([Goal::NoAllocation])
        .note("`backon` runs without its timer, which it arms even for a delay of zero. `tower-resilience` always uses a timer.")
}
