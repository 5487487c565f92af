//! Why an operation of a replica set failed.

use std::sync::Arc;
use std::time::Duration;

use resilient_runtime::{Class, Classify};

use crate::resolve::MergeError;

/// A failed operation of a replica set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("replica set `{set}`: {problem}")]
pub struct ReplicaError {
    /// The name of the set.
    pub set: Arc<str>,
    /// The problem.
    pub problem: Problem,
}

/// The problem of a failed operation of a replica set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Problem {
    /// Too few members answered a read.
    #[error("the read needs {needed} of {members} members, and {reached} answered: {}", causes.join("; "))]
    ReadRefused {
        /// How many members the read needs.
        needed: usize,
        /// How many answered.
        reached: usize,
        /// How many members the set has.
        members: usize,
        /// Why the others did not.
        causes: Vec<String>,
    },
    /// No member that answered has what the session has seen.
    #[error(
        "none of the {reached} of {members} members that answered has what this session has seen{}{}: read without the session \
         to accept an older value",
        if causes.is_empty() { "" } else { ": " },
        causes.join("; ")
    )]
    BehindSession {
        /// How many answered.
        reached: usize,
        /// How many members the set has.
        members: usize,
        /// Why the others did not.
        causes: Vec<String>,
    },
    /// Too few members accepted a write.
    ///
    /// If a member has it, the write can take effect later, because the members exchange what they have.
    #[error(
        "the write needs {needed} of {members} members, and {reached} accepted it{}: {}",
        if *can_take_effect { ", so it can still take effect" } else { "" },
        causes.join("; ")
    )]
    WriteRefused {
        /// How many members the write needs.
        needed: usize,
        /// How many accepted it.
        reached: usize,
        /// Whether the write can take effect later, at a member that accepted it or did not answer in time.
        can_take_effect: bool,
        /// How many members the set has.
        members: usize,
        /// Why the others did not.
        causes: Vec<String>,
    },
    /// Other writes of the key came first each time.
    #[error(
        "other writes of this key came first {attempts} times: write it less often, or try again (it can still take effect)"
    )]
    Contended {
        /// How often it was tried.
        attempts: u32,
    },
    /// The clock of this instance is ahead of the clocks of the members.
    #[error(
        "the clock of this instance is {ahead:?} ahead of the members' clocks, which is more than `max_ahead`: set the \
         clocks by NTP"
    )]
    ClockAhead {
        /// The difference of the clocks.
        ahead: Duration,
    },
    /// A member has a version that is far in the future.
    #[error("member `{member}` has a version of the key from the future: {error}")]
    FromTheFuture {
        /// The name of the member.
        member: Arc<str>,
        /// How far.
        error: MergeError,
    },
    /// A member has a value of another type.
    #[error(
        "member `{member}` has a value of another type: {error}: use another name for a set with other values"
    )]
    OtherType {
        /// The name of the member.
        member: Arc<str>,
        /// Why the value cannot be read.
        error: String,
    },
    /// The value cannot be stored.
    #[error("the value cannot be stored: {0}")]
    NotStorable(String),
    /// Values cannot be merged.
    #[error("the values of the members cannot be merged: {0}")]
    NotMergeable(MergeError),
    /// The change of the value failed.
    #[error("the value was not changed: {0}")]
    NotChanged(MergeError),
    /// There is no tokio runtime with a timer.
    #[error("it needs a tokio runtime with a timer: call `enable_time` on its builder")]
    NoTimer,
}

impl Problem {
    pub(crate) fn of(self, set: &Arc<str>) -> ReplicaError {
        ReplicaError { set: Arc::clone(set), problem: self }
    }
}

impl Classify for ReplicaError {
    /// A read that was refused is transient. A write is so as well if no member accepted it, and is otherwise uncertain.
    fn classify(&self) -> Class {
        match &self.problem {
            Problem::ReadRefused { .. } | Problem::WriteRefused { can_take_effect: false, .. } => {
                Class::TRANSIENT
            }
            Problem::WriteRefused { .. } | Problem::Contended { .. } | Problem::FromTheFuture { .. } => {
                Class::UNCERTAIN
            }
            _ => Class::Permanent,
        }
    }
}
