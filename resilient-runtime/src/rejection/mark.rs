//! The part of a rejection that shows in the `source()` chain of the errors around it.

use std::error::Error;
use std::fmt;
use std::time::Duration;

use super::RejectionKind;

/// The part of a rejection that shows in the `source()` chain of the errors around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    pub(super) component: &'static str,
    pub(crate) kind: RejectionKind,
    pub(crate) retry_after: Option<Duration>,
    /// It is the refusal of a retry, and an attempt made before it may have had its effect.
    pub(crate) is_of_retry: bool,
}

impl Mark {
    pub(super) const fn new(
        kind: RejectionKind,
        component: &'static str,
        retry_after: Option<Duration>,
    ) -> Self {
        Self { component, kind, retry_after, is_of_retry: false }
    }

    /// Whether the call may have been carried out.
    pub(crate) const fn may_have_run(self) -> bool {
        // That no timer can be had shows only once the call has begun and has to wait.
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

    /// Whether the call was refused before anything was tried. An attempt to connect was.
    pub(crate) fn is_refusal(self) -> bool {
        !self.may_have_run() && self.kind != RejectionKind::ConnectTimeout
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.may_have_run() {
            "the call may have been carried out"
        } else {
            "the call was not carried out"
        })
    }
}

impl Error for Mark {}
