//! The source of a rejection, by which it is recognized in the `source()` chain of other errors.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::RejectionKind;

/// The source of a rejection, by which it is recognized in the `source()` chain of other errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(super) component: &'static str,
    pub(crate) kind: RejectionKind,
    pub(crate) retry_after: Option<Duration>,
    /// The rejection of a retry: an earlier attempt may have had an effect.
    pub(crate) is_of_retry: bool,
    /// Whether fault injection made it.
    #[cfg(feature = "chaos")]
    pub(crate) origin: super::Origin,
}

impl Mark {
    pub(super) const fn new(
        kind: RejectionKind,
        component: &'static str,
        retry_after: Option<Duration>,
    ) -> Self {
        Self {
            component,
            kind,
            retry_after,
            is_of_retry: false,
            #[cfg(feature = "chaos")]
            origin: super::Origin::Real,
        }
    }

    /// Whether the call may have been executed.
    pub(crate) const fn may_have_run(self) -> bool {
        // A missing timer is detected only when the call has begun and must wait.
        self.is_of_retry
            || matches!(
                self.kind,
                RejectionKind::TotalTimeout
                    | RejectionKind::AttemptTimeout
                    | RejectionKind::ReadTimeout
                    | RejectionKind::OutcomeUnknown
                    | RejectionKind::FallbackFailed
                    | RejectionKind::NoTimer
            )
    }

    /// Whether the call was rejected before anything was attempted. Connecting counts as an attempt.
    pub(crate) fn is_refusal(self) -> bool {
        !self.may_have_run() && !matches!(self.kind, RejectionKind::ConnectTimeout | RejectionKind::Injected)
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.may_have_run() {
            "the call may have been executed"
        } else {
            "the call was not executed"
        })
    }
}

impl Error for Mark {}
