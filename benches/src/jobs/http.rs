//! Layers around an HTTP service, and exports of statistics.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::routing::get;
use resilient_http::layer::{
    ClientIp, CorrelationLayer, DeadlineLayer, DegradedLayer, IdempotencyLayer, RateLimitLayer, ServerLayer,
};
use resilient_http::metrics::{Format, render};
use resilient_runtime::Component;
use resilient_runtime::{Registry, rate_limit};
use tower::{Service, ServiceBuilder};
use tower_resilience::bulkhead::BulkheadLayer;
use tower_resilience::circuitbreaker::CircuitBreakerLayer;
use tower_resilience::timelimiter::TimeLimiterLayer;

use super::each;
use crate::body::run;
use crate::harness::{Goal, Group, Job};

pub(super) fn groups() -> Vec<Group> {
    vec![layers(), each_layer(), exports()]
}

const BARE: &str = "bare axum service";

async fn hello() -> &'static str {
    "hello"
}

fn bare() -> Router {
    Router::new().route("/", get(hello))
}

/// A job that sends a request, receives the response and drops its body.
fn asked<S>(who: &'static str, service: S) -> Job
where
    S: Service<http::Request<Body>> + Clone + Send + 'static,
    S::Error: std::fmt::Debug,
{
    let service = each(service);
    Job::new(who, move || {
        let mut service = service();
        move || {
            let request = http::Request::new(Body::empty());
            run(async {
                std::future::poll_fn(|cx| service.poll_ready(cx)).await.expect("the service is ready");
                service.call(request).await.expect("the service responds")
            })
        }
    })
}

fn server(registry: &Registry) -> ServerLayer {
    let pipeline = registry.pipeline("http").circuit_breaker("http").bulkhead("http").timeout("http").build();
    ServerLayer::new(pipeline).expect("nothing is repeated")
}

fn layers() -> Group {
    let registry = Registry::new();
    let limiter = registry.rate_limiter("http");
    let rate = "4000000000/day".parse::<rate_limit::Rate>().expect("a rate");
    limiter.reconfigure(rate_limit::Config::default().rate(rate)).expect("a setting within its range");
    let all = bare()
        .layer(DegradedLayer::new())
        .layer(server(&registry))
        .layer(IdempotencyLayer::new(registry.idempotency("http")))
        .layer(RateLimitLayer::new(limiter, ClientIp::direct()))
        .layer(DeadlineLayer::new())
        .layer(CorrelationLayer::new());
    let theirs = ServiceBuilder::new()
        .layer(CircuitBreakerLayer::builder().failure_rate_threshold(0.5).build().expect("in range"))
        .layer(BulkheadLayer::builder().max_concurrent_calls(64).build().expect("in range"))
        .layer(TimeLimiterLayer::builder().timeout_duration(Duration::from_secs(1)).build())
        .service(bare());
    let jobs = vec![
        asked(
            "resilient: breaker, bulkhead, timeout",
            ServiceBuilder::new().layer(server(&registry)).service(bare()),
        ),
        asked("resilient: that, and five more layers, as axum layers", all),
        asked(BARE, bare()),
        asked("`tower-resilience`: breaker, bulkhead, timeout", theirs),
    ];
    Group::new("Layers around an HTTP service", jobs)
        .goals([
            Goal::Above(BARE, 1000.0),
            Goal::Times(1.0, "`tower-resilience`: breaker, bulkhead, timeout"),
        ])
        .note("The permit is held until the response body is dropped. Resilient allocates its future. The row with all layers includes generating and writing a correlation id and two rate limit headers; axum boxes each layer.")
}

/// Each other layer separately.
fn each_layer() -> Group {
    let registry = Registry::new();
    let limiter = registry.rate_limiter("http");
    let rate = "4000000000/day".parse::<rate_limit::Rate>().expect("a rate");
    limiter.reconfigure(rate_limit::Config::default().rate(rate)).expect("a setting within its range");
    let with = ServiceBuilder::new;
    let jobs = vec![
        asked("correlation", with().layer(CorrelationLayer::new()).service(bare())),
        asked("deadline", with().layer(DeadlineLayer::new()).service(bare())),
        asked("degraded marks", with().layer(DegradedLayer::new()).service(bare())),
        asked(
            "rate limit by client",
            with().layer(RateLimitLayer::new(limiter, ClientIp::direct())).service(bare()),
        ),
        asked(
            "idempotency keys, none in the request",
            with().layer(IdempotencyLayer::new(registry.idempotency("http"))).service(bare()),
        ),
        asked(BARE, bare()),
    ];
    Group::new("The other layers around an HTTP service, each alone", jobs)
        .goals([Goal::Above(BARE, 1000.0)])
        .note("The goal is checked for the first job, which generates an id. It also applies to the other layers.")
}

fn exports() -> Group {
    let registry = Registry::new();
    for number in 0..250 {
        let name = format!("component {number}");
        let pipeline =
            registry.pipeline(&name).circuit_breaker(&*name).retry(&*name).bulkhead(&*name).build();
        assert!(pipeline.call(|| Some(number)).is_some());
    }
    let metrics = registry.clone();
    let jobs = vec![
        Job::new("`/stats`: JSON", move || {
            let registry = registry.clone();
            move || serde_json::to_vec(&registry.stats()).expect("statistics are JSON")
        }),
        Job::new("`/metrics`: OpenMetrics", move || {
            let registry = metrics.clone();
            move || render(&registry, Format::OpenMetrics)
        }),
    ];
    Group::new("Exports of 1000 components", jobs)
        .goals([Goal::AtMost(5_000_000.0)])
        .note("250 operations, each with a circuit breaker, a retry and a bulkhead. The limit for the metrics is 20 ms.")
}
