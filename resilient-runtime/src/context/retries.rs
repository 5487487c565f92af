//! The retries that must not repeat, because a call around them repeats in their place.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

/// A set of retries, as a bit for each. There are more retries than bits: one that shares its bit with another stands
/// back in its place at times, which costs a repetition and no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retries(pub(super) u32);

impl Retries {
    pub(crate) const NONE: Self = Self(0);

    /// The set of a new retry alone.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self(1 << (NEXT.fetch_add(1, Ordering::Relaxed) % u32::BITS))
    }

    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn contains(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are in both.
    pub(crate) fn still_in(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

thread_local! {
    static GIVEN_UP: Cell<u32> = const { Cell::new(0) };
}

/// The retries that gave up on this thread since a call around them has last looked. That look follows as a rule in the
/// same poll; where it does not, a retry stands back that need not, or the other way round, and the budget bounds both.
#[cold]
pub(crate) fn take_given_up() -> Retries {
    Retries(GIVEN_UP.replace(0))
}

/// These have given up: should a call around them repeat, they stand back in its next attempt.
#[cold]
pub(crate) fn gave_up(retries: Retries) {
    GIVEN_UP.set(GIVEN_UP.get() | retries.0);
}
