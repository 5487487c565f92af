//! Histories of one register, and whether they are linearizable.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt::Debug;
use std::hash::Hash;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Each write has a value of its own.
    Write(u64),
    Read(Option<u64>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(dead_code, reason = "not every test has all outcomes")]
pub(crate) enum Outcome {
    /// It took effect at one time between its begin and its end.
    Done,
    /// It had no effect and returned nothing.
    NoEffect,
    /// A write that may take effect at one time after it began, or never.
    Unknown,
    /// A write that may take effect at one time between its begin and its end, or never.
    ///
    /// A write that met a newer version and was repeated is a history of [`Done`](Self::Done) and one of these for each
    /// repetition, because it can take effect each time: see `docs/consistency.md`.
    Repeated,
}

/// `T` is a time that is the same for all events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Event<T> {
    pub(crate) kind: Kind,
    pub(crate) outcome: Outcome,
    pub(crate) began: T,
    pub(crate) ended: T,
}

/// Where the search for an order ends, if there is none.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct NotLinearizable<T> {
    /// The most events that can be ordered.
    pub(crate) ordered: usize,
    /// The value of the register after these.
    pub(crate) value: Option<u64>,
    /// The candidates for the next event. None of them fits.
    pub(crate) next: Vec<Event<T>>,
    /// The reads of the value that are left.
    pub(crate) reads: Vec<Event<T>>,
}

pub(crate) trait Time: Copy + Debug + Hash + Ord {}

impl<T: Copy + Debug + Hash + Ord> Time for T {}

/// Maximum number of states of a search, which are then some hundred megabytes.
const MOST: usize = 1 << 19;

/// Checks whether there is an order of the events, as if each had happened at one time between its begin and its end.
///
/// The search of J. M. Wing and C. Gong, *Testing and Verifying Concurrent Objects*, 1993, which remembers the states that
/// it has seen. Each write has a value of its own, so the reads of a value follow its write before another write does. The
/// search is then short also for long histories.
pub(crate) fn check<T: Time>(history: &[Event<T>]) -> Result<(), NotLinearizable<T>> {
    let events = Events::new(history);
    let (mut seen, mut orders) = (HashSet::new(), vec![Order::empty()]);
    let mut stuck = NotLinearizable { ordered: 0, value: None, next: Vec::new(), reads: Vec::new() };
    while let Some(order) = orders.pop() {
        if !seen.insert(order.clone()) {
            continue;
        }
        assert!(seen.len() <= MOST, "the search takes too long: {stuck:?}");
        let next = events.next(&order);
        if next.is_empty() {
            return Ok(());
        }
        let ordered = order.first + order.beyond.len();
        if stuck.next.is_empty() || ordered > stuck.ordered {
            let next = next.iter().map(|index| events.certain[*index]).collect();
            let reads = events.left_reads(&order, order.value).copied().collect();
            stuck = NotLinearizable { ordered, value: order.value, next, reads };
        }
        orders.extend(events.orders(&order, &next).into_iter().map(|order| events.without_unread(order)));
    }
    Err(stuck)
}

/// The first events of an order.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Order<T> {
    /// All events that must take effect are ordered before this one, and these after it.
    first: usize,
    beyond: BTreeSet<usize>,
    /// The ordered events that do not have to take effect.
    optional: BTreeSet<usize>,
    value: Option<u64>,
    /// The latest begin of the ordered events. A write that ended before cannot follow.
    latest: Option<T>,
}

impl<T: Time> Order<T> {
    fn empty() -> Self {
        let (beyond, optional) = (BTreeSet::new(), BTreeSet::new());
        Self { first: 0, beyond, optional, value: None, latest: None }
    }

    fn has(&self, index: usize) -> bool {
        index < self.first || self.beyond.contains(&index)
    }

    fn with(&self, index: usize, event: &Event<T>, value: Option<u64>) -> Self {
        let mut order = Self { value, latest: self.latest.max(Some(event.began)), ..self.clone() };
        order.beyond.insert(index);
        while order.beyond.remove(&order.first) {
            order.first += 1;
        }
        order
    }
}

/// The events of a history.
struct Events<T> {
    /// The events that must take effect, by their begin.
    certain: Vec<Event<T>>,
    optional: Vec<Event<T>>,
    /// The indexes of the reads of each value.
    reads: HashMap<Option<u64>, Vec<usize>>,
}

impl<T: Time> Events<T> {
    fn new(history: &[Event<T>]) -> Self {
        let took_effect = |event: &&Event<T>| event.outcome != Outcome::NoEffect;
        let (mut certain, optional): (Vec<Event<T>>, Vec<Event<T>>) =
            history.iter().filter(took_effect).partition(|event| event.outcome == Outcome::Done);
        certain.sort_by_key(|event| event.began);
        let mut reads = HashMap::<_, Vec<usize>>::new();
        for (index, event) in certain.iter().enumerate() {
            if let Kind::Read(value) = event.kind {
                reads.entry(value).or_default().push(index);
            }
        }
        Self { certain, optional, reads }
    }

