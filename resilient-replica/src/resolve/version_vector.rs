//! Which changes a replica has seen.

use std::cmp::Ordering;

use serde::{Deserialize, Serialize};

use super::{Actor, Merge, MergeError};

/// The maximum number of actors that can change a value.
pub const MAX_ACTORS: usize = 64;

/// For each actor, how many of its changes a replica has seen.
///
/// Two versions are equal, one is before the other, or both are concurrent. A concurrent version does not contain
/// all changes of the other one.
///
/// It has at most [`MAX_ACTORS`] actors and 16 bytes for each.
///
/// # Source
/// D. S. Parker et al., *Detection of Mutual Inconsistency in Distributed Systems*, IEEE TSE 1983.
///
/// ```
/// use std::cmp::Ordering;
/// use resilient_replica::resolve::{Actor, Merge, VersionVector};
///
/// let (anna, ben) = (Actor::named("anna"), Actor::named("ben"));
/// let mut here = VersionVector::new();
/// here.increment(anna)?;
/// let mut there = here.clone();
/// there.increment(ben)?;
/// assert_eq!(here.partial_cmp(&there), Some(Ordering::Less));
///
/// here.increment(anna)?;
/// assert_eq!(here.partial_cmp(&there), None, "concurrent");
/// here.merge(there)?;
/// assert_eq!((here.get(anna), here.get(ben)), (2, 1));
/// # Ok::<_, resilient_replica::resolve::MergeError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Vec<(Actor, u64)>", into = "Vec<(Actor, u64)>")]
pub struct VersionVector {
    /// Sorted by actor, without zeros.
    counts: Vec<(Actor, u64)>,
}

impl VersionVector {
    /// Creates the version of a replica that has seen no changes.
    pub const fn new() -> Self {
        Self { counts: Vec::new() }
    }

    /// Returns how many changes of `actor` were seen.
    pub fn get(&self, actor: Actor) -> u64 {
        self.position(actor).map_or(0, |index| self.counts[index].1)
    }

    /// Counts a change of `actor` and returns its number. The first change has number 1.
    ///
    /// # Errors
    /// Returns [`MergeError::TooManyActors`] or [`MergeError::Exhausted`].
    pub fn increment(&mut self, actor: Actor) -> Result<u64, MergeError> {
        let next = self.get(actor).checked_add(1).ok_or(MergeError::Exhausted(actor))?;
        self.set(actor, next)?;
        Ok(next)
    }

    /// Returns whether all changes of `other` were seen.
    pub fn contains(&self, other: &Self) -> bool {
        other.counts.len() <= self.counts.len()
            && other.counts.iter().all(|&(actor, count)| self.get(actor) >= count)
    }

    /// Returns the actors and how many of their changes were seen, sorted by actor.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (Actor, u64)> + '_ {
        self.counts.iter().copied()
    }

    /// Returns the number of actors.
    pub fn len(&self) -> usize {
        self.counts.len()
    }

    /// Returns whether no changes were seen.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    fn position(&self, actor: Actor) -> Result<usize, usize> {
        self.counts.binary_search_by_key(&actor, |&(actor, _)| actor)
    }

    /// Sets how many changes of an actor were seen, which are more than before.
    pub(super) fn set(&mut self, actor: Actor, count: u64) -> Result<(), MergeError> {
        match self.position(actor) {
            Ok(index) => self.counts[index].1 = count,
            Err(_) if self.counts.len() == MAX_ACTORS => return Err(MergeError::TooManyActors),
            Err(index) => self.counts.insert(index, (actor, count)),
        }
        Ok(())
    }
}

impl Merge for VersionVector {
    /// Takes the greater number for each actor.
    fn merge(&mut self, other: Self) -> Result<(), MergeError> {
        if self.contains(&other) {
            return Ok(());
        }
        let mut merged = Vec::with_capacity(self.counts.len().max(other.counts.len()));
        let (mut ours, mut theirs) = (self.counts.iter().peekable(), other.counts.iter().peekable());
        while let Some(&&(actor, _)) = [ours.peek(), theirs.peek()].into_iter().flatten().min() {
            let mut count = 0;
            while let Some((_, next)) =
                ours.next_if(|next| next.0 == actor).or_else(|| theirs.next_if(|next| next.0 == actor))
            {
                count = count.max(*next);
            }
            merged.push((actor, count));
        }
        if merged.len() > MAX_ACTORS {
            return Err(MergeError::TooManyActors);
        }
        self.counts = merged;
        Ok(())
    }
}

impl PartialOrd for VersionVector {
    /// `None` for concurrent versions.
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match (self.contains(other), other.contains(self)) {
            (true, true) => Some(Ordering::Equal),
            (true, false) => Some(Ordering::Greater),
            (false, true) => Some(Ordering::Less),
            (false, false) => None,
        }
    }
}

impl From<VersionVector> for Vec<(Actor, u64)> {
    fn from(vector: VersionVector) -> Self {
        vector.counts
    }
}

impl TryFrom<Vec<(Actor, u64)>> for VersionVector {
    type Error = MergeError;

    /// Checks what another instance sent.
    fn try_from(counts: Vec<(Actor, u64)>) -> Result<Self, MergeError> {
        if counts.len() > MAX_ACTORS {
            return Err(MergeError::TooManyActors);
        }
        let is_sorted = counts.iter().is_sorted_by(|before, after| before.0 < after.0);
        if !is_sorted || counts.iter().any(|&(_, count)| count == 0) {
            return Err(MergeError::Other("the version vector is not sorted, or has a zero".to_owned()));
        }
        Ok(Self { counts })
    }
}
