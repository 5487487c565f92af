//! A count window: the exact results of the last calls, without a lock.
//!
//! It is a ring of one-byte slots. A record takes the next position with one `fetch_add`, swaps its grade into the
//! slot, and adds the difference to the totals, which are all in one word. The totals therefore always match the
//! completed swaps. In any race, each evicted result is subtracted exactly once, with its failed and slow parts
//! together (T19).

use std::sync::OnceLock;

use super::{Content, Grade};
use crate::sync::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// A ring of at most 10 000 results.
#[derive(Debug)]
pub(in crate::circuit_breaker) struct CountWindow {
    /// Number of results recorded so far.
    head: AtomicU64,
    /// Number of recorded results that were not [`Grade::Good`].
    others: AtomicU64,
    totals: AtomicU64,
    size: AtomicU32,
    /// Up to 128, 512, 2048 ... slots. The ring grows without moving slots that a recorder might be using.
    segments: [OnceLock<Box<[AtomicU8]>>; 5],
}

const FIRST_SEGMENT: u32 = 128;

/// A slot holds this, or a [`Grade`] plus 1.
const EMPTY: u8 = 0;

/// Four 16-bit counts in one word.
///
/// Each count is offset by this value. A count can be below zero for a moment, because an eviction was added before
/// its arrival, and must not borrow from its neighbor.
const BIAS: u64 = 1 << 14;
const NO_CALLS: u64 = BIAS | BIAS << 16 | BIAS << 32 | BIAS << 48;

impl CountWindow {
    pub(in crate::circuit_breaker) fn new(size: u32) -> Self {
        let window = Self {
            head: AtomicU64::new(0),
            others: AtomicU64::new(0),
            totals: AtomicU64::new(NO_CALLS),
            size: AtomicU32::new(size.max(1)),
            segments: std::array::from_fn(|_| OnceLock::new()),
        };
        window.make_room(size.max(1));
        window
    }

    #[inline]
    pub(in crate::circuit_breaker) fn record(&self, grade: Grade) {
        if grade != Grade::Good {
            self.others.fetch_add(1, Ordering::Relaxed);
        }
        // Relaxed: positions only have to differ. The swap decides what a slot contains.
        let position = self.head.fetch_add(1, Ordering::Relaxed);
        let code = grade as u8 + 1;
        let Some(slot) = self.slot(self.index(position)) else {
            return;
        };
        // A success after a success changes nothing, so a healthy circuit writes only the head. If another thread
        // changes the slot at this moment, its result stays, and so does its count.
        if slot.load(Ordering::Relaxed) != code {
            self.place_at(position, code);
        }
    }

    fn place_at(&self, position: u64, code: u8) {
        loop {
            let index = self.index(position);
            let Some(slot) = self.slot(index) else { return };
            self.put(slot, code);
            // A ring that shrank in the meantime has cleared the removed slots, and may have cleared this slot before
            // the line above. In that case the swap above read the value that the clearing wrote (AcqRel), and this
            // load returns the new size.
            if index < self.size.load(Ordering::Relaxed) {
                return;
            }
            self.put(slot, EMPTY);
        }
    }

    fn put(&self, slot: &AtomicU8, code: u8) {
        let before = slot.swap(code, Ordering::AcqRel);
        // Release: a thread that reads the count also reads what happened before the record.
        self.totals.fetch_add(weight(code).wrapping_sub(weight(before)), Ordering::Release);
    }

    pub(in crate::circuit_breaker) fn content(&self) -> Content {
        let totals = self.totals.load(Ordering::Acquire);
        let count = |index: u32| (totals >> (16 * index) & 0xFFFF).saturating_sub(BIAS);
        Content { calls: count(0), failed: count(1), slow: count(2), failed_or_slow: count(3) }
    }

    /// Returns the number of [`Grade::Good`] results ever recorded.
    pub(in crate::circuit_breaker) fn good(&self) -> u64 {
        let others = self.others.load(Ordering::Relaxed);
        self.head.load(Ordering::Relaxed).saturating_sub(others)
    }

    /// Clears the window. Only one thread may call it at a time.
    pub(in crate::circuit_breaker) fn clear(&self) {
        (0..self.size.load(Ordering::Relaxed)).filter_map(|index| self.slot(index)).for_each(|slot| {
            self.put(slot, EMPTY);
        });
    }

    /// Changes the size and keeps the newest results in order.
    ///
    /// Only one thread may call it at a time. A result that is recorded at the same moment can replace another one,
    /// or be dropped.
    pub(in crate::circuit_breaker) fn resize(&self, size: u32) {
        let old = self.size.load(Ordering::Relaxed);
        if old == size {
            return;
        }
        self.make_room(size);
        let head = self.head.load(Ordering::Relaxed);
        let newest_first = |size: u32| {
            let size = u64::from(size);
            (1..=size).filter_map(move |age| self.slot(narrow((head % size + size - age) % size)))
        };
        let kept: Vec<u8> = newest_first(old)
            .map(|slot| slot.load(Ordering::Relaxed))
            // Slots that are still empty, including those whose recorder has only taken a position.
            .filter(|code| *code != EMPTY)
            .collect();
        self.size.store(size, Ordering::Relaxed);
        for (slot, code) in newest_first(size).zip(kept.into_iter().chain(std::iter::repeat(EMPTY))) {
            self.put(slot, code);
        }
        (size..old).filter_map(|index| self.slot(index)).for_each(|slot| self.put(slot, EMPTY));
    }

