//! Rate limits, circuits, idempotency records and a cache in Redis or Valkey, shared by all instances of a service.
//!
//! ```no_run
//! use std::sync::Arc;
//! use resilient_redis::RedisStore;
//! use resilient_runtime::{Rejection, resilient};
//!
//! #[resilient(idempotent(key = order, ttl = "24h", store = "shared"))]
//! async fn charge(order: &str, cents: u32) -> Result<u32, Rejection> {
//!     Ok(cents)
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let store = RedisStore::connect_lazily("redis://127.0.0.1:6379")?;
//! resilient_runtime::registry().use_store("shared", store);
//! // One instance executes the call. The other instances wait for its result.
//! charge("order 7", 995).await?;
//! # Ok(()) }
//! ```
//!
//! [`RedisStore`] describes what is stored, and what happens when the server fails. [`Config`] connects to one server, to
//! the primary that Sentinel names, or to a Redis Cluster.
//!
//! # Features
//! - `tls`: encrypted connections (`rediss://`) by rustls, with the certificates of the system.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod address;
mod attempt;
mod cache;
mod circuits;
mod clocks;
mod cluster;
mod config;
mod connector;
mod instances;
mod link;
mod logins;
mod node;
mod problem;
mod rate;
mod replica;
mod script;
mod sentinel;
mod server;
mod session;
mod store;
mod subscription;
#[cfg(feature = "tls")]
mod tls;

#[cfg(test)]
extern crate self as resilient_redis;
#[cfg(all(test, unix))]
#[allow(dead_code, reason = "some parts are used only by the other tests")]
mod fixture;

pub use cache::LARGEST_VALUE;
pub use config::{Config, InvalidConfig};
pub use connector::{RedisConnector, register};
pub use replica::LARGEST_RECORD;
pub use store::{LARGEST_RESULT, RedisStore};

/// Compiles the examples of the guide.
#[cfg(doctest)]
#[doc = include_str!("../../docs/stores.md")]
struct Guide;
