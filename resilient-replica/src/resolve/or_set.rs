//! A set from which an item can be removed and to which it can be added again.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use super::causal::{Causal, DotMap, DotSet};
use super::or_map::Nested;
use super::{Actor, CausalContext, Dot, Merge, MergeError};

/// A set in which adding wins: an item that is added and concurrently removed stays.
///
/// Removing removes the additions that were seen (*observed-remove*), and leaves no tombstone behind.
///
/// It has the items that were added, and one number for each actor.
///
/// # Source
/// A. Bieniusa et al., *An Optimized Conflict-Free Replicated Set*, 2012.
///
/// ```
/// use resilient_replica::resolve::{Actor, Merge, OrSet};
///
/// let (phone, laptop) = (Actor::named("phone"), Actor::named("laptop"));
/// let mut here = OrSet::default();
/// here.insert(phone, "milk")?;
/// let mut there = here.clone();
/// here.remove(&"milk");
/// there.insert(laptop, "bread")?;
/// there.merge(here)?;
/// assert_eq!(there.iter().collect::<Vec<_>>(), [&"bread"]);
/// # Ok::<_, resilient_replica::resolve::MergeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
#[serde(bound(serialize = "T: Clone + Serialize", deserialize = "T: Ord + Deserialize<'de>"))]
pub struct OrSet<T>(Causal<DotMap<T, DotSet>>);

impl<T> Default for OrSet<T> {
    fn default() -> Self {
        Self(Causal { store: DotMap::default(), context: CausalContext::new() })
    }
}

impl<T: Ord + Clone + Debug> OrSet<T> {
    /// Returns whether the set has an item.
    pub fn contains(&self, item: &T) -> bool {
        self.0.store.0.contains_key(item)
    }

    /// Returns the items in their order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &T> {
        self.0.store.0.keys()
    }

    /// Returns the number of items.
    pub fn len(&self) -> usize {
        self.0.store.0.len()
    }

    /// Returns whether the set has no items.
    pub fn is_empty(&self) -> bool {
        self.0.store.0.is_empty()
    }

    /// Adds an item. Returns the change alone, to be merged elsewhere.
    ///
    /// # Errors
    /// Returns [`MergeError::TooManyActors`], [`MergeError::TooManyGaps`] or [`MergeError::Exhausted`].
    pub fn insert(&mut self, actor: Actor, item: T) -> Result<Self, MergeError> {
        let dot = self.0.context.next(actor)?;
        let replaced = self.dots_of(&item);
        let added = DotSet(BTreeSet::from([dot]));
        let change = DotMap(BTreeMap::from([(item.clone(), added.clone())]));
        let change = Causal::change(change, Some(dot), replaced);
        self.0.context = self.0.context.merged(&change.context)?;
        self.0.store.0.insert(item, added);
        Ok(Self(change))
    }

    /// Removes an item. Returns the change alone, which is empty if the set does not have the item.
    pub fn remove(&mut self, item: &T) -> Self {
        let change = Causal::change(DotMap::default(), None, self.dots_of(item));
        self.0.store.0.remove(item);
        Self(change)
    }

    /// Removes all items. Returns the change alone.
    pub fn clear(&mut self) -> Self {
        self.0.store = DotMap::default();
        self.clone()
    }

    fn dots_of(&self, item: &T) -> Vec<Dot> {
        self.0.store.0.get(item).into_iter().flat_map(|dots| &dots.0).copied().collect()
    }
}

impl<T: Ord + Clone + Debug> Merge for OrSet<T> {
    fn merge(&mut self, other: Self) -> Result<(), MergeError> {
        self.0.merge(other.0)
    }
}

impl<T: Ord + Clone + Debug> Nested for OrSet<T> {
    type Store = DotMap<T, DotSet>;

    fn from_causal(causal: Causal<Self::Store>) -> Self {
        Self(causal)
    }

    fn into_causal(self) -> Causal<Self::Store> {
        self.0
    }
}
