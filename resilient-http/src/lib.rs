//! HTTP layers, an admin API, metrics and a dashboard for [Resilient](resilient_runtime).
//!
//! # Overview
//!
//! | item | description |
//! |---|---|
//! | [`layer`] | tower layers for HTTP and gRPC: a [`Pipeline`](resilient_runtime::Pipeline) around a server or a client, rate limits, idempotency keys, deadlines, correlation ids |
//! | [`Problem`] | error responses as `application/problem+json`, or as a gRPC status; made from a [`Rejection`](resilient_runtime::Rejection) or any other error |
//! | [`PerHost`] | a separate pipeline for each host that a client calls |
//! | `ReqwestMiddleware` | a pipeline around each request of a `reqwest` client (feature `reqwest`) |
//! | [`Admin`] | an HTTP API and a live dashboard, to inspect and change components at run time |
//! | [`metrics`] | export to Prometheus, OpenTelemetry and the `metrics` crate |
//! | [`HttpServer`] | an HTTP/1.1 and HTTP/2 server with limits for slow, idle and hostile clients |
//! | [`LoginGuard`] | protection of a login against password guessing |
//!
//! # Servers
//!
//! Put the layers around a router. A rejected request gets a status such as 429, 503 or 504, and a problem document as its
//! body. See [`layer`] for the recommended order.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use resilient_http::HttpServer;
//! use resilient_http::layer::{DeadlineLayer, ServerLayer};
//! use resilient_runtime::Pipeline;
//! use tokio::net::TcpListener;
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let pipeline = Pipeline::builder("api").load_shed("api").bulkhead("api").timeout("api").build();
//! let app: Router = Router::new()
//!     .route("/", get(async || "hello"))
//!     .layer(ServerLayer::new(pipeline)?)
//!     .layer(DeadlineLayer::new()); // in axum, the layer that is added last is the outermost
//!
//! let shutdown = async { drop(tokio::signal::ctrl_c().await) };
//! HttpServer::new(app).run(TcpListener::bind("127.0.0.1:8080").await?, shutdown).await;
//! # Ok(()) }
//! ```
//!
//! # Clients
//!
//! [`HttpClientLayer`](layer::HttpClientLayer) adds retries, a circuit breaker for each host and time limits to a tower
//! client. `ReqwestMiddleware` does the same for `reqwest`.
//!
//! ```
//! use http::{Request, Response};
//! use http_body_util::Empty;
//! use resilient_http::layer::HttpClientLayer;
//! use resilient_runtime::Registry;
//! use tower::{ServiceBuilder, ServiceExt, service_fn};
//!
//! # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
//! let layer = HttpClientLayer::per_host(&Registry::new(), |pipeline, host| {
//!     pipeline.retry("web").circuit_breaker(host).timeout("web")
//! });
//! // A placeholder for a hyper or tonic client.
//! let web = service_fn(async |_: Request<()>| Ok::<_, std::io::Error>(Response::new(Empty::<&[u8]>::new())));
//! let web = ServiceBuilder::new().layer(layer).service(web);
//! let request = Request::get("https://example.com/books").body(()).unwrap();
//! assert_eq!(web.oneshot(request).await.unwrap().status(), 200);
//! # });
//! ```
//!
//! # Admin API and dashboard
//!
//! [`Admin::serve`] serves the API on a listener of its own. [`Admin::router`] returns its routes for your own router.
//! See [`admin`] for the endpoints and the access rules.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use resilient_http::Admin;
//!
//! let admin = Admin::new(resilient_runtime::registry()).token(std::env::var("ADMIN_TOKEN")?)?;
//! admin.serve(tokio::net::TcpListener::bind("127.0.0.1:9000").await?).await?;
//! # Ok(()) }
//! ```
//!
//! # Features
//!
//! All features are off by default.
//!
//! - `chaos`: controls fault injection and chaos experiments over the [`admin`] API and the dashboard.
//! - `reqwest`: adds `ReqwestMiddleware`.
//! - `otel`: exports the [`metrics`] through OpenTelemetry, for example by OTLP.
//! - `metrics`: exports the [`metrics`] through the `metrics` crate.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod admin;
mod dashboard;
pub mod layer;
mod login;
pub mod metrics;
#[cfg(feature = "reqwest")]
mod middleware;
mod per_host;
mod problem;
#[cfg(feature = "replica")]
#[cfg_attr(docsrs, doc(cfg(feature = "replica")))]
mod replica;
mod serve;

pub use admin::Admin;
pub use login::{Locked, LoginAttempt, LoginGuard};
#[cfg(feature = "reqwest")]
pub use middleware::ReqwestMiddleware;
pub use per_host::PerHost;
pub use problem::{Problem, status_of};
#[cfg(feature = "replica")]
pub use replica::ReplicaSession;
pub use serve::HttpServer;

/// Runs the examples of the README and of `docs` as tests, in the crate that has all of their dependencies.
#[cfg(all(doctest, feature = "reqwest", feature = "otel"))]
mod documentation {
    macro_rules! pages {
        ($($name:ident: $path:literal),* $(,)?) => {
            $(#[doc = include_str!($path)] struct $name;)*
        };
    }

    pages! {
        Readme: "../../README.md",
        AdminApi: "../../docs/admin-api.md",
        Attribute: "../../docs/attribute.md",
        Bulkhead: "../../docs/bulkhead.md",
        CircuitBreaker: "../../docs/circuit-breaker.md",
        Configuration: "../../docs/configuration.md",
        Errors: "../../docs/errors.md",
        Fallback: "../../docs/fallback.md",
        GettingStarted: "../../docs/getting-started.md",
        HedgingAndCoalescing: "../../docs/hedging-and-coalescing.md",
        HttpClients: "../../docs/http-clients.md",
        HttpServers: "../../docs/http-servers.md",
        Idempotency: "../../docs/idempotency.md",
        LoadShedding: "../../docs/load-shedding.md",
        Observability: "../../docs/observability.md",
        Operations: "../../docs/operations.md",
        Pipeline: "../../docs/pipeline.md",
        RateLimiting: "../../docs/rate-limiting.md",
        Retry: "../../docs/retry.md",
        Testing: "../../docs/testing.md",
        Timeouts: "../../docs/timeouts.md",
    }
}
