//! Values that can be merged.

use std::time::Duration;

use super::{Actor, MAX_ACTORS, MAX_GAPS, MAX_SIBLINGS};

/// A value with several replicas that change independently.
///
/// Merging must be commutative, associative and idempotent: replicas that have merged the same changes are equal, in
/// whatever order and how often the changes arrived. The CRDTs of this module are such values. Implement it for documents of
/// `automerge` or `yrs` to replicate them as well.
///
/// ```
/// use resilient_replica::resolve::{Merge, MergeError};
///
/// /// The highest version that was seen.
/// #[derive(Clone, Debug, PartialEq)]
/// struct Highest(u64);
///
/// impl Merge for Highest {
///     fn merge(&mut self, other: Self) -> Result<(), MergeError> {
///         self.0 = self.0.max(other.0);
///         Ok(())
///     }
/// }
///
/// let mut here = Highest(3);
/// here.merge(Highest(5))?;
/// assert_eq!(here, Highest(5));
/// # Ok::<_, MergeError>(())
/// ```
pub trait Merge {
    /// Adds all changes of `other`.
    ///
    /// # Errors
    /// Returns an error if `other` cannot be merged. `self` is unchanged then.
    fn merge(&mut self, other: Self) -> Result<(), MergeError>;
}

/// Why a value was not changed or merged. The value is as before.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MergeError {
    /// More than [`MAX_ACTORS`] actors would have changed the value.
    #[error(
        "more than {MAX_ACTORS} actors have changed this value: give each instance a stable name, which is the same after a \
         restart"
    )]
    TooManyActors,
    /// More than [`MAX_GAPS`] changes arrived without the changes before them.
    #[error(
        "more than {MAX_GAPS} changes arrived without those before them: merge a whole state instead of a change"
    )]
    TooManyGaps,
    /// A register would have more than [`MAX_SIBLINGS`] values.
    #[error(
        "a register would have more than {MAX_SIBLINGS} values: replace them by one that has seen all, before you assign more"
    )]
    TooManySiblings,
    /// An actor has made 2^64 changes.
    #[error("actor {0} has no numbers for changes left: use another name")]
    Exhausted(Actor),
    /// A count is above the largest number.
    #[error("the count would be above the largest number")]
    Overflow,
    /// Two different values have the same timestamp.
    #[error(
        "actor {0} has given two values the same timestamp: two instances use the same name, or one lost its clock"
    )]
    SameTimestamp(Actor),
    /// Two different changes have the same number.
    #[error(
        "actor {0} has made two changes with the same number: two instances use the same name, or one lost its data"
    )]
    SameChange(Actor),
    /// A timestamp is too far in the future.
    #[error(
        "the clock of actor {actor} is {ahead:?} ahead of the clock of this instance: set the clocks of both by NTP"
    )]
    ClockAhead {
        /// The actor with this clock.
        actor: Actor,
        /// The difference of the clocks.
        ahead: Duration,
    },
    /// A value of your own type cannot be merged.
    #[error("{0}")]
    Other(String),
}
