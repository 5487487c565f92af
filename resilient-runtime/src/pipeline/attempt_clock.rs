//! What a call knows of the time.

use std::time::Duration;

use crate::clock::{Clock, Instant};

/// A reading of the clock, if it was read. As large as an [`Instant`]: the one that no clock reaches stands for none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading(Instant);

impl Reading {
    pub(super) const NONE: Self = Self(Instant::NEVER);

    #[inline]
    pub(super) fn of(instant: Instant) -> Self {
        Self(instant)
    }

    #[inline]
    pub(super) fn is_taken(self) -> bool {
        self != Self::NONE
    }

    #[inline]
    pub(super) fn get(self) -> Option<Instant> {
        self.is_taken().then_some(self.0)
    }

    /// Later than all others where there is none.
    #[inline]
    pub(super) fn or_never(self) -> Instant {
        self.0
    }
}

/// Which times of a call are wanted. One byte: it is in the future of every call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing(u8);

impl Timing {
    const EACH_ATTEMPT: u8 = 1 << 7;

    /// The time counts for so many calls, at most 127; 0 if it is not taken. `each_attempt`: how long each attempt takes is
    /// wanted, too.
    #[inline]
    pub(super) fn of(calls: u8, each_attempt: bool) -> Self {
        Self(calls | if each_attempt { Self::EACH_ATTEMPT } else { 0 })
    }

    /// For how many calls the time counts.
    #[inline]
    pub(super) fn calls(self) -> u8 {
        self.0 & !Self::EACH_ATTEMPT
    }

    /// The timeout wants to know how long each attempt takes, or retries stand back that need not once it has succeeded.
    #[inline]
    pub(super) fn wants_attempts(self) -> bool {
        self.0 & Self::EACH_ATTEMPT != 0
    }
}

/// The times of a call and of its attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttemptClock {
    /// When the call began.
    pub(super) started: Reading,
    /// The earlier one of the own total and the deadline around it; [`Instant::NEVER`] without a limit.
    pub(super) deadline: Instant,
    /// The time as last read.
    pub(super) now: Reading,
    /// When the body of this attempt began, after all queueing; none before and after it.
    pub(super) attempt: Reading,
}

impl AttemptClock {
    #[inline]
    pub(super) fn of(started: Reading, deadline: Instant) -> Self {
        Self { started, deadline, now: started, attempt: Reading::NONE }
    }

    #[inline]
    pub(super) fn read(&mut self, clock: &Clock) -> Instant {
        let now = clock.now();
        self.now = Reading::of(now);
        now
    }

    /// Whether the call takes the time at all.
    #[inline]
    pub(super) fn is_timed(&self) -> bool {
        self.started.is_taken()
    }

    /// Reads it where the call takes the time.
    #[inline]
    pub(super) fn read_if_timed(&mut self, clock: &Clock) {
        if self.is_timed() {
            self.read(clock);
        }
    }

    /// Where there is a deadline, the time is always taken.
    #[inline]
    pub(super) fn is_late(&self) -> bool {
        self.now.or_never() >= self.deadline && self.deadline != Instant::NEVER
    }

    /// The body begins.
    #[inline]
    pub(super) fn begin_attempt(&mut self) {
        self.attempt = self.now;
    }

    /// The time since the call began.
    pub(super) fn elapsed(&self) -> Duration {
        self.now.or_never().since(self.started.or_never())
    }

    /// So much time does not count: neither for the call nor for its attempt.
    pub(super) fn skip(&mut self, span: Duration) {
        let later = |reading: Reading| reading.get().map_or(reading, |at| Reading::of(at.after(span)));
        (self.started, self.attempt) = (later(self.started), later(self.attempt));
    }
}
