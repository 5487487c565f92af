//! How a call paid, in the mark of its token.

use crate::clock::Instant;

/// How a call with a shared limit was admitted. In the two bits above the time, so that a mark stays one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::rate_limit) enum Paid {
    /// By the limiter of this process, at this time.
    Locally(u64),
    /// By the store, with its mark.
    ToStore(u64),
    /// With a leased token, at this time.
    FromLease(u64),
    /// Without a token.
    Nothing,
}

const KIND: u32 = 61;
const REST: u64 = (1 << KIND) - 1;

impl Paid {
    pub(in crate::rate_limit) fn mark(self) -> Instant {
        let (kind, rest) = match self {
            Self::Locally(at) => (0, at),
            Self::ToStore(mark) => (1, mark),
            Self::FromLease(at) => (2, at),
            Self::Nothing => (3, 0),
        };
        Instant::from_nanos(kind << KIND | rest & REST)
    }

    pub(in crate::rate_limit) fn of(mark: Instant) -> Self {
        let rest = mark.as_nanos() & REST;
        match mark.as_nanos() >> KIND & 3 {
            0 => Self::Locally(rest),
            1 => Self::ToStore(rest),
            2 => Self::FromLease(rest),
            _ => Self::Nothing,
        }
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_mark_says_how_the_call_paid() {
        for paid in [
            Paid::Locally(0),
            Paid::Locally(REST),
            Paid::ToStore(1),
            Paid::ToStore(REST),
            Paid::FromLease(0),
            Paid::FromLease(REST),
            Paid::Nothing,
        ] {
            assert_eq!(Paid::of(paid.mark()), paid);
            assert_eq!(paid.mark().as_nanos() >> 63, 0, "the pipeline uses the highest bit");
        }
    }
}
