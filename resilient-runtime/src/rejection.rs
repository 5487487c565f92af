//! The one error of the framework: a call was refused or cut off.

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::classify::{chain, held_error};
use crate::correlation::CorrelationId;
use crate::outage::{Met, Outage};
use crate::pipeline::Misuse;
use crate::ratio::Ratio;

/// Why a protected call was refused or cut off: what, which component, why, and when to try again.
///
/// Cloning it allocates nothing. It converts into `anyhow::Error`, `eyre::Report`, `Box<dyn Error>`,
/// [`std::io::Error`] and, by `#[from]`, into any `thiserror` enum:
///
/// ```
/// #[derive(Debug, thiserror::Error)]
/// enum PayError {
///     #[error("the gateway said no: {0}")]
///     Gateway(String),
///     #[error(transparent)]
///     Rejected(#[from] resilient_runtime::Rejection),
/// }
/// ```
///
/// Its `source()` says whether the call may have been carried out. By that a rejection is recognised however
/// deep it lies in other errors, also in a `#[error(transparent)]` variant, which shows nothing else of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    mark: Mark,
    detail: Detail,
}

/// What is known of a rejection besides.
#[derive(Clone, Debug, PartialEq)]
enum Detail {
    None,
    Open(OpenReason, Option<Met>),
    /// With the texts of what attempts before failed with.
    Elapsed(Duration, Option<Arc<str>>),
    /// With the texts of what attempts before failed with.
    Retried(Arc<str>),
    Full,
    /// Made where that costs nothing that matters, never on a hot path.
    Why(Arc<str>),
    /// A call that can never be admitted.
    Weight {
        weight: u32,
        limit: u32,
    },
    Misuse(Misuse),
}

/// The part of a rejection that shows in the `source()` chain of the errors around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    component: &'static str,
    pub(crate) kind: RejectionKind,
    pub(crate) retry_after: Option<Duration>,
    /// It is the refusal of a retry, and an attempt made before it may have had its effect.
    pub(crate) is_of_retry: bool,
}

impl Mark {
    const fn new(kind: RejectionKind, component: &'static str, retry_after: Option<Duration>) -> Self {
        Self { component, kind, retry_after, is_of_retry: false }
    }
}

impl Mark {
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

/// What refused the call.
///
/// ```
/// use resilient_runtime::{Registry, RejectionKind};
///
/// let breaker = Registry::new().circuit_breaker("payment");
/// breaker.force_open();
/// assert_eq!(breaker.try_acquire().unwrap_err().kind(), RejectionKind::CircuitOpen);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RejectionKind {
    /// A circuit breaker is open, or has given out all its probes.
    CircuitOpen,
    /// A bulkhead has no permit left, and no place in its queue or no time to wait.
    BulkheadFull,
    /// The call ran out of its total time.
    TotalTimeout,
    /// One attempt ran out of its time.
    AttemptTimeout,
    /// Connecting ran out of its time.
    ConnectTimeout,
    /// Reading ran out of its time.
    ReadTimeout,
    /// The call ran out of its time in a queue, before it began.
    QueueTimeout,
    /// A rate limiter has no token left.
    RateLimited,
    /// The call weighs more than a rate limiter ever admits at once: it can never succeed as it is.
    WeightExceedsLimit,
    /// The process has more to do than it can, and this call matters less than others.
    Shed,
    /// A call with the same idempotency key runs at this moment.
    InProgress,
    /// The idempotency key was used before, with another payload or by another operation.
    KeyReused,
    /// A call with the same idempotency key was lost while it ran; whether it had its effect is not known.
    OutcomeUnknown,
    /// The idempotency key, or what is stored under it, cannot be used.
    InvalidKey,
    /// What is stored under the idempotency key is of another shape than the answer of this call.
    StoredValueMismatch,
    /// A store that the call depends on does not answer, or is full.
    StoreUnavailable,
    /// The call returned a value that counts as failed, and no fallback level had an answer.
    FallbackFailed,
    /// The store that the settings name was never told to the registry.
    NoStore,
    /// The pipeline has a stage that this way to call it does not honour.
    Unsupported,
    /// A timer was needed and there is no tokio runtime with `enable_time` here.
    NoTimer,
}

