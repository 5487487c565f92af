//! Slow close: data passes at once, the end of the data later.

use std::time::Duration;

use tokio::time::Instant;

use super::{Closing, Due, Fifo, Item, Stage};
use crate::proxy::toxic::Effect;

const WAITING: usize = 64 << 10;

pub(super) struct SlowClose {
    delay: Duration,
    queue: Fifo,
}

impl SlowClose {
    pub(super) fn new(delay: Duration) -> Self {
        Self { delay, queue: Fifo::new(WAITING) }
    }
}

impl Stage for SlowClose {
    fn accepts(&self) -> bool {
        self.queue.accepts()
    }

    fn push(&mut self, item: Item, now: Instant) {
        self.queue.push(item, now);
    }

    fn due(&self, now: Instant) -> Due {
        match self.queue.first() {
            None => Due::Unknown,
            Some((_, Item::Data(_))) => Due::Now,
            Some((arrived, Item::End | Item::Close)) => Due::at(arrived + self.delay, now),
        }
    }

    fn pop(&mut self, now: Instant) -> Option<Item> {
        if self.due(now) == Due::Now { self.queue.pop() } else { None }
    }

    fn update(&mut self, effect: &Effect, _now: Instant) {
        if let Effect::SlowClose { delay } = *effect {
            self.delay = delay;
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
    fn only_the_end_waits() {
        let start = Instant::now();
        let mut stage = SlowClose::new(ms(500));
        stage.push(data(10), start);
        stage.push(Item::End, start);
        assert_eq!(run(&mut stage, start), [(ms(0), 10), (ms(500), 0)]);
    }
}
