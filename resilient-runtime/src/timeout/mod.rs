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
//! A synchronous call cannot be cut off. There the total still ends the retries and the waiting in queues.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! use std::time::Duration;
//! use resilient::{Registry, Rejection, RejectionKind, clock::Clock, Component};
//!
//! let registry = Registry::with_clock(Clock::tokio());
//! let timeout = registry.timeout("report");
//! timeout.reconfigure(timeout.config().as_ref().clone().total(Duration::from_secs(2))).unwrap();
//!
//! let late: Result<(), Rejection> = timeout.call_async(async || std::future::pending().await).await;
//! assert_eq!(late.unwrap_err().kind(), RejectionKind::TotalTimeout);
//! # }
//! ```

mod config;
mod phases;
mod stats;
mod timed;

use std::sync::Arc;
use std::time::Duration;

pub use config::Config;
pub(crate) use phases::{Phase, Phases};
pub use stats::Stats;
use timed::Timed;
pub(crate) use timed::TimedOut;

use crate::clock::Instant;
use crate::component::{Component, Core, Create, Kind};
use crate::observe::Happening;
use crate::outcome::Reject;
use crate::rejection::{Rejection, RejectionKind};
use crate::scope::Scope;
use crate::settings::{ConfigError, Effective};
use crate::sync::{AtomicU64, Ordering};

/// Bounds the time of calls. See the [module](self).
#[derive(Debug)]
pub struct Timeout {
    core: Core<Config>,
    /// In nanoseconds, `u64::MAX` for none: what a call needs of the config.
    total: AtomicU64,
    attempt: AtomicU64,
    phases: Arc<Phases>,
}

/// Which limit an attempt meets first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limit {
    pub(crate) at: Instant,
    pub(crate) kind: RejectionKind,
}

impl Timeout {
    /// Runs `work`, for as long as it may take.
    ///
    /// # Cancel safety
    /// Dropping the future drops the work.
    pub async fn call_async<R: Reject>(&self, work: impl AsyncFnOnce() -> R) -> R {
        let clock = self.core.clock();
        let started = clock.now();
        let around = Scope::current();
        let deadline = self.deadline(started, around.deadline_on(clock));
        if started >= deadline {
            return R::from_rejection(self.fired(RejectionKind::QueueTimeout, Duration::ZERO));
        }
        let limit = self.limit(started, deadline);
        let scope = around.with_deadline(deadline, clock).in_timeout(self.number());
        match Timed::new(crate::scope::scoped(scope, work()), clock, limit.at).await {
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

    /// One of the limits was met, after so long.
    #[cold]
    pub(crate) fn fired(&self, kind: RejectionKind, elapsed: Duration) -> Rejection {
        self.phases.fired(kind, elapsed)
    }

    #[cold]
    pub(crate) fn no_timer(&self) -> Rejection {
        self.phases.no_timer()
    }

    /// By which the code inside finds its limits.
    #[inline]
    pub(crate) fn number(&self) -> u32 {
        self.phases.number()
    }

    fn apply(&self, config: &Config) {
        let nanos = |span: Option<Duration>| span.map_or(u64::MAX, crate::clock::nanos);
        self.total.store(nanos(config.total), Ordering::Relaxed);
        self.attempt.store(nanos(config.attempt), Ordering::Relaxed);
        self.phases.apply(config);
    }
}

impl Create for Timeout {
    fn create(core: Core<Config>) -> Self {
        let config = core.config();
        let phases = Phases::new(&core);
        let timeout = Self { core, total: AtomicU64::new(0), attempt: AtomicU64::new(0), phases };
        timeout.apply(&config);
        timeout
    }

    fn core(&self) -> &Core<Config> {
        &self.core
    }
}

impl Component for Timeout {
    const KIND: Kind = Kind::Timeout;
    type Config = Config;
    type Stats = Stats;

    fn name(&self) -> &str {
        self.core.name
    }

    fn stats(&self) -> Stats {
        let config = self.core.config();
        let [total_timeouts, attempt_timeouts, queue_timeouts, connect_timeouts, read_timeouts] =
            self.phases.counts();
        Stats {
            total: config.total,
            attempt: config.attempt,
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
        self.core.publish(Self::KIND, Happening::Reset);
    }

    fn config(&self) -> Arc<Config> {
        self.core.config()
    }

    fn reconfigure(&self, config: Config) -> Result<(), ConfigError> {
        self.core.reconfigure(Self::KIND, config, |config| self.apply(config))
    }

    fn effective(&self) -> Vec<Effective> {
        self.core.settings.effective()
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
