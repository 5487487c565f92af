//! The one error of the framework: a call was refused or cut off.

mod display;
mod kind;
mod mark;

use std::error::Error;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use kind::RejectionKind;
pub(crate) use mark::Mark;

use crate::error_chain::{chain, held_error};
use crate::outage::{Met, OpenReason, Outage};

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
    /// What the pipeline has and this way to call it would pass over.
    Misuse(Arc<str>),
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
    #[cold]
    pub(crate) fn unsupported(component: &'static str, misuse: impl fmt::Display) -> Self {
        let mark = Mark::new(RejectionKind::Unsupported, component, None);
        Self { mark, detail: Detail::Misuse(misuse.to_string().into()) }
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
