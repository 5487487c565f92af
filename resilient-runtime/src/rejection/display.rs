//! A rejection in words.

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

/// A rejection in words, without the correlation id.
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
    /// Without the correlation id, for what has it already.
    pub(crate) fn words(&self) -> impl fmt::Display {
        Words { rejection: self, with_errors: true }
    }

    /// The rejection in words, without the texts of errors that led to it: for those who are not to learn what a dependency
    /// has said, such as the clients of a server.
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
    /// assert!(refused.to_string().contains("1 failures in a row, last error: no such user: root"));
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
            RejectionKind::TotalTimeout => write!(f, "`{name}` ran out of its total time")?,
            RejectionKind::AttemptTimeout => write!(f, "an attempt of `{name}` ran out of its time")?,
            RejectionKind::ConnectTimeout => write!(f, "connecting of `{name}` ran out of its time")?,
            RejectionKind::ReadTimeout => write!(f, "reading of `{name}` ran out of its time")?,
            RejectionKind::QueueTimeout => {
                write!(f, "a call of `{name}` ran out of its time in the queue")?;
            }
            RejectionKind::RateLimited => write!(f, "rate limit `{name}` is reached")?,
            RejectionKind::WeightExceedsLimit => {
                write!(f, "a call weighs more than rate limit `{name}` ever admits, and can never succeed")?;
            }
            RejectionKind::Shed => write!(f, "`{name}` sheds load")?,
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
                "a call of `{name}` with the same idempotency key was lost, and it is not known whether it had its effect"
            )?,
            RejectionKind::InvalidKey => {
                write!(
                    f,
                    "the idempotency key of `{name}` cannot be used: a call needs one of 1 to 1024 bytes"
                )?;
            }
            RejectionKind::StoredValueMismatch => {
                write!(f, "what `{name}` has stored under the idempotency key is no answer of this call")?;
            }
            RejectionKind::StoreUnavailable if self.detail == Detail::Full => {
                write!(f, "the store of `{name}` is full")?;
            }
            RejectionKind::StoreUnavailable => write!(f, "the store of `{name}` does not answer")?,
            RejectionKind::FallbackFailed => {
                write!(f, "the call failed, and no fallback level of `{name}` had an answer")?;
            }
            RejectionKind::NoStore => {
                write!(f, "the store that the settings of `{name}` name was never told to its registry")?;
            }
            RejectionKind::Unsupported => write!(f, "this call of pipeline `{name}` is not possible")?,
            RejectionKind::NoTimer => {
                write!(f, "`{name}` needs a timer, and there is no tokio runtime with `enable_time` here")?;
            }
        }
        match &self.detail {
            Detail::Why(why) if with_errors => write!(f, ": {why}")?,
            Detail::None | Detail::Full | Detail::Retried(_) | Detail::Why(_) => {}
            Detail::Weight { weight, limit } => {
                write!(
                    f,
                    ": its weight is {weight}, the limit {limit}; split it, or raise `burst` or `rate`"
                )?;
            }
            Detail::Misuse(misuse) => write!(f, ": {misuse}")?,
            Detail::Open(reason, _) => match self.outage() {
                Some(outage) if with_errors => write!(f, " ({outage})")?,
                Some(outage) => write!(f, " ({})", outage.without_errors())?,
                None => write!(f, " ({reason})")?,
            },
            Detail::Elapsed(Duration::ZERO, _) => f.write_str(": nothing was left of it")?,
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
