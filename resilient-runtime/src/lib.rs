//! Adds retry, circuit breaker, bulkhead, timeout, fallback and other resilience patterns to any function.
//!
//! ```
//! use resilient_runtime::{Rejection, resilient};
//!
//! #[derive(Debug, thiserror::Error)]
//! enum PayError {
//!     #[error("the gateway said no")]
//!     Refused,
//!     #[error(transparent)]
//!     Rejected(#[from] Rejection),
//! }
//!
//! #[resilient(circuit_breaker = "payment", retry(max = 3), bulkhead = "gateway")]
//! fn charge(cents: u32) -> Result<u32, PayError> {
//!     if cents > 0 { Ok(cents) } else { Err(PayError::Refused) }
//! }
//!
//! assert_eq!(charge(995).unwrap(), 995);
//! println!("{}", resilient_runtime::stats());
//! ```
//!
//! There are three ways to use it:
//! - the attribute [`macro@resilient`] on a function;
//! - a [`Pipeline`], which combines components with a builder;
//! - a single component, such as [`CircuitBreaker`], [`Retry`], [`Bulkhead`], [`Timeout`] or [`Fallback`].
//!
//! A component has a name and belongs to a [`Registry`], which reports its statistics and changes its settings at run
//! time. Each component type also has a constructor without a registry, such as [`CircuitBreaker::new`].
//!
//! # Features
//! - `inventory` (default): lists annotated functions before their first call.
//! - `config-file`: reads settings from a TOML file and from environment variables ([`config`]).
//! - `http`, `redis`, `reqwest`, `sqlx`, `tonic`: implement [`Classify`] for `http::StatusCode`, `redis::RedisError`,
//!   `reqwest::Error`, `sqlx::Error` and `tonic::Status`. The error types among them are then also recognized in the
//!   `source()` chain of other errors. `http` also adds `checked` and `Class::of_response`, which keep the
//!   `Retry-After` of a response.
//! - `anyhow`, `eyre`: implement [`Classify`] for `anyhow::Error` and `eyre::Report`.
//! - `chaos`: injects faults, to try the resilience of functions in tests and in production.
//! - `durable`: stores idempotency records in a file.
//! - `testing`: checks stores of your own (`testing`).

#![deny(missing_docs)]
// Tests run on the tokio runtime and measure its virtual time.
#![cfg_attr(test, allow(clippy::disallowed_methods))]
// The loom models exercise only the lock-free parts.
#![cfg_attr(resilient_loom, allow(dead_code, unused_imports))]

pub mod adaptive;
pub mod alert;
pub mod budget;
pub mod bulkhead;
#[cfg(feature = "chaos")]
pub mod chaos;
pub mod circuit_breaker;
// The only module that reads the system clock and sleeps.
#[allow(clippy::disallowed_methods)]
pub mod clock;
pub mod coalesce;
pub mod config;
pub mod context;
pub mod correlation;
pub mod deadline;
pub mod fallback;
pub mod health;
pub mod hedge;
pub mod idempotency;
pub mod load_shed;
pub mod observe;
pub mod pipeline;
pub mod rate_limit;
pub mod registry;
pub mod retry;
pub mod settings;
pub mod store;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod timeout;

mod classify;
mod component;
mod error_chain;
mod error_text;
mod fnv1a;
mod key;
mod kind;
mod last_error;
mod level;
mod membership;
mod name;
mod nearest;
mod outage;
mod outcome;
mod portable;
mod priority;
mod random;
mod ratio;
mod rejection;
mod replay;
mod seconds;
mod site;
mod standalone;
mod stored;
mod switch;
mod sync;
#[cfg(feature = "chaos")]
mod waiters;
mod weak_table;

#[doc(hidden)]
#[path = "rt/mod.rs"]
pub mod __rt;

pub use resilient_macros::resilient;

pub use alert::Alert;
pub use budget::RetryBudget;
pub use bulkhead::Bulkhead;
pub use circuit_breaker::CircuitBreaker;
pub use classify::{Class, Classify, Judgement, Verdict};
#[cfg(feature = "http")]
pub use classify::{HttpResponse, StatusError, checked};
pub use coalesce::Coalesce;
pub use component::{Component, Kind, UnknownKind};
pub use context::{attempt, carry, is_hedge};
pub use fallback::{Degradation, Degraded, Fallback, degraded};
pub use health::HealthCheck;
pub use hedge::Hedge;
pub use idempotency::{Idempotency, replayed, unsaved};
pub use level::Level;
pub use load_shed::LoadShedder;
pub use observe::{Event, EventKind, Listener, Subscription};
pub use outage::OpenReason;
pub use outcome::{Failure, FallbackFailed, FromRejection, Outcome, Reject};
pub use pipeline::Pipeline;
pub use priority::Priority;
pub use rate_limit::RateLimiter;
pub use ratio::Ratio;
pub use registry::{Registry, registry};
pub use rejection::{Rejection, RejectionKind};
pub use retry::Retry;
pub use settings::ConfigError;
pub use store::Store;
pub use timeout::Timeout;

/// Returns a snapshot of the statistics of the global registry.
///
/// ```
/// resilient_runtime::registry().bulkhead("gateway");
/// assert_eq!(resilient_runtime::stats().bulkhead["gateway"].in_use, 0);
/// ```
pub fn stats() -> registry::Stats {
    registry().stats()
}
