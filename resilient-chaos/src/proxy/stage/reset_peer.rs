//! Reset: sends a TCP RST to both sides, a time after the first data.

use std::time::Duration;

use tokio::time::Instant;

use super::{Closing, Due, Item, Stage};
use crate::proxy::toxic::Effect;

pub(super) struct ResetPeer {
    timeout: Duration,
    /// When the first data, or the end of the data, arrived.
    since: Option<Instant>,
}

impl ResetPeer {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, since: None }
    }
}

impl Stage for ResetPeer {
    fn accepts(&self) -> bool {
        true
    }

    fn push(&mut self, _item: Item, now: Instant) {
        self.since.get_or_insert(now);
    }

    fn due(&self, now: Instant) -> Due {
        match self.since.map(|since| Due::at(since + self.timeout, now)) {
            None => Due::Unknown,
            Some(Due::Now) => Due::Stop(Closing::Reset),
            Some(due) => due,
        }
    }

    fn pop(&mut self, _now: Instant) -> Option<Item> {
        None
    }

    fn update(&mut self, effect: &Effect, _now: Instant) {
        if let Effect::ResetPeer { timeout } = *effect {
            self.timeout = timeout;
        }
    }

    fn finish(self: Box<Self>) -> Result<Vec<Item>, Closing> {
        // The discarded bytes are missing, so that the rest of the data would be garbage.
        if self.since.is_some() { Err(Closing::Reset) } else { Ok(Vec::new()) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{data, ms};
    use super::*;

    #[test]
    fn the_first_data_starts_the_timeout() {
        let start = Instant::now();
        let mut stage = ResetPeer::new(ms(100));
        assert_eq!(stage.due(start), Due::Unknown);
        stage.push(data(1), start);
        stage.push(data(1), start + ms(50));
        assert_eq!(stage.due(start + ms(50)), Due::At(start + ms(100)));
        assert_eq!(stage.due(start + ms(100)), Due::Stop(Closing::Reset));
    }

    #[test]
    fn removing_it_resets_only_connections_with_discarded_data() {
        let untouched = Box::new(ResetPeer::new(ms(100)));
        assert_eq!(untouched.finish(), Ok(vec![]));
        let mut waiting = Box::new(ResetPeer::new(ms(100)));
        waiting.push(data(1), Instant::now());
        assert_eq!(waiting.finish(), Err(Closing::Reset));
    }
}
