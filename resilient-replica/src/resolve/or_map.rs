//! A map whose values are CRDTs themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use super::causal::{Causal, DotMap, DotStore};
use super::{CausalContext, Dot, Merge, MergeError};

/// A CRDT that can be a value of an [`OrMap`]: [`OrSet`](super::OrSet), [`MvRegister`](super::MvRegister),
/// [`MapCounter`](super::MapCounter), or another map.
pub trait Nested: Clone + Default {
    /// The changes that still have an effect.
    type Store: DotStore;

    /// Creates it from its parts.
    fn from_causal(causal: Causal<Self::Store>) -> Self;

    /// Returns its parts.
    fn into_causal(self) -> Causal<Self::Store>;
}

/// A map from keys to CRDTs, in which changing wins: a key that is removed and whose value is concurrently changed stays,
/// with the concurrent changes only.
///
/// Removing a key leaves no tombstone behind. All values share one causal context, so a key costs nothing more.
///
/// # Examples
/// A cart with quantities.
/// ```
/// use resilient_replica::resolve::{Actor, MapCounter, Merge, OrMap};
///
/// let (phone, laptop) = (Actor::named("phone"), Actor::named("laptop"));
/// let mut here: OrMap<&str, MapCounter> = OrMap::default();
/// here.update("milk", |quantity| quantity.add(phone, 1))?;
/// let mut there = here.clone();
/// here.update("milk", |quantity| quantity.add(phone, 1))?;
/// there.update("milk", |quantity| quantity.add(laptop, 3))?;
/// here.merge(there)?;
/// assert_eq!(here.get(&"milk").map(|quantity| quantity.value()), Some(5));
/// # Ok::<_, resilient_replica::resolve::MergeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
#[serde(bound(
    serialize = "K: Clone + Serialize, V::Store: Clone + Serialize",
    deserialize = "K: Ord + Deserialize<'de>, V::Store: Deserialize<'de>"
))]
pub struct OrMap<K, V: Nested>(Causal<DotMap<K, V::Store>>);

impl<K, V: Nested> Default for OrMap<K, V> {
    fn default() -> Self {
        Self(Causal { store: DotMap::default(), context: CausalContext::new() })
    }
}

impl<K: Ord + Clone + Debug, V: Nested> OrMap<K, V> {
    /// Returns a copy of the value of a key.
    pub fn get(&self, key: &K) -> Option<V> {
        self.0.store.0.get(key).map(|store| self.value(store))
    }

    /// Returns the keys with copies of their values, in the order of the keys.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&K, V)> {
        self.0.store.0.iter().map(|(key, store)| (key, self.value(store)))
    }

    /// Returns the keys in their order.
    pub fn keys(&self) -> impl ExactSizeIterator<Item = &K> {
        self.0.store.0.keys()
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.0.store.0.len()
    }

    /// Returns whether the map has no keys.
    pub fn is_empty(&self) -> bool {
        self.0.store.0.is_empty()
    }

    /// Changes the value of a key, which is empty before if the map does not have the key.
    ///
    /// `change` must return the change that the method of the value returned. Returns the change of the map alone, to be
    /// merged elsewhere.
    ///
    /// # Errors
    /// Returns the error of `change`, or [`MergeError::TooManyActors`] or [`MergeError::TooManyGaps`].
    pub fn update(
        &mut self,
        key: K,
        change: impl FnOnce(&mut V) -> Result<V, MergeError>,
    ) -> Result<Self, MergeError> {
        let mut value = self.get(&key).unwrap_or_else(|| self.value(&V::Store::default()));
        let Causal { store, context } = change(&mut value)?.into_causal();
        let merged = self.0.context.merged(&context)?;
        let mut here = self.0.store.0.get(&key).cloned().unwrap_or_default();
        here.check(&store)?;
        here.join(&self.0.context, store.clone(), &context);
        if here.is_empty() {
            self.0.store.0.remove(&key);
        } else {
            self.0.store.0.insert(key.clone(), here);
        }
        self.0.context = merged;
        Ok(Self(Causal { store: DotMap(BTreeMap::from([(key, store)])), context }))
    }

    /// Removes a key. Returns the change alone, which is empty if the map does not have the key.
    pub fn remove(&mut self, key: &K) -> Self {
        let mut dots = BTreeSet::<Dot>::new();
        if let Some(store) = self.0.store.0.remove(key) {
            store.dots(&mut dots);
        }
        Self(Causal::change(DotMap::default(), None, dots))
    }

    fn value(&self, store: &V::Store) -> V {
        V::from_causal(Causal { store: store.clone(), context: self.0.context.clone() })
    }
}

impl<K: Ord + Clone + Debug, V: Nested> Merge for OrMap<K, V> {
    fn merge(&mut self, other: Self) -> Result<(), MergeError> {
        self.0.merge(other.0)
    }
}

impl<K: Ord + Clone + Debug, V: Nested> Nested for OrMap<K, V> {
    type Store = DotMap<K, V::Store>;

    fn from_causal(causal: Causal<Self::Store>) -> Self {
        Self(causal)
    }

    fn into_causal(self) -> Causal<Self::Store> {
        self.0
    }
}
