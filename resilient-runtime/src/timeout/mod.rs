//! Bounds the time of a call: in total, and for each attempt.
//!
//! The total is a *deadline*: queueing, attempts and the pauses between them are all spent from it, and the
//! protected calls made inside inherit it (the earlier one wins). The time of an attempt counts the work
//! alone, not the queue before it. Parts of the work can have limits of their own: see [`deadline`](crate::deadline).
//! A call whose deadline is over before it begins is refused (`QueueTimeout`), and its body not run.
//!
//! An asynchronous call is cut off by dropping its future, which is done before the error is returned. If the
//! work and its timer are ready at the same moment, the work wins. A timer is armed only once the work has
//! turned out to be pending, so what is ready at once costs nothing.
//!
//! The limit of an attempt can follow how long attempts take ([`Config::adaptive`]): a percentile of them times a factor,
//! from a rolling window, never beyond `min` and `max`. The total stays a ceiling above it. Attempts that were cut off
//! count as longer than that, so that an outage makes the limit neither fall nor run away. An attempt that ended only because
//! the deadline of the calls around was over counts for nothing, here and in the circuit breaker, bulkhead and load shedder of
//! its pipeline: a caller with little patience is no evidence about the dependency.
//!
//! A timeout always has a total, 60 s unless it sets another one; `total = none` takes it away. Without a timeout there
//! is no limit but the deadline of the calls around.
//!
//! A synchronous call cannot be cut off. There the total still ends the retries and the waiting in queues.
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

/// Bounds the time of calls. See the [module](self).
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
    /// In nanoseconds, `u64::MAX` for none: what a call needs of the config.
    total: AtomicU64,
    attempt: AtomicU64,
    is_adaptive: AtomicBool,
    /// Made when the first config asks for it.
    adaptive: OnceBox<Adaptive>,
    phases: Arc<Phases>,
}

/// Which limit an attempt meets first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) at: Instant,
    pub(crate) kind: RejectionKind,
}

impl Limit {
    /// The limit of a call whose time was over before it began.
    const OVER: Instant = Instant::from_nanos(0);
    const REACHED: Self = Self { at: Self::OVER, kind: RejectionKind::QueueTimeout };
}

impl Timeout {
    /// Runs `work`, for as long as it may take.
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

    /// When a call that starts now must have ended: its own total, or the deadline around it if earlier.
    #[inline]
    pub(crate) fn deadline(&self, started: Instant, around: Instant) -> Instant {
        // Relaxed: a setting, and each call may see the old or the new one.
        started.after(Duration::from_nanos(self.total.load(Ordering::Relaxed))).min(around)
    }

    /// What an attempt that starts now runs into first.
    #[inline]
    pub(crate) fn limit(&self, attempt_started: Instant, deadline: Instant) -> Limit {
        let at = attempt_started.after(Duration::from_nanos(self.attempt.load(Ordering::Relaxed)));
        if at < deadline {
            Limit { at, kind: RejectionKind::AttemptTimeout }
        } else {
            Limit { at: deadline, kind: RejectionKind::TotalTimeout }
        }
    }

    /// Whether attempts have a limit of their own.
    pub(crate) fn limits_attempts(&self) -> bool {
        self.attempt.load(Ordering::Relaxed) != u64::MAX
    }

    /// One of the limits was met, after so long.
    #[cold]
    pub(crate) fn fired(&self, kind: RejectionKind, elapsed: Duration) -> Rejection {
        self.phases.fired(kind, elapsed)
    }

    /// How long a part of an answer may be waited for; centuries where there is no limit.
    pub(crate) fn read_limit(&self) -> Duration {
        self.phases.limit(Phase::Read)
    }

    #[cold]
    pub(crate) fn no_timer(&self) -> Rejection {
        self.phases.no_timer()
    }

    /// Whether it wants to know how long attempts take.
    #[inline]
    pub(crate) fn is_adaptive(&self) -> bool {
        self.is_adaptive.load(Ordering::Relaxed)
    }

    /// An attempt succeeded.
    pub(crate) fn completed(&self, started: Instant, now: Instant) {
        if let Some(adaptive) = self.adaptive.get() {
            adaptive.completed(now.nanos_since(started), now, &self.attempt);
        }
    }

    /// An attempt was ended before its work was.
    #[cold]
    pub(crate) fn ended_early(&self, started: Instant, now: Instant) {
        if let Some(adaptive) = self.adaptive.get() {
            adaptive.cut_off(now.nanos_since(started), now, &self.attempt);
        }
    }

    /// By which the code inside finds its limits.
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
            // Under its lock, so that no look comes in between.
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
