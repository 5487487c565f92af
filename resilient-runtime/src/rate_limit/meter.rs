//! What is remembered of the calls of one key, and how a call is judged by it. Each algorithm apart from locks and
//! clocks: a plain struct, and a point in time.

use std::collections::VecDeque;

use super::rule::{Pace, Rule};

/// Nanoseconds until a refused call would be admitted.
pub(super) type Wait = u64;

/// When a meter admitted a call, so that it finds it again if that is given back.
pub(super) type Mark = u64;

/// A reading of the clock may come late: another thread has read it since, and was first to act on it. In nanoseconds,
/// a minute. One that is older than that is of a clock that stepped back.
const LATE: u64 = 60_000_000_000;

pub(super) trait Meter: Clone + Default + Send {
    /// Admits a call of this weight, or says how long it would have to wait. `weight` is at most the rule's burst.
    fn take(&mut self, rule: Rule, now: u64, weight: u32) -> Result<Mark, Wait>;

    /// A call that was admitted was not made. What is forgotten by now is not given back: it would be one more than
    /// the rule admits.
    fn give_back(&mut self, rule: Rule, now: u64, weight: u32, mark: Mark);

    /// Calls that would be admitted now.
    fn remaining(&self, rule: Rule, now: u64) -> u32;

    /// Nanoseconds until nothing is remembered.
    fn reset_after(&self, rule: Rule, now: u64) -> u64;

    /// Nothing is lost by forgetting it.
    fn is_idle(&self, rule: Rule, now: u64) -> bool {
        self.reset_after(rule, now) == 0
    }
}

/// The generic cell rate algorithm (ITU-T I.371; A. Ludwig in *Rate limiting, cells, and GCRA*): a token bucket whose
/// state is one number, the time at which it would be full again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    /// The theoretical arrival time, in nanoseconds; in the past where the bucket is full.
    pub(super) full_at: u64,
}

impl Cell {
    /// The state after a call that costs so many nanoseconds, or how long it would have to wait.
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

    /// Takes what a call costs, or says how long it would have to wait.
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

    /// The nanoseconds until it is full.
    #[inline]
    fn debt(self, now: u64) -> u64 {
        self.full_at.saturating_sub(now)
    }

    /// The state it should be in, if the clock has stepped back: no bucket is emptier than empty, so nothing is frozen
    /// and nothing given away (T88).
    #[inline]
    pub(super) fn stepped_back(self, pace: Pace, now: u64) -> Option<Self> {
        let is_far = self.debt(now) > pace.burst.saturating_add(LATE);
        is_far.then(|| Self { full_at: now.saturating_add(pace.burst) })
    }

    #[inline]
    fn bounded(self, rule: Rule, now: u64) -> u64 {
        self.full_at.min(now.saturating_add(rule.cost(rule.burst)))
    }

    /// The state as if a call had not come that was admitted at `mark`, as far as time has not made up for it: once the
    /// bucket would be full without the call, what flows in is lost, and to give the call back then would be to give
    /// more than the burst. When that is depends on what else came and was given back; at the earliest it is at
    /// `mark`, and so no more is given back than what has not flowed in since.
    pub(super) fn returned(self, rule: Rule, now: u64, weight: u32, mark: Mark) -> Self {
        let cost = rule.cost(weight);
        let missing = mark.saturating_add(cost).saturating_sub(now).min(cost);
        Self { full_at: self.full_at.saturating_sub(missing) }
    }

    /// The same number of calls in the bucket, at another rate (T117).
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

/// As far as it is a `u32`.
fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// Tenths of the window, and the one that is under way.
const SLOTS: usize = 11;

/// Calls by tenths of the window.
///
/// A tenth counts until all of it is past, so that there are never more calls in any window than the limit. For that
/// a call may count up to a tenth of the window too long: under constant demand no fewer than 10/11 of the limit
/// are admitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Window {
    /// The number of the tenth under way, since the clock's origin.
    slot: u64,
    counts: [u32; SLOTS],
}

impl Window {
    fn tenth(rule: Rule) -> u64 {
        rule.window.div_ceil(SLOTS as u64 - 1).max(1)
    }

    /// Forgets what is past.
    fn advance(&mut self, rule: Rule, now: u64) {
        let slot = now / Self::tenth(rule);
        if self.slot > slot.saturating_add(SLOTS as u64 + LATE / Self::tenth(rule)) {
            self.step_back(slot);
        }
        // A late reading stays in the tenth that is under way.
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

    /// The clock has stepped back: what was counted counts from now on. So nothing is given away, and nothing is frozen
    /// for longer than a window (T88).
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

    /// In 64 bits, in which eleven counts have room: D3.
    fn sum(&self) -> u64 {
        self.counts.iter().map(|count| u64::from(*count)).sum()
    }

    /// Nanoseconds until so many calls have been forgotten.
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
        // No more than the burst, which is a `u32`.
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

/// When each call of the last window came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Log {
    /// The time, and how many; in the order of the times.
    calls: VecDeque<(u64, u32)>,
    /// Of all of them.
    sum: u64,
}

impl Log {
    /// Forgets what is past; what time it is to the log.
    fn forget(&mut self, rule: Rule, now: u64) -> u64 {
        let mut last = self.last();
        if last > now.saturating_add(rule.window).saturating_add(LATE) {
            // The clock has stepped back: what came counts from now on (T88).
            self.calls.iter_mut().for_each(|(at, _)| *at = now);
            last = now;
        }
        // What comes by a late reading comes now.
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
