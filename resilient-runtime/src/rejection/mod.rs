//! The error of a call that was rejected or timed out.

mod display;
#[cfg(feature = "chaos")]
mod injected;
mod kind;
mod mark;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "chaos")]
pub use injected::InjectedBy;
#[cfg(feature = "chaos")]
pub(crate) use injected::Origin;
pub use kind::RejectionKind;
pub(crate) use mark::Mark;

use crate::error_chain::{chain, held_error};
use crate::outage::{Met, OpenReason, Outage};

/// The error of a call that was rejected or timed out.
///
/// It contains the kind, the component, the reason, and when to try again. Cloning it does not allocate. It converts
/// into `anyhow::Error`, `eyre::Report`, `Box<dyn Error>` and [`std::io::Error`], and with `#[from]` into any
/// `thiserror` enum:
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
/// Its `source()` tells whether the call may have been executed. Retry and circuit breaker use it to recognize a
/// rejection at any depth of a `source()` chain, even in a `#[error(transparent)]` variant, which exposes only the
/// source.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    mark: Mark,
    detail: Detail,
}

/// Details that depend on the kind of rejection.
#[derive(Clone, Debug, PartialEq)]
enum Detail {
    None,
    Open(OpenReason, Option<Met>),
    /// The elapsed time, and the errors of earlier attempts.
    Elapsed(Duration, Option<Arc<str>>),
    /// The errors of earlier attempts.
    Retried(Arc<str>),
    Full,
    /// An explanation. It allocates, so it is never used on a hot path.
    Why(Arc<str>),
    /// A call that can never be admitted.
    Weight {
        weight: u32,
        limit: u32,
    },
    /// A stage of the pipeline that the calling method does not support.
    Misuse(Arc<str>),
    /// The fault that caused it.
    #[cfg(feature = "chaos")]
    Injected(Arc<InjectedBy>),
}

impl Rejection {
    pub(crate) fn new(kind: RejectionKind, component: &'static str) -> Self {
        Self { mark: Mark::new(kind, component, None), detail: Detail::None }
    }

    /// With the time after which another call can succeed.
    #[inline]
    pub(crate) fn after(kind: RejectionKind, component: &'static str, retry_after: Option<Duration>) -> Self {
        Self { mark: Mark::new(kind, component, retry_after), detail: Detail::None }
    }

    /// With the time that had elapsed at the timeout.
    pub(crate) fn timed_out(kind: RejectionKind, component: &'static str, elapsed: Duration) -> Self {
        Self { mark: Mark::new(kind, component, None), detail: Detail::Elapsed(elapsed, None) }
    }

    /// Marks the rejection as one of a retry: an earlier attempt may have had an effect.
    #[cold]
    pub(crate) fn of_a_retry(self) -> Self {
        Self { mark: Mark { is_of_retry: true, ..self.mark }, ..self }
    }

    /// The store responds but is full.
    pub(crate) fn of_full_store(self) -> Self {
        Self { detail: Detail::Full, ..self }
    }

    /// With an explanation.
    #[cold]
    pub(crate) fn explained(self, why: impl Into<Arc<str>>) -> Self {
        Self { detail: Detail::Why(why.into()), ..self }
    }

    /// With the weight of the call and the maximum weight.
    pub(crate) fn weighing(self, weight: u32, limit: u32) -> Self {
        Self { detail: Detail::Weight { weight, limit }, ..self }
    }

    /// The pipeline has a stage that the calling method does not support.
    #[cold]
    pub(crate) fn unsupported(component: &'static str, misuse: impl fmt::Display) -> Self {
        let mark = Mark::new(RejectionKind::Unsupported, component, None);
        Self { mark, detail: Detail::Misuse(misuse.to_string().into()) }
    }

    /// Built in one step, because this is nearly all the work of an open circuit.
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

