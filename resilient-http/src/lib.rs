//! Resilient over HTTP.
//!
//! - [`Admin`]: what is going on, as JSON, as metrics and as a live dashboard; and the levers, for those who have the token.
//! - [`layer`]: tower layers for servers and clients.
//! - [`PerHost`]: a pipeline for each host that a client talks to.
//! - [`LoginGuard`]: makes guessing passwords slow.
//! - [`HttpServer`]: serves a router, and slow, idle and hostile clients do it no harm.
//! - [`Problem`]: a [`Rejection`](resilient_runtime::Rejection) as the answer of a server.
//!
//! # Features
//! - `reqwest`: `ReqwestMiddleware`, a pipeline around each request of a client;
//! - `otel`: the [`metrics`] by OpenTelemetry, and so by OTLP;
//! - `metrics`: the [`metrics`] through the facade of the crate `metrics`.

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
mod serve;

pub use admin::Admin;
pub use login::{Locked, LoginAttempt, LoginGuard};
#[cfg(feature = "reqwest")]
pub use middleware::ReqwestMiddleware;
pub use per_host::PerHost;
pub use problem::{Problem, status_of};
pub use serve::HttpServer;

/// The README's examples are tests, too: here, where everything is that they use.
#[cfg(all(doctest, feature = "reqwest", feature = "otel"))]
#[doc = include_str!("../../README.md")]
struct Readme;
