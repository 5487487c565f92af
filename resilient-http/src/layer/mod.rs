//! Tower layers that protect whole services.
//!
//! # Servers
//!
//! Layers for servers, outermost first:
//!
//! | layer | what it does |
//! |---|---|
//! | [`CorrelationLayer`] | reads or creates the correlation id of a request and returns it in the response |
//! | [`DeadlineLayer`] | reads the caller's deadline from the request headers |
//! | `FaultTokenLayer` | selects single requests of trusted peers for fault injection; needs the feature `chaos` |
//! | [`RateLimitLayer`] | limits the rate of each client |
//! | [`IdempotencyLayer`] | runs a request with an `Idempotency-Key` once and replays its response |
//! | [`ServerLayer`] | runs each request through a [`Pipeline`](resilient_runtime::Pipeline): load shedding, bulkhead, circuit breaker, timeout; holds bulkhead permits until the response body has been sent |
//! | [`DegradedLayer`] | marks responses that a fallback produced |
//!
//! # Clients
//!
//! - [`HttpClientLayer`]: a pipeline around an HTTP or gRPC client, one for each host. It retries, sends the deadline and the
//!   correlation id as headers, and limits the time of response bodies.
//! - [`ClientLayer`]: a pipeline around any other service whose requests implement `Clone`.
//!
//! # Single components
//!
//! Constructors such as `ServerLayer::bulkhead(&component)` and `ClientLayer::retry(&component)` make a layer of one
//! component, without a pipeline of your own.
//!
//! # Behavior
//!
//! No layer spawns a task. Every layer calls the inner service only after `poll_ready` has succeeded. [`ServerLayer`],
//! [`HttpClientLayer`] and [`ClientLayer`] poll it again for each attempt, within the limits of the call.
//!
//! # Examples
//!
//! ```
//! use axum::{Router, routing::get};
//! use resilient_runtime::Pipeline;
//! use resilient_http::layer::{CorrelationLayer, DeadlineLayer, DegradedLayer, ServerLayer};
//!
//! # fn app() -> Result<Router, resilient_http::layer::Repeats> {
//! let pipeline = Pipeline::builder("api").load_shed("api").bulkhead("api").timeout("api").build();
//! // In axum, the layer that is added last is the outermost.
//! let app: Router = Router::new()
//!     .route("/", get(async || "hello"))
//!     .layer(DegradedLayer::new())
//!     .layer(ServerLayer::new(pipeline)?)
//!     .layer(DeadlineLayer::new())
//!     .layer(CorrelationLayer::new());
//! # Ok(app) }
//! # app().unwrap();
//! ```

mod body;
mod body_budget;
mod call_body;
mod client;
mod client_ip;
mod correlation;
mod deadline;
mod degraded;
#[cfg(feature = "chaos")]
mod fault_token;
mod http_client;
mod idempotency;
mod rate_limit;
mod replay_body;
pub(crate) mod semantics;
mod server;
mod single;

#[cfg(test)]
mod tests;

pub use body::GuardedBody;
pub(crate) use body::Unread;
pub use body_budget::BodyBudget;
pub(crate) use body_budget::{Room, no_room};
pub use call_body::CallBody;
pub use client::{Client, ClientLayer, propagate};
pub use client_ip::{BadNetwork, ClientIp};
pub(crate) use client_ip::{client_of, is_port, network_of};
pub use correlation::{Correlate, CorrelateFuture, CorrelationLayer};
pub use deadline::{DeadlineFuture, DeadlineLayer, WithDeadline};
pub use degraded::{DegradedFuture, DegradedLayer, MarkDegraded};
#[cfg(feature = "chaos")]
pub use fault_token::{FaultTokenLayer, FaultTokens};
pub use http_client::{HttpClient, HttpClientLayer};
pub use idempotency::{IdempotencyLayer, Idempotent};
pub use rate_limit::{RateLimitFuture, RateLimitLayer, RateLimited};
pub use replay_body::ReplayBody;
pub use server::{Repeats, Server, ServerLayer};
