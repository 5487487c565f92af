//! What a load shedder counts.

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

/// Why a call was shed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    InFlight,
    Delay,
    Throttle,
}

/// By [`Priority`], each four counters of [`Counters::calls`].
const ADMITTED: usize = 0;
const SHED: usize = 4;
/// Behind them the accepts.
pub(super) const REQUESTS: usize = 8;
const ACCEPTS: usize = 12;

#[derive(Debug)]
pub(super) struct Counters {
    /// Two cache lines for each thread; never reset.
    pub(super) calls: Striped<16>,
    /// What they held at the last reset.
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
    /// Calls in flight.
    pub in_flight: u32,
    /// Calls that may be. None: no limit.
    pub limit: Option<u32>,
    /// The highest class of which calls are shed because a delay stands; those below it are shed, too.
    pub shedding: Option<Priority>,
    /// The shortest wait in a queue of the last interval, in seconds.
    #[serde(serialize_with = "optional_seconds")]
    pub delay: Option<Duration>,
    /// The shortest time from admission to the end of the last interval, in seconds; with `target_latency` only.
    #[serde(serialize_with = "optional_seconds")]
    pub latency: Option<Duration>,
    /// By class.
    pub classes: Classes,
    /// Calls shed, by the rule.
    pub shed_by: ShedBy,
}

impl Stats {
    /// Calls admitted, of all classes.
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

    /// Calls shed, of all classes.
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

/// One snapshot for each class.
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

    /// A figure of each class, by the name of the class.
    fn each(&self, figure: impl Fn(&ClassStats) -> u64) -> [(&'static str, u64); 4] {
        [
            (Priority::Low.as_str(), figure(&self.low)),
            (Priority::Normal.as_str(), figure(&self.normal)),
            (Priority::High.as_str(), figure(&self.high)),
            (Priority::Critical.as_str(), figure(&self.critical)),
        ]
    }
}

/// A snapshot of one class.
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
    /// Calls admitted.
    pub admitted: u64,
    /// Calls shed.
    pub shed: u64,
    /// Calls in flight, of all classes, up to which this one is admitted. None: no limit.
    pub limit: Option<u32>,
    /// Calls in the throttle's window, with those that it refused.
    pub requests: u32,
    /// Those that the other side accepted.
    pub accepts: u32,
    /// The chance of being refused by the throttle.
    pub throttled: Ratio,
}

/// Calls shed, by the rule.
///
/// ```
/// use resilient_runtime::{Component, Registry, load_shed::Config};
///
/// let api = Registry::new().load_shedder("api");
/// api.reconfigure(Config::default().max_in_flight(1).adaptive(false)).unwrap();
/// api.call(|| api.call(|| Some("an inner call is one too many")));
/// let by = api.stats().shed_by;
/// assert_eq!((by.in_flight, by.delay, by.throttle), (1, 0, 0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ShedBy {
    /// The share of the limit was full.
    pub in_flight: u64,
    /// A delay stood.
    pub delay: u64,
    /// The other side would not have accepted.
    pub throttle: u64,
}

impl Describe for Stats {
    const METRICS: &[Family<Self>] = &[
        Family::gauge("resilient_load_shed_in_flight", "Calls in flight.", |shed, to| to.add(shed.in_flight)),
        Family::gauge(
            "resilient_load_shed_limit",
            "Calls that may be; 0 where there is no limit.",
            |shed, to| {
                to.add(shed.limit.unwrap_or(0));
            },
        ),
        Family::counter(
            "resilient_load_shed_admitted_total",
            "Calls that were admitted, by their priority.",
            |shed, to| to.by("priority", shed.classes.each(|class| class.admitted)),
        ),
        Family::counter("resilient_shed_total", "Calls that were shed, by their priority.", |shed, to| {
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
