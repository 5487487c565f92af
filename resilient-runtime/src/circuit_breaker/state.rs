//! The state of a circuit in one word, and the tickets of admitted calls.

use std::fmt;
use std::num::NonZeroU64;

use serde::Serialize;

/// The state of a circuit breaker.
///
/// ```
/// use resilient_runtime::{Registry, circuit_breaker::State};
///
/// let breaker = Registry::new().circuit_breaker("payment");
/// breaker.disable();
/// assert_eq!(breaker.state(), State::Disabled);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[repr(u8)]
pub enum State {
    /// Calls pass and their results are evaluated.
    Closed,
    /// Calls are rejected until the open period ends.
    Open,
    /// A few probes pass, and their results decide the next state.
    HalfOpen,
    /// Calls are rejected until an operator ends this state.
    ForcedOpen,
    /// Calls pass and are counted, but the circuit never opens.
    ForcedClosed,
    /// Calls pass and are not counted.
    Disabled,
}

impl State {
    /// All states.
    pub const ALL: [Self; 6] =
        [Self::Closed, Self::Open, Self::HalfOpen, Self::ForcedOpen, Self::ForcedClosed, Self::Disabled];

    /// Returns the name used in events, statistics and JSON.
    ///
    /// ```
    /// use resilient_runtime::circuit_breaker::State;
    ///
    /// assert_eq!(State::HalfOpen.as_str(), "half_open");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
            Self::ForcedOpen => "forced_open",
            Self::ForcedClosed => "forced_closed",
            Self::Disabled => "disabled",
        }
    }

    /// Whether only an operator can end the state.
    ///
    /// ```
    /// use resilient_runtime::circuit_breaker::State;
    ///
    /// assert!(State::ForcedOpen.is_forced() && State::Disabled.is_forced());
    /// assert!(!State::Open.is_forced());
    /// ```
    pub const fn is_forced(self) -> bool {
        matches!(self, Self::ForcedOpen | Self::ForcedClosed | Self::Disabled)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Epoch (upper half), whether the state is changing (bit 9), whether calls in flight are watched (bit 8), and
/// [`State`] (lowest byte).
///
/// One load gives a call everything it needs. Every transition starts a new epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word(u64);

const WATCHED: u64 = 1 << 8;
const CHANGING: u64 = 1 << 9;

impl Word {
    /// Closed and not watched, in the first epoch.
    pub(super) const NEW: Self = Self(0);

    pub(super) const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub(super) const fn bits(self) -> u64 {
        self.0
    }

    /// Whether the state is closed, not watched and not changing, so that a call simply passes.
    #[inline]
    pub(super) const fn is_plainly_closed(self) -> bool {
        self.0 & 0xFFFF_FFFF == State::Closed as u64
    }

    pub(super) fn state(self) -> State {
        let index = usize::try_from(self.0 & 0xFF).unwrap_or_default();
        State::ALL.get(index).copied().unwrap_or(State::Closed)
    }

    pub(super) const fn is_watched(self) -> bool {
        self.0 & WATCHED != 0
    }

    pub(super) const fn is_changing(self) -> bool {
        self.0 & CHANGING != 0
    }

    /// Wraps after four billion transitions. A call would have to outlive all of them to be mistaken.
    #[inline]
    pub(super) const fn epoch(self) -> u32 {
        // The shift leaves 32 bits.
        #[allow(clippy::cast_possible_truncation)]
        {
            (self.0 >> 32) as u32
        }
    }

    /// Returns `state` in the next epoch.
    pub(super) const fn next(self, state: State) -> Self {
        Self((self.epoch().wrapping_add(1) as u64) << 32 | state as u64)
    }

    /// Returns the same state in the same epoch, with or without a watch.
    pub(super) const fn watched(self, watched: bool) -> Self {
        Self(if watched { self.0 | WATCHED } else { self.0 & !WATCHED })
    }

    /// Marks the state as changing: readers must not rely on the data that belongs to it.
    pub(super) const fn changing(self) -> Self {
        Self(self.0 | CHANGING)
    }

    #[inline]
    pub(super) const fn ticket(self, lease: Lease) -> Ticket {
        Ticket { lease, word: self }
    }
}

/// The number of a probe or of a watched call in flight. Never reused.
pub(super) type Lease = NonZeroU64;

/// For a call that is not a probe and not watched.
pub(super) const NO_LEASE: Lease = NonZeroU64::MIN;

/// The admission of one call, which identifies where its result belongs.
///
/// It is two whole words: copying smaller parts costs more than the rest of the call's work here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(super) lease: Lease,
    /// The state that admitted the call.
    pub(super) word: Word,
}

impl Ticket {
    pub(super) fn state(self) -> State {
        self.word.state()
    }

    pub(super) const fn is_of(self, epoch: u32) -> bool {
        self.word.epoch() == epoch
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_returns_the_state_and_epoch_that_it_stores() {
        let mut word = Word::NEW;
        for (number, state) in (1..).zip(State::ALL) {
            word = word.next(state);
            assert_eq!((word.epoch(), word.state(), word.is_watched()), (number, state, false));
            let watched = word.watched(true);
            assert_eq!((watched.epoch(), watched.state(), watched.is_watched()), (number, state, true));
            assert!(!watched.is_plainly_closed());
            assert_eq!(watched.watched(false), word);
            let changing = word.changing();
            assert_eq!((changing.epoch(), changing.state(), changing.is_changing()), (number, state, true));
            assert!(!word.is_changing() && !changing.is_plainly_closed());
            assert_eq!(word.is_plainly_closed(), state == State::Closed);
        }
        let last = Word::from_bits(u64::from(u32::MAX) << 32);
        assert_eq!(last.next(State::Open).epoch(), 0, "the epoch wraps");
    }

    #[test]
    fn an_optional_ticket_fits_in_two_words() {
        assert_eq!(size_of::<Option<Ticket>>(), 16);
    }
}
