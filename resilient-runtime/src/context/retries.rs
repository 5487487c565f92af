//! The suppressed retries: a retry that gave up is suppressed while an outer call retries instead.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

/// A set of retries, with one bit for each. There are more retries than bits: two retries that share a bit can suppress
/// each other, which costs a retry and nothing else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retries(pub(super) u32);

impl Retries {
    pub(crate) const NONE: Self = Self(0);

    /// Makes the set of a new retry.
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

    /// Returns the intersection.
    pub(crate) fn still_in(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

thread_local! {
    static GIVEN_UP: Cell<u32> = const { Cell::new(0) };
}

/// Takes the retries that gave up on this thread since an outer call last took them. This usually happens in the same
/// poll. If not, a retry is suppressed without need or not suppressed; the budget limits both.
#[cold]
pub(crate) fn take_given_up() -> Retries {
    Retries(GIVEN_UP.replace(0))
}

/// Records retries that gave up. If an outer call retries, they are suppressed in its next attempt.
#[cold]
pub(crate) fn gave_up(retries: Retries) {
    GIVEN_UP.set(GIVEN_UP.get() | retries.0);
}
