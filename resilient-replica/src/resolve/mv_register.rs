//! A register that keeps all values that were assigned concurrently.

use std::collections::BTreeMap;
use std::fmt::Debug;

use serde::{Deserialize, Serialize};

use super::causal::{Causal, DotFun};
use super::or_map::Nested;
use super::{Actor, CausalContext, Dot, Merge, MergeError};

/// A value that loses nothing: values that were assigned concurrently are all kept, as siblings, until one that has seen
/// them replaces them.
///
/// There are at most as many siblings as actors. The causal context with the number of each sibling is a *dotted version
/// vector set*.
///
/// # Source
/// N. Preguiça et al., *Dotted Version Vectors*, 2012.
///
/// ```
/// use resilient_replica::resolve::{Actor, Merge, MvRegister};
///
/// let (phone, laptop) = (Actor::named("phone"), Actor::named("laptop"));
/// let mut here = MvRegister::default();
/// here.assign(phone, "Main Street 1")?;
/// let mut there = here.clone();
/// // Both change the address without knowing of each other.
/// here.assign(phone, "Main Street 2")?;
/// there.assign(laptop, "Park Lane 5")?;
/// here.merge(there)?;
/// assert_eq!(here.values().count(), 2);
/// // The user chooses one.
/// here.assign(phone, "Park Lane 5")?;
/// assert_eq!(here.values().collect::<Vec<_>>(), [&"Park Lane 5"]);
/// # Ok::<_, resilient_replica::resolve::MergeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
#[serde(bound(serialize = "T: Clone + Serialize", deserialize = "T: Deserialize<'de>"))]
pub struct MvRegister<T>(Causal<DotFun<T>>);

impl<T> Default for MvRegister<T> {
    fn default() -> Self {
        Self(Causal { store: DotFun::default(), context: CausalContext::new() })
    }
}

impl<T: Clone + Debug + PartialEq> MvRegister<T> {
    /// Returns the value, or all siblings. Empty if none was assigned.
    pub fn values(&self) -> impl ExactSizeIterator<Item = &T> {
        self.0.store.0.values()
    }

    /// Returns what was seen, for [`assign_after`](Self::assign_after).
    pub fn context(&self) -> &CausalContext {
        &self.0.context
    }

    /// Replaces all values. Returns the change alone, to be merged elsewhere.
    ///
    /// # Errors
    /// Returns [`MergeError::TooManyActors`], [`MergeError::TooManyGaps`] or [`MergeError::Exhausted`].
    pub fn assign(&mut self, actor: Actor, value: T) -> Result<Self, MergeError> {
        self.replace(actor, value, |_| true)
    }

    /// Replaces the values that a client has seen, and keeps those that it has not.
    ///
    /// Pass the [`context`](Self::context) that the client got with the value that it changed.
    ///
    /// ```
    /// use resilient_replica::resolve::{Actor, MvRegister};
    ///
    /// let (server, mut name) = (Actor::named("server"), MvRegister::default());
    /// let seen = name.context().clone();
    /// name.assign_after(&seen, server, "Ada")?;
    /// // A second client has not seen it.
    /// name.assign_after(&seen, server, "Grace")?;
    /// assert_eq!(name.values().count(), 2);
    /// # Ok::<_, resilient_replica::resolve::MergeError>(())
    /// ```
    ///
    /// # Errors
    /// Returns [`MergeError::TooManySiblings`] if clients assigned too many values that they have not seen, or an error of
    /// [`assign`](Self::assign).
    pub fn assign_after(&mut self, seen: &CausalContext, actor: Actor, value: T) -> Result<Self, MergeError> {
        self.replace(actor, value, |dot| seen.contains(dot))
    }

    fn replace(
        &mut self,
        actor: Actor,
        value: T,
        is_replaced: impl Fn(Dot) -> bool,
    ) -> Result<Self, MergeError> {
        let dot = self.0.context.next(actor)?;
        let replaced: Vec<Dot> = self.0.store.0.keys().copied().filter(|&old| is_replaced(old)).collect();
        if self.values().len() - replaced.len() >= super::MAX_SIBLINGS {
            return Err(MergeError::TooManySiblings);
        }
        let change = Causal::change(DotFun(BTreeMap::from([(dot, value)])), Some(dot), replaced);
        self.0.merge(change.clone())?;
        Ok(Self(change))
    }
}

impl<T: Clone + Debug + PartialEq> Merge for MvRegister<T> {
    fn merge(&mut self, other: Self) -> Result<(), MergeError> {
        let mut merged = self.0.clone();
        merged.merge(other.0)?;
        if merged.store.0.len() > super::MAX_SIBLINGS {
            return Err(MergeError::TooManySiblings);
        }
        self.0 = merged;
        Ok(())
    }
}

impl<T: Clone + Debug + PartialEq> Nested for MvRegister<T> {
    type Store = DotFun<T>;

    fn from_causal(causal: Causal<Self::Store>) -> Self {
        Self(causal)
    }

    fn into_causal(self) -> Causal<Self::Store> {
        self.0
    }
}
