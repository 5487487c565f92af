//! Resilient over HTTP.
//!
//! - [`Admin`]: what is going on, as JSON, as metrics and as a live dashboard; and the levers, for those who have the token.
//! - [`layer`]: tower layers for servers and clients.
//! - [`LoginGuard`]: makes guessing passwords slow.
//! - [`Problem`]: a [`Rejection`](resilient::Rejection) as the answer of a server.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod admin;
mod dashboard;
pub mod layer;
mod login;
pub mod metrics;
mod problem;

pub use admin::Admin;
pub use login::{Attempt, Locked, LoginGuard};
pub use problem::{Problem, status_of};

/// The README's examples are tests, too: here, where everything is that they use.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
struct Readme;
