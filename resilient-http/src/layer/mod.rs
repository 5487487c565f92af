//! tower layers: protection around whole services.
//!
//! Of a server, outermost first:
//!
//! | layer | |
//! |---|---|
//! | [`CorrelationLayer`] | takes the id of the request or makes one, and gives it to what is called and to the answer |
//! | [`DeadlineLayer`] | takes over how long the caller waits |
//! | [`RateLimitLayer`] | gives each client a rate of its own |
//! | [`IdempotencyLayer`] | carries requests with an `Idempotency-Key` out once |
//! | [`ServerLayer`] | a [`Pipeline`](resilient_runtime::Pipeline): shedding, bulkhead, breaker, timeout; a place is held to the end of the body |
//! | [`DegradedLayer`] | tells the caller when a fallback has answered |
//!
//! Of a client [`HttpClientLayer`]: a pipeline for each host around a client of HTTP or gRPC, with retries, with deadline and
//! correlation id as headers, and bodies that are bounded in time. [`ClientLayer`] is the same around any other service.
//!
//! Of one component alone: `ServerLayer::bulkhead(&component)`, `ClientLayer::retry(&component)` and so on.
//!
//! None of them spawns a task. A service is called only where it has said that it is ready; each attempt asks it anew.
//!
//! ```
//! use axum::{Router, routing::get};
//! use resilient_runtime::Pipeline;
//! use resilient_http::layer::{CorrelationLayer, DeadlineLayer, DegradedLayer, ServerLayer};
//!
//! # fn app() -> Result<Router, resilient_http::layer::Repeats> {
//! let pipeline = Pipeline::builder("api").load_shed("api").bulkhead("api").timeout("api").build();
//! // axum puts the one that is added last outermost.
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
pub use http_client::{HttpClient, HttpClientLayer};
pub use idempotency::{IdempotencyLayer, Idempotent};
pub use rate_limit::{RateLimitFuture, RateLimitLayer, RateLimited};
pub use replay_body::ReplayBody;
pub use server::{Repeats, Server, ServerLayer};
