//! Timeout: limits the duration of a call, in total and for each attempt.
//!
//! # Total timeout
//! The total timeout sets the *deadline* of the call. It includes queueing, all attempts and the pauses between them.
//! Protected calls inside the call inherit the deadline, and the earlier deadline wins. The default is 60 s, and
//! `total = none` removes it. A call without a timeout has no limit except an inherited deadline.
//!
//! A call whose deadline has passed before it begins is rejected with `QueueTimeout`, and its body does not run.
//!
//! # Attempt timeout
//! The attempt timeout limits only the work of an attempt, not the time in the queue before it. Connecting and reading
//! can have separate limits: see [`deadline`](crate::deadline).
//!
//! # Asynchronous and synchronous calls
//! When an asynchronous call times out, its future is dropped before the error is returned. If the work and its timer
//! are ready at the same time, the work wins. The timer is armed when the work is first pending, so work that is ready
//! immediately needs no timer.
//!
//! A synchronous call cannot be cancelled. For it, the total timeout ends retries and waiting in queues.
//!
//! # Adaptive attempt timeout
//! With [`Config::adaptive`] the attempt timeout follows the durations of recent attempts. It is a percentile of a
//! rolling window times a factor, and is limited by `min` and `max`. The total timeout still applies.
//!
//! An attempt that timed out is recorded as longer than its limit, so an outage does not lower the limit and raises it
//! only slowly. An attempt that ended only because an inherited deadline passed is not recorded. The circuit breaker,
//! bulkhead and load shedder of the pipeline ignore it, too, because a short deadline of a caller is not evidence about
//! the dependency.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! use std::time::Duration;
//! use resilient_runtime::{Registry, Rejection, RejectionKind, clock::Clock, Component};
//!
//! let registry = Registry::with_clock(Clock::tokio());
//! let timeout = registry.timeout("report");
//! timeout.reconfigure(timeout.config().as_ref().clone().total(Duration::from_secs(2))).unwrap();
//!
//! let late: Result<(), Rejection> = timeout.call_async(async || std::future::pending().await).await;
//! assert_eq!(late.unwrap_err().kind(), RejectionKind::TotalTimeout);
//! # }
//! ```

mod adaptive;
mod config;
mod phases;
mod stats;
mod survival;
mod timed;

use std::sync::Arc;
use std::time::Duration;

use once_cell::race::OnceBox;

pub use config::Config;
pub(crate) use phases::{Phase, Phases};
pub use stats::{AdaptiveTimeoutStats, Stats};
use timed::{Timed, TimedOut};

use crate::clock::Instant;
use crate::component::{Component, Core, Create, Kind};
use crate::context::{Scope, scoped};
use crate::observe::EventKind;
use crate::outcome::Reject;
use crate::rejection::{Rejection, RejectionKind};
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use adaptive::Adaptive;

/// Limits the duration of calls. See the [module](self).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::time::Duration;
/// use resilient_runtime::{Timeout, deadline, timeout::Config};
///
/// let timeout = Timeout::new(Config::default().total(Duration::from_secs(3))).unwrap();
/// let left = timeout.call_async(async || deadline::remaining()).await;
/// assert!(left.unwrap() <= Duration::from_secs(3));
/// # }
/// ```
#[derive(Debug)]
pub struct Timeout {
    core: Core<Config>,
    /// In nanoseconds, `u64::MAX` for none. Copies of the settings that every call reads.
    total: AtomicU64,
    attempt: AtomicU64,
    is_adaptive: AtomicBool,
    /// Created when a config first enables it.
    adaptive: OnceBox<Adaptive>,
    phases: Arc<Phases>,
}

/// The earliest limit of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) at: Instant,
    pub(crate) kind: RejectionKind,
}

impl Limit {
    /// The limit of a call whose deadline passed before it began.
    const OVER: Instant = Instant::from_nanos(0);
    const REACHED: Self = Self { at: Self::OVER, kind: RejectionKind::QueueTimeout };
}

impl Timeout {
    /// Runs `work`, and drops it when the timeout expires.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use resilient_runtime::{Component, Registry, clock::Clock, timeout::Config};
    ///
    /// let timeout = Registry::with_clock(Clock::tokio()).timeout("upload");
    /// timeout.reconfigure(Config::default().total(Duration::from_secs(5))).unwrap();
    /// let upload = async |seconds| {
    ///     tokio::time::sleep(Duration::from_secs(seconds)).await;
    ///     Some("done")
    /// };
    /// assert_eq!(timeout.call_async(async || upload(4).await).await, Some("done"));
    /// assert_eq!(timeout.call_async(async || upload(6).await).await, None);
    /// assert_eq!(timeout.stats().total_timeouts, 1);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future drops the work.
    pub async fn call_async<R: Reject>(&self, work: impl AsyncFnOnce() -> R) -> R {
        let clock = self.core.clock();
        let started = clock.now();
        let around = Scope::current();
        let deadline = self.deadline(started, around.deadline_on(clock));
        let limit = if started < deadline { self.limit(started, deadline) } else { Limit::REACHED };
        let scope = around.with_deadline(deadline, clock).in_timeout(self.number());
        match Timed::new(scoped(scope, work()), self, started, &limit).await {
            Ok(outcome) => outcome,
            Err(TimedOut::Fired) => R::from_rejection(self.fired(limit.kind, clock.now().since(started))),
            Err(TimedOut::NoTimer) => R::from_rejection(self.no_timer()),
        }
    }

