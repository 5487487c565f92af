//! Counters and statistics of a load shedder.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::gauge::Gauge;
use super::queue_delay::QueueDelay;
use super::throttle::Throttle;
use crate::clock::Instant;
use crate::observe::{Describe, Family, Striped};
use crate::priority::Priority;
use crate::ratio::Ratio;
use crate::seconds::optional_seconds;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// The rule that shed a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    InFlight,
    Delay,
    Throttle,
}

/// Indices into [`Counters::calls`]: four counters each, by [`Priority`].
const ADMITTED: usize = 0;
const SHED: usize = 4;
/// Followed by the accepts.
pub(super) const REQUESTS: usize = 8;
const ACCEPTS: usize = 12;

#[derive(Debug)]
pub(super) struct Counters {
    /// Two cache lines per thread. Never reset.
    pub(super) calls: Striped<16>,
    /// The values at the last reset.
    base: Mutex<[u64; 16]>,
    /// By [`Rule`].
    shed_by: [AtomicU64; 3],
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            calls: Striped::new(),
            base: Mutex::new([0; 16]),
            shed_by: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }
}

impl Counters {
    #[inline]
    pub(super) fn admitted(&self, priority: Priority) {
        self.calls.add(ADMITTED + priority as usize);
    }

    pub(super) fn shed(&self, priority: Priority, rule: Rule) {
        self.calls.add(SHED + priority as usize);
        self.shed_by[rule as usize].fetch_add(1, Ordering::Relaxed);
    }

    #[inline]
    pub(super) fn requested(&self, priority: Priority) {
        self.calls.add(REQUESTS + priority as usize);
    }

    #[inline]
    pub(super) fn accepted(&self, priority: Priority) {
        self.calls.add(ACCEPTS + priority as usize);
    }

    pub(super) fn reset(&self) {
        *self.base.lock() = self.calls.sums();
        self.shed_by.iter().for_each(|count| count.store(0, Ordering::Relaxed));
    }

    pub(super) fn snapshot(
        &self,
        now: Instant,
        gauge: &Gauge,
        queue_delay: &QueueDelay,
        throttle: &Throttle,
    ) -> Stats {
        let (base, sums) = (*self.base.lock(), self.calls.sums());
        let since = |index: usize| sums[index].saturating_sub(base[index]);
        let throttled = throttle.read(now, &self.calls, REQUESTS);
        let class = |priority: Priority| {
            let (ledger, chance) = throttled[priority as usize];
            ClassStats {
                admitted: since(ADMITTED + priority as usize),
                shed: since(SHED + priority as usize),
                limit: some(gauge.limit_of(priority), gauge),
                requests: ledger.requests,
                accepts: ledger.accepts,
                throttled: Ratio::new(chance).unwrap_or(Ratio::ZERO),
            }
        };
        let by = |rule: Rule| self.shed_by[rule as usize].load(Ordering::Relaxed);
        let (delay, latency) = queue_delay.least();
        Stats {
            in_flight: gauge.in_flight(),
            limit: some(gauge.limit(), gauge),
            shedding: queue_delay.highest(),
            delay,
            latency,
            classes: Classes {
                low: class(Priority::Low),
                normal: class(Priority::Normal),
                high: class(Priority::High),
                critical: class(Priority::Critical),
            },
            shed_by: ShedBy {
                in_flight: by(Rule::InFlight),
                delay: by(Rule::Delay),
                throttle: by(Rule::Throttle),
            },
        }
    }
}

fn some(limit: u32, gauge: &Gauge) -> Option<u32> {
    (gauge.limit() != u32::MAX).then_some(limit)
}

/// A snapshot of a [`LoadShedder`](crate::LoadShedder).
///
/// ```
/// use resilient_runtime::{Component, Registry, load_shed::Config};
///
/// let api = Registry::new().load_shedder("api");
/// api.reconfigure(Config::default().max_in_flight(200).adaptive(false)).unwrap();
/// let stats = api.stats();
/// assert_eq!((stats.limit, stats.in_flight, stats.shedding), (Some(200), 0, None));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// Number of calls in flight.
    pub in_flight: u32,
    /// Maximum number of calls in flight. `None` if there is no limit.
    pub limit: Option<u32>,
    /// The highest class that is shed because of a standing delay.
    ///
    /// The classes below it are shed too.
    pub shedding: Option<Priority>,
    /// Shortest wait in a queue in the last interval. Serialized in seconds.
    #[serde(serialize_with = "optional_seconds")]
    pub delay: Option<Duration>,
    /// Shortest time from admission to the end in the last interval.
    ///
    /// Only with `target_latency`. Serialized in seconds.
    #[serde(serialize_with = "optional_seconds")]
    pub latency: Option<Duration>,
    /// Statistics by class.
    pub classes: Classes,
    /// Number of shed calls, by rule.
    pub shed_by: ShedBy,
}

