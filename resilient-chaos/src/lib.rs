//! Chaos engineering for Resilient: experiments, game days, a chaos monkey and a TCP fault proxy.
//!
//! # Features
//!
//! | feature | default | contents |
//! |---|---|---|
//! | `experiments` | yes | [`scenario`], [`runner`], [`report`], [`game_day`], [`monkey`] |
//! | `proxy` | yes | [`proxy`], the TCP fault proxy and its HTTP API |
//!
//! The proxy alone does not depend on `resilient-runtime`.

#![forbid(unsafe_code)]
#![deny(missing_docs)]
// Tests run on the tokio runtime and measure its virtual time.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

#[cfg(feature = "experiments")]
pub mod faults;
#[cfg(feature = "experiments")]
pub mod game_day;
#[cfg(feature = "experiments")]
pub mod monkey;
#[cfg(feature = "experiments")]
pub mod probe;
#[cfg(feature = "proxy")]
pub mod proxy;
#[cfg(feature = "experiments")]
pub mod report;
#[cfg(feature = "experiments")]
pub mod runner;
#[cfg(feature = "experiments")]
pub mod scenario;

#[cfg(feature = "experiments")]
mod random;
#[cfg(feature = "experiments")]
mod text;

#[cfg(feature = "experiments")]
pub use game_day::GameDay;
#[cfg(feature = "experiments")]
pub use monkey::Monkey;
#[cfg(feature = "experiments")]
pub use report::Report;
#[cfg(feature = "experiments")]
pub use runner::Runner;
#[cfg(feature = "experiments")]
pub use scenario::Scenario;