    /// Returns the deadline of a call that starts now: its total timeout, or the inherited deadline if earlier.
    #[inline]
    pub(crate) fn deadline(&self, started: Instant, around: Instant) -> Instant {
        // Relaxed: a setting. A call can read the old or the new value.
        started.after(Duration::from_nanos(self.total.load(Ordering::Relaxed))).min(around)
    }

    /// Returns the earliest limit of an attempt that starts now.
    #[inline]
    pub(crate) fn limit(&self, attempt_started: Instant, deadline: Instant) -> Limit {
        let at = attempt_started.after(Duration::from_nanos(self.attempt.load(Ordering::Relaxed)));
        if at < deadline {
            Limit { at, kind: RejectionKind::AttemptTimeout }
        } else {
            Limit { at: deadline, kind: RejectionKind::TotalTimeout }
        }
    }

    /// Whether there is an attempt timeout.
    pub(crate) fn limits_attempts(&self) -> bool {
        self.attempt.load(Ordering::Relaxed) != u64::MAX
    }

    /// Records a timeout and returns its rejection.
    #[cold]
    pub(crate) fn fired(&self, kind: RejectionKind, elapsed: Duration) -> Rejection {
        self.phases.fired(kind, elapsed)
    }

    /// Returns the read timeout for one part of a response. Centuries if there is no limit.
    pub(crate) fn read_limit(&self) -> Duration {
        self.phases.limit(Phase::Read)
    }

    #[cold]
    pub(crate) fn no_timer(&self) -> Rejection {
        self.phases.no_timer()
    }

    /// Whether durations of attempts must be recorded.
    #[inline]
    pub(crate) fn is_adaptive(&self) -> bool {
        self.is_adaptive.load(Ordering::Relaxed)
    }

    /// Records an attempt that succeeded.
    pub(crate) fn completed(&self, started: Instant, now: Instant) {
        if let Some(adaptive) = self.adaptive.get() {
            adaptive.completed(now.nanos_since(started), now, &self.attempt);
        }
    }

    /// Records an attempt that ended before its work was done.
    #[cold]
    pub(crate) fn ended_early(&self, started: Instant, now: Instant) {
        if let Some(adaptive) = self.adaptive.get() {
            adaptive.cut_off(now.nanos_since(started), now, &self.attempt);
        }
    }

    /// The number by which code inside the call finds its limits.
    #[inline]
    pub(crate) fn number(&self) -> u32 {
        self.phases.number()
    }
}

impl Create for Timeout {
    const REFUSALS: &[RejectionKind] = &[
        RejectionKind::AttemptTimeout,
        RejectionKind::ConnectTimeout,
        RejectionKind::ReadTimeout,
        RejectionKind::TotalTimeout,
        RejectionKind::QueueTimeout,
        RejectionKind::NoTimer,
    ];

    fn create(core: Core<Config>) -> Self {
        let config = core.config();
        let phases = Phases::new(&core);
        let timeout = Self {
            core,
            total: AtomicU64::new(0),
            attempt: AtomicU64::new(0),
            is_adaptive: AtomicBool::new(false),
            adaptive: OnceBox::new(),
            phases,
        };
        timeout.apply(&config);
        timeout
    }
}

impl Component for Timeout {
    const KIND: Kind = Kind::Timeout;
    type Config = Config;
    type Stats = Stats;

    fn core(&self) -> &Core<Config> {
        &self.core
    }

    fn apply(&self, config: &Config) {
        let config = &*config.in_force();
        let nanos = |span: Option<Duration>| span.map_or(u64::MAX, crate::clock::nanos);
        self.total.store(nanos(config.total), Ordering::Relaxed);
        if config.adaptive {
            self.adaptive.get_or_init(|| Box::new(Adaptive::new()));
        }
        match self.adaptive.get() {
            // Under the lock, so that no update of the limit intervenes.
            Some(adaptive) => adaptive.apply(config, &self.attempt),
            None => self.attempt.store(nanos(config.attempt), Ordering::Relaxed),
        }
        self.is_adaptive.store(config.adaptive, Ordering::Relaxed);
        self.phases.apply(config);
    }

    fn stats(&self) -> Stats {
        let config = self.core.config();
        let config = config.in_force();
        let [total_timeouts, attempt_timeouts, queue_timeouts, connect_timeouts, read_timeouts] =
            self.phases.counts();
        let attempt = self.attempt.load(Ordering::Relaxed);
        let adaptive = self.adaptive.get().filter(|_| config.adaptive);
        Stats {
            total: config.total,
            attempt: (attempt != u64::MAX).then(|| Duration::from_nanos(attempt)),
            adaptive: adaptive.map(|adaptive| adaptive.stats(self.core.clock().now())),
            connect: config.connect,
            read: config.read,
            total_timeouts,
            attempt_timeouts,
            queue_timeouts,
            connect_timeouts,
            read_timeouts,
        }
    }

    fn reset(&self) {
        self.phases.reset();
        if let Some(adaptive) = self.adaptive.get() {
            adaptive.forget(&self.core.config().in_force(), &self.attempt);
        }
        self.core.publish(Self::KIND, EventKind::Reset);
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
