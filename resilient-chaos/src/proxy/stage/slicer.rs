//! Slicer: cuts data into small slices, each sent separately.

use std::time::Duration;

use tokio::time::Instant;

use super::{Closing, Due, Fifo, Item, Stage};
use crate::proxy::random::Random;
use crate::proxy::toxic::Effect;

/// Bytes that wait to be cut.
const WAITING: usize = 64 << 10;
/// Resolution of timers. A delay below it applies on average.
const RESOLUTION: Duration = Duration::from_millis(1);

pub(super) struct Slicer {
    average: usize,
    variation: usize,
    delay: Duration,
    queue: Fifo,
    /// When the next slice may leave.
    next_at: Instant,
    random: Random,
}

impl Slicer {
    pub(super) fn new(
        average: usize,
        variation: usize,
        delay: Duration,
        random: Random,
        now: Instant,
    ) -> Self {
        Self { average, variation, delay, queue: Fifo::new(WAITING), next_at: now, random }
    }

    /// A random size in the range of the settings.
    fn size(&mut self) -> usize {
        let (least, most) = (self.average - self.variation, self.average.saturating_add(self.variation));
        self.random.between(least, most).max(1)
    }
}

impl Stage for Slicer {
    fn accepts(&self) -> bool {
        self.queue.accepts()
    }

    fn push(&mut self, item: Item, now: Instant) {
        self.queue.push(item, now);
    }

    fn due(&self, now: Instant) -> Due {
        self.queue.first().map_or(Due::Unknown, |_| Due::at(self.next_at, now))
    }

    fn pop(&mut self, now: Instant) -> Option<Item> {
        if self.due(now) != Due::Now {
            return None;
        }
        let size = self.size();
        // A timer is late by up to its resolution. Making up for this keeps the average of short delays.
        let scheduled = now.checked_sub(RESOLUTION).map_or(now, |earliest| self.next_at.max(earliest));
        self.next_at = scheduled + self.delay;
        self.queue.pop_slice(size)
    }

    fn update(&mut self, effect: &Effect, now: Instant) {
        if let Effect::Slicer { average_size, size_variation, delay } = *effect {
            (self.average, self.variation, self.delay) = (average_size, size_variation, delay);
            self.next_at = self.next_at.min(now + delay);
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
    fn slices_have_the_average_size_and_nothing_is_lost() {
        let start = Instant::now();
        let mut stage = Slicer::new(100, 50, ms(0), Random::new(1), start);
        stage.push(data(50_000), start);
        let sizes: Vec<usize> = run(&mut stage, start).into_iter().map(|(_, length)| length).collect();
        assert_eq!(sizes.iter().sum::<usize>(), 50_000);
        let (_, all_but_last) = sizes.split_last().unwrap();
        assert!(all_but_last.iter().all(|size| (50..=150).contains(size)));
        assert!((450..=550).contains(&sizes.len()), "{}", sizes.len());
    }

    #[test]
    fn the_delay_is_between_the_slices() {
        let start = Instant::now();
        let mut stage = Slicer::new(10, 0, ms(50), Random::new(1), start);
        stage.push(data(25), start);
        assert_eq!(run(&mut stage, start), [(ms(0), 10), (ms(50), 10), (ms(100), 5)]);
    }

    // A timer cannot wait for 10 us.
    #[test]
    fn short_delays_apply_on_average() {
        let start = Instant::now();
        let mut stage = Slicer::new(10, 0, Duration::from_micros(10), Random::new(1), start);
        stage.push(data(100_000), start);
        let (mut now, mut slices) = (start, 0);
        while slices < 10_000 {
            now += RESOLUTION;
            while stage.pop(now).is_some() {
                slices += 1;
            }
        }
        let time = now - start;
        assert!((ms(99)..=ms(115)).contains(&time), "{time:?} instead of 100 ms");
    }
}
