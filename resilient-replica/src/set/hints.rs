//! Writes that a member has missed, kept until it is back (*hinted handoff*).
//!
//! # Source
//! *Dynamo: Amazon's Highly Available Key-value Store*, SOSP 2007. Unlike there, a hint does not count
//! as a write.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use resilient_runtime::clock::Instant;
use resilient_runtime::store::{ReplicaKey, ReplicaRecord};

/// The bounds of the hints of a set.
///
/// ```
/// use resilient_replica::HintLimits;
///
/// assert_eq!(HintLimits::default().max_age.as_secs(), 3 * 3600);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HintLimits {
    /// Maximum number of hints. 10 000 by default.
    pub max_hints: usize,
    /// Maximum size of their keys and values together. 64 MiB by default.
    pub max_bytes: usize,
    /// How long a hint is kept. Three hours by default, as in Cassandra. A member that was away for longer gets what it missed
    /// by [`ReplicaSet::sweep`](crate::ReplicaSet::sweep).
    pub max_age: Duration,
}

impl Default for HintLimits {
    fn default() -> Self {
        Self { max_hints: 10_000, max_bytes: 64 << 20, max_age: Duration::from_hours(3) }
    }
}

/// A record that a member has missed.
#[derive(Clone, Debug)]
pub(crate) struct Hint {
    pub(crate) record: ReplicaRecord,
    since: Instant,
}

/// The hints of all members. Only the newest record of each key and member is kept.
#[derive(Debug)]
pub(crate) struct Hints {
    limits: HintLimits,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    hints: HashMap<(usize, ReplicaKey), Hint>,
    /// The order in which hints are delivered, with keys of hints that are gone.
    order: VecDeque<(usize, ReplicaKey)>,
    bytes: usize,
}

fn size(key: &ReplicaKey, record: &ReplicaRecord) -> usize {
    // An estimate of the memory besides the key, twice, and the value.
    128 + 2 * (key.key().len() + key.set().len()) + record.value.as_ref().map_or(0, Vec::len)
}

impl Hints {
    pub(crate) fn new(limits: HintLimits) -> Self {
        Self { limits, state: Mutex::default() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a record for a member. Returns false if there is no space: the sweep delivers it then.
    pub(crate) fn add(&self, member: usize, key: ReplicaKey, record: ReplicaRecord, now: Instant) -> bool {
        let mut state = self.state();
        let place = (member, key);
        let before = state.hints.get(&place);
        if before.is_some_and(|hint| hint.record.version >= record.version) {
            return true;
        }
        let freed = before.map_or(0, |hint| size(&place.1, &hint.record));
        let bytes = state.bytes - freed + size(&place.1, &record);
        let is_new = before.is_none();
        if bytes > self.limits.max_bytes || is_new && state.hints.len() >= self.limits.max_hints {
            return false;
        }
        state.bytes = bytes;
        if is_new {
            state.order.push_back(place.clone());
        }
        state.hints.insert(place, Hint { record, since: now });
        true
    }

    /// The next hint to deliver, of one of the members that are asked. It stays until it is [`done`](Self::done).
    pub(crate) fn next(
        &self,
        now: Instant,
        is_asked: impl Fn(usize) -> bool,
    ) -> Option<(usize, ReplicaKey, ReplicaRecord)> {
        let mut state = self.state();
        for _ in 0..state.order.len() {
            let place = state.order.pop_front()?;
            let Some(hint) = state.hints.get(&place) else { continue };
            if now.since(hint.since) > self.limits.max_age {
                state.bytes -= size(&place.1, &hint.record);
                state.hints.remove(&place);
                continue;
            }
            let record = hint.record.clone();
            let found = is_asked(place.0).then(|| (place.0, place.1.clone(), record));
            state.order.push_back(place);
            if found.is_some() {
                return found;
            }
        }
        None
    }

    /// Removes a hint that was delivered, unless a newer one has replaced it.
    pub(crate) fn done(&self, member: usize, key: &ReplicaKey, record: &ReplicaRecord) {
        let mut state = self.state();
        let place = (member, key.clone());
        if state.hints.get(&place).is_some_and(|hint| hint.record.version <= record.version)
            && let Some(hint) = state.hints.remove(&place)
        {
            state.bytes -= size(key, &hint.record);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.state().hints.len()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.state().bytes
    }

    /// The age of the oldest hint.
    pub(crate) fn oldest(&self, now: Instant) -> Option<Duration> {
        self.state().hints.values().map(|hint| now.since(hint.since)).max()
    }
}
