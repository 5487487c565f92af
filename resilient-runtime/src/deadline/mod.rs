//! Deadlines: the remaining time of a call, inherited by nested calls, phases of a call and other processes.
//!
//! A [`Timeout`](crate::Timeout) gives a call a deadline. Everything that the call awaits inherits it, and of two
//! deadlines the earlier one applies. Queues, pauses between attempts and fallbacks use up the same time. There are
//! three nested limits:
//!
//! | phase | limit | setting | rejection |
//! |---|---|---|---|
//! | connecting | 3 s | `timeout(connect = "3s")`, for work passed to [`connect`] | `ConnectTimeout` |
//! | reading | 30 s | `timeout(read = "30s")`, for work passed to [`read`] | `ReadTimeout` |
//! | the whole call | 60 s | `timeout = "60s"` | `TotalTimeout`, or `QueueTimeout` before it began |
//!
//! A call with a timeout has a total limit; `total = none` removes it. A call without a timeout has none. `connect` and
//! `read` limit only the work passed to those functions. No limit is longer than the remaining time of the enclosing
//! calls. The attempt timeout (`timeout(attempt = "5s")`) is not inherited as a deadline; the attempt is dropped when
//! it expires.
//!
//! - [`remaining`] returns the remaining time of the current call, for clients that take a timeout of their own.
//! - A server creates a [`Deadline`] from a received [`Header`], and a client sends the remaining time. The header
//!   contains a duration, not a point in time, because the clocks of two machines differ.
//! - [`read`] and [`connect`] return the `Result` of the work, which also holds a timeout error. [`read_timeout`] and
//!   [`connect_timeout`] wrap other work in a `Result`, such as the next item of a stream.
//! - A call that ended only because the deadline of an enclosing call passed says nothing about the dependency: the
//!   circuit breaker does not count it. It counts a failure if the limits of the call itself were
//!   reached too, or if the call was already slow.
//! - A deadline does not follow `tokio::spawn`, because a spawned task can outlive its call. To pass it to a task that
//!   is part of the call, use [`carry`](crate::carry), or call [`Deadline::current`] outside the task and
//!   [`Deadline::scope_async`] in it.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use std::time::Duration;
//! use resilient_runtime::{Rejection, deadline::{self, Deadline, Header}, resilient};
//!
//! #[resilient(timeout = "2s")]
//! async fn stock(item: u32) -> Result<String, Rejection> {
//!     let left = deadline::remaining().unwrap();
//!     assert!(left <= Duration::from_millis(250), "the earlier deadline wins");
//!     Ok(format!("grpc-timeout: {}", Header::GrpcTimeout.write(left).unwrap()))
//! }
//!
//! // From the headers of a request.
//! let given = Header::GrpcTimeout.read("250m").unwrap();
//! let sent = Deadline::after(given).scope_async(stock(7)).await.unwrap();
//! assert!(sent.ends_with('n') || sent.ends_with('u'), "{sent}");
//! # }
//! ```

mod header;
mod phase;

use std::future::Future;
use std::time::Duration;

pub use header::{Header, NoTimeout};
pub use phase::{Bounded, ReportsTimeout, connect, connect_timeout, read, read_timeout};

use crate::clock::{Clock, Instant};
use crate::context::{Enter, Scope, Scoped, scoped};

/// Returns the remaining time of the enclosing calls.
///
/// `None` if none of them has a deadline. Zero once the deadline has passed.
///
/// ```
/// assert_eq!(resilient_runtime::deadline::remaining(), None);
/// ```
pub fn remaining() -> Option<Duration> {
    Deadline::current().map(|deadline| deadline.remaining())
}

/// A point in time by which a call and everything that it awaits must have ended.
///
/// See the [module](self).
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::{clock::ManualClock, deadline::Deadline};
///
/// let time = ManualClock::new();
/// let deadline = Deadline::after_on(&time.clock(), Duration::from_secs(5));
/// time.advance(Duration::from_secs(3));
/// assert_eq!(deadline.remaining(), Duration::from_secs(2));
/// ```
#[derive(Clone, Debug)]
pub struct Deadline {
    at: Instant,
    clock: Clock,
}

