//! Toxics of one direction of one connection, as queues without input and output.
//!
//! A [`Stage`] receives items, and says when the first item may leave. It reads no clock and no socket, so that tests use
//! points in time of their own.

mod bandwidth;
mod fifo;
mod latency;
mod limit_data;
mod reset_peer;
mod slicer;
mod slow_close;
mod timeout;

use tokio::time::Instant;

use super::random::Random;
use super::toxic::Effect;
pub(super) use fifo::{Fifo, Item};

/// How a connection ends before both directions are finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Closing {
    /// Both sockets are closed.
    Close,
    /// Both sockets are reset (TCP RST).
    Reset,
}

/// When the first item of a stage may leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Now,
    At(Instant),
    /// Not before something else changes.
    Unknown,
    /// The connection ends at once, whatever is still queued.
    Stop(Closing),
}

impl Due {
    fn at(time: Instant, now: Instant) -> Self {
        if time <= now { Self::Now } else { Self::At(time) }
    }
}

/// One toxic of one direction of one connection.
pub(super) trait Stage: Send {
    /// Whether there is room for more data.
    fn accepts(&self) -> bool;

    /// Adds an item. A stage stores any item, also if it has no room: removed stages hand over theirs.
    fn push(&mut self, item: Item, now: Instant);

    /// When [`pop`](Self::pop) returns an item.
    fn due(&self, now: Instant) -> Due;

    /// Takes the first item, if it is due.
    fn pop(&mut self, now: Instant) -> Option<Item>;

    /// Changes the settings. The effect has the same kind as before.
    fn update(&mut self, effect: &Effect, now: Instant);

    /// Returns all items without delay, because the toxic was removed, or how the connection ends.
    fn finish(self: Box<Self>) -> Result<Vec<Item>, Closing>;
}

/// Creates the stage of an effect. An effect without a stage does nothing.
pub(super) fn stage(effect: &Effect, random: Random, now: Instant) -> Option<Box<dyn Stage>> {
    Some(match *effect {
        Effect::Latency { latency, jitter } => Box::new(latency::Latency::new(latency, jitter, random)),
        Effect::Bandwidth { rate } => Box::new(bandwidth::Bandwidth::new(rate, now)),
        Effect::SlowClose { delay } => Box::new(slow_close::SlowClose::new(delay)),
        Effect::Timeout { timeout } => Box::new(timeout::Timeout::new(timeout, now)),
        Effect::ResetPeer { timeout } => Box::new(reset_peer::ResetPeer::new(timeout)),
        Effect::Slicer { average_size, size_variation, delay } => {
            Box::new(slicer::Slicer::new(average_size, size_variation, delay, random, now))
        }
        Effect::LimitData { bytes } => Box::new(limit_data::LimitData::new(bytes)),
        Effect::Noop => return None,
    })
}

#[cfg(test)]
mod testing {
    //! Runs a stage in virtual time.

    use std::time::Duration;

    use bytes::Bytes;

    use super::*;

    pub(super) fn data(length: usize) -> Item {
        Item::Data(Bytes::from(vec![b'x'; length]))
    }

    pub(super) fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    /// All items until nothing is due, each with the time since `start` and its length.
    pub(super) fn run(stage: &mut dyn Stage, start: Instant) -> Vec<(Duration, usize)> {
        let mut now = start;
        let mut left = Vec::new();
        loop {
            match stage.due(now) {
                Due::Now => {
                    let item = stage.pop(now).unwrap();
                    left.push((now - start, item.len()));
                }
                Due::At(time) => {
                    assert!(time > now, "a stage must not ask for a time in the past");
                    assert!(stage.pop(now).is_none(), "an item left before its time");
                    now = time;
                }
                Due::Unknown | Due::Stop(_) => return left,
            }
        }
    }
}
