//! Bandwidth: an item leaves when a line of this rate would have transferred it.

use std::time::Duration;

use tokio::time::Instant;

use super::{Closing, Due, Fifo, Item, Stage};
use crate::proxy::toxic::{Effect, TransferRate};

/// Bytes that wait for the line. The sender waits with more.
const WAITING: usize = 64 << 10;
/// Time to transfer one slice of a larger item.
const SLICE: Duration = Duration::from_millis(20);

pub(super) struct Bandwidth {
    rate: TransferRate,
    queue: Fifo,
    /// When the line has transferred everything that left.
    free_at: Instant,
}

impl Bandwidth {
    pub(super) fn new(rate: TransferRate, now: Instant) -> Self {
        Self { rate, queue: Fifo::new(WAITING), free_at: now }
    }

    /// Bytes of the next slice, at least 1.
    fn slice(&self) -> usize {
        let bytes = u128::from(self.rate.as_bytes()) * SLICE.as_millis() / 1000;
        usize::try_from(bytes).unwrap_or(usize::MAX).clamp(1, WAITING)
    }

    /// When the first slice is transferred. `None` if there is none, or if the rate is 0.
    fn done_at(&self) -> Option<Instant> {
        let (arrived, item) = self.queue.first()?;
        let start = self.free_at.max(arrived);
        let bytes = item.len().min(self.slice()) as u128;
        let nanoseconds = match bytes {
            // The end of the data needs no time on the line.
            0 => 0,
            _ => (bytes * 1_000_000_000).checked_div(self.rate.as_bytes().into())?,
        };
        Some(start + Duration::from_nanos(u64::try_from(nanoseconds).unwrap_or(u64::MAX / 4)))
    }
}

impl Stage for Bandwidth {
    fn accepts(&self) -> bool {
        self.queue.accepts()
    }

    fn push(&mut self, item: Item, now: Instant) {
        self.queue.push(item, now);
    }

    fn due(&self, now: Instant) -> Due {
        self.done_at().map_or(Due::Unknown, |time| Due::at(time, now))
    }

    fn pop(&mut self, now: Instant) -> Option<Item> {
        let done = self.done_at().filter(|done| *done <= now)?;
        // Not `now`: a timer that fires late must not lower the rate.
        self.free_at = done;
        self.queue.pop_slice(self.slice())
    }

    fn update(&mut self, effect: &Effect, now: Instant) {
        if let Effect::Bandwidth { rate } = *effect {
            self.rate = rate;
            // The time at the old rate, which can be 0, is no credit at the new one.
            self.free_at = now;
        }
    }

    fn finish(self: Box<Self>) -> Result<Vec<Item>, Closing> {
        Ok(self.queue.into_items())
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{data, ms, run};
    use super::*;

    #[test]
    fn the_rate_is_exact() {
        let start = Instant::now();
        let mut stage = Bandwidth::new(TransferRate::kilobytes(100), start);
        stage.push(data(50_000), start);
        stage.push(Item::End, start);
        let left = run(&mut stage, start);
        assert_eq!(left.iter().map(|(_, length)| length).sum::<usize>(), 50_000);
        assert_eq!(left.last(), Some(&(ms(500), 0)), "the end follows the last byte");
        assert_eq!(left[0], (ms(20), 2000), "a slice leaves after its transfer time");
    }

    #[test]
    fn idle_time_is_no_credit() {
        let start = Instant::now();
        let mut stage = Bandwidth::new(TransferRate::kilobytes(1), start);
        let later = start + ms(60_000);
        stage.push(data(1000), later);
        assert_eq!(run(&mut stage, later).last(), Some(&(ms(1000), 20)));
    }

    #[test]
    fn a_late_timer_does_not_lower_the_rate() {
        let start = Instant::now();
        let mut stage = Bandwidth::new(TransferRate::kilobytes(1), start);
        stage.push(data(1000), start);
        let late = start + ms(999);
        let mut left = 0;
        while stage.due(late) == Due::Now {
            left += stage.pop(late).unwrap().len();
        }
        assert_eq!(left, 980);
    }

    #[test]
    fn at_zero_data_waits_until_the_rate_changes() {
        let start = Instant::now();
        let mut stage = Bandwidth::new(TransferRate::bytes(0), start);
        stage.push(data(100), start);
        assert_eq!(stage.due(start + ms(1_000_000)), Due::Unknown);
        assert_eq!(stage.pop(start + ms(1_000_000)), None);
        let later = start + ms(2_000_000);
        stage.update(&Effect::Bandwidth { rate: TransferRate::bytes(100) }, later);
        assert_eq!(run(&mut stage, later).last(), Some(&(ms(1000), 2)));
    }

    #[test]
    fn extreme_rates_do_not_overflow() {
        let start = Instant::now();
        for rate in [1, u64::MAX] {
            let mut stage = Bandwidth::new(TransferRate::bytes(rate), start);
            stage.push(data(3), start);
            assert!(!run(&mut stage, start).is_empty());
        }
    }
}
