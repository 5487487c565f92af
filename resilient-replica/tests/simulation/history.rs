//! Histories of one register, and whether they are linearizable.

use std::collections::HashSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Write(u64),
    Read(Option<u64>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    Done,
    /// It had no effect and returned nothing.
    NoEffect,
    /// A write that may take effect at any time after it began, or never.
    Unknown,
}

/// `T` is a time that is the same for all events.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Event<T> {
    pub(crate) kind: Kind,
    pub(crate) outcome: Outcome,
    pub(crate) began: T,
    pub(crate) ended: T,
}

/// Whether there is an order of the events, as if each had happened at one time between its begin and its end.
///
/// The search of J. M. Wing and C. Gong, *Testing and Verifying Concurrent Objects*, 1993, which remembers the states that
/// it has seen.
pub(crate) fn is_linearizable<T: Copy + Ord>(history: &[Event<T>]) -> bool {
    let events: Vec<Event<T>> =
        history.iter().copied().filter(|event| event.outcome != Outcome::NoEffect).collect();
    assert!(events.len() <= 128, "one bit for each event");
    let must_end = |event: &Event<T>| event.outcome == Outcome::Done;
    let (mut seen, mut states) = (HashSet::new(), vec![(0_u128, None)]);
    while let Some((ordered, value)) = states.pop() {
        if !seen.insert((ordered, value)) {
            continue;
        }
        let left = || events.iter().enumerate().filter(|(index, _)| ordered & (1 << index) == 0);
        let Some(first_end) = left().filter(|(_, event)| must_end(event)).map(|(_, event)| event.ended).min()
        else {
            return true;
        };
        for (index, event) in left().filter(|(_, event)| event.began <= first_end) {
            let next = match event.kind {
                Kind::Write(written) => Some(written),
                Kind::Read(read) if read == value => value,
                Kind::Read(_) => continue,
            };
            states.push((ordered | 1 << index, next));
        }
    }
    false
}

#[test]
fn the_checker_finds_lost_writes_and_reads_that_go_back() {
    let event = |kind, began: u64, ended: u64| Event { kind, outcome: Outcome::Done, began, ended };
    let (write, read) = (Kind::Write, |value| Kind::Read(Some(value)));
    assert!(is_linearizable(&[event(write(1), 0, 10), event(read(1), 20, 30)]));
    assert!(is_linearizable(&[event(write(1), 0, 10), event(Kind::Read(None), 5, 30)]), "concurrent");
    assert!(!is_linearizable(&[event(write(1), 0, 10), event(Kind::Read(None), 20, 30)]), "a lost write");
    let both = [event(write(1), 0, 10), event(write(2), 0, 10)];
    let [first, second] = both;
    assert!(is_linearizable(&[first, second, event(read(2), 20, 30), event(read(2), 40, 50)]));
    assert!(!is_linearizable(&[first, second, event(read(2), 20, 30), event(read(1), 40, 50)]), "goes back");
    let unknown = Event { outcome: Outcome::Unknown, ..event(write(3), 0, 10) };
    assert!(is_linearizable(&[unknown, event(Kind::Read(None), 20, 30), event(read(3), 40, 50)]), "late");
    assert!(!is_linearizable(&[unknown, event(read(3), 20, 30), event(Kind::Read(None), 40, 50)]), "twice");
}
