//! Which single changes a replica has seen, also if others before them are missing.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Actor, MAX_ACTORS, Merge, MergeError, VersionVector};

/// The maximum number of changes that a value remembers although those before them are missing.
pub const MAX_GAPS: usize = 4096;

/// One change: who made it, and its number among the changes of that actor. The first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Dot(pub Actor, pub u64);

/// The changes that a replica has seen.
///
/// It is a version vector, and the changes that arrived before the ones that precede them. It has at most
/// [`MAX_ACTORS`](super::MAX_ACTORS) actors and [`MAX_GAPS`] such changes.
///
/// # Source
/// P. S. Almeida, A. Shoker, C. Baquero, *Delta State Replicated Data Types*, JPDC 2018.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "(VersionVector, BTreeSet<Dot>)", into = "(VersionVector, BTreeSet<Dot>)")]
pub struct CausalContext {
    vector: VersionVector,
    /// Changes after a missing one.
    ahead: BTreeSet<Dot>,
}

impl CausalContext {
    /// Creates the context of a replica that has seen no changes.
    pub const fn new() -> Self {
        Self { vector: VersionVector::new(), ahead: BTreeSet::new() }
    }

    /// Returns whether a change was seen.
    pub fn contains(&self, dot: Dot) -> bool {
        dot.1 <= self.vector.get(dot.0) || self.ahead.contains(&dot)
    }

    /// Returns whether all changes of `other` were seen.
    ///
    /// ```
    /// use resilient_replica::resolve::{Actor, MvRegister};
    ///
    /// let mut name = MvRegister::default();
    /// name.assign(Actor::new(1), "Ada")?;
    /// let seen = name.context().clone();
    /// name.assign(Actor::new(1), "Ada L.")?;
    /// assert!(name.context().contains_all(&seen) && !seen.contains_all(name.context()));
    /// # Ok::<_, resilient_replica::resolve::MergeError>(())
    /// ```
    pub fn contains_all(&self, other: &Self) -> bool {
        self.vector.contains(&other.vector) && other.ahead.iter().all(|&dot| self.contains(dot))
    }

    /// Returns the changes that were seen without a gap.
    pub fn vector(&self) -> &VersionVector {
        &self.vector
    }

    /// The next change of an actor.
    pub(super) fn next(&self, actor: Actor) -> Result<Dot, MergeError> {
        let mut last = self.vector.get(actor);
        if let Some(ahead) = self.ahead.range(Dot(actor, 0)..=Dot(actor, u64::MAX)).next_back() {
            last = last.max(ahead.1);
        }
        if last == 0 && self.vector.len() >= MAX_ACTORS {
            return Err(MergeError::TooManyActors);
        }
        last.checked_add(1).map(|next| Dot(actor, next)).ok_or(MergeError::Exhausted(actor))
    }

    /// A context of single changes, which are of the actors of one value.
    pub(super) fn of(dots: impl IntoIterator<Item = Dot>) -> Self {
        let mut context = Self { vector: VersionVector::new(), ahead: dots.into_iter().collect() };
        context.compact();
        context
    }

    pub(super) fn merged(&self, other: &Self) -> Result<Self, MergeError> {
        let mut vector = self.vector.clone();
        vector.merge(other.vector.clone())?;
        let ahead = self.ahead.union(&other.ahead).copied().collect();
        Self { vector, ahead }.checked()
    }

    fn checked(mut self) -> Result<Self, MergeError> {
        self.compact();
        if self
            .ahead
            .iter()
            .any(|&Dot(actor, _)| self.vector.get(actor) == 0 && self.vector.len() == MAX_ACTORS)
        {
            return Err(MergeError::TooManyActors);
        }
        if self.ahead.len() > MAX_GAPS { Err(MergeError::TooManyGaps) } else { Ok(self) }
    }

    /// Moves changes to the vector if those before them were seen, and if it has space for their actor.
    fn compact(&mut self) {
        let vector = &mut self.vector;
        self.ahead.retain(|&Dot(actor, number)| {
            let seen = vector.get(actor);
            let is_next = number == seen.saturating_add(1);
            number > seen && !(is_next && vector.set(actor, number).is_ok())
        });
    }
}

impl From<CausalContext> for (VersionVector, BTreeSet<Dot>) {
    fn from(context: CausalContext) -> Self {
        (context.vector, context.ahead)
    }
}

impl TryFrom<(VersionVector, BTreeSet<Dot>)> for CausalContext {
    type Error = MergeError;

    fn try_from((vector, ahead): (VersionVector, BTreeSet<Dot>)) -> Result<Self, MergeError> {
        if ahead.iter().any(|dot| dot.1 == 0) {
            return Err(MergeError::Other("a change has the number 0".to_owned()));
        }
        Self { vector, ahead }.checked()
    }
}
