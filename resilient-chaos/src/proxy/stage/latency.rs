//! Latency: each item leaves a fixed time after its arrival, more or less by the jitter.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::time::Instant;

use super::{Closing, Due, Fifo, Item, Stage};
use crate::proxy::random::Random;
use crate::proxy::toxic::Effect;

/// Bytes in flight. The sender waits for more, so that the rate is at most this many bytes per `latency`.
const IN_FLIGHT: usize = 1 << 20;

pub(super) struct Latency {
    mean: Duration,
    jitter: Duration,
    queue: Fifo,
    /// The share of the jitter of each item, from -1 to 1. The delay follows from it and from the current settings, so
    /// that a change also applies to the items in the queue.
    shares: VecDeque<f64>,
    random: Random,
}

impl Latency {
    pub(super) fn new(latency: Duration, jitter: Duration, random: Random) -> Self {
        Self { mean: latency, jitter, queue: Fifo::new(IN_FLIGHT), shares: VecDeque::new(), random }
    }

    fn delay(&self, share: f64) -> Duration {
        let jitter = self.jitter.mul_f64(share.abs());
        if share < 0.0 { self.mean.saturating_sub(jitter) } else { self.mean + jitter }
    }
}

impl Stage for Latency {
    fn accepts(&self) -> bool {
        self.queue.accepts()
    }

    fn push(&mut self, item: Item, now: Instant) {
        self.shares.push_back(self.random.between_minus_one_and_one());
        self.queue.push(item, now);
    }

    fn due(&self, now: Instant) -> Due {
        match (self.queue.first(), self.shares.front()) {
            (Some((arrived, _)), Some(share)) => Due::at(arrived + self.delay(*share), now),
            _ => Due::Unknown,
        }
    }

    fn pop(&mut self, now: Instant) -> Option<Item> {
        if self.due(now) != Due::Now {
            return None;
        }
        self.shares.pop_front();
        self.queue.pop()
    }

    fn update(&mut self, effect: &Effect, _now: Instant) {
        if let Effect::Latency { latency, jitter } = *effect {
            (self.mean, self.jitter) = (latency, jitter);
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
    fn each_item_leaves_after_its_own_delay() {
        let start = Instant::now();
        let mut stage = Latency::new(ms(100), ms(0), Random::new(1));
        stage.push(data(10), start);
        stage.push(data(20), start + ms(30));
        stage.push(Item::End, start + ms(40));
        assert_eq!(run(&mut stage, start), [(ms(100), 10), (ms(130), 20), (ms(140), 0)]);
    }

    #[test]
    fn jitter_stays_in_its_range_and_keeps_the_order() {
        let start = Instant::now();
        let mut stage = Latency::new(ms(100), ms(80), Random::new(1));
        for length in 0..200 {
            stage.push(data(length), start);
        }
        let left = run(&mut stage, start);
        assert!(left.iter().map(|(_, length)| *length).eq(0..200), "in order");
        assert!(left.iter().all(|(time, _)| (ms(20)..=ms(180)).contains(time)));
        assert!(left[0].0 < left[199].0, "not all the same");
    }

    #[test]
    fn a_jitter_above_the_latency_is_never_negative() {
        let start = Instant::now();
        let mut stage = Latency::new(ms(1), ms(1000), Random::new(3));
        for _ in 0..100 {
            stage.push(data(1), start);
        }
        assert_eq!(run(&mut stage, start).len(), 100);
    }

    #[test]
    fn a_change_applies_to_the_queue() {
        let start = Instant::now();
        let mut stage = Latency::new(ms(10_000), ms(0), Random::new(1));
        stage.push(data(10), start);
        stage.update(&Effect::Latency { latency: ms(50), jitter: ms(0) }, start + ms(20));
        assert_eq!(run(&mut stage, start), [(ms(50), 10)]);
    }

    #[test]
    fn a_removed_latency_hands_over_its_queue() {
        let start = Instant::now();
        let mut stage = Box::new(Latency::new(ms(10_000), ms(0), Random::new(1)));
        stage.push(data(10), start);
        stage.push(Item::End, start);
        assert_eq!(stage.finish(), Ok(vec![data(10), Item::End]));
    }

    #[test]
    fn the_queue_is_bounded_also_for_single_bytes() {
        let start = Instant::now();
        let mut stage = Latency::new(ms(1), ms(0), Random::new(1));
        let mut pushed = 0;
        while stage.accepts() {
            stage.push(data(1), start);
            pushed += 1;
        }
        assert!(pushed < 10_000, "{pushed}");
    }
}