impl RejectionKind {
    /// All kinds there are.
    ///
    /// ```
    /// use resilient_runtime::RejectionKind;
    ///
    /// assert!(RejectionKind::ALL.contains(&RejectionKind::CircuitOpen));
    /// ```
    pub const ALL: &[Self] = &[
        Self::CircuitOpen,
        Self::BulkheadFull,
        Self::TotalTimeout,
        Self::AttemptTimeout,
        Self::ConnectTimeout,
        Self::ReadTimeout,
        Self::QueueTimeout,
        Self::RateLimited,
        Self::WeightExceedsLimit,
        Self::Shed,
        Self::InProgress,
        Self::KeyReused,
        Self::OutcomeUnknown,
        Self::InvalidKey,
        Self::StoredValueMismatch,
        Self::StoreUnavailable,
        Self::FallbackFailed,
        Self::NoStore,
        Self::Unsupported,
        Self::NoTimer,
    ];

    /// The name used in events, statistics and JSON.
    ///
    /// ```
    /// use resilient_runtime::RejectionKind;
    ///
    /// assert_eq!(RejectionKind::BulkheadFull.as_str(), "bulkhead_full");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CircuitOpen => "circuit_open",
            Self::BulkheadFull => "bulkhead_full",
            Self::TotalTimeout => "total_timeout",
            Self::AttemptTimeout => "attempt_timeout",
            Self::ConnectTimeout => "connect_timeout",
            Self::ReadTimeout => "read_timeout",
            Self::QueueTimeout => "queue_timeout",
            Self::RateLimited => "rate_limited",
            Self::WeightExceedsLimit => "weight_exceeds_limit",
            Self::Shed => "shed",
            Self::InProgress => "in_progress",
            Self::KeyReused => "key_reused",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::InvalidKey => "invalid_key",
            Self::StoredValueMismatch => "stored_value_mismatch",
            Self::StoreUnavailable => "store_unavailable",
            Self::FallbackFailed => "fallback_failed",
            Self::NoStore => "no_store",
            Self::Unsupported => "unsupported",
            Self::NoTimer => "no_timer",
        }
    }
}

/// Why a circuit is open.
///
/// ```
/// use resilient_runtime::{Component, OpenReason, Registry, circuit_breaker::Config};
///
/// let breaker = Registry::new().circuit_breaker("payment");
/// breaker.reconfigure(Config::default().failure_threshold(1)).unwrap();
/// breaker.call(|| None::<u32>);
/// let reason = breaker.stats().reason.unwrap();
/// assert_eq!(reason, OpenReason::Consecutive { failures: 1 });
/// assert_eq!(reason.to_string(), "1 failures in a row");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "rule")]
#[non_exhaustive]
pub enum OpenReason {
    /// Too large a share of the window's calls failed (or, where slow calls count as failed, were slow).
    FailureRate {
        /// The share that was seen.
        observed: Ratio,
        /// The share that opens the circuit.
        limit: Ratio,
        /// The calls in the window.
        calls: u64,
    },
    /// Too large a share of the window's calls was slow.
    SlowRate {
        /// The share that was seen.
        observed: Ratio,
        /// The share that opens the circuit.
        limit: Ratio,
        /// The calls in the window.
        calls: u64,
    },
    /// Too many failures in a row.
    Consecutive {
        /// How many.
        failures: u32,
    },
    /// Too many calls hang that are slow already, though none of them has ended.
    SlowInFlight {
        /// How many.
        calls: u64,
    },
    /// The probes of the half-open circuit failed.
    ProbesFailed {
        /// Failed probes.
        failed: u32,
        /// Ended probes.
        ended: u32,
    },
    /// Somebody forced it open.
    Forced,
}

