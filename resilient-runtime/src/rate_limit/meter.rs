//! The algorithms: the state for one key, and the decision about a call.
//!
//! Each algorithm is a plain struct without locks or clocks. The caller passes the time.

use std::collections::VecDeque;

use super::rule::{Pace, Rule};

/// Nanoseconds until a rejected call would be admitted.
pub(super) type Wait = u64;

/// The time at which a meter admitted a call. It identifies the call when its token is returned.
pub(super) type Mark = u64;

/// How late a clock reading can arrive: another thread read the clock later but acted first. One minute in
/// nanoseconds. An older reading means that the clock stepped back.
const LATE: u64 = 60_000_000_000;

pub(super) trait Meter: Clone + Default + Send {
    /// Admits a call of this weight, or returns how long it would have to wait. `weight` is at most the rule's burst.
    fn take(&mut self, rule: Rule, now: u64, weight: u32) -> Result<Mark, Wait>;

    /// Returns the tokens of an admitted call that did not run. Calls that the meter has already forgotten return
    /// nothing, because that would admit more than the rule allows.
    fn give_back(&mut self, rule: Rule, now: u64, weight: u32, mark: Mark);

    /// Returns the number of calls that would be admitted now.
    fn remaining(&self, rule: Rule, now: u64) -> u32;

    /// Returns the nanoseconds until the meter is empty.
    fn reset_after(&self, rule: Rule, now: u64) -> u64;

    /// Whether the meter can be dropped without losing information.
    fn is_idle(&self, rule: Rule, now: u64) -> bool {
        self.reset_after(rule, now) == 0
    }
}

/// The generic cell rate algorithm (ITU-T I.371; A. Ludwig in *Rate limiting, cells, and GCRA*).
///
/// It is a token bucket whose state is one number: the time at which the bucket is full again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    /// The theoretical arrival time in nanoseconds. In the past if the bucket is full.
    pub(super) full_at: u64,
}

impl Cell {
    /// Returns the state after a call with this cost in nanoseconds, or how long the call would have to wait.
    #[inline]
    pub(super) fn after(self, pace: Pace, now: u64, cost: u64) -> Result<Self, Wait> {
        let debt = self.debt(now);
        let after = debt.saturating_add(cost);
        if after <= pace.burst {
            Ok(Self { full_at: now.saturating_add(after) })
        } else {
            Err(after.min(pace.burst.saturating_add(cost)) - pace.burst)
        }
    }

    /// Takes the cost of a call, or returns how long the call would have to wait.
    #[inline]
    pub(super) fn charge(&mut self, pace: Pace, now: u64, cost: u64) -> Result<Mark, Wait> {
        match self.after(pace, now, cost) {
            Ok(after) => {
                *self = after;
                Ok(now)
            }
            Err(wait) => {
                *self = self.stepped_back(pace, now).unwrap_or(*self);
                Err(wait)
            }
        }
    }

    /// Returns the nanoseconds until the bucket is full.
    #[inline]
    fn debt(self, now: u64) -> u64 {
        self.full_at.saturating_sub(now)
    }

    /// Returns the corrected state if the clock has stepped back.
    ///
    /// The corrected bucket is empty, so it blocks calls only briefly and grants no extra burst (T88).
    #[inline]
    pub(super) fn stepped_back(self, pace: Pace, now: u64) -> Option<Self> {
        let is_far = self.debt(now) > pace.burst.saturating_add(LATE);
        is_far.then(|| Self { full_at: now.saturating_add(pace.burst) })
    }

    #[inline]
    fn bounded(self, rule: Rule, now: u64) -> u64 {
        self.full_at.min(now.saturating_add(rule.cost(rule.burst)))
    }

    /// Returns the state without a call that was admitted at `mark`, minus what has been refilled since.
    ///
    /// Once the bucket would have been full without the call, further refill is lost. Returning the full cost after
    /// that would admit more than the burst. That moment depends on the other calls; the earliest possible one is
    /// `mark`. The result therefore returns at most the part of the cost that has not been refilled since `mark`.
    pub(super) fn returned(self, rule: Rule, now: u64, weight: u32, mark: Mark) -> Self {
        let cost = rule.cost(weight);
        let missing = mark.saturating_add(cost).saturating_sub(now).min(cost);
        Self { full_at: self.full_at.saturating_sub(missing) }
    }

