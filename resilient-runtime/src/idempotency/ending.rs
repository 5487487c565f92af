//! Changes to a record when its call ends.

use crate::classify::{Class, Verdict};
use crate::replay::{Codec, Saved};

/// The known effect of a call that ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It succeeded.
    Done,
    /// It failed, and another attempt would fail in the same way.
    Permanent,
    /// It failed without an effect, and can be attempted again.
    None,
    /// It ended by itself and may have had an effect (T105).
    Lost,
    /// It was stopped, may have had an effect, and might still be running in part.
    Unknown,
}

impl Effect {
    /// The effect of an attempt with this verdict.
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

    /// Whether a call that did not succeed may have had an effect.
    pub(crate) fn may_be(self) -> bool {
        matches!(self, Self::Lost | Self::Unknown)
    }
}

/// How to change the record of a call that ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Store the result.
    Keep(Vec<u8>),
    /// The result cannot be stored, for this reason. The claim stays, so that the call is not executed again.
    Unkept(String),
    /// Free the key.
    Free,
    /// Leave the claim in place.
    Leave,
    /// Leave the claim in place and expire its lease.
    Lose,
}

impl Ending {
    /// `outcome` is `None` if it is not available.
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
            None if effect == Effect::Done => Self::Unkept("there is no result to store".into()),
            None => Self::Free,
        }
    }

    pub(super) fn kept(saved: Saved) -> Self {
        saved.map_or_else(Self::Unkept, Self::Keep)
    }
}