impl fmt::Display for OpenReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailureRate { observed, limit, calls } => {
                write!(f, "{observed} of {calls} calls failed, limit {limit}")
            }
            Self::SlowRate { observed, limit, calls } => {
                write!(f, "{observed} of {calls} calls were slow, limit {limit}")
            }
            Self::Consecutive { failures } => write!(f, "{failures} failures in a row"),
            Self::SlowInFlight { calls } => write!(f, "{calls} calls in flight are slow already"),
            Self::ProbesFailed { failed, ended } => write!(f, "{failed} of {ended} probes failed"),
            Self::Forced => f.write_str("forced open"),
        }
    }
}

impl Rejection {
    pub(crate) fn new(kind: RejectionKind, component: &'static str) -> Self {
        Self { mark: Mark::new(kind, component, None), detail: Detail::None }
    }

    /// With a time at which another call has a chance.
    #[inline]
    pub(crate) fn after(kind: RejectionKind, component: &'static str, retry_after: Option<Duration>) -> Self {
        Self { mark: Mark::new(kind, component, retry_after), detail: Detail::None }
    }

    /// Out of its time, after so much of it.
    pub(crate) fn timed_out(kind: RejectionKind, component: &'static str, elapsed: Duration) -> Self {
        Self { mark: Mark::new(kind, component, None), detail: Detail::Elapsed(elapsed, None) }
    }

    /// The same as the refusal of a retry, where an attempt made before may have had its effect.
    #[cold]
    pub(crate) fn of_a_retry(self) -> Self {
        Self { mark: Mark { is_of_retry: true, ..self.mark }, ..self }
    }

    /// The store answers, and has no room.
    pub(crate) fn of_full_store(self) -> Self {
        Self { detail: Detail::Full, ..self }
    }

    /// With what is wrong in so many words.
    #[cold]
    pub(crate) fn explained(self, why: impl Into<Arc<str>>) -> Self {
        Self { detail: Detail::Why(why.into()), ..self }
    }

    /// The weight of the call, and the most that is admitted.
    pub(crate) fn weighing(self, weight: u32, limit: u32) -> Self {
        Self { detail: Detail::Weight { weight, limit }, ..self }
    }

    /// The pipeline has a stage that this way to call it would pass over.
    pub(crate) fn unsupported(component: &'static str, misuse: Misuse) -> Self {
        let mark = Mark::new(RejectionKind::Unsupported, component, None);
        Self { mark, detail: Detail::Misuse(misuse) }
    }

    /// Made in one piece: an open circuit does hardly anything else.
    #[inline]
    pub(crate) fn circuit_open(
        component: &'static str,
        retry_after: Option<Duration>,
        reason: Option<OpenReason>,
        outage: Option<Met>,
    ) -> Self {
        let mark = Mark::new(RejectionKind::CircuitOpen, component, retry_after);
        let detail = match reason {
            Some(reason) => Detail::Open(reason, outage),
            None => Detail::None,
        };
        Self { mark, detail }
    }

    /// Of a call whose attempts before have failed with these errors.
    pub(crate) fn after_errors(mut self, errors: &Arc<str>) -> Self {
        match &mut self.detail {
            Detail::Elapsed(_, none @ None) => *none = Some(Arc::clone(errors)),
            detail @ Detail::None => *detail = Detail::Retried(Arc::clone(errors)),
            // An open circuit tells its own; what has errors already was refused further in.
            Detail::Open(..)
            | Detail::Elapsed(..)
            | Detail::Retried(_)
            | Detail::Full
            | Detail::Why(_)
            | Detail::Weight { .. }
            | Detail::Misuse(_) => {}
        }
        self
    }

    /// What refused the call.
    ///
    /// ```
    /// use resilient_runtime::{Registry, Rejection, RejectionKind};
    ///
    /// let shop = Registry::new().pipeline("order").idempotency("order").build();
    /// let refused: Rejection = shop.call(|| Ok::<u32, _>(7)).unwrap_err();
    /// assert_eq!(refused.kind(), RejectionKind::InvalidKey, "it needs a key");
    /// ```
    pub fn kind(&self) -> RejectionKind {
        self.mark.kind
    }

