//! The time source of components: monotonic, cheap to read, and replaceable in tests.
//!
//! Every component reads the time from the [`Clock`] of its registry and never uses wall-clock time. There are
//! three clocks:
//!
//! - [`Clock::system`] uses the processor's time stamp counter if there is one (a read takes about 10 ns).
//!   Otherwise it uses the operating system's monotonic clock.
//! - [`Clock::tokio`] uses tokio's clock, which follows `tokio::time::pause` and `advance`.
//! - [`ManualClock`] moves only when a test advances it.
//!
//! The system and tokio clocks use tokio's timers. In a test under `tokio::time::pause`, a registry on the system
//! clock therefore waits in virtual time but reads real time. A debug build reports this mismatch once, on standard
//! error and as a warning. To fix it, call `Registry::install(Clock::tokio())` at the start of the test, or create
//! a separate registry with `Registry::with_clock(Clock::tokio())`.
//!
//! A synchronous call blocks its thread while it waits for a retry or in a queue. If the thread runs asynchronous
//! code, a warning is logged once per operation. To fix it, make the function an `async fn`, or call it in
//! `tokio::task::spawn_blocking`. Work in `tokio::task::unconstrained` is not detected, because it looks the same
//! as work in `spawn_blocking`.
//!
//! ```
//! use std::time::Duration;
//! use resilient_runtime::{Registry, clock::ManualClock};
//!
//! let time = ManualClock::new();
//! let registry = Registry::with_clock(time.clock());
//! let before = registry.clock().now();
//! time.advance(Duration::from_hours(1));
//! assert_eq!(registry.clock().now().since(before), Duration::from_hours(1));
//! ```

mod blocking;
mod delay;
mod drift;
mod manual;
#[cfg(feature = "chaos")]
mod skewed;
mod timer;

pub use delay::Delay;
pub use manual::ManualClock;
pub(crate) use manual::unparker;
#[cfg(feature = "chaos")]
pub(crate) use skewed::{Skewed, SpeedFault};
pub(crate) use timer::{BoxedTimer, Timer};

use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use manual::Manual;

/// A point in time on a [`Clock`], in nanoseconds from an arbitrary origin.
///
/// All arithmetic saturates, so it never overflows, even if the clock jumps.
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::clock::ManualClock;
///
/// let now = ManualClock::new().clock().now();
/// assert_eq!(now.after(Duration::MAX).after(Duration::MAX), now.after(Duration::MAX), "no overflow");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant(u64);

impl Instant {
    /// A point later than every reachable one: "never".
    pub(crate) const NEVER: Self = Self(u64::MAX);

    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    pub(crate) const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Returns the time from `earlier` to this point, or zero if `earlier` is later.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::clock::Clock;
    ///
    /// let now = Clock::system().now();
    /// let later = now.after(Duration::from_secs(3));
    /// assert_eq!(later.since(now), Duration::from_secs(3));
    /// assert_eq!(now.since(later), Duration::ZERO);
    /// ```
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }

    pub(crate) const fn nanos_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Returns the point `span` after this one.
    ///
    /// Saturates at the largest representable point, about 584 years after the origin.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::clock::ManualClock;
    ///
    /// let time = ManualClock::new();
    /// let end = time.clock().now().after(Duration::from_secs(2));
    /// time.advance(Duration::from_secs(2));
    /// assert!(time.clock().now() >= end);
    /// ```
    pub const fn after(self, span: Duration) -> Self {
        Self(self.0.saturating_add(nanos(span)))
    }
}

/// Converts a span to nanoseconds, saturating.
pub(crate) const fn nanos(span: Duration) -> u64 {
    let nanos = span.as_nanos();
    if nanos > u64::MAX as u128 {
        u64::MAX
    } else {
        // Cannot truncate: checked in the condition above.
        #[allow(clippy::cast_possible_truncation)]
        {
            nanos as u64
        }
    }
}

/// The time source of a registry. Cheap to clone.
///
/// See the [module documentation](self).
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::clock::{Clock, ManualClock};
///
/// /// Takes the clock as a parameter, so that a test can pass one that it controls.
/// fn is_stale(clock: &Clock, made: resilient_runtime::clock::Instant) -> bool {
///     clock.now().since(made) > Duration::from_mins(5)
/// }
/// let time = ManualClock::new();
/// let made = time.clock().now();
/// time.advance(Duration::from_mins(6));
/// assert!(is_stale(&time.clock(), made));
/// ```
#[derive(Clone, Debug)]
pub struct Clock(Source);

