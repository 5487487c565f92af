//! Replicated data with an explicit choice between consistency and availability.
//!
//! [`resolve`] merges changes that were made independently.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

pub mod resolve;
