//! A register in which the last write wins.

use serde::{Deserialize, Serialize};

use super::{Merge, MergeError, Timestamp};

/// A value. The one with the greatest timestamp wins.
///
/// If two values are assigned concurrently, **one is lost**. Use an [`MvRegister`](super::MvRegister) if that matters.
///
/// # Source
/// M. Shapiro et al., *A Comprehensive Study of Convergent and Commutative Replicated Data Types*, INRIA 2011.
///
/// ```
/// use resilient_replica::resolve::{Actor, HybridClock, LwwRegister, Merge};
///
/// let (eu, us) = (HybridClock::new(Actor::named("eu")), HybridClock::new(Actor::named("us")));
/// let mut here = LwwRegister::new(eu.now(), "dark");
/// us.observe(here.timestamp())?;
/// here.merge(LwwRegister::new(us.now(), "light"))?;
/// assert_eq!(*here.value(), "light");
/// # Ok::<_, resilient_replica::resolve::MergeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct LwwRegister<T> {
    timestamp: Timestamp,
    value: T,
}

impl<T: PartialEq> LwwRegister<T> {
    /// Creates a register with a value.
    pub fn new(timestamp: Timestamp, value: T) -> Self {
        Self { timestamp, value }
    }

    /// Returns the value.
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Returns when the value was assigned.
    pub fn timestamp(&self) -> Timestamp {
        self.timestamp
    }

    /// Assigns a value. Returns whether it won: it does not if the register has a value with a greater timestamp.
    ///
    /// # Errors
    /// Returns [`MergeError::SameTimestamp`] if another value has the same timestamp.
    pub fn assign(&mut self, timestamp: Timestamp, value: T) -> Result<bool, MergeError> {
        if timestamp == self.timestamp && value != self.value {
            return Err(MergeError::SameTimestamp(timestamp.actor()));
        }
        let wins = timestamp > self.timestamp;
        if wins {
            *self = Self { timestamp, value };
        }
        Ok(wins)
    }
}

impl<T: PartialEq> Merge for LwwRegister<T> {
    fn merge(&mut self, other: Self) -> Result<(), MergeError> {
        self.assign(other.timestamp, other.value).map(drop)
    }
}