impl Stats {
    /// Returns the number of admitted calls of all classes.
    ///
    /// ```
    /// use resilient_runtime::{Component, Priority, Registry};
    ///
    /// let api = Registry::new().load_shedder("api");
    /// assert!(api.try_acquire_as(Priority::Low).is_ok() && api.try_acquire_as(Priority::High).is_ok());
    /// assert_eq!(api.stats().admitted(), 2);
    /// ```
    pub fn admitted(&self) -> u64 {
        self.classes.all().iter().map(|class| class.admitted).sum()
    }

    /// Returns the number of shed calls of all classes.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, load_shed::Config};
    ///
    /// let api = Registry::new().load_shedder("api");
    /// api.reconfigure(Config::default().max_in_flight(1).adaptive(false)).unwrap();
    /// let held = api.try_acquire().unwrap();
    /// assert!(api.try_acquire().is_err());
    /// assert_eq!(api.stats().shed(), 1);
    /// # drop(held);
    /// ```
    pub fn shed(&self) -> u64 {
        self.classes.all().iter().map(|class| class.shed).sum()
    }
}

/// Statistics of each class.
///
/// ```
/// use resilient_runtime::{Component, Priority, Registry};
///
/// let api = Registry::new().load_shedder("api");
/// assert!(api.try_acquire_as(Priority::High).is_ok());
/// let classes = api.stats().classes;
/// assert_eq!((classes.high.admitted, classes.normal.admitted), (1, 0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Classes {
    /// Low calls.
    pub low: ClassStats,
    /// Normal calls.
    pub normal: ClassStats,
    /// High calls.
    pub high: ClassStats,
    /// Critical calls.
    pub critical: ClassStats,
}

impl Classes {
    fn all(&self) -> [&ClassStats; 4] {
        [&self.low, &self.normal, &self.high, &self.critical]
    }

    /// Returns a value of each class, with the name of the class.
    fn each(&self, figure: impl Fn(&ClassStats) -> u64) -> [(&'static str, u64); 4] {
        [
            (Priority::Low.as_str(), figure(&self.low)),
            (Priority::Normal.as_str(), figure(&self.normal)),
            (Priority::High.as_str(), figure(&self.high)),
            (Priority::Critical.as_str(), figure(&self.critical)),
        ]
    }
}

/// Statistics of one class.
///
/// ```
/// use resilient_runtime::{Component, Registry, load_shed::Config};
///
/// let api = Registry::new().load_shedder("api");
/// api.reconfigure(Config::default().max_in_flight(100).adaptive(false)).unwrap();
/// let classes = api.stats().classes;
/// assert_eq!((classes.low.limit, classes.critical.limit), (Some(50), Some(100)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ClassStats {
    /// Number of admitted calls.
    pub admitted: u64,
    /// Number of shed calls.
    pub shed: u64,
    /// Number of calls in flight, of all classes, below which this class is admitted.
    ///
    /// `None` if there is no limit.
    pub limit: Option<u32>,
    /// Number of calls in the throttle's window, including those that it rejected.
    pub requests: u32,
    /// Number of calls in the window that the dependency accepted.
    pub accepts: u32,
    /// Probability that the throttle rejects a call.
    pub throttled: Ratio,
}

/// Number of shed calls, by rule.
///
/// ```
/// use resilient_runtime::{Component, Registry, load_shed::Config};
///
/// let api = Registry::new().load_shedder("api");
/// api.reconfigure(Config::default().max_in_flight(1).adaptive(false)).unwrap();
/// api.call(|| api.call(|| Some("the inner call exceeds the limit")));
/// let by = api.stats().shed_by;
/// assert_eq!((by.in_flight, by.delay, by.throttle), (1, 0, 0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ShedBy {
    /// Calls shed because the share of the limit was full.
    pub in_flight: u64,
    /// Calls shed because of a standing delay.
    pub delay: u64,
    /// Calls shed by the throttle.
    pub throttle: u64,
}

impl Describe for Stats {
    const METRICS: &[Family<Self>] = &[
        Family::gauge("resilient_load_shed_in_flight", "Calls in flight.", |shed, to| to.add(shed.in_flight)),
        Family::gauge(
            "resilient_load_shed_limit",
            "Maximum number of calls in flight; 0 if there is no limit.",
            |shed, to| {
                to.add(shed.limit.unwrap_or(0));
            },
        ),
        Family::counter("resilient_load_shed_admitted_total", "Admitted calls, by priority.", |shed, to| {
            to.by("priority", shed.classes.each(|class| class.admitted));
        }),
        Family::counter("resilient_shed_total", "Shed calls, by priority.", |shed, to| {
            to.by("priority", shed.classes.each(|class| class.shed));
        }),
    ];

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.in_flight)?;
        if let Some(limit) = self.limit {
            write!(f, " of {limit}")?;
        }
        write!(f, " in flight, {} admitted, {} shed", self.admitted(), self.shed())?;
        if let Some(class) = self.shedding {
            write!(f, "; sheds up to {} calls", class.as_str())?;
        }
        if let Some(delay) = self.delay {
            write!(f, "; delay {delay:.1?}")?;
        }
        Ok(())
    }
}
