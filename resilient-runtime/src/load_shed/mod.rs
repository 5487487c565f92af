//! Load shedding: rejects some calls so that the others are served in time.
//!
//! A process that accepts more calls than it can handle completes none in time: the calls wait for each other until
//! their callers give up. A load shedder admits calls by [`Priority`]. It checks three rules, and all of them must
//! admit a call.
//!
//! | Rule | Active | Rejects |
//! |---|---|---|
//! | In flight | Always; `adaptive` finds the limit, up to `max_in_flight` | A class whose share of the limit is full: by default low calls fill half of it, normal calls four fifths, high calls nine tenths, critical calls all of it |
//! | Standing delay | If a delay is measured | The lowest class, if even the shortest wait of an `interval` is longer than `target_delay`; then the next class; never critical calls |
//! | Throttle | With `throttle` | Calls that the dependency would reject: it sends about `throttle_factor` calls for each accepted one, for each class separately |
//!
//! There are three sources of delays:
//! - The pipeline measures the wait in the queue of the bulkhead behind the shedder.
//! - The caller reports the wait in a queue before the shedder, with [`waited`](LoadShedder::waited) here or on the
//!   [`Pipeline`](crate::Pipeline::waited), or with `arrived_at = ..` in the attribute.
//! - With `target_latency`, the shedder measures the time from admission to the end of a call, for queues that cannot
//!   be observed.
//!
//! The throttle protects the dependency of a call; the other rules protect this process. It is part of this
//! component because it makes the same decision at the same point of a call, with the same classes. The throttle works
//! alone with `adaptive = false` and no `max_in_flight`.
//!
//! - A rejected call did not run, and its rejection has a [`retry_after`](Rejection::retry_after). It is not retried,
//!   and a circuit breaker does not count it.
//! - A call is in flight from its admission to its end, including all attempts and the pauses between them, however
//!   it ends: returned, dropped or panicked.
//! - The adaptive limit is only tested as far as calls fill it. If all calls are low, they fill only half of it.
//!
//! ```
//! use resilient_runtime::{Component, Priority, Registry, RejectionKind, load_shed::Config};
//!
//! let shedder = Registry::new().load_shedder("api");
//! shedder.reconfigure(Config::default().max_in_flight(2).adaptive(false)).unwrap();
//! let batch = shedder.try_acquire_as(Priority::Low).unwrap();
//! let refused = shedder.try_acquire_as(Priority::Low).unwrap_err();
//! assert_eq!(refused.kind(), RejectionKind::Shed);
//! assert!(refused.retry_after().is_some());
//! let payment = shedder.try_acquire_as(Priority::Critical).unwrap();
//! assert_eq!(shedder.stats().in_flight, 2);
//! # drop((batch, payment));
//! ```

mod config;
mod dice;
mod gauge;
mod permit;
mod queue_delay;
mod stats;
mod throttle;

#[cfg(all(test, resilient_loom))]
mod loom_models;
#[cfg(all(test, not(resilient_loom)))]
mod model_tests;
#[cfg(all(test, not(resilient_loom)))]
mod simulation;
#[cfg(all(test, not(resilient_loom)))]
mod tests;

use std::time::Duration;

pub use config::Config;
pub use permit::Permit;
pub use stats::{ClassStats, Classes, ShedBy, Stats};

use crate::adaptive::Sample;
use crate::classify::{Class, Verdict};
use crate::clock::{Instant, nanos};
use crate::component::{Component, Core, Create, Kind};
use crate::observe::EventKind;
use crate::priority::Priority;
use crate::ratio::Ratio;
use crate::rejection::{Rejection, RejectionKind};
use crate::sync::{AtomicBool, AtomicU64, Ordering};
use dice::Dice;
use gauge::Gauge;
use queue_delay::{Measure, QueueDelay};
use stats::{Counters, Rule};
use throttle::Throttle;

/// Rejects some calls so that others are served in time. See the [module](self).
///
/// ```
/// use resilient_runtime::{LoadShedder, load_shed::Config};
///
/// let shedder = LoadShedder::new(Config::default().max_in_flight(1).adaptive(false))?;
/// let inner = shedder.call(|| Some(shedder.call(|| Some("both"))));
/// assert_eq!(inner, Some(None), "the inner call is the second one");
/// # Ok::<_, resilient_runtime::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct LoadShedder {
    core: Core<Config>,
    gauge: Gauge,
    queue_delay: QueueDelay,
    throttle: Throttle,
    /// Relaxed, like the next two: settings.
    throttles: AtomicBool,
    watches_latency: AtomicBool,
    /// In nanoseconds.
    retry_after: AtomicU64,
    dice: Dice,
    counters: Counters,
}

/// One admitted call. Needed to end the call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admitted {
    pub(crate) priority: Priority,
    /// [`Instant::NEVER`] if the time is not known.
    pub(crate) since: Instant,
}

