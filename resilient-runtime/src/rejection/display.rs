//! The text of a rejection.

use std::fmt;
use std::time::Duration;

use super::{Detail, Rejection, RejectionKind};
use crate::correlation::CorrelationId;

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.words())?;
        if let Some(id) = CorrelationId::current() {
            write!(f, " [correlation id {id}]")?;
        }
        Ok(())
    }
}

/// The text of a rejection, without the correlation id.
struct Words<'r> {
    rejection: &'r Rejection,
    with_errors: bool,
}

impl fmt::Display for Words<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.rejection.say(f, self.with_errors)
    }
}

impl Rejection {
    /// The text without the correlation id, for places that already contain it.
    pub(crate) fn words(&self) -> impl fmt::Display {
        Words { rejection: self, with_errors: true }
    }

    /// Returns the text of the rejection without the texts of the errors that caused it.
    ///
    /// Use it for readers who must not see the error messages of a dependency, such as the clients of a server.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, circuit_breaker::Config};
    ///
    /// let registry = Registry::new();
    /// registry.circuit_breaker("db").reconfigure(Config::default().failure_threshold(1)).unwrap();
    /// let pipeline = registry.pipeline("load").circuit_breaker("db").build();
    /// let load = || Err::<u32, _>(std::io::Error::other("no such user: root"));
    /// pipeline.request().describe(|error: &std::io::Error, words| words.error(error)).call(load).unwrap_err();
    /// let refused = registry.circuit_breaker("db").try_acquire().unwrap_err();
    /// assert!(refused.to_string().contains("1 failure in a row, last error: no such user: root"));
    /// assert!(!refused.without_errors().to_string().contains("root"));
    /// ```
    pub fn without_errors(&self) -> impl fmt::Display {
        Words { rejection: self, with_errors: false }
    }

    fn say(&self, f: &mut fmt::Formatter<'_>, with_errors: bool) -> fmt::Result {
        let name = self.mark.component;
        match self.mark.kind {
            RejectionKind::CircuitOpen => write!(f, "circuit breaker `{name}` is open")?,
            RejectionKind::BulkheadFull => write!(f, "bulkhead `{name}` is full")?,
            RejectionKind::TotalTimeout => write!(f, "`{name}` exceeded its total timeout")?,
            RejectionKind::AttemptTimeout => write!(f, "an attempt of `{name}` timed out")?,
            RejectionKind::ConnectTimeout => write!(f, "`{name}` timed out while connecting")?,
            RejectionKind::ReadTimeout => write!(f, "`{name}` timed out while reading")?,
            RejectionKind::QueueTimeout if matches!(self.detail, Detail::Elapsed(Duration::ZERO, _)) => {
                write!(f, "a call of `{name}` timed out before it began")?;
            }
            RejectionKind::QueueTimeout => write!(f, "a call of `{name}` timed out in the queue")?,
            RejectionKind::RateLimited => write!(f, "rate limit `{name}` exceeded")?,
            RejectionKind::WeightExceedsLimit => {
                write!(f, "the weight of the call exceeds rate limit `{name}`, so it can never be admitted")?;
            }
            RejectionKind::Shed => write!(f, "load shedder `{name}` is shedding load")?,
            RejectionKind::InProgress => {
                write!(f, "a call of `{name}` with the same idempotency key is in progress")?;
            }
            RejectionKind::KeyReused if matches!(self.detail, Detail::Why(_)) => {
                write!(f, "the idempotency key of `{name}` was used before by another operation")?;
            }
            RejectionKind::KeyReused => {
                write!(f, "the idempotency key of `{name}` was used before with another payload")?;
            }
            RejectionKind::OutcomeUnknown => write!(
                f,
                "an earlier call of `{name}` with the same idempotency key did not report its outcome, and may have had an effect"
            )?,
            RejectionKind::InvalidKey => {
                write!(
                    f,
                    "the idempotency key of `{name}` is missing or invalid: a call needs a key of 1 to 1024 bytes"
                )?;
            }
            RejectionKind::StoredValueMismatch => {
                write!(
                    f,
                    "the value that `{name}` stored under the idempotency key is not a result of this call"
                )?;
            }
            RejectionKind::StoreUnavailable if self.detail == Detail::Full => {
                write!(f, "the store of `{name}` is full")?;
            }
            RejectionKind::StoreUnavailable => write!(f, "the store of `{name}` does not respond")?,
            RejectionKind::FallbackFailed => {
                write!(f, "the call and every fallback level of `{name}` failed")?;
            }
            RejectionKind::NoStore => {
                write!(f, "the store named in the settings of `{name}` is not registered")?;
            }
            RejectionKind::Unsupported => write!(f, "unsupported call of pipeline `{name}`")?,
            RejectionKind::NoTimer => {
                write!(f, "`{name}` needs a timer; call it in a tokio runtime built with `enable_time`")?;
            }
            RejectionKind::Injected => write!(f, "`{name}` failed")?,
        }
        match &self.detail {
            Detail::Why(why) if with_errors => write!(f, ": {why}")?,
            Detail::None | Detail::Full | Detail::Retried(_) | Detail::Why(_) => {}
            Detail::Weight { weight, limit } => {
                write!(f, ": weight {weight}, limit {limit}; split the call, or raise `burst` or `rate`")?;
            }
            Detail::Misuse(misuse) => write!(f, ": {misuse}")?,
            #[cfg(feature = "chaos")]
            Detail::Injected(by) => write!(f, ": {by}")?,
            Detail::Open(reason, _) => match self.outage() {
                Some(outage) if with_errors => write!(f, " ({outage})")?,
                Some(outage) => write!(f, " ({})", outage.without_errors())?,
                None => write!(f, " ({reason})")?,
            },
            Detail::Elapsed(Duration::ZERO, _) => f.write_str(": no time was left")?,
            Detail::Elapsed(span, _) => write!(f, " after {span:.1?}")?,
        }
        if let Some(errors) = self.earlier_errors().filter(|_| with_errors) {
            write!(f, "; {errors}")?;
        }
        if let Some(span) = self.mark.retry_after {
            write!(f, "; try again in {span:.1?}")?;
        }
        Ok(())
    }
}
