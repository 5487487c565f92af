//! Values with the changes that made them, and the changes that were seen. The CRDTs that can remove something use these.
//!
//! # Source
//! P. S. Almeida, A. Shoker, C. Baquero, *Delta State Replicated Data Types*, JPDC 2018: dot stores and causal CRDTs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use super::{CausalContext, Dot, Merge, MergeError};

/// The changes that were seen and that still have an effect.
pub trait DotStore: Clone + Debug + Default + PartialEq {
    /// Returns whether nothing remains.
    fn is_empty(&self) -> bool;

    /// Returns the changes that remain.
    fn dots(&self, to: &mut BTreeSet<Dot>);

    /// Checks that no change has different values in both.
    ///
    /// # Errors
    /// Returns [`MergeError::SameChange`] if one has.
    fn check(&self, other: &Self) -> Result<(), MergeError>;

    /// Keeps what both have, and what only one has if the other has not seen it. A change that the other has seen and does not have was removed there.
    fn join(&mut self, seen: &CausalContext, other: Self, other_seen: &CausalContext);
}

/// Changes without values.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DotSet(pub(super) BTreeSet<Dot>);

impl DotStore for DotSet {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn dots(&self, to: &mut BTreeSet<Dot>) {
        to.extend(&self.0);
    }

    fn check(&self, _: &Self) -> Result<(), MergeError> {
        Ok(())
    }

    fn join(&mut self, seen: &CausalContext, other: Self, other_seen: &CausalContext) {
        self.0.retain(|dot| other.0.contains(dot) || !other_seen.contains(*dot));
        self.0.extend(other.0.into_iter().filter(|dot| !seen.contains(*dot)));
    }
}

/// Changes, each with a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(Dot, T)>", into = "Vec<(Dot, T)>")]
#[serde(bound(serialize = "T: Clone + Serialize", deserialize = "T: Deserialize<'de>"))]
pub struct DotFun<T>(pub(super) BTreeMap<Dot, T>);

impl<T> Default for DotFun<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> From<Vec<(Dot, T)>> for DotFun<T> {
    fn from(values: Vec<(Dot, T)>) -> Self {
        Self(values.into_iter().collect())
    }
}

impl<T> From<DotFun<T>> for Vec<(Dot, T)> {
    fn from(store: DotFun<T>) -> Self {
        store.0.into_iter().collect()
    }
}

impl<T: Clone + Debug + PartialEq> DotStore for DotFun<T> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn dots(&self, to: &mut BTreeSet<Dot>) {
        to.extend(self.0.keys());
    }

    fn check(&self, other: &Self) -> Result<(), MergeError> {
        let differs = |(dot, value): &(&Dot, &T)| self.0.get(dot).is_some_and(|here| here != *value);
        other.0.iter().find(differs).map_or(Ok(()), |(dot, _)| Err(MergeError::SameChange(dot.0)))
    }

    fn join(&mut self, seen: &CausalContext, other: Self, other_seen: &CausalContext) {
        self.0.retain(|dot, _| other.0.contains_key(dot) || !other_seen.contains(*dot));
        self.0.extend(other.0.into_iter().filter(|(dot, _)| !seen.contains(*dot)));
    }
}

/// Keys, each with the changes that still have an effect. A key without any is removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(K, S)>", into = "Vec<(K, S)>")]
#[serde(bound(
    serialize = "K: Clone + Serialize, S: Clone + Serialize",
    deserialize = "K: Ord + Deserialize<'de>, S: Deserialize<'de>"
))]
pub struct DotMap<K, S>(pub(super) BTreeMap<K, S>);

impl<K, S> Default for DotMap<K, S> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord, S> From<Vec<(K, S)>> for DotMap<K, S> {
    fn from(values: Vec<(K, S)>) -> Self {
        Self(values.into_iter().collect())
    }
}

impl<K, S> From<DotMap<K, S>> for Vec<(K, S)> {
    fn from(store: DotMap<K, S>) -> Self {
        store.0.into_iter().collect()
    }
}

impl<K: Ord + Clone + Debug, S: DotStore> DotStore for DotMap<K, S> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn dots(&self, to: &mut BTreeSet<Dot>) {
        for store in self.0.values() {
            store.dots(to);
        }
    }

    fn check(&self, other: &Self) -> Result<(), MergeError> {
        other.0.iter().try_for_each(|(key, store)| self.0.get(key).map_or(Ok(()), |here| here.check(store)))
    }

    fn join(&mut self, seen: &CausalContext, mut other: Self, other_seen: &CausalContext) {
        self.0.retain(|key, store| {
            store.join(seen, other.0.remove(key).unwrap_or_default(), other_seen);
            !store.is_empty()
        });
        for (key, added) in other.0 {
            let mut store = S::default();
            store.join(seen, added, other_seen);
            if !store.is_empty() {
                self.0.insert(key, store);
            }
        }
    }
}

/// A store with the changes that were seen. Also a change alone is one: it has seen only itself and what it replaces.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Causal<S> {
    pub(super) store: S,
    pub(super) context: CausalContext,
}

impl<S: DotStore> Causal<S> {
    /// A change that replaces `replaced` by a store with one new change.
    pub(super) fn change(store: S, new: Option<Dot>, replaced: impl IntoIterator<Item = Dot>) -> Self {
        Self { store, context: CausalContext::of(replaced.into_iter().chain(new)) }
    }
}

impl<S: DotStore> Merge for Causal<S> {
    fn merge(&mut self, other: Self) -> Result<(), MergeError> {
        self.store.check(&other.store)?;
        let context = self.context.merged(&other.context)?;
        self.store.join(&self.context, other.store, &other.context);
        self.context = context;
        Ok(())
    }
}