    #[inline]
    fn index(&self, position: u64) -> u32 {
        narrow(position % u64::from(self.size.load(Ordering::Relaxed).max(1)))
    }

    #[inline]
    fn slot(&self, index: u32) -> Option<&AtomicU8> {
        let (segment, offset) = place(index);
        self.segments.get(segment)?.get()?.get(offset)
    }

    fn make_room(&self, size: u32) {
        let (last, _) = place(size - 1);
        for (segment, place) in self.segments.iter().enumerate().take(last + 1) {
            place.get_or_init(|| (0..length(segment)).map(|_| AtomicU8::new(EMPTY)).collect());
        }
    }
}

/// Converts a remainder of a division by a `u32`.
#[inline]
fn narrow(index: u64) -> u32 {
    #[allow(clippy::cast_possible_truncation)]
    {
        index as u32
    }
}

/// Returns the segment of a slot, and its index in the segment.
#[inline]
fn place(index: u32) -> (usize, usize) {
    match (index / FIRST_SEGMENT).checked_ilog2() {
        None => (0, index as usize),
        Some(doublings) => {
            let fourfold = doublings / 2;
            (fourfold as usize + 1, (index - (FIRST_SEGMENT << (2 * fourfold))) as usize)
        }
    }
}

fn length(segment: usize) -> u32 {
    match segment {
        0 => FIRST_SEGMENT,
        _ => (3 * FIRST_SEGMENT) << (2 * (segment - 1)),
    }
}

fn weight(code: u8) -> u64 {
    const FAILED: u64 = 1 << 16 | 1 << 48;
    const SLOW: u64 = 1 << 32 | 1 << 48;
    match code {
        EMPTY => 0,
        1 => 1,
        2 => 1 | FAILED,
        3 => 1 | SLOW,
        _ => 1 | FAILED | SLOW,
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use std::collections::VecDeque;

    use super::*;

    fn content(grades: impl IntoIterator<Item = Grade>) -> Content {
        let mut counts = [0; 4];
        grades.into_iter().for_each(|grade| counts[grade as usize] += 1);
        Content::of_grades(counts)
    }

    /// A fixed, irregular sequence.
    fn grade(number: usize) -> Grade {
        Grade::ALL[(number * number / 3 + number) % 4]
    }

    #[test]
    fn the_eleventh_result_evicts_exactly_the_oldest() {
        // T19
        let window = CountWindow::new(10);
        window.record(Grade::FailedSlow);
        (0..9).for_each(|_| window.record(Grade::Good));
        assert_eq!(window.content(), Content { calls: 10, failed: 1, slow: 1, failed_or_slow: 1 });
        window.record(Grade::Slow);
        assert_eq!(window.content(), Content { calls: 10, failed: 0, slow: 1, failed_or_slow: 1 });
    }

    #[test]
    fn it_holds_the_last_results_at_every_size_and_after_every_resize() {
        // T19, T117
        let window = CountWindow::new(3);
        let mut model = VecDeque::new();
        let mut number = 0;
        for size in [3, 10, 128, 129, 40, 1, 10_000, 255, 256, 7] {
            window.resize(size);
            model.truncate(size as usize);
            assert_eq!(window.content(), content(model.iter().copied()), "resized to {size}");
            for _ in 0..size as usize * 2 + 5 {
                number += 1;
                window.record(grade(number));
                model.push_front(grade(number));
                model.truncate(size as usize);
                if size < 300 || number % 997 == 0 {
                    assert_eq!(window.content(), content(model.iter().copied()), "size {size}, {number}");
                }
            }
        }
    }

    #[test]
    fn a_cleared_window_is_empty_and_keeps_the_count_of_good_calls() {
        let window = CountWindow::new(5);
        (0..8).for_each(|number| window.record(if number == 3 { Grade::Failed } else { Grade::Good }));
        window.clear();
        assert_eq!(window.content(), Content::default());
        assert_eq!(window.good(), 7);
        window.resize(9);
        window.record(Grade::Slow);
        assert_eq!(window.content(), content([Grade::Slow]));
    }

    #[test]
    fn every_index_maps_to_its_own_slot() {
        let places: std::collections::BTreeSet<_> = (0..10_000).map(place).collect();
        assert_eq!(places.len(), 10_000);
        CountWindow::new(10_000).clear();
    }

    #[test]
    fn totals_match_the_slots_after_64_threads_and_resizing() {
        // T156
        let window = CountWindow::new(50);
        std::thread::scope(|scope| {
            for thread in 0..64 {
                let window = &window;
                scope.spawn(move || (0..2000).for_each(|call| window.record(grade(thread + call))));
            }
            for size in [200, 20, 150, 1, 300, 50].repeat(20) {
                window.resize(size);
            }
        });
        assert_eq!(window.head.load(Ordering::Relaxed), 128_000);
        let slots = |range: std::ops::Range<u32>| {
            range.filter_map(|index| window.slot(index)).map(|slot| slot.load(Ordering::Relaxed))
        };
        assert!(slots(50..10_000).all(|code| code == EMPTY), "shrinking clears the removed slots");
        let held = slots(0..50).filter(|code| *code != EMPTY).map(|code| Grade::ALL[usize::from(code) - 1]);
        assert_eq!(window.content(), content(held));
    }
}