    /// Keeps the number of tokens in the bucket and changes the rate (T117).
    pub(super) fn rescaled(self, now: u64, before: Rule, after: Rule) -> Self {
        if before.is_unlimited() || after.is_unlimited() {
            return Self::default();
        }
        let debt = u128::from(self.bounded(before, now).saturating_sub(now));
        let debt = debt * u128::from(after.interval) / u128::from(before.interval);
        Self { full_at: now.saturating_add(u64::try_from(debt).unwrap_or(u64::MAX)) }
    }
}

impl Meter for Cell {
    fn take(&mut self, rule: Rule, now: u64, weight: u32) -> Result<Mark, Wait> {
        self.charge(rule.pace(), now, rule.cost(weight))
    }

    fn give_back(&mut self, rule: Rule, now: u64, weight: u32, mark: Mark) {
        *self = self.returned(rule, now, weight, mark);
    }

    fn remaining(&self, rule: Rule, now: u64) -> u32 {
        let debt = self.bounded(rule, now).saturating_sub(now);
        let free = rule.cost(rule.burst).saturating_sub(debt) / rule.interval.max(1);
        u32::try_from(free).unwrap_or(u32::MAX)
    }

    fn reset_after(&self, rule: Rule, now: u64) -> u64 {
        self.bounded(rule, now).saturating_sub(now)
    }
}

/// Saturates at `u32::MAX`.
fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Ten tenths of the window, and the current one.
const SLOTS: usize = 11;

/// Counts calls in tenths of the window.
///
/// A tenth counts until all of it has passed, so no window ever has more calls than the limit. A call can therefore
/// count for up to a tenth of the window too long. Under constant demand at least 10/11 of the limit is admitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// Index of the current tenth since the clock's origin.
    slot: u64,
    counts: [u32; SLOTS],
}

impl Window {
    fn tenth(rule: Rule) -> u64 {
        rule.window.div_ceil(SLOTS as u64 - 1).max(1)
    }

    /// Drops the counts of tenths that have passed.
    fn advance(&mut self, rule: Rule, now: u64) {
        let slot = now / Self::tenth(rule);
        if self.slot > slot.saturating_add(SLOTS as u64 + LATE / Self::tenth(rule)) {
            self.step_back(slot);
        }
        // A late reading counts in the current tenth.
        let passed = slot.saturating_sub(self.slot);
        if passed >= SLOTS as u64 {
            self.counts = [0; SLOTS];
        } else {
            for step in 1..=passed {
                self.counts[Self::index(self.slot + step)] = 0;
            }
        }
        self.slot = self.slot.max(slot);
    }

    /// Handles a clock that stepped back: all counted calls count from now on.
    ///
    /// This grants no extra calls, and the old counts expire within a window (T88).
    #[cold]
    fn step_back(&mut self, slot: u64) {
        let sum = self.sum();
        *self = Self { slot, counts: [0; SLOTS] };
        self.counts[Self::index(slot)] = narrow(sum);
    }

    #[allow(clippy::cast_possible_truncation)] // less than SLOTS
    fn index(slot: u64) -> usize {
        (slot % SLOTS as u64) as usize
    }

    /// In 64 bits, so that eleven counts cannot overflow.
    fn sum(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// Returns the nanoseconds until `needed` calls have been forgotten.
    fn until_free(&self, rule: Rule, now: u64, needed: u64) -> Wait {
        let (tenth, mut freed) = (Self::tenth(rule), 0_u64);
        for age in (0..SLOTS as u64).rev() {
            let Some(slot) = self.slot.checked_sub(age) else { continue };
            freed += u64::from(self.counts[Self::index(slot)]);
            if freed >= needed {
                return slot.saturating_add(SLOTS as u64).saturating_mul(tenth).saturating_sub(now).max(1);
            }
        }
        tenth.saturating_mul(SLOTS as u64)
    }
}

impl Meter for Window {
    fn take(&mut self, rule: Rule, now: u64, weight: u32) -> Result<Mark, Wait> {
        self.advance(rule, now);
        let (sum, most) = (self.sum() + u64::from(weight), u64::from(rule.burst));
        if sum > most {
            return Err(self.until_free(rule, now, sum - most));
        }
        // At most the burst, which is a `u32`.
        let count = &mut self.counts[Self::index(self.slot)];
        *count = count.saturating_add(weight);
        Ok(self.slot.saturating_mul(Self::tenth(rule)))
    }

