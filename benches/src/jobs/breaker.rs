use std::sync::Arc;
use std::time::Duration;

use failsafe::{Config as Failsafe, backoff, failure_policy};
use recloser::{AsyncRecloser, Recloser};
use resilient_runtime::circuit_breaker::{CircuitBreaker, Config, Window};
use resilient_runtime::{Component, Pipeline, Ratio, Registry, resilient};
use tower::{Layer, Service, ServiceExt};
use tower_resilience::circuitbreaker::{CircuitBreakerLayer, SlidingWindowType};

use super::each;
use crate::body::{BodyError, Failed, number, run, work, work_async};
use crate::harness::{Goal, Group, Job};

pub(super) fn groups() -> Vec<Group> {
    vec![
        closed_count(),
        closed_count_async(),
        closed_time(),
        closed_time_async(),
        rejecting(),
        rejecting_async(),
    ]
}

fn breaker(name: &str, window: Window) -> Arc<CircuitBreaker> {
    let registry = Registry::new();
    let breaker = registry.circuit_breaker(name);
    let config = Config::default().window(window);
    let config = match window {
        Window::Time(_) => config.slow_call(Duration::from_secs(1)).slow_rate(Ratio::HALF),
        Window::Count(_) => config,
    };
    breaker.reconfigure(config).expect("these settings are within their ranges");
    breaker
}

fn ours(who: &'static str, breaker: Arc<CircuitBreaker>) -> Job {
    Job::new(who, move || {
        let breaker = Arc::clone(&breaker);
        move || breaker.call(|| work::<Failed>(number()))
    })
}

fn ours_async(who: &'static str, breaker: Arc<CircuitBreaker>) -> Job {
    Job::new(who, move || {
        let breaker = Arc::clone(&breaker);
        move || run(breaker.call_async(async || work_async::<Failed>(number()).await))
    })
}

/// With an outcome that has no room for an error. The difference shows the cost of the size of the error type.
fn ours_async_small(breaker: Arc<CircuitBreaker>) -> Job {
    Job::new("resilient, component, an outcome of 16 bytes", move || {
        let breaker = Arc::clone(&breaker);
        move || run(breaker.call_async(async || work_async::<BodyError>(number()).await.ok()))
    })
}

fn recloser_config() -> Recloser {
    Recloser::custom()
        .error_rate(0.5)
        .closed_len(100)
        .half_open_len(10)
        .open_wait(Duration::from_secs(30))
        .build()
}

fn peer_recloser() -> Job {
    let breaker = Arc::new(recloser_config());
    Job::new("`recloser`", move || {
        let breaker = Arc::clone(&breaker);
        move || breaker.call(|| work::<BodyError>(number()))
    })
}

fn peer_recloser_async() -> Job {
    let breaker = Arc::new(AsyncRecloser::from(recloser_config()));
    Job::new("`recloser`", move || {
        let breaker = Arc::clone(&breaker);
        move || run(breaker.call(work_async::<BodyError>(number())))
    })
}

/// `recloser` with the error type of this library, which has room for a rejection, so that the moved outcome has equal
/// size.
fn peer_recloser_same_error() -> Job {
    let breaker = Arc::new(AsyncRecloser::from(recloser_config()));
    Job::new("`recloser`, with an error type as large as ours", move || {
        let breaker = Arc::clone(&breaker);
        move || run(breaker.call(work_async::<Failed>(number())))
    })
}

/// Built as in its documentation: consecutive failures or a success rate over 30 s.
fn peer_failsafe() -> Job {
    let breaker = Failsafe::new().build();
    Job::new("`failsafe`", move || {
        let breaker = breaker.clone();
        move || failsafe::CircuitBreaker::call(&breaker, || work::<BodyError>(number()))
    })
}

fn peer_failsafe_async() -> Job {
    let breaker = Failsafe::new().build();
    Job::new("`failsafe`", move || {
        let breaker = breaker.clone();
        move || run(failsafe::futures::CircuitBreaker::call(&breaker, work_async::<BodyError>(number())))
    })
}

fn tower_resilience(window: Window) -> CircuitBreakerLayer {
    let layer = CircuitBreakerLayer::builder().name("bench").failure_rate_threshold(0.5);
    match window {
        Window::Count(calls) => layer.sliding_window_size(calls as usize),
        Window::Time(span) => layer
            .sliding_window_type(SlidingWindowType::TimeBased)
            .sliding_window_duration(span / 3000)
            .slow_call_duration_threshold(Duration::from_secs(1))
            .slow_call_rate_threshold(0.5),
    }
    .build()
    .expect("these settings are within their ranges")
}

fn peer_tower(window: Window) -> Job {
    let service = tower_resilience(window).layer(tower::service_fn(work_async::<BodyError>));
    let service = each(service);
    Job::new("`tower-resilience`", move || {
        let mut service = service();
        move || run(async { service.ready().await?.call(number()).await })
    })
}

const CALLS: Window = Window::Count(100);
const SPAN: Window = Window::Time(Duration::from_secs(30));

fn closed_count() -> Group {
    let jobs = vec![ours("resilient, component", breaker("count", CALLS)), peer_recloser(), peer_failsafe()];
    Group::new("Circuit breaker, closed, the last 100 calls", jobs)
        .in_readme()
        .goals([Goal::Times(1.0, "`recloser`"), Goal::NoAllocation])
        .note("`recloser` counts failures only and keeps no statistics; `failsafe` keeps no window of calls.")
        .shared()
}

