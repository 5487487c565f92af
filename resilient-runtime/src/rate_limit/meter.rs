//! What is remembered of the calls of one key, and how a call is judged by it. Each algorithm apart from locks and
//! clocks: a plain struct, and a point in time.

use std::collections::VecDeque;

use super::rule::Rule;

/// Nanoseconds until a refused call would be admitted.
pub(super) type Wait = u64;

pub(super) trait Meter: Clone + Default + Send {
    /// Admits a call of this weight, or says how long it would have to wait. `weight` is at most the rule's burst.
    fn take(&mut self, rule: Rule, now: u64, weight: u32) -> Result<(), Wait>;

    /// A call that was admitted was not made.
    fn give_back(&mut self, rule: Rule, now: u64, weight: u32);

    /// Calls that would be admitted now.
    fn remaining(&self, rule: Rule, now: u64) -> u32;

    /// Nanoseconds until nothing is remembered.
    fn reset_after(&self, rule: Rule, now: u64) -> u64;
}

/// The generic cell rate algorithm (ITU-T I.371; A. Ludwig in *Rate limiting, cells, and GCRA*): a token bucket whose
/// state is one number, the time at which it would be full again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Cell {
    /// The theoretical arrival time, in nanoseconds; in the past where the bucket is full.
    pub(super) full_at: u64,
}

impl Cell {
    /// The state after a call of this weight, or how long it would have to wait.
    #[inline]
    pub(super) fn after(self, rule: Rule, now: u64, weight: u32) -> Result<Self, Wait> {
        let full_at = self.bounded(rule, now).max(now).saturating_add(rule.cost(weight));
        let allowed_at = full_at.saturating_sub(rule.cost(rule.burst));
        if allowed_at <= now { Ok(Self { full_at }) } else { Err(allowed_at - now) }
    }

    /// No bucket is emptier than empty: a clock that stepped back must not freeze it (T88).
    #[inline]
    fn bounded(self, rule: Rule, now: u64) -> u64 {
        self.full_at.min(now.saturating_add(rule.cost(rule.burst)))
    }

    pub(super) fn returned(self, rule: Rule, weight: u32) -> Self {
        Self { full_at: self.full_at.saturating_sub(rule.cost(weight)) }
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
    fn take(&mut self, rule: Rule, now: u64, weight: u32) -> Result<(), Wait> {
        *self = self.after(rule, now, weight)?;
        Ok(())
    }

    fn give_back(&mut self, rule: Rule, _: u64, weight: u32) {
        *self = self.returned(rule, weight);
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
        // A clock that stepped back stays in the tenth it was in (T88).
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

    #[allow(clippy::cast_possible_truncation)] // less than SLOTS
    fn index(slot: u64) -> usize {
        (slot % SLOTS as u64) as usize
    }

    fn sum(&self) -> u32 {
        self.counts.iter().fold(0, |sum: u32, count| sum.saturating_add(*count))
    }

    /// Nanoseconds until so many calls have been forgotten.
    fn until_free(&self, rule: Rule, now: u64, needed: u32) -> Wait {
        let (tenth, mut freed) = (Self::tenth(rule), 0_u32);
        for age in (0..SLOTS as u64).rev() {
            let Some(slot) = self.slot.checked_sub(age) else { continue };
            freed = freed.saturating_add(self.counts[Self::index(slot)]);
            if freed >= needed {
                return ((slot + SLOTS as u64).saturating_mul(tenth)).saturating_sub(now).max(1);
            }
        }
        tenth.saturating_mul(SLOTS as u64)
    }
}

impl Meter for Window {
    fn take(&mut self, rule: Rule, now: u64, weight: u32) -> Result<(), Wait> {
        self.advance(rule, now);
        let sum = self.sum().saturating_add(weight);
        if sum > rule.burst {
            return Err(self.until_free(rule, now, sum - rule.burst));
        }
        self.counts[Self::index(self.slot)] += weight;
        Ok(())
    }

    fn give_back(&mut self, rule: Rule, now: u64, weight: u32) {
        self.advance(rule, now);
        let mut rest = weight;
        for age in 0..SLOTS as u64 {
            let Some(slot) = self.slot.checked_sub(age) else { break };
            let count = &mut self.counts[Self::index(slot)];
            let taken = rest.min(*count);
            *count -= taken;
            rest -= taken;
        }
    }

    fn remaining(&self, rule: Rule, now: u64) -> u32 {
        let mut copy = *self;
        copy.advance(rule, now);
        rule.burst.saturating_sub(copy.sum())
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
    /// The time, and how many.
    calls: VecDeque<(u64, u32)>,
}

impl Log {
    fn forget(&mut self, rule: Rule, now: u64) {
        // A call of the future: the clock stepped back. It counts from now (T88).
        for (at, _) in self.calls.iter_mut().rev().take_while(|(at, _)| *at > now) {
            *at = now;
        }
        while self.calls.front().is_some_and(|(at, _)| now.saturating_sub(*at) >= rule.window) {
            self.calls.pop_front();
        }
    }

    fn sum(&self) -> u32 {
        self.calls.iter().fold(0, |sum: u32, (_, count)| sum.saturating_add(*count))
    }

    fn until_free(&self, rule: Rule, now: u64, needed: u32) -> Wait {
        let mut freed = 0_u32;
        for (at, count) in &self.calls {
            freed = freed.saturating_add(*count);
            if freed >= needed {
                return at.saturating_add(rule.window).saturating_sub(now).max(1);
            }
        }
        rule.window
    }
}

impl Meter for Log {
    fn take(&mut self, rule: Rule, now: u64, weight: u32) -> Result<(), Wait> {
        self.forget(rule, now);
        let sum = self.sum().saturating_add(weight);
        if sum > rule.burst {
            return Err(self.until_free(rule, now, sum - rule.burst));
        }
        match self.calls.back_mut() {
            Some((at, count)) if *at == now => *count += weight,
            _ => self.calls.push_back((now, weight)),
        }
        Ok(())
    }

    fn give_back(&mut self, rule: Rule, now: u64, weight: u32) {
        self.forget(rule, now);
        let mut rest = weight;
        while let (Some((_, count)), true) = (self.calls.back_mut(), rest > 0) {
            let taken = rest.min(*count);
            *count -= taken;
            rest -= taken;
            if *count == 0 {
                self.calls.pop_back();
            }
        }
    }

    fn remaining(&self, rule: Rule, now: u64) -> u32 {
        let is_there = |at: u64| now.saturating_sub(at) < rule.window;
        let taken = self.calls.iter().filter(|(at, _)| is_there(*at)).map(|(_, count)| *count).sum();
        rule.burst.saturating_sub(taken)
    }

    fn reset_after(&self, rule: Rule, now: u64) -> u64 {
        let last = self.calls.back().map_or(0, |(at, _)| at.saturating_add(rule.window));
        last.saturating_sub(now)
    }
}