#[derive(Clone, Debug)]
enum Source {
    /// A reference to the static clock, so that a reading skips the lazy-initialization check.
    System(&'static System),
    Tokio,
    Manual(Arc<Manual>),
    #[cfg(feature = "chaos")]
    Skewed(Arc<skewed::Skewed>),
}

impl Source {
    /// The time of the other clocks, apart from the usual one so that a reading of that one stays a single test.
    fn now(&self) -> Instant {
        match self {
            Self::System(system) => Instant(system.nanos()),
            Self::Tokio => Instant(tokio_nanos()),
            Self::Manual(manual) => manual.now(),
            #[cfg(feature = "chaos")]
            Self::Skewed(skewed) => skewed.now(),
        }
    }
}

/// No timer is available: there is no tokio runtime, or it was built without `enable_time`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoTimer;

impl Clock {
    /// Returns the machine's monotonic clock.
    ///
    /// The first use in a process calibrates it, which usually takes less than 1 ms and at most 200 ms.
    ///
    /// ```
    /// use resilient_runtime::clock::Clock;
    ///
    /// let before = Clock::system().now();
    /// assert!(Clock::system().now() >= before, "all instances share one time line");
    /// ```
    pub fn system() -> Self {
        Self(Source::System(&SYSTEM))
    }

    /// Returns tokio's clock, which is virtual under `tokio::time::pause`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use resilient_runtime::clock::Clock;
    ///
    /// let before = Clock::tokio().now();
    /// tokio::time::advance(Duration::from_hours(8)).await;
    /// assert!(Clock::tokio().now().since(before) >= Duration::from_hours(8));
    /// # }
    /// ```
    pub fn tokio() -> Self {
        Self(Source::Tokio)
    }

    /// Returns the current time of this clock.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::clock::ManualClock;
    ///
    /// let time = ManualClock::new();
    /// let (clock, before) = (time.clock(), time.clock().now());
    /// assert_eq!(clock.now(), before, "it does not move by itself");
    /// time.advance(Duration::from_nanos(1));
    /// assert!(clock.now() > before);
    /// ```
    #[inline]
    pub fn now(&self) -> Instant {
        match &self.0 {
            Source::System(system) => Instant(system.nanos()),
            other => other.now(),
        }
    }

    /// Blocks the thread for `span`.
    ///
    /// A [`ManualClock`] advances by `span` instead of blocking. Otherwise a thread that waits on a clock that only
    /// it can advance would wait forever.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::clock::ManualClock;
    ///
    /// let clock = ManualClock::new().clock();
    /// let before = clock.now();
    /// clock.sleep(Duration::from_hours(1)); // returns immediately
    /// assert_eq!(clock.now().since(before), Duration::from_hours(1));
    /// ```
    pub fn sleep(&self, span: Duration) {
        match &self.0 {
            Source::System(_) | Source::Tokio => std::thread::sleep(span),
            Source::Manual(manual) => manual.advance(span),
            #[cfg(feature = "chaos")]
            Source::Skewed(skewed) => skewed.sleep(span),
        }
    }

    /// Blocks the thread until it is unparked or `until` is reached. Can wake early. Returns whether `until` is
    /// reached.
    ///
    /// The thread waits in real time, because a paused tokio clock does not move while its thread is blocked.
    pub(crate) fn park(&self, until: Instant) -> bool {
        match &self.0 {
            Source::System(_) | Source::Tokio => {
                let (span, parked) = (until.since(self.now()), std::time::Instant::now());
                std::thread::park_timeout(span);
                parked.elapsed() >= span
            }
            Source::Manual(manual) => {
                manual.park(until);
                manual.now() >= until
            }
            #[cfg(feature = "chaos")]
            Source::Skewed(skewed) => skewed.park(until),
        }
    }

