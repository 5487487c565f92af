//! The state of a circuit in one word, and the tickets that remember it.

use std::fmt;
use std::num::NonZeroU64;

use serde::Serialize;

/// Where a circuit breaker stands.
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
    /// Calls pass, and are judged.
    Closed,
    /// Calls are refused until the open period is over.
    Open,
    /// A few probes pass, and decide.
    HalfOpen,
    /// Calls are refused until somebody ends it.
    ForcedOpen,
    /// Calls pass and are counted, and nothing opens the circuit.
    ForcedClosed,
    /// Calls pass and are not even counted.
    Disabled,
}

impl State {
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Closed, Self::Open, Self::HalfOpen, Self::ForcedOpen, Self::ForcedClosed, Self::Disabled];

    /// The name used in events, statistics and JSON.
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

    /// Whether only an operator can end it.
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

/// Epoch (upper half), whether the state is about to change (bit 9), whether calls in flight are watched
/// (bit 8), and [`State`] (the lowest byte): one load tells a call all it needs to know. Every transition is
/// a new epoch.
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

    /// Closed, with nothing to do but to let the call pass.
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

    /// Wraps after four billion transitions: a call would have to outlive them all to be mistaken.
    #[inline]
    pub(super) const fn epoch(self) -> u32 {
        // The shift leaves 32 bits.
        #[allow(clippy::cast_possible_truncation)]
        {
            (self.0 >> 32) as u32
        }
    }

    /// `state`, in the next epoch.
    pub(super) const fn next(self, state: State) -> Self {
        Self((self.epoch().wrapping_add(1) as u64) << 32 | state as u64)
    }

    /// The same state in the same epoch, with or without a watch.
    pub(super) const fn watched(self, watched: bool) -> Self {
        Self(if watched { self.0 | WATCHED } else { self.0 & !WATCHED })
    }

    /// The same, about to change: what belongs to the state must not be believed any more.
    pub(super) const fn changing(self) -> Self {
        Self(self.0 | CHANGING)
    }

    #[inline]
    pub(super) const fn ticket(self, lease: Lease) -> Ticket {
        Ticket { lease, word: self }
    }
}

/// The number of a probe, or of a watched call in flight. Never given twice.
pub(super) type Lease = NonZeroU64;

/// Of a call that is neither.
pub(super) const NO_LEASE: Lease = NonZeroU64::MIN;

/// The admission of one call: where its result belongs. Two whole words, because a copy made of smaller
/// parts costs more than everything else a call does here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    pub(super) lease: Lease,
    /// The state in which the call was admitted.
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
    fn a_word_gives_back_what_was_put_in() {
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
    fn a_ticket_fits_two_words_also_as_an_option() {
        assert_eq!(size_of::<Option<Ticket>>(), 16);
    }
}
