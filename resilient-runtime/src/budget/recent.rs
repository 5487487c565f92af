//! Estimates the number of calls in the last ten seconds from samples of a running total.

use crate::clock::Instant;

const SECOND: u64 = 1_000_000_000;
/// Ten whole seconds and the current one.
const SLOTS: usize = 11;

/// The running total at the beginning of each of the last seconds.
///
/// It is updated only when it is read, so that a successful call pays nothing. Calls between two reads count as evenly
/// distributed.
#[derive(Debug)]
pub(super) struct Recent {
    at_start: [u64; SLOTS],
    second: u64,
    /// The last read: the time in nanoseconds and the total.
    looked: (u64, u64),
}

impl Recent {
    pub(super) fn new(now: Instant, total: u64) -> Self {
        let nanos = now.as_nanos();
        Self { at_start: [total; SLOTS], second: nanos / SECOND, looked: (nanos, total) }
    }

    /// Returns the calls of the last ten to eleven seconds.
    pub(super) fn calls(&mut self, now: Instant, total: u64) -> u64 {
        let nanos = now.as_nanos();
        let second = nanos / SECOND;
        if second.saturating_add(SLOTS as u64) < self.second {
            // The clock stepped back.
            *self = Self::new(now, self.looked.1);
        }
        let (then, before) = self.looked;
        if second > self.second {
            let span = u128::from(nanos.saturating_sub(then)).max(1);
            let came = u128::from(total.saturating_sub(before));
            let first = (self.second + 1).max(second.saturating_sub(SLOTS as u64 - 1));
            for begun in first..=second {
                let since = u128::from((begun * SECOND).saturating_sub(then)).min(span);
                let share = u64::try_from(came * since / span).unwrap_or(u64::MAX);
                self.at_start[Self::index(begun)] = before.saturating_add(share);
            }
            self.second = second;
        }
        self.looked = (then.max(nanos), before.max(total));
        let oldest = self.at_start[Self::index(self.second.saturating_add(1))];
        total.saturating_sub(oldest)
    }

    #[allow(clippy::cast_possible_truncation)] // less than SLOTS
    fn index(second: u64) -> usize {
        (second % SLOTS as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(millis * 1_000_000)
    }

    #[test]
    fn calls_count_for_ten_seconds() {
        let mut recent = Recent::new(at(5_000_500), 7);
        assert_eq!(recent.calls(at(5_000_600), 107), 100);
        assert_eq!(recent.calls(at(5_009_900), 108), 101);
        assert_eq!(recent.calls(at(5_010_999), 108), 101);
        assert_eq!(
            recent.calls(at(5_012_000), 109),
            1 + 1,
            "the call at 5009.9 s counts, the calls at 5000.5 s do not"
        );
    }

    #[test]
    fn a_long_time_without_a_look_counts_at_its_average_rate() {
        let mut recent = Recent::new(at(0), 0);
        let hour = 3_600_000;
        let calls = recent.calls(at(hour), hour);
        assert!((10_000..=11_000).contains(&calls), "1000 a second: {calls}");
    }

    #[test]
    fn a_clock_at_its_ends_or_stepping_back_overflows_nothing() {
        // T88
        let mut recent = Recent::new(Instant::NEVER, u64::MAX);
        assert_eq!(recent.calls(Instant::NEVER, u64::MAX), 0);
        assert_eq!(recent.calls(at(1), u64::MAX), 0);
        assert_eq!(recent.calls(at(2), 0), 0);
        let spread = Recent::new(at(0), 0).calls(Instant::NEVER, u64::MAX);
        assert!(spread <= 11_000_000_000, "over 584 years: {spread}");
    }
}