    /// Arms a timer that fires at `at`. It is constructed in place because it is large.
    pub(crate) fn arm(&self, mut place: Pin<&mut Option<Timer>>, at: Instant) -> Result<(), NoTimer> {
        match &self.0 {
            Source::System(_) => {
                drift::look();
                Timer::arm_tokio(place, at.since(self.now()))
            }
            Source::Tokio => Timer::arm_tokio(place, at.since(self.now())),
            Source::Manual(manual) => {
                place.set(Some(Timer::manual(manual, at)));
                Ok(())
            }
            #[cfg(feature = "chaos")]
            Source::Skewed(skewed) => {
                let wait = Box::new(skewed::SkewedWait::armed(skewed, at)?);
                place.set(Some(Timer::Skewed { wait }));
                Ok(())
            }
        }
    }

    /// Warns once per `name` if this thread runs asynchronous code and the caller is about to block it. A
    /// [`ManualClock`] never blocks, so it never warns.
    #[cold]
    pub(crate) fn warn_of_blocking(&self, name: &'static str) {
        if !matches!(self.unskewed().0, Source::Manual(_)) {
            blocking::warn(name);
        }
    }

    /// Like [`park`](Self::park), but for at most `span` of real time.
    #[cfg(feature = "chaos")]
    pub(crate) fn park_at_most(&self, until: Instant, span: Duration) {
        match &self.0 {
            Source::System(_) | Source::Tokio => std::thread::park_timeout(until.since(self.now()).min(span)),
            Source::Manual(manual) => manual.park_at_most(until, span),
            Source::Skewed(skewed) => skewed.park_at_most(until, span),
        }
    }

    /// Whether it moves while a thread is blocked.
    #[cfg(feature = "chaos")]
    pub(crate) fn moves_by_itself(&self) -> bool {
        !matches!(self.unskewed().0, Source::Manual(_))
    }

    /// Returns the span of this clock that passes in at most `span` of the clock without its skew.
    #[cfg(feature = "chaos")]
    pub(crate) fn scaled(&self, span: Duration) -> Duration {
        match &self.0 {
            Source::Skewed(skewed) => skewed.scaled(span),
            _ => span,
        }
    }

    /// Returns the skew of the clock, if it can be skewed.
    #[cfg(feature = "chaos")]
    pub(crate) fn as_skewable(&self) -> Option<Arc<Skewed>> {
        match &self.0 {
            Source::Skewed(skewed) => Some(Arc::clone(skewed)),
            _ => None,
        }
    }

    /// Returns the clock without the skew of faults.
    pub(crate) fn unskewed(&self) -> &Self {
        match &self.0 {
            #[cfg(feature = "chaos")]
            Source::Skewed(skewed) => skewed.base(),
            _ => self,
        }
    }

    /// Identifies the time line: points in time are comparable if the identities are equal.
    #[inline]
    pub(crate) fn identity(&self) -> u32 {
        match &self.0 {
            Source::System(_) => 0,
            Source::Tokio => 1,
            Source::Manual(manual) => manual.number(),
            #[cfg(feature = "chaos")]
            Source::Skewed(skewed) => skewed.number(),
        }
    }

    /// Returns the clock with this [`identity`](Self::identity), if it still exists.
    pub(crate) fn identified(identity: u32) -> Option<Self> {
        match identity {
            0 => Some(Self::system()),
            1 => Some(Self::tokio()),
            #[cfg(feature = "chaos")]
            _ if identity & skewed::NUMBERS != 0 => {
                skewed::find(identity).map(|skewed| Self(Source::Skewed(skewed)))
            }
            _ => manual::find(identity).map(|manual| Self(Source::Manual(manual))),
        }
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::system()
    }
}

#[derive(Debug)]
struct System {
    clock: quanta::Clock,
    origin: u64,
}

static SYSTEM: LazyLock<System> = LazyLock::new(|| {
    let clock = quanta::Clock::new();
    let origin = clock.raw();
    System { clock, origin }
});

impl System {
    #[inline]
    fn nanos(&self) -> u64 {
        self.clock.delta_as_nanos(self.origin, self.clock.raw())
    }
}

fn tokio_nanos() -> u64 {
    /// The value at the origin. A paused runtime can have started before the origin was taken, so its time can be
    /// earlier.
    const BASE: u64 = 1 << 62;
    static ORIGIN: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    let now = tokio::time::Instant::now().into_std();
    match now.checked_duration_since(*ORIGIN) {
        Some(later) => BASE.saturating_add(nanos(later)),
        None => BASE.saturating_sub(nanos(ORIGIN.saturating_duration_since(now))),
    }
}
