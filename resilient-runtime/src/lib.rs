//! Makes any function survive a bad day: retried within a budget, cut off by a circuit breaker, isolated by a
//! bulkhead, bounded in time, and answered by a fallback where all else fails.
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
//! One engine has three faces: the attribute [`macro@resilient`], the [`Pipeline`] builder, and each
//! component by hand ([`CircuitBreaker`], [`Retry`], [`Bulkhead`], [`Timeout`], [`Fallback`]). Components
//! have names and live in a [`Registry`], where they can be seen and steered; `new`, as in [`CircuitBreaker::new`], makes
//! one without a registry.
//!
//! # Features
//! - `inventory` (default): annotated functions are listed before their first call;
//! - `config-file`: settings from a TOML file and the environment ([`config`]);
//! - `http`, `redis`, `reqwest`, `sqlx`, `tonic`: [`Classify`] for `http::StatusCode`, `redis::RedisError`, `reqwest::Error`,
//!   `sqlx::Error`, `tonic::Status`, which are then also found in the `source()` chain of other errors; with `http` also
//!   `checked` and `Class::of_response`, which keep the `Retry-After` of a response;
//! - `anyhow`, `eyre`: [`Classify`] for `anyhow::Error`, `eyre::Report`;
//! - `durable`: idempotency records in a file.

#![deny(missing_docs)]
// Tests measure tokio's virtual time, and run on its runtime.
#![cfg_attr(test, allow(clippy::disallowed_methods))]
// The models exercise the lock-free parts alone.
#![cfg_attr(resilient_loom, allow(dead_code, unused_imports))]

pub mod adaptive;
pub mod alert;
pub mod budget;
pub mod bulkhead;
pub mod circuit_breaker;
// The one place that reads real clocks, and waits for them.
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
mod name;
mod nearest;
mod outage;
mod outcome;
mod priority;
mod random;
mod ratio;
mod rejection;
mod seconds;
mod site;
mod standalone;
mod sync;
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
pub use timeout::Timeout;

/// A snapshot of the process's registry.
///
/// ```
/// resilient_runtime::registry().bulkhead("gateway");
/// assert_eq!(resilient_runtime::stats().bulkhead["gateway"].in_use, 0);
/// ```
pub fn stats() -> registry::Stats {
    registry().stats()
}