    /// The events that can follow an order: no other event that is left has ended before they began.
    fn next(&self, order: &Order<T>) -> Vec<usize> {
        let (mut next, mut first_end) = (Vec::new(), None);
        let left = (order.first..self.certain.len()).filter(|index| !order.has(*index));
        for index in left {
            let event = &self.certain[index];
            if first_end.is_some_and(|end| event.began > end) {
                break;
            }
            first_end = Some(first_end.map_or(event.ended, |end| event.ended.min(end)));
            next.push(index);
        }
        next
    }

    /// The orders with one more of the events that can be next.
    fn orders(&self, order: &Order<T>, next: &[usize]) -> Vec<Order<T>> {
        let event = |index: &usize| &self.certain[*index];
        let with = |index: &usize, value| order.with(*index, event(index), value);
        // A read of the present value can always be next, unless a write must take effect before it or never.
        let mut free = next.iter().filter(|index| self.is_free(order, event(index)));
        if let Some(read) = free.clone().find(|index| event(index).kind == Kind::Read(order.value)) {
            return vec![with(read, order.value)];
        }
        let can_return = |value| self.optional_write(order, value, None).is_some();
        let must_return = self.left_reads(order, order.value).next().is_some();
        let can_change = !must_return || order.value.is_some_and(can_return);
        // A write that is not read changes nothing if no read needs the value before.
        let is_unread = |index: &&usize| {
            matches!(event(index).kind, Kind::Write(_)) && !self.is_read(order, event(index))
        };
        if !must_return
            && let Some(write) = free.find(is_unread)
            && let Kind::Write(value) = event(write).kind
        {
            return vec![with(write, Some(value))];
        }
        let first_end = next.iter().map(|index| event(index).ended).min();
        let mut orders = Vec::new();
        for index in next {
            match event(index).kind {
                Kind::Read(value) if value == order.value => orders.push(with(index, value)),
                Kind::Write(value) if can_change => orders.push(with(index, Some(value))),
                Kind::Read(Some(value)) if can_change => {
                    let Some(write) = self.optional_write(order, value, first_end) else { continue };
                    let mut written = order.with(*index, event(index), Some(value));
                    written.latest = written.latest.max(Some(self.optional[write].began));
                    written.optional.insert(write);
                    orders.push(written);
                }
                Kind::Read(_) | Kind::Write(_) => {}
            }
        }
        orders
    }

    /// Forgets optional writes that no other read needs, so that equal states are found.
    fn without_unread(&self, mut order: Order<T>) -> Order<T> {
        let mut optional = std::mem::take(&mut order.optional);
        optional.retain(|index| self.is_read(&order, &self.optional[*index]));
        Order { optional, ..order }
    }

    /// The reads of a value that are not ordered.
    fn left_reads(&self, order: &Order<T>, value: Option<u64>) -> impl Iterator<Item = &Event<T>> {
        let reads = self.reads.get(&value).into_iter().flatten();
        reads.filter(|index| !order.has(**index)).map(|index| &self.certain[*index])
    }

    /// Whether a read of the value of a write is not ordered.
    fn is_read(&self, order: &Order<T>, write: &Event<T>) -> bool {
        matches!(write.kind, Kind::Write(value) if self.left_reads(order, Some(value)).next().is_some())
    }

    /// Whether no optional write must take effect before an event or never.
    fn is_free(&self, order: &Order<T>, event: &Event<T>) -> bool {
        let is_before = |(index, write): (usize, &Event<T>)| {
            let is_left = write.outcome == Outcome::Repeated && !order.optional.contains(&index);
            is_left
                && order.latest <= Some(write.ended)
                && write.ended < event.began
                && self.is_read(order, write)
        };
        !self.optional.iter().enumerate().any(is_before)
    }

    /// A write of a value that can take effect, and does not have to.
    fn optional_write(&self, order: &Order<T>, value: u64, began_before: Option<T>) -> Option<usize> {
        let can_be_next = |(index, event): &(usize, &Event<T>)| {
            event.kind == Kind::Write(value)
                && !order.optional.contains(index)
                && began_before.is_none_or(|time| event.began <= time)
                && (event.outcome == Outcome::Unknown || Some(event.ended) >= order.latest)
        };
        let all = self.optional.iter().enumerate().filter(can_be_next);
        // One with an end is of less use later.
        all.min_by_key(|(_, event)| event.outcome == Outcome::Unknown).map(|(index, _)| index)
    }
}
