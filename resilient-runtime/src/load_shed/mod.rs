//! Refuses some calls at once, so that the others can be served in time.
//!
//! Past its capacity a process that takes all calls serves none: they wait for each other until their callers have
//! given up. A shedder admits by [`Priority`], by three rules. Each must let a call pass.
//!
//! | rule | on | refuses |
//! |---|---|---|
//! | in flight | always; `adaptive` finds the limit, up to `max_in_flight` | a class whose share of the limit is full: by default low calls fill half, normal ones four fifths, high ones nine tenths, critical ones all |
//! | standing delay | where a delay is measured | the lowest class when even the luckiest call of an `interval` waited longer than `target_delay`; then the next; critical calls never |
//! | throttle | with `throttle` | what the other side would refuse: about `throttle_factor` calls are sent for each that it accepts, of each class by itself |
//!
//! Delays are measured where they arise: in the queue of the bulkhead behind the shedder, by the pipeline; in a queue
//! before it, by whoever knows when the call arrived ([`waited`](LoadShedder::waited), here or on the
//! [`Pipeline`](crate::Pipeline::waited), `arrived_at = ..` in the attribute); and, where the queues cannot be seen,
//! with `target_latency` as the whole time from admission to the end.
//!
//! The throttle is for the client's side of a call and the others for the server's. It is here all the same, and not a
//! component of its own, because it is the same decision at the same point of a call, by the same classes: load is shed
//! before it is sent, instead of before it is served. With `adaptive = false` and no `max_in_flight` it is alone.
//!
//! - A refused call was not carried out, and is told when to [come back](Rejection::retry_after). It is not retried,
//!   and no evidence for a circuit breaker.
//! - A call counts as in flight from its admission until it has ended, with all its attempts and the pauses between
//!   them, however it ends: returned, dropped, panicked.
//! - The limit finds itself only as far as calls fill it: where all are low, that is half of what it is.
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

/// Refuses some calls, so that the others are served in time. See the [module](self).
///
/// ```
/// use resilient_runtime::{LoadShedder, load_shed::Config};
///
/// let shedder = LoadShedder::new(Config::default().max_in_flight(1).adaptive(false))?;
/// let inner = shedder.call(|| Some(shedder.call(|| Some("both"))));
/// assert_eq!(inner, Some(None), "a call in it is the second");
/// # Ok::<_, resilient_runtime::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct LoadShedder {
    core: Core<Config>,
    gauge: Gauge,
    queue_delay: QueueDelay,
    throttle: Throttle,
    /// Relaxed, as the next two: settings.
    throttles: AtomicBool,
    watches_latency: AtomicBool,
    /// In nanoseconds.
    retry_after: AtomicU64,
    dice: Dice,
    counters: Counters,
}

/// One call on its way: what it must bring along to be let out again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Admitted {
    pub(crate) priority: Priority,
    /// [`Instant::NEVER`] where that is not known.
    pub(crate) since: Instant,
}

impl LoadShedder {
    /// Admission of a call of normal priority.
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
    /// When it is shed.
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit<'_>, Rejection> {
        self.try_acquire_as(Priority::Normal)
    }

    /// Admission of a call of this priority.
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
    /// When it is shed.
    #[inline]
    pub fn try_acquire_as(&self, priority: Priority) -> Result<Permit<'_>, Rejection> {
        let since = self.core.clock().now();
        self.admit(priority, since)?;
        Ok(Permit::new(self, Admitted { priority, since }))
    }

    /// Says how long a call has waited in a queue before the shedder, whatever becomes of it: one that is emptied here.
    ///
    /// To be said of every call, also of one that did not wait at all: it is the shortest wait that counts.
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

    // What the pipeline calls ------------------------------------------------------------------------------

    /// Admits a call that no rule has anything against; counts nothing if one may.
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

    /// Admits a call, or sheds it; never waits.
    #[inline]
    pub(crate) fn admit(&self, priority: Priority, now: Instant) -> Result<(), Rejection> {
        self.keep_up(now);
        if self.queue_delay.shed(priority, &self.dice) {
            return Err(self.refuse(priority, Rule::Delay, self.dice.roll()));
        }
        if self.throttles() && self.throttle.sheds(priority) {
            let roll = self.dice.roll();
            if self.throttle.shed(priority, roll) {
                // It is a request all the same.
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

    /// Lets a call out again.
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
            // How long a failure takes says nothing: many are fast.
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

    /// The same where the time has to be read, if it is needed at all.
    #[inline]
    fn leave_by_hand(&self, call: Admitted, end: End) {
        let is_timed = end != End::Unknown && (self.gauge.is_adaptive() || self.watches_latency());
        let now = if is_timed { self.core.clock().now() } else { call.since };
        self.leave(call, end, now);
    }

    /// How long a call has waited in the queue of the bulkhead behind.
    #[inline]
    pub(crate) fn queued(&self, delay: u64, now: Instant) {
        self.sample(Measure::Queue, delay, now);
    }

    /// Since when a call that comes now is under way.
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

    /// Draws the conclusions that are due.
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
        // From half of it to one and a half.
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
    /// Its time was over.
    CutOff,
    /// It was dropped, or refused further in.
    Unknown,
}

impl End {
    /// Whether the other side has taken the call and answered it, well or not.
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
            // What was found before does not go on.
            self.queue_delay.clear(self.core.clock().now());
        }
    }

    fn stats(&self) -> Stats {
        let now = self.core.clock().now();
        self.keep_up(now);
        self.counters.snapshot(now, &self.gauge, &self.queue_delay, &self.throttle)
    }

    /// Zeroes the counts, and forgets delays and what was accepted; calls in flight stay.
    fn reset(&self) {
        let now = self.core.clock().now();
        self.gauge.restart(&self.core.config().in_force());
        self.queue_delay.clear(now);
        self.throttle.clear(now, &self.counters.calls, stats::REQUESTS);
        self.counters.reset();
        self.core.publish(Self::KIND, EventKind::Reset);
    }
}