fn closed_count_async() -> Group {
    let jobs = vec![
        ours_async("resilient, component", breaker("count, async", CALLS)),
        ours_async_small(breaker("count, async, small", CALLS)),
        peer_recloser_async(),
        peer_recloser_same_error(),
        peer_failsafe_async(),
        peer_tower(CALLS),
    ];
    Group::new("Circuit breaker, closed, the last 100 calls, asynchronous", jobs)
        .goals([
            Goal::Times(1.0, "`recloser`"),
            Goal::Times(1.0, "`recloser`, with an error type as large as ours"),
            Goal::NoAllocation,
        ])
        .note("A future returns its outcome in memory. The difference to an outcome of 16 bytes is the cost of the size of the error type.")
        .shared()
}

#[resilient(circuit_breaker("bench: time window", slow_call = "1s", slow_rate = "50%"))]
fn annotated() -> Result<u64, Failed> {
    work(number())
}

#[resilient(circuit_breaker("bench: time window, async", slow_call = "1s", slow_rate = "50%"))]
async fn annotated_async() -> Result<u64, Failed> {
    work_async(number()).await
}

fn closed_time() -> Group {
    let pipeline =
        Arc::new(Pipeline::builder("bench: breaker").circuit_breaker(breaker("time, built", SPAN)).build());
    let policy = failure_policy::success_rate_over_time_window(
        0.5,
        20,
        Duration::from_secs(30),
        backoff::constant(Duration::from_secs(5)),
    );
    let failsafe = Failsafe::new().failure_policy(policy).build();
    let jobs = vec![
        Job::new("resilient, attribute", || annotated),
        Job::new("resilient, builder", move || {
            let pipeline = Arc::clone(&pipeline);
            move || pipeline.call(|| work::<Failed>(number()))
        }),
        ours("resilient, component", breaker("time", SPAN)),
        Job::new("`failsafe`", move || {
            let breaker = failsafe.clone();
            move || failsafe::CircuitBreaker::call(&breaker, || work::<BodyError>(number()))
        }),
    ];
    Group::new("Circuit breaker, closed, the last 30 s, with slow calls", jobs).headline()
        .goals([Goal::AtMost(35.0), Goal::NoAllocation, Goal::Gain(1.5)])
        .note("The attribute and the builder include statistics and latency percentiles. `component` does not. `failsafe` has no slow calls.")
        .shared()
}

fn closed_time_async() -> Group {
    let jobs = vec![
        Job::new("resilient, attribute", || || run(annotated_async())),
        ours_async("resilient, component", breaker("time, async", SPAN)),
        peer_tower(SPAN),
    ];
    Group::new("Circuit breaker, closed, the last 30 s, with slow calls, asynchronous", jobs)
        .goals([Goal::AtMost(35.0), Goal::Times(1.0, "`tower-resilience`"), Goal::NoAllocation])
        .note("Reading the clock twice takes 20 ns, the histogram 2 ns (see the yardsticks). `tower-resilience` iterates over its whole window in each call, and therefore has a window of 10 ms.")
        .shared()
}

fn rejecting() -> Group {
    let open = breaker("open", SPAN);
    open.force_open();
    let tripped = Recloser::custom().closed_len(1).open_wait(Duration::from_hours(1)).build();
    (0..2).for_each(|_| drop(tripped.call(|| Err::<(), _>(BodyError))));
    let tripped = Arc::new(tripped);
    let policy = failure_policy::consecutive_failures(1, backoff::constant(Duration::from_hours(1)));
    let failsafe = Failsafe::new().failure_policy(policy).build();
    drop(failsafe::CircuitBreaker::call(&failsafe, || Err::<(), _>(BodyError)));
    let jobs = vec![
        ours("resilient, component", tripped_of_ours()),
        ours("resilient, forced open", open),
        Job::new("`recloser`", move || {
            let breaker = Arc::clone(&tripped);
            move || breaker.call(|| work::<BodyError>(number()))
        }),
        Job::new("`failsafe`", move || {
            let breaker = failsafe.clone();
            move || failsafe::CircuitBreaker::call(&breaker, || work::<BodyError>(number()))
        }),
    ];
    Group::new("Circuit breaker, open: rejection", jobs)
        .headline()
        .goals([Goal::AtMost(30.0), Goal::NoAllocation])
        .note("The rejection of resilient contains the reason and the retry-after time. All libraries read the clock.")
        .shared()
}

fn tripped_of_ours() -> Arc<CircuitBreaker> {
    let registry = Registry::new();
    let breaker = registry.circuit_breaker("tripped");
    let hour = Duration::from_hours(1);
    let config = Config::default().failure_threshold(1).open_for(hour).open_max(hour);
    breaker.reconfigure(config).expect("these settings are within their ranges");
    drop(breaker.call(|| Err::<(), _>(Failed::Body)));
    breaker
}

fn rejecting_async() -> Group {
    let layer = CircuitBreakerLayer::builder().manual_mode();
    let service = layer
        .build()
        .expect("no setting is out of its range")
        .layer(tower::service_fn(work_async::<BodyError>));
    run(service.force_open());
    let service = each(service);
    let jobs = vec![
        ours_async("resilient, component", tripped_of_ours()),
        Job::new("`tower-resilience`", move || {
            let mut service = service();
            move || run(async { service.ready().await?.call(number()).await })
        }),
    ];
    Group::new("Circuit breaker, open: rejection, asynchronous", jobs)
        .goals([Goal::AtMost(30.0), Goal::NoAllocation])
        .note("With one thread only: two threads in `tower-resilience` wait for each other, and need an executor.")
}
