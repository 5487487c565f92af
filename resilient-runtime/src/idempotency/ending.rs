//! What becomes of a record when its call has ended.

use super::replay::{Codec, Saved};
use crate::classify::{Class, Verdict};

/// What a call that has ended did, as far as that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It succeeded.
    Done,
    /// It failed, and another attempt would fail in the same way.
    Permanent,
    /// Nothing: another attempt may be made.
    None,
    /// It has ended, and may have been carried out, or not (T105).
    Lost,
    /// Likewise, and something of it may go on: it was cut off.
    Unknown,
}

impl Effect {
    /// Of an attempt.
    pub(crate) fn of(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Success => Self::Done,
            Verdict::Failure(Class::Permanent | Class::Ignored) => Self::Permanent,
            Verdict::Failure(Class::Uncertain { .. } | Class::Unknown { .. }) => Self::Lost,
            Verdict::Failure(
                Class::Transient { .. } | Class::Overload { .. } | Class::NotExecuted { .. },
            ) => Self::None,
        }
    }

    /// Whether there may be one, though the call did not succeed.
    pub(crate) fn may_be(self) -> bool {
        matches!(self, Self::Lost | Self::Unknown)
    }
}

/// What is to be done with the record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// The answer is kept.
    Keep(Vec<u8>),
    /// The answer cannot be kept, and why. The claim stays: it must not be carried out again.
    Unkept(String),
    /// The key is free.
    Free,
    /// The claim stays.
    Leave,
    /// The claim stays, and its lease is over.
    Lose,
}

impl Ending {
    /// `outcome`: where it is at hand.
    pub(super) fn of<R>(
        effect: Effect,
        (outcome, operation): (Option<&R>, &str),
        codec: Codec<R>,
        keeps_errors: bool,
    ) -> Self {
        let is_kept = match effect {
            Effect::Done => true,
            Effect::Permanent => keeps_errors && codec.has_errors(),
            Effect::None => false,
            Effect::Lost => return Self::Lose,
            Effect::Unknown => return Self::Leave,
        };
        match outcome.filter(|_| is_kept).and_then(|outcome| codec.keep(outcome, operation)) {
            Some(bytes) => Self::kept(bytes),
            None if effect == Effect::Done => Self::Unkept("there is no answer to keep".into()),
            None => Self::Free,
        }
    }

    pub(super) fn kept(saved: Saved) -> Self {
        saved.map_or_else(Self::Unkept, Self::Keep)
    }
}
