//! Writes that a member has missed, kept until it is back (*hinted handoff*).
//!
//! # Source
//! *Dynamo: Amazon's Highly Available Key-value Store*, SOSP 2007. Unlike there, a hint does not count
//! as a write.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use resilient_runtime::clock::Instant;
use resilient_runtime::store::{Answer, ReplicaKey, ReplicaRecord};

use crate::hint_log::HintLog;

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
struct Hint {
    record: ReplicaRecord,
    until: Instant,
    turn: u64,
}

/// The hints of all members. Only the newest record of each key and member is kept. In a set that merges, a sweep exchanges what
/// an earlier one had besides.
#[derive(Debug)]
pub(crate) struct Hints {
    limits: HintLimits,
    state: Mutex<State>,
    log: Option<Box<dyn HintLog>>,
}

/// Ends when a hint is on disk. `None` without a log.
pub(crate) type Saved = Option<Answer<'static, ()>>;

/// A member, and the key that it has missed.
type Place = (usize, ReplicaKey);

#[derive(Debug, Default)]
struct State {
    hints: HashMap<Place, Hint>,
    /// The order in which hints are delivered. Each hint has one turn.
    turns: BTreeMap<u64, Place>,
    last_turn: u64,
    bytes: usize,
}

impl State {
    /// Gives a hint the last turn.
    fn queue(&mut self, place: Place) -> u64 {
        self.last_turn += 1;
        self.turns.insert(self.last_turn, place);
        self.last_turn
    }

    fn remove(&mut self, place: &Place) {
        if let Some(hint) = self.hints.remove(place) {
            self.bytes -= size(&place.1, &hint.record);
            self.turns.remove(&hint.turn);
        }
    }
}

/// An estimate of the memory of a hint: its value, its key in both maps, and the maps.
fn size(key: &ReplicaKey, record: &ReplicaRecord) -> usize {
    128 + 2 * (key.key().len() + key.set().len()) + record.value.as_ref().map_or(0, Vec::len)
}

impl Hints {
    pub(crate) fn new(limits: HintLimits) -> Self {
        Self { limits, state: Mutex::default(), log: None }
    }

    /// Creates hints with a log, and the hints that it has: how long each can still be kept, its member, key and record.
    /// Returns how many of them were dropped.
    #[cfg(feature = "durable")]
    pub(crate) fn with_log(
        limits: HintLimits,
        log: impl HintLog + 'static,
        stored: impl Iterator<Item = (Duration, usize, ReplicaKey, ReplicaRecord)>,
        now: Instant,
    ) -> (Self, usize) {
        let hints = Self { log: Some(Box::new(log)), ..Self::new(limits) };
        let mut dropped = 0;
        for (left, member, key, record) in stored {
            let (mut state, place) = (hints.state(), (member, key));
            if left.is_zero() || !hints.put(&mut state, place.clone(), record, now.after(left)) {
                hints.remove(&mut state, &place);
                dropped += 1;
            }
        }
        (hints, dropped)
    }