impl Deadline {
    /// Creates a deadline `span` from now, on the clock of the [global registry](crate::registry()).
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::deadline::Deadline;
    ///
    /// assert!(Deadline::after(Duration::ZERO).is_over());
    /// assert!(!Deadline::after(Duration::from_hours(1)).is_over());
    /// ```
    pub fn after(span: Duration) -> Self {
        Self::after_on(crate::registry().clock(), span)
    }

    /// Creates a deadline `span` from now, on this clock.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{clock::ManualClock, deadline::Deadline};
    ///
    /// let time = ManualClock::new();
    /// let deadline = Deadline::after_on(&time.clock(), Duration::from_millis(250));
    /// assert_eq!(deadline.remaining(), Duration::from_millis(250));
    /// ```
    pub fn after_on(clock: &Clock, span: Duration) -> Self {
        Self { at: clock.now().after(span), clock: clock.clone() }
    }

    /// Returns the deadline of the enclosing calls, or `None` if none of them has one.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::deadline::Deadline;
    ///
    /// assert!(Deadline::current().is_none());
    /// let inside = Deadline::after(Duration::from_secs(5)).scope(Deadline::current);
    /// assert!(inside.unwrap().remaining() <= Duration::from_secs(5));
    /// ```
    pub fn current() -> Option<Self> {
        let (at, clock) = Scope::current().deadline()?;
        Some(Self { at, clock })
    }

    /// Returns the remaining time; zero once the deadline has passed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{clock::ManualClock, deadline::Deadline};
    ///
    /// let time = ManualClock::new();
    /// let deadline = Deadline::after_on(&time.clock(), Duration::from_secs(1));
    /// time.advance(Duration::from_hours(1));
    /// assert_eq!(deadline.remaining(), Duration::ZERO);
    /// ```
    pub fn remaining(&self) -> Duration {
        self.at.since(self.clock.now())
    }

    /// Whether the deadline has passed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{clock::ManualClock, deadline::Deadline};
    ///
    /// let time = ManualClock::new();
    /// let deadline = Deadline::after_on(&time.clock(), Duration::from_secs(1));
    /// assert!(!deadline.is_over());
    /// time.advance(Duration::from_secs(1));
    /// assert!(deadline.is_over());
    /// ```
    pub fn is_over(&self) -> bool {
        self.clock.now() >= self.at
    }

    /// Polls `work` with this deadline, or with the inherited one if it is earlier.
    ///
    /// When the deadline passes, every protected call in `work` is rejected or timed out. `work` itself is not timed
    /// out; that needs a timeout.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Rejection, deadline::{self, Deadline}, resilient};
    ///
    /// #[resilient(timeout = "2s")]
    /// async fn order() -> Result<bool, Rejection> {
    ///     // A spawned task does not inherit the deadline.
    ///     let alone = tokio::spawn(async { deadline::remaining() }).await.unwrap();
    ///     let inherited = Deadline::current().unwrap();
    ///     let along = tokio::spawn(inherited.scope_async(async { deadline::remaining() })).await.unwrap();
    ///     Ok(alone.is_none() && along.is_some())
    /// }
    /// assert!(order().await.unwrap());
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future drops the work.
    pub fn scope_async<F: Future>(self, work: F) -> Scoped<F, Self> {
        scoped(self, work)
    }

    /// Runs `work` with this deadline, or with the inherited one if it is earlier.
    ///
    /// Protected calls in `work` stop waiting at the deadline, and none begins after it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{Component, Registry, clock::ManualClock, deadline::Deadline};
    ///
    /// let clock = ManualClock::new().clock();
    /// let retry = Registry::with_clock(clock.clone()).retry("stock");
    /// let soon = Deadline::after_on(&clock, Duration::from_millis(1));
    /// assert_eq!(soon.scope(|| retry.call(|| None::<u32>)), None);
    /// assert_eq!(retry.stats().out_of_time, 1, "the pause would end after the deadline");
    /// ```
    pub fn scope<R>(&self, work: impl FnOnce() -> R) -> R {
        let _entered = self.inner().enter();
        work()
    }

    fn inner(&self) -> Scope {
        let around = Scope::current();
        around.with_deadline(self.at.min(around.deadline_on(&self.clock)), &self.clock)
    }
}

impl Enter for Deadline {
    fn enter(&self) -> impl Sized + use<> {
        self.inner().enter()
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
