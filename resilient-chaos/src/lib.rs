//! Chaos engineering for Resilient.
//!
//! # Features
//!
//! | feature | default | contents |
//! |---|---|---|
//! | `proxy` | yes | [`proxy`], the TCP fault proxy and its HTTP API |

#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(feature = "proxy")]
pub mod proxy;