    fn remove(&self, state: &mut State, place: &Place) {
        state.remove(place);
        if let Some(log) = &self.log {
            log.remove(place.0, place.1.key());
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps a record for a member. Returns `None` if there is no space: the sweep delivers it then.
    pub(crate) fn add(
        &self,
        member: usize,
        key: ReplicaKey,
        record: &ReplicaRecord,
        now: Instant,
    ) -> Option<Saved> {
        let (mut state, place) = (self.state(), (member, key));
        let saved = |record: &ReplicaRecord, age| {
            self.log.as_deref().map(|log| log.put(member, place.1.key(), record, age))
        };
        if let Some(hint) = state.hints.get(&place)
            && hint.record.version >= record.version
        {
            // It may not be on disk yet.
            return Some(saved(&hint.record, self.age(hint, now)));
        }
        let until = now.after(self.limits.max_age);
        if !self.put(&mut state, place.clone(), record.clone(), until) {
            return None;
        }
        Some(saved(record, Duration::ZERO))
    }

    fn age(&self, hint: &Hint, now: Instant) -> Duration {
        self.limits.max_age.saturating_sub(hint.until.since(now))
    }

    /// Puts a hint in place of an earlier one. Returns false if there is no space.
    fn put(&self, state: &mut State, place: Place, record: ReplicaRecord, until: Instant) -> bool {
        let before = state.hints.get(&place);
        let freed = before.map_or(0, |hint| size(&place.1, &hint.record));
        let (turn, bytes) = (before.map(|hint| hint.turn), state.bytes - freed + size(&place.1, &record));
        if bytes > self.limits.max_bytes || turn.is_none() && state.hints.len() >= self.limits.max_hints {
            return false;
        }
        state.bytes = bytes;
        let turn = turn.unwrap_or_else(|| state.queue(place.clone()));
        state.hints.insert(place, Hint { record, until, turn });
        true
    }

    /// The next hint to deliver, of one of the members that are asked. It has the last turn then, and stays until it is
    /// [`done`](Self::done).
    pub(crate) fn next(
        &self,
        now: Instant,
        is_asked: impl Fn(usize) -> bool,
    ) -> Option<(usize, ReplicaKey, ReplicaRecord)> {
        let state = &mut *self.state();
        let is_old =
            |state: &State, place: &Place| state.hints.get(place).is_none_or(|hint| now > hint.until);
        // Also hints of members that are not asked end.
        loop {
            let is_next = |place: &&Place| is_asked(place.0) || is_old(state, place);
            let place = state.turns.values().find(is_next)?.clone();
            if is_old(state, &place) {
                self.remove(state, &place);
                continue;
            }
            let turn = state.queue(place.clone());
            let hint = state.hints.get_mut(&place)?;
            let earlier = std::mem::replace(&mut hint.turn, turn);
            let record = hint.record.clone();
            state.turns.remove(&earlier);
            return Some((place.0, place.1, record));
        }
    }

    /// Removes a hint that was delivered, unless a newer one has replaced it.
    pub(crate) fn done(&self, member: usize, key: &ReplicaKey, record: &ReplicaRecord) {
        let (mut state, place) = (self.state(), (member, key.clone()));
        if state.hints.get(&place).is_some_and(|hint| hint.record.version <= record.version) {
            self.remove(&mut state, &place);
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
        self.state().hints.values().map(|hint| self.age(hint, now)).max()
    }
}

#[cfg(test)]
mod tests {
    use resilient_runtime::clock::ManualClock;
    use resilient_runtime::store::ReplicaVersion;

    use super::*;

    fn record(version: u128) -> ReplicaRecord {
        ReplicaRecord { version: ReplicaVersion(version), value: Some(vec![7; 100]) }
    }

    #[test]
    fn a_hint_has_one_turn_and_its_memory_is_freed() {
        let (hints, now) = (Hints::new(HintLimits::default()), ManualClock::new().clock().now());
        let key = |number: usize| ReplicaKey::new("set", number.to_string());
        for round in 1..100 {
            for number in 0..3 {
                assert!(hints.add(number, key(number), &record(round), now).is_some());
            }
            let delivered: Vec<usize> =
                (0..6).filter_map(|_| hints.next(now, |_| true)).map(|(member, ..)| member).collect();
            assert_eq!(delivered, [0, 1, 2, 0, 1, 2], "in turn");
            assert!(hints.next(now, |member| member == 9).is_none());
            for number in 0..3 {
                hints.done(number, &key(number), &record(round - 1));
                assert_eq!(hints.len(), 3 - number, "a newer one has replaced it");
                hints.done(number, &key(number), &record(round));
            }
            let state = hints.state();
            assert_eq!((state.hints.len(), state.turns.len(), state.bytes), (0, 0, 0));
        }
    }

    #[test]
    fn an_old_hint_ends_also_if_its_member_is_not_asked() {
        let (time, limits) = (ManualClock::new(), HintLimits::default());
        let (hints, clock) = (Hints::new(limits), time.clock());
        assert!(hints.add(0, ReplicaKey::new("set", "key"), &record(1), clock.now()).is_some());
        time.advance(limits.max_age * 2);
        assert!(hints.next(clock.now(), |_| false).is_none());
        assert_eq!((hints.len(), hints.bytes()), (0, 0));
    }
}
