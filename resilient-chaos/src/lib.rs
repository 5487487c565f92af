//! Chaos engineering for Resilient.

#![forbid(unsafe_code)]
#![deny(missing_docs)]
