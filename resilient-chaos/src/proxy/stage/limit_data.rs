//! Data limit: closes the connection after a number of bytes.

use tokio::time::Instant;

use super::{Closing, Due, Fifo, Item, Stage};
use crate::proxy::toxic::Effect;

const WAITING: usize = 64 << 10;

pub(super) struct LimitData {
    limit: u64,
    passed: u64,
    queue: Fifo,
    is_closed: bool,
}

impl LimitData {
    pub(super) fn new(limit: u64) -> Self {
        Self { limit, passed: 0, queue: Fifo::new(WAITING), is_closed: false }
    }

    fn close(&mut self, now: Instant) {
        self.is_closed = true;
        self.queue.clear();
        self.queue.push(Item::Close, now);
    }
}

impl Stage for LimitData {
    fn accepts(&self) -> bool {
        self.queue.accepts()
    }

    fn push(&mut self, item: Item, now: Instant) {
        // Data after the limit is discarded, also if the limit was raised since: bytes before it are missing.
        if self.is_closed {
            return;
        }
        if item.len() > 0 && self.passed >= self.limit {
            return self.close(now);
        }
        self.queue.push(item, now);
    }

    fn due(&self, _now: Instant) -> Due {
        self.queue.first().map_or(Due::Unknown, |_| Due::Now)
    }

    fn pop(&mut self, now: Instant) -> Option<Item> {
        let left = usize::try_from(self.limit.saturating_sub(self.passed)).unwrap_or(usize::MAX);
        let item = match self.queue.first()? {
            (_, Item::Data(_)) if left == 0 => {
                self.close(now);
                self.queue.pop()?
            }
            (_, Item::Data(_)) => self.queue.pop_slice(left)?,
            _ => return self.queue.pop(),
        };
        self.passed = self.passed.saturating_add(item.len() as u64);
        if item.len() > 0 && self.passed >= self.limit {
            self.close(now);
        }
        Some(item)
    }

    fn update(&mut self, effect: &Effect, _now: Instant) {
        if let Effect::LimitData { bytes } = *effect {
            self.limit = bytes;
        }
    }

    fn finish(self: Box<Self>) -> Result<Vec<Item>, Closing> {
        Ok(self.queue.into_items())
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::super::testing::data;
    use super::*;

    fn all(stage: &mut LimitData, now: Instant) -> Vec<Item> {
        std::iter::from_fn(|| stage.pop(now)).collect()
    }

    #[test]
    fn exactly_the_limit_passes_and_then_the_connection_closes() {
        let now = Instant::now();
        for sizes in [&[100, 1][..], &[60, 60], &[250], &[100]] {
            let mut stage = LimitData::new(100);
            for size in sizes {
                stage.push(data(*size), now);
            }
            let items = all(&mut stage, now);
            assert_eq!(items.iter().map(Item::len).sum::<usize>(), 100, "{sizes:?}");
            assert_eq!(items.last(), Some(&Item::Close), "{sizes:?}");
        }
    }

    #[test]
    fn a_shorter_transfer_ends_as_usual() {
        let now = Instant::now();
        let mut stage = LimitData::new(100);
        stage.push(data(99), now);
        stage.push(Item::End, now);
        assert_eq!(all(&mut stage, now), [data(99), Item::End]);
    }

    #[test]
    fn at_zero_the_first_data_closes_the_connection() {
        let now = Instant::now();
        let mut stage = LimitData::new(0);
        assert_eq!(all(&mut stage, now), []);
        stage.push(data(1), now);
        assert_eq!(all(&mut stage, now), [Item::Close]);
    }

    #[test]
    fn a_lower_limit_counts_the_bytes_that_passed() {
        let now = Instant::now();
        let mut stage = LimitData::new(100);
        stage.push(data(50), now);
        assert_eq!(all(&mut stage, now), [data(50)]);
        stage.update(&Effect::LimitData { bytes: 30 }, now);
        stage.push(Item::Data(Bytes::from_static(b"more")), now);
        assert_eq!(all(&mut stage, now), [Item::Close]);
    }
}
