//! Replicated data with an explicit choice between consistency and availability.
//!
//! - [`ReplicaSet`] writes each value to several stores. Its [`Mode`] says what happens if too few of them can be reached.
//! - [`resolve`] has what conflicts are resolved with: clocks, version vectors and CRDTs.
//!
//! The guide `docs/consistency.md` says what each mode promises, and what it does not.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[cfg(feature = "durable")]
#[cfg_attr(docsrs, doc(cfg(feature = "durable")))]
mod file;
mod hint_log;
mod memory;
pub mod resolve;
mod set;

#[cfg(feature = "durable")]
pub use file::{FileReplica, LARGEST_RECORD};
pub use memory::MemoryReplica;
#[cfg(feature = "durable")]
pub use resilient_runtime::idempotency::OpenError;
pub use set::{
    Accepted, Builder, HintLimits, InvalidSession, InvalidSet, LastWriteWins, Level, Merging, Mode, Problem,
    Read, ReplicaError, ReplicaSet, Resolver, Session, Stats, Sweep, Value,
};

#[cfg(doctest)]
#[doc = include_str!("../../docs/consistency.md")]
struct Guide;
