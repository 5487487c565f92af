//! The clock readings of a call.

use std::time::Duration;

use crate::clock::{Clock, Instant};

/// A reading of the clock, if one was taken. It has the size of an [`Instant`]: [`Instant::NEVER`] represents none.
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

    /// Returns [`Instant::NEVER`] if no reading was taken.
    #[inline]
    pub(super) fn or_never(self) -> Instant {
        self.0
    }
}

/// Which durations of a call are recorded. One byte, because it is part of the future of every call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timing(u8);

impl Timing {
    const EACH_ATTEMPT: u8 = 1 << 7;

    /// `calls`: for how many calls the measured duration counts, at most 127; 0 if it is not measured. `each_attempt`:
    /// whether the duration of each attempt is recorded too.
    #[inline]
    pub(super) fn of(calls: u8, each_attempt: bool) -> Self {
        Self(calls | if each_attempt { Self::EACH_ATTEMPT } else { 0 })
    }

    /// For how many calls the measured duration counts.
    #[inline]
    pub(super) fn calls(self) -> u8 {
        self.0 & !Self::EACH_ATTEMPT
    }

    /// Whether attempts are timed: for an adaptive timeout, or to stop suppressing a retry once the attempt has succeeded.
    #[inline]
    pub(super) fn wants_attempts(self) -> bool {
        self.0 & Self::EACH_ATTEMPT != 0
    }
}

/// The times of a call and of its current attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttemptClock {
    /// When the call began.
    pub(super) started: Reading,
    /// The earlier of the call's own total timeout and the inherited deadline; [`Instant::NEVER`] without a limit.
    pub(super) deadline: Instant,
    /// The last clock reading.
    pub(super) now: Reading,
    /// When the body of this attempt began, after all queues; none outside the body.
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

    /// Whether the call reads the clock at all.
    #[inline]
    pub(super) fn is_timed(&self) -> bool {
        self.started.is_taken()
    }

    /// Reads the clock if the call is timed.
    #[inline]
    pub(super) fn read_if_timed(&mut self, clock: &Clock) {
        if self.is_timed() {
            self.read(clock);
        }
    }

    /// Whether the deadline has passed. A call with a deadline is always timed.
    #[inline]
    pub(super) fn is_late(&self) -> bool {
        self.now.or_never() >= self.deadline && self.deadline != Instant::NEVER
    }

    /// Marks the start of the body.
    #[inline]
    pub(super) fn begin_attempt(&mut self) {
        self.attempt = self.now;
    }

    /// Returns the time since the call began.
    pub(super) fn elapsed(&self) -> Duration {
        self.now.or_never().since(self.started.or_never())
    }

    /// Excludes `span` from the duration of the call and of its attempt.
    pub(super) fn skip(&mut self, span: Duration) {
        let later = |reading: Reading| reading.get().map_or(reading, |at| Reading::of(at.after(span)));
        (self.started, self.attempt) = (later(self.started), later(self.attempt));
    }
}
