//! A counter that can be removed together with its key in a map.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::causal::{Causal, DotFun};
use super::or_map::Nested;
use super::{Actor, Merge, MergeError};

/// A counter as a value of an [`OrMap`](super::OrMap). Unlike a [`PnCounter`](super::PnCounter), it can be removed.
///
/// Removing removes the counts that were seen. Concurrent counts remain.
///
/// ```
/// use resilient_replica::resolve::{Actor, MapCounter};
///
/// let (mut stock, shop) = (MapCounter::default(), Actor::named("shop"));
/// stock.add(shop, 5)?;
/// stock.add(shop, -2)?;
/// assert_eq!(stock.value(), 3);
/// # Ok::<_, resilient_replica::resolve::MergeError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MapCounter(Causal<DotFun<i64>>);

impl MapCounter {
    /// Returns the count, at most [`i64::MAX`] and at least [`i64::MIN`].
    pub fn value(&self) -> i64 {
        let sum: i128 = self.0.store.0.values().map(|&count| i128::from(count)).sum();
        i64::try_from(sum).unwrap_or(if sum > 0 { i64::MAX } else { i64::MIN })
    }

    /// Adds a number, which can be negative. Returns the change alone, to be merged elsewhere.
    ///
    /// # Errors
    /// Returns [`MergeError::Overflow`] if the count of this actor alone would not be an `i64`, or
    /// [`MergeError::TooManyActors`], [`MergeError::TooManyGaps`] or [`MergeError::Exhausted`].
    pub fn add(&mut self, actor: Actor, number: i64) -> Result<Self, MergeError> {
        // The counts of an actor so far are replaced by their sum.
        let own: Vec<_> = self.0.store.0.iter().filter(|(dot, _)| dot.0 == actor).collect();
        let sum = own.iter().try_fold(number, |sum, (_, count)| sum.checked_add(**count));
        let sum = sum.ok_or(MergeError::Overflow)?;
        let dot = self.0.context.next(actor)?;
        let replaced: Vec<_> = own.into_iter().map(|(dot, _)| *dot).collect();
        let change = Causal::change(DotFun(BTreeMap::from([(dot, sum)])), Some(dot), replaced);
        self.0.merge(change.clone())?;
        Ok(Self(change))
    }
}

impl Merge for MapCounter {
    fn merge(&mut self, other: Self) -> Result<(), MergeError> {
        self.0.merge(other.0)
    }
}

impl Nested for MapCounter {
    type Store = DotFun<i64>;

    fn from_causal(causal: Causal<Self::Store>) -> Self {
        Self(causal)
    }

    fn into_causal(self) -> Causal<Self::Store> {
        self.0
    }
}