impl LoadShedder {
    /// Admits a call of normal priority.
    ///
    /// ```
    /// # use resilient_runtime::{Component, Registry, load_shed::Config};
    /// # let shedder = Registry::new().load_shedder("rpc");
    /// shedder.reconfigure(Config::default().max_in_flight(5).adaptive(false)).unwrap();
    /// let calls: Vec<_> = std::iter::from_fn(|| shedder.try_acquire().ok()).collect();
    /// assert_eq!(calls.len(), 4, "normal calls fill four fifths");
    /// ```
    ///
    /// # Errors
    /// Returns a rejection if the call is shed.
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit<'_>, Rejection> {
        self.try_acquire_as(Priority::Normal)
    }

    /// Admits a call of this priority.
    ///
    /// ```
    /// # use resilient_runtime::{Component, Priority, Registry, load_shed::Config};
    /// # let shedder = Registry::new().load_shedder("feed");
    /// shedder.reconfigure(Config::default().max_in_flight(10).adaptive(false)).unwrap();
    /// let fill = |class| std::iter::from_fn(|| shedder.try_acquire_as(class).ok()).collect::<Vec<_>>();
    /// let batch = fill(Priority::Low);
    /// assert_eq!((batch.len(), fill(Priority::Critical).len()), (5, 5));
    /// ```
    ///
    /// # Errors
    /// Returns a rejection if the call is shed.
    #[inline]
    pub fn try_acquire_as(&self, priority: Priority) -> Result<Permit<'_>, Rejection> {
        let since = self.core.clock().now();
        self.admit(priority, since)?;
        Ok(Permit::new(self, Admitted { priority, since }))
    }

    /// Reports how long a call waited in a queue before the shedder.
    ///
    /// Report every call that leaves the queue, including calls that did not wait or are rejected later: the shortest
    /// wait counts.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{Component, Priority, Registry, clock::ManualClock};
    ///
    /// let time = ManualClock::new();
    /// let shedder = Registry::with_clock(time.clock()).load_shedder("api");
    /// for _ in 0..20 {
    ///     shedder.waited(Duration::from_millis(35));
    ///     time.advance(Duration::from_millis(10));
    /// }
    /// assert!(shedder.try_acquire_as(Priority::Low).is_err());
    /// assert!(shedder.try_acquire_as(Priority::High).is_ok());
    /// ```
    #[inline]
    pub fn waited(&self, delay: Duration) {
        self.sample(Measure::Arrival, nanos(delay), self.core.clock().now());
    }

    // For the pipeline -------------------------------------------------------------------------------------

    /// Admits a call if no rule could reject it. Does not count a rejection.
    #[inline]
    pub(crate) fn try_enter(&self, priority: Priority, now: Instant) -> bool {
        self.keep_up(now);
        if self.queue_delay.sheds(priority) || self.throttles() && self.throttle.sheds(priority) {
            return false;
        }
        let entered = self.gauge.try_enter(priority);
        if entered {
            self.counters.admitted(priority);
        }
        entered
    }

    /// Admits or sheds a call, without waiting.
    #[inline]
    pub(crate) fn admit(&self, priority: Priority, now: Instant) -> Result<(), Rejection> {
        self.keep_up(now);
        if self.queue_delay.shed(priority, &self.dice) {
            return Err(self.refuse(priority, Rule::Delay, self.dice.roll()));
        }
        if self.throttles() && self.throttle.sheds(priority) {
            let roll = self.dice.roll();
            if self.throttle.shed(priority, roll) {
                // A throttled call still counts as a request.
                self.counters.requested(priority);
                return Err(self.refuse(priority, Rule::Throttle, roll));
            }
        }
        if !self.gauge.try_enter(priority) {
            return Err(self.refuse(priority, Rule::InFlight, self.dice.roll()));
        }
        self.counters.admitted(priority);
        Ok(())
    }

    /// Ends a call.
    #[inline]
    pub(crate) fn leave(&self, call: Admitted, end: End, now: Instant) {
        let in_flight = self.gauge.leave();
        let sample = match end {
            End::Unknown | End::Judged(Verdict::Failure(Class::NotExecuted { .. })) => return,
            End::CutOff => Sample::CutOff,
            End::Judged(verdict) => verdict.into(),
        };
        if call.since != Instant::NEVER {
            self.gauge.learn(call.since, now, in_flight, sample);
            // The duration of a failure is not meaningful: many failures are fast.
            if self.watches_latency() && matches!(end, End::Judged(Verdict::Success) | End::CutOff) {
                self.sample(Measure::Latency, now.nanos_since(call.since), now);
            }
        }
        if self.throttles() {
            self.counters.requested(call.priority);
            if end.is_accepted() {
                self.counters.accepted(call.priority);
            }
        }
    }

    /// Like `leave`, but reads the clock only if needed.
    #[inline]
    fn leave_directly(&self, call: Admitted, end: End) {
        let is_timed = end != End::Unknown && (self.gauge.is_adaptive() || self.watches_latency());
        let now = if is_timed { self.core.clock().now() } else { call.since };
        self.leave(call, end, now);
    }

    /// Records how long a call waited in the queue of the bulkhead behind the shedder.
    #[inline]
    pub(crate) fn queued(&self, delay: u64, now: Instant) {
        self.sample(Measure::Queue, delay, now);
    }

    /// Records the delay of a call that arrived at `at` and reaches the shedder now.
    pub(crate) fn arrived(&self, at: Instant, now: Instant) {
        self.sample(Measure::Arrival, now.nanos_since(at), now);
    }

    #[inline]
    fn sample(&self, measure: Measure, delay: u64, now: Instant) {
        self.keep_up(now);
        self.queue_delay.sample(measure, delay);
    }

    #[inline]
    fn watches_latency(&self) -> bool {
        self.watches_latency.load(Ordering::Relaxed)
    }

    #[inline]
    fn throttles(&self) -> bool {
        self.throttles.load(Ordering::Relaxed)
    }

    /// Runs the evaluations that are due.
    #[inline]
    fn keep_up(&self, now: Instant) {
        if self.queue_delay.is_due(now) {
            self.turn(now);
        }
        if self.throttles() && self.throttle.is_due(now) {
            self.throttle.turn(now, &self.counters.calls, stats::REQUESTS);
        }
    }

    #[cold]
    fn turn(&self, now: Instant) {
        let put = |change: &queue_delay::Change| {
            let (from, to) = (change.from, change.to);
            self.core.put(Self::KIND, || EventKind::Shedding { from, to });
        };
        let Some(change) = self.queue_delay.turn(now, put) else { return };
        self.core.events().deliver();
        let (from, to) = (change.from, change.to);
        let (was, is) = (from.map(Priority::as_str), to.map(Priority::as_str));
        tracing::info!(target: "resilient_runtime::load_shed", load_shed = %self.core.name, was, is, "shedding");
    }

    #[cold]
    fn refuse(&self, priority: Priority, rule: Rule, roll: u64) -> Rejection {
        self.counters.shed(priority, rule);
        let base = self.retry_after.load(Ordering::Relaxed);
        // Between 0.5 and 1.5 times the setting.
        let jitter = (u128::from(base) * u128::from(roll & u64::from(u32::MAX))) >> 32;
        let retry_after = base / 2 + u64::try_from(jitter).unwrap_or(base);
        let retry_after = Some(Duration::from_nanos(retry_after));
        let kind = RejectionKind::Shed;
        tracing::debug!(target: "resilient_runtime::load_shed", load_shed = %self.core.name, ?priority, ?rule, "shed");
        self.core.publish_made(Self::KIND, || EventKind::Rejected { rejection: kind, retry_after });
        Rejection::after(kind, self.core.name, retry_after)
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum End {
    Judged(Verdict),
    /// The call timed out.
    CutOff,
    /// The call was dropped, or rejected by an inner component.
    Unknown,
}

impl End {
    /// Whether the dependency accepted the call and responded, with a success or an error.
    fn is_accepted(self) -> bool {
        matches!(self, Self::Judged(Verdict::Success | Verdict::Failure(Class::Ignored | Class::Permanent)))
    }
}

impl Create for LoadShedder {
    const REFUSALS: &[RejectionKind] = &[RejectionKind::Shed];

    fn create(core: Core<Config>) -> Self {
        let (config, now) = (core.config(), core.clock().now());
        let shedder = Self {
            gauge: Gauge::new(&config),
            queue_delay: QueueDelay::new(&config, now),
            throttle: Throttle::new(config.throttle_rule(), config.throttle_window, now),
            throttles: AtomicBool::new(false),
            watches_latency: AtomicBool::new(false),
            retry_after: AtomicU64::new(0),
            dice: Dice::new(core.environment.random.share()),
            counters: Counters::default(),
            core,
        };
        shedder.apply(&config);
        shedder
    }

    fn saturation(&self) -> Option<Ratio> {
        let stats = self.stats();
        Some(Ratio::of(stats.in_flight.into(), stats.limit.unwrap_or(0).into()))
    }
}

impl Component for LoadShedder {
    const KIND: Kind = Kind::LoadShed;
    type Config = Config;
    type Stats = Stats;

    fn core(&self) -> &Core<Config> {
        &self.core
    }

    fn apply(&self, config: &Config) {
        let is_on = config.enabled;
        let config = &*config.in_force();
        self.gauge.apply(config);
        self.queue_delay.apply(config);
        self.throttle.apply(config.throttle_rule(), config.throttle_window);
        self.throttles.store(config.throttle, Ordering::Relaxed);
        self.watches_latency.store(config.target_latency.is_some(), Ordering::Relaxed);
        self.retry_after.store(nanos(config.retry_after), Ordering::Relaxed);
        if !is_on {
            // Discard earlier measurements.
            self.queue_delay.clear(self.core.clock().now());
        }
    }

    fn stats(&self) -> Stats {
        let now = self.core.clock().now();
        self.keep_up(now);
        self.counters.snapshot(now, &self.gauge, &self.queue_delay, &self.throttle)
    }

    /// Resets the counts, the measured delays and the throttle. Calls in flight stay.
    fn reset(&self) {
        let now = self.core.clock().now();
        self.gauge.restart(&self.core.config().in_force());
        self.queue_delay.clear(now);
        self.throttle.clear(now, &self.counters.calls, stats::REQUESTS);
        self.counters.reset();
        self.core.publish(Self::KIND, EventKind::Reset);
    }
}
