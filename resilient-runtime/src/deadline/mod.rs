//! The time that is left, and how it travels: into nested calls, into the phases of a call, and to other processes.
//!
//! A [`Timeout`](crate::Timeout) gives a call a deadline. What the call awaits inherits it, and of two the earlier one
//! wins; queues, pauses between attempts and fallbacks are spent from it. Three limits make a hierarchy:
//!
//! | | limit | where it is said | refused with |
//! |---|---|---|---|
//! | connecting | 3 s | `timeout(connect = "3s")`, for what is given to [`connect`] | `ConnectTimeout` |
//! | reading | 30 s | `timeout(read = "30s")`, for what is given to [`read`] | `ReadTimeout` |
//! | the whole call | 60 s | `timeout = "60s"` | `TotalTimeout`, or `QueueTimeout` before it began |
//!
//! A call has a total where it has a timeout in any form, and none without; `total = none` takes it away. `connect` and `read`
//! bound what is given to those functions, wherever that is. None of the limits is longer than what is left of those
//! around it. The time of an attempt (`timeout(attempt = "5s")`) is no
//! deadline of what it awaits, which is dropped when it is over.
//!
//! - [`remaining`] says inside of a call how long it has left, for a client that takes a timeout of its own.
//! - A server opens a [`Deadline`] from what its caller has sent in a [`Header`]; a client sends what remains. It is a
//!   span and not a point of time: clocks of two machines differ.
//! - [`read`] and [`connect`] return the `Result` of the work, with the error of the timeout in it; [`read_timeout`] and
//!   [`connect_timeout`] put a `Result` around work that has none, such as the next item of a stream.
//! - A call that ended only because the deadline of the calls around was over is no evidence about what it calls: the circuit
//!   breaker takes it neither for a success nor for a failure. It is one where the limits of the call itself were reached
//!   as well, or the call was slow by then.
//! - A deadline does not follow `tokio::spawn`, because a spawned task outlives the call that made it. What belongs to
//!   the call takes it along: [`carry`](crate::carry), or [`Deadline::current`] outside
//!   of the task and [`Deadline::scope_async`] in it.
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
//! // What a request has brought.
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

/// How long the calls around this code have left; `None` where none of them has a deadline. Zero once it is over.
///
/// ```
/// assert_eq!(resilient_runtime::deadline::remaining(), None);
/// ```
pub fn remaining() -> Option<Duration> {
    Deadline::current().map(|deadline| deadline.remaining())
}

/// A point in time by which a call and all that it awaits must have ended. See the [module](self).
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
    /// So long from now, on the clock of the process's [`registry`](crate::registry()).
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

    /// So long from now on this clock.
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

    /// That of the calls around this code; `None` where none of them has one.
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

    /// How long is left; zero once it is over.
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

    /// Whether nothing is left.
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

    /// Polls `work` with this deadline, or that of the calls around if it is earlier.
    ///
    /// Every protected call in `work` is refused or cut off when it is over. `work` itself is not cut off: that takes a
    /// timeout, of which there is one in each protected call.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Rejection, deadline::{self, Deadline}, resilient};
    ///
    /// #[resilient(timeout = "2s")]
    /// async fn order() -> Result<bool, Rejection> {
    ///     // What is spawned has a deadline only if it is given one.
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

    /// Runs `work` with this deadline, or that of the calls around if it is earlier: the waiting of protected calls in
    /// it ends with the deadline, and none begins after it.
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