    pub(crate) fn mark(&self) -> Mark {
        self.mark
    }

    /// The name of the component that refused it.
    ///
    /// ```
    /// let breaker = resilient_runtime::Registry::new().circuit_breaker("payment");
    /// breaker.force_open();
    /// assert_eq!(breaker.try_acquire().unwrap_err().component(), "payment");
    /// ```
    pub fn component(&self) -> &'static str {
        self.mark.component
    }

    /// When another call has a chance, counted from the refusal; `None` when that cannot be told.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{Component, Registry, clock::ManualClock, rate_limit::{Config, Rate}};
    ///
    /// let limiter = Registry::with_clock(ManualClock::new().clock()).rate_limiter("mail");
    /// limiter.reconfigure(Config::default().rate("1/min".parse::<Rate>().unwrap())).unwrap();
    /// assert!(limiter.try_acquire().is_ok());
    /// assert_eq!(limiter.try_acquire().unwrap_err().retry_after(), Some(Duration::from_mins(1)));
    /// ```
    pub fn retry_after(&self) -> Option<Duration> {
        self.mark.retry_after
    }

    /// Why the circuit opened at first, for [`RejectionKind::CircuitOpen`]. [`outage`](Self::outage) says more.
    ///
    /// ```
    /// use resilient_runtime::{OpenReason, Registry};
    ///
    /// let breaker = Registry::new().circuit_breaker("legacy");
    /// breaker.force_open();
    /// assert!(matches!(breaker.try_acquire().unwrap_err().reason(), Some(OpenReason::Forced)));
    /// ```
    pub fn reason(&self) -> Option<OpenReason> {
        match self.detail {
            Detail::Open(reason, _) => Some(reason),
            _ => None,
        }
    }

    /// Since when the circuit is open, what it opened for, and what its last probe said, as far as that is still known: a
    /// circuit breaker keeps its last few outages.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{Component, Registry, circuit_breaker::Config, clock::ManualClock};
    ///
    /// let time = ManualClock::new();
    /// let breaker = Registry::with_clock(time.clock()).circuit_breaker("payment");
    /// breaker.reconfigure(Config::default().failure_threshold(1)).unwrap();
    /// breaker.call(|| None::<u32>);
    /// time.advance(Duration::from_secs(1));
    /// let refused = breaker.try_acquire().unwrap_err();
    /// assert_eq!(refused.outage().unwrap().age, Duration::from_secs(1));
    /// ```
    pub fn outage(&self) -> Option<Outage> {
        match self.detail {
            Detail::Open(_, met) => met.and_then(Met::outage),
            _ => None,
        }
    }

    /// What the attempts before failed with, in words, where the call was refused or cut off after them.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use std::cell::Cell;
    /// use std::io::Error;
    /// use resilient_runtime::{Registry, clock::Clock};
    ///
    /// let registry = Registry::with_clock(Clock::tokio());
    /// let pipeline = registry.pipeline("load").retry("disk").timeout("disk").build();
    /// let calls = Cell::new(0);
    /// let load = async || {
    ///     calls.set(calls.get() + 1);
    ///     if calls.get() == 1 { Err::<u32, _>(Error::other("it is busy")) } else { std::future::pending().await }
    /// };
    /// let late = pipeline.request().describe(|error: &Error, words| words.error(error)).call_async(load).await;
    /// assert!(late.unwrap_err().to_string().contains("out of its total time after 60.0s; attempt 1 failed: it is busy"));
    /// # }
    /// ```
    pub fn earlier_errors(&self) -> Option<&str> {
        match &self.detail {
            Detail::Elapsed(_, errors) => errors.as_deref(),
            Detail::Retried(errors) => Some(errors),
            _ => None,
        }
    }

    /// How long what ran out of its time had taken by then: the call, the attempt, the wait before it, connecting or
    /// reading, as [`kind`](Self::kind) says.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use resilient_runtime::{Component, Registry, Rejection, clock::Clock, timeout::Config};
    ///
    /// let timeout = Registry::with_clock(Clock::tokio()).timeout("report");
    /// timeout.reconfigure(Config::default().total(Duration::from_secs(2))).unwrap();
    /// let late = timeout.call_async(std::future::pending::<Result<(), Rejection>>).await.unwrap_err();
    /// assert!(late.elapsed().unwrap() >= Duration::from_secs(2));
    /// # }
    /// ```
    pub fn elapsed(&self) -> Option<Duration> {
        match self.detail {
            Detail::Elapsed(span, _) => Some(span),
            _ => None,
        }
    }

    /// Whether the call ran out of its time. Before it began for [`RejectionKind::QueueTimeout`], before anything was
    /// sent for [`RejectionKind::ConnectTimeout`]; else it may have had an effect.
    ///
    /// ```
    /// let bulkhead = resilient_runtime::Registry::new().bulkhead("pool");
    /// let permits: Vec<_> = std::iter::from_fn(|| bulkhead.try_acquire().ok()).collect();
    /// assert!(!bulkhead.try_acquire().unwrap_err().is_timeout(), "it is full");
    /// # drop(permits);
    /// ```
    pub fn is_timeout(&self) -> bool {
        matches!(
            self.mark.kind,
            RejectionKind::QueueTimeout
                | RejectionKind::TotalTimeout
                | RejectionKind::AttemptTimeout
                | RejectionKind::ConnectTimeout
                | RejectionKind::ReadTimeout
        )
    }
}

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
    /// The refusal in an error or among its sources, where there is one. Found also where the error is transparent; then only
    /// its kind, its component and when to try again are known.
    ///
    /// ```
    /// use resilient_runtime::{Registry, Rejection};
    ///
    /// #[derive(Debug, thiserror::Error)]
    /// enum PayError {
    ///     #[error(transparent)]
    ///     Rejected(#[from] Rejection),
    /// }
    /// let breaker = Registry::new().circuit_breaker("payment");
    /// breaker.force_open();
    /// let error = PayError::from(breaker.try_acquire().unwrap_err());
    /// assert_eq!(Rejection::found_in(&error).unwrap().component(), "payment");
    /// ```
    pub fn found_in(error: &(dyn Error + 'static)) -> Option<Self> {
        chain(error).find_map(|error| {
            let of_mark = || Some(Self { mark: *error.downcast_ref::<Mark>()?, detail: Detail::None });
            held_error::<Self>(error).cloned().or_else(of_mark)
        })
    }

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

impl RejectionKind {
    /// The refusal in an error or among its sources, where there is one, and when to try again. Found also where the error is
    /// transparent, or was made of one by a fallback that failed.
    ///
    /// ```
    /// use std::io;
    /// use resilient_runtime::{Registry, RejectionKind};
    ///
    /// let breaker = Registry::new().circuit_breaker("payment");
    /// breaker.force_open();
    /// let error = io::Error::other(breaker.try_acquire().unwrap_err());
    /// let (kind, _) = RejectionKind::found_in(&error).unwrap();
    /// assert_eq!(kind, RejectionKind::CircuitOpen);
    /// ```
    pub fn found_in(error: &(dyn Error + 'static)) -> Option<(Self, Option<Duration>)> {
        chain(error).find_map(|error| error.downcast_ref::<Mark>()).map(|mark| (mark.kind, mark.retry_after))
    }
}

impl Error for Rejection {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.mark)
    }
}

impl From<Rejection> for std::io::Error {
    fn from(rejection: Rejection) -> Self {
        let kind =
            if rejection.is_timeout() { std::io::ErrorKind::TimedOut } else { std::io::ErrorKind::Other };
        Self::new(kind, rejection)
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_kinds_has_every_kind_once() {
        for (index, kind) in RejectionKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index, "{kind:?}");
        }
        assert_eq!(RejectionKind::ALL.last(), Some(&RejectionKind::NoTimer), "the last of the enum");
    }
}