    fn give_back(&mut self, rule: Rule, now: u64, weight: u32, mark: Mark) {
        self.advance(rule, now);
        let slot = mark / Self::tenth(rule);
        if self.slot.checked_sub(slot).is_some_and(|age| age < SLOTS as u64) {
            let count = &mut self.counts[Self::index(slot)];
            *count = count.saturating_sub(weight);
        }
    }

    fn remaining(&self, rule: Rule, now: u64) -> u32 {
        let mut copy = *self;
        copy.advance(rule, now);
        rule.burst.saturating_sub(narrow(copy.sum()))
    }

    fn reset_after(&self, rule: Rule, now: u64) -> u64 {
        let mut copy = *self;
        copy.advance(rule, now);
        match copy.sum() {
            0 => 0,
            sum => copy.until_free(rule, now, sum),
        }
    }
}

/// Stores the time of each call in the last window.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Log {
    /// Time and weight of each call, in order of time.
    calls: VecDeque<(u64, u32)>,
    /// Sum of all weights.
    sum: u64,
}

impl Log {
    /// Drops the calls that have passed, and returns the time to use from here on.
    fn forget(&mut self, rule: Rule, now: u64) -> u64 {
        let mut last = self.last();
        if last > now.saturating_add(rule.window).saturating_add(LATE) {
            // The clock has stepped back: all stored calls count from now on (T88).
            self.calls.iter_mut().for_each(|(at, _)| *at = now);
            last = now;
        }
        // A call with a late reading is recorded at the time of the last one.
        let now = now.max(last);
        while let Some((at, count)) = self.calls.front()
            && now.saturating_sub(*at) >= rule.window
        {
            self.sum = self.sum.saturating_sub(u64::from(*count));
            self.calls.pop_front();
        }
        now
    }

    fn last(&self) -> u64 {
        self.calls.back().map_or(0, |(at, _)| *at)
    }

    fn until_free(&self, rule: Rule, now: u64, needed: u64) -> Wait {
        let mut freed = 0_u64;
        for (at, count) in &self.calls {
            freed += u64::from(*count);
            if freed >= needed {
                return at.saturating_add(rule.window).saturating_sub(now).max(1);
            }
        }
        rule.window
    }
}

impl Meter for Log {
    fn take(&mut self, rule: Rule, now: u64, weight: u32) -> Result<Mark, Wait> {
        let at = self.forget(rule, now);
        let (sum, most) = (self.sum + u64::from(weight), u64::from(rule.burst));
        if sum > most {
            return Err(self.until_free(rule, now, sum - most));
        }
        self.sum = sum;
        match self.calls.back_mut() {
            Some((last, count)) if *last == at => *count = count.saturating_add(weight),
            _ => self.calls.push_back((at, weight)),
        }
        Ok(at)
    }

    fn give_back(&mut self, rule: Rule, now: u64, weight: u32, mark: Mark) {
        self.forget(rule, now);
        let Ok(place) = self.calls.binary_search_by_key(&mark, |(at, _)| *at) else { return };
        let Some((_, count)) = self.calls.get_mut(place) else { return };
        let returned = weight.min(*count);
        *count -= returned;
        self.sum = self.sum.saturating_sub(u64::from(returned));
        if *count == 0 {
            self.calls.remove(place);
        }
    }

    fn remaining(&self, rule: Rule, now: u64) -> u32 {
        let now = now.max(self.last());
        let past = self.calls.iter().take_while(|(at, _)| now.saturating_sub(*at) >= rule.window);
        let past: u64 = past.map(|(_, count)| u64::from(*count)).sum();
        rule.burst.saturating_sub(narrow(self.sum.saturating_sub(past)))
    }

    fn reset_after(&self, rule: Rule, now: u64) -> u64 {
        if self.calls.is_empty() { 0 } else { self.last().saturating_add(rule.window).saturating_sub(now) }
    }
}