    /// Adds the errors of earlier attempts.
    pub(crate) fn after_errors(mut self, errors: &Arc<str>) -> Self {
        match &mut self.detail {
            Detail::Elapsed(_, none @ None) => *none = Some(Arc::clone(errors)),
            detail @ Detail::None => *detail = Detail::Retried(Arc::clone(errors)),
            // An open circuit reports its own error. A rejection that already has errors comes from an inner call.
            Detail::Open(..)
            | Detail::Elapsed(..)
            | Detail::Retried(_)
            | Detail::Full
            | Detail::Why(_)
            | Detail::Weight { .. }
            | Detail::Misuse(_) => {}
            #[cfg(feature = "chaos")]
            Detail::Injected(_) => {}
        }
        self
    }

    /// Returns the kind of rejection.
    ///
    /// ```
    /// use resilient_runtime::{Registry, Rejection, RejectionKind};
    ///
    /// let shop = Registry::new().pipeline("order").idempotency("order").build();
    /// let refused: Rejection = shop.call(|| Ok::<u32, _>(7)).unwrap_err();
    /// assert_eq!(refused.kind(), RejectionKind::InvalidKey, "the key is missing");
    /// ```
    pub fn kind(&self) -> RejectionKind {
        self.mark.kind
    }

    /// Finds the rejection in an error or its `source()` chain.
    ///
    /// It is also found in a `#[error(transparent)]` variant. The result then contains only the kind, the component and
    /// when to try again.
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

    pub(crate) fn mark(&self) -> Mark {
        self.mark
    }

    /// Returns the name of the component that rejected the call.
    ///
    /// ```
    /// let breaker = resilient_runtime::Registry::new().circuit_breaker("payment");
    /// breaker.force_open();
    /// assert_eq!(breaker.try_acquire().unwrap_err().component(), "payment");
    /// ```
    pub fn component(&self) -> &'static str {
        self.mark.component
    }

    /// Returns how long to wait until another call can succeed.
    ///
    /// The time counts from the rejection. `None` if it is unknown.
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

    /// Returns why the circuit first opened, for [`RejectionKind::CircuitOpen`].
    ///
    /// [`outage`](Self::outage) returns more details.
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

    /// Returns the outage of the open circuit: when and why it opened, and the result of its last probe.
    ///
    /// `None` if the outage is no longer stored. A circuit breaker stores only its last few outages.
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

    /// Returns the texts of the errors of earlier attempts.
    ///
    /// `None` unless the call was rejected or timed out after a failed attempt.
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
    /// let text = late.unwrap_err().to_string();
    /// assert_eq!(text, "`disk` exceeded its total timeout after 60.0s; attempt 1 failed: it is busy");
    /// # }
    /// ```
    pub fn earlier_errors(&self) -> Option<&str> {
        match &self.detail {
            Detail::Elapsed(_, errors) => errors.as_deref(),
            Detail::Retried(errors) => Some(errors),
            _ => None,
        }
    }

    /// Returns how much time had elapsed at the timeout.
    ///
    /// [`kind`](Self::kind) tells what is measured: the call, the attempt, the wait before it, connecting or reading.
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

    /// Whether the call timed out.
    ///
    /// After [`RejectionKind::QueueTimeout`] the call did not begin, and after [`RejectionKind::ConnectTimeout`]
    /// nothing was sent. After any other timeout the call may have had an effect.
    ///
    /// ```
    /// let bulkhead = resilient_runtime::Registry::new().bulkhead("pool");
    /// let permits: Vec<_> = std::iter::from_fn(|| bulkhead.try_acquire().ok()).collect();
    /// assert!(!bulkhead.try_acquire().unwrap_err().is_timeout(), "the bulkhead is full");
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
    fn all_contains_every_kind_once() {
        for (index, kind) in RejectionKind::ALL.iter().enumerate() {
            assert_eq!(*kind as usize, index, "{kind:?}");
        }
        assert_eq!(RejectionKind::ALL.last(), Some(&RejectionKind::Injected), "the last variant of the enum");
    }
}
