//! Timeout: discards all data, and closes the connection after a time.

use std::time::Duration;

use tokio::time::Instant;

use super::{Closing, Due, Item, Stage};
use crate::proxy::toxic::Effect;

pub(super) struct Timeout {
    /// Zero means never.
    close_after: Duration,
    since: Instant,
    has_ended: bool,
}

impl Timeout {
    pub(super) fn new(timeout: Duration, now: Instant) -> Self {
        Self { close_after: timeout, since: now, has_ended: false }
    }
}

impl Stage for Timeout {
    fn accepts(&self) -> bool {
        true
    }

    fn push(&mut self, item: Item, _now: Instant) {
        // After the sender has closed, no response can arrive any more: keeping the connection open has no effect.
        self.has_ended |= item.len() == 0;
    }

    fn due(&self, now: Instant) -> Due {
        if self.has_ended {
            return Due::Stop(Closing::Close);
        }
        if self.close_after.is_zero() {
            return Due::Unknown;
        }
        match Due::at(self.since + self.close_after, now) {
            Due::Now => Due::Stop(Closing::Close),
            due => due,
        }
    }

    fn pop(&mut self, _now: Instant) -> Option<Item> {
        None
    }

    fn update(&mut self, effect: &Effect, _now: Instant) {
        if let Effect::Timeout { timeout } = *effect {
            self.close_after = timeout;
        }
    }

    fn finish(self: Box<Self>) -> Result<Vec<Item>, Closing> {
        // Bytes may be missing, so that the rest of the data would be garbage.
        Err(Closing::Close)
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{data, ms};
    use super::*;

    #[test]
    fn data_does_not_extend_the_timeout() {
        let start = Instant::now();
        let mut stage = Timeout::new(ms(100), start);
        assert_eq!(stage.due(start), Due::At(start + ms(100)));
        stage.push(data(10), start + ms(99));
        assert!(stage.pop(start + ms(99)).is_none());
        assert_eq!(stage.due(start + ms(100)), Due::Stop(Closing::Close));
    }

    #[test]
    fn a_black_hole_stays_until_it_is_removed() {
        let start = Instant::now();
        let stage = Box::new(Timeout::new(ms(0), start));
        assert_eq!(stage.due(start + ms(100_000_000)), Due::Unknown);
        assert_eq!(stage.finish(), Err(Closing::Close));
    }

    #[test]
    fn the_end_of_the_data_closes_the_connection() {
        let start = Instant::now();
        let mut stage = Timeout::new(ms(0), start);
        stage.push(Item::End, start);
        assert_eq!(stage.due(start), Due::Stop(Closing::Close));
    }
}
