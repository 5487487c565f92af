//! Replicated data with an explicit choice between consistency and availability.
//!
//! [`resolve`] merges changes that were made independently.

#![forbid(unsafe_code)]
#![deny(missing_docs)]

mod memory;
pub mod resolve;
mod set;

pub use memory::MemoryReplica;
pub use set::{
    Accepted, Builder, HintLimits, InvalidSession, InvalidSet, LastWriteWins, Level, Merging, Mode, Problem,
    Read, ReplicaError, ReplicaSet, Resolver, Session, Stats, Sweep, Value,
};
