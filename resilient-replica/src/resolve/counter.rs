//! Counters that are only added to, and counters that go up and down.

use serde::{Deserialize, Serialize};

use super::{Actor, Merge, MergeError, VersionVector};

/// A counter that only grows, for example of page views.
///
/// It has the count of each actor, as a [`VersionVector`] has: at most 64 of 16 bytes.
///
/// # Source
/// M. Shapiro et al., *A Comprehensive Study of Convergent and Commutative Replicated Data Types*, INRIA 2011.
///
/// ```
/// use resilient_replica::resolve::{Actor, GCounter, Merge};
///
/// let (mut eu, mut us) = (GCounter::default(), GCounter::default());
/// eu.add(Actor::named("eu"), 3)?;
/// us.add(Actor::named("us"), 4)?;
/// eu.merge(us.clone())?;
/// eu.merge(us)?;
/// assert_eq!(eu.value(), 7);
/// # Ok::<_, resilient_replica::resolve::MergeError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GCounter(VersionVector);

impl GCounter {
    /// Returns the count, which is the sum of the counts of all actors.
    pub fn value(&self) -> u128 {
        self.0.iter().map(|(_, count)| u128::from(count)).sum()
    }

    /// Adds a number. Returns the change alone, to be merged elsewhere.
    ///
    /// # Errors
    /// Returns [`MergeError::TooManyActors`], or [`MergeError::Overflow`] if the count of this actor alone would be above
    /// [`u64::MAX`].
    pub fn add(&mut self, actor: Actor, number: u64) -> Result<Self, MergeError> {
        let mut change = VersionVector::new();
        if number > 0 {
            let count = self.0.get(actor).checked_add(number).ok_or(MergeError::Overflow)?;
            change.set(actor, count)?;
            self.0.merge(change.clone())?;
        }
        Ok(Self(change))
    }
}

impl Merge for GCounter {
    fn merge(&mut self, other: Self) -> Result<(), MergeError> {
        self.0.merge(other.0)
    }
}

/// A counter that goes up and down, for example of likes.
///
/// It is two [`GCounter`]s, one of what was added and one of what was subtracted.
///
/// It cannot enforce a minimum: two replicas that each sell the last item both succeed. Use
/// a database with transactions for that.
///
/// # Source
/// M. Shapiro et al., *A Comprehensive Study of Convergent and Commutative Replicated Data Types*, INRIA 2011.
///
/// ```
/// use resilient_replica::resolve::{Actor, Merge, PnCounter};
///
/// let (mut eu, mut us) = (PnCounter::default(), PnCounter::default());
/// eu.add(Actor::named("eu"), 3)?;
/// us.add(Actor::named("us"), -4)?;
/// eu.merge(us)?;
/// assert_eq!(eu.value(), -1);
/// # Ok::<_, resilient_replica::resolve::MergeError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PnCounter {
    added: GCounter,
    subtracted: GCounter,
}

impl PnCounter {
    /// Returns the count.
    pub fn value(&self) -> i128 {
        // Each is at most 64 times `u64::MAX`.
        let number = |counter: &GCounter| i128::try_from(counter.value()).unwrap_or(i128::MAX);
        number(&self.added) - number(&self.subtracted)
    }

    /// Adds a number, which can be negative. Returns the change alone, to be merged elsewhere.
    ///
    /// # Errors
    /// Returns [`MergeError::TooManyActors`], or [`MergeError::Overflow`] if all that this actor has added, or subtracted,
    /// would be above [`u64::MAX`].
    pub fn add(&mut self, actor: Actor, number: i64) -> Result<Self, MergeError> {
        let size = number.unsigned_abs();
        Ok(if number < 0 {
            Self { added: GCounter::default(), subtracted: self.subtracted.add(actor, size)? }
        } else {
            Self { added: self.added.add(actor, size)?, subtracted: GCounter::default() }
        })
    }
}

impl Merge for PnCounter {
    fn merge(&mut self, other: Self) -> Result<(), MergeError> {
        let mut added = self.added.clone();
        added.merge(other.added)?;
        self.subtracted.merge(other.subtracted)?;
        self.added = added;
        Ok(())
    }
}
