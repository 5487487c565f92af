//! The one source of time: monotonic, cheap, and in the hands of a test when it wants it.
//!
//! Every component takes the time from the [`Clock`] of its registry, never from the wall. There are three:
//!
//! - [`Clock::system`]: the processor's time stamp counter where there is one (about 10 ns a read), else the
//!   operating system's monotonic clock;
//! - [`Clock::tokio`]: tokio's clock, which follows `tokio::time::pause` and `advance`;
//! - [`ManualClock`]: stands still until a test moves it.
//!
//! Timers of the first two are tokio's. In a test under `tokio::time::pause` a registry with the system clock thus waits in
//! virtual time and reads real time: half of the program is on one clock and half on the other. A debug build says so once,
//! on standard error and as a warning; the remedy is `Registry::install(Clock::tokio())` at the start of the
//! test, or a registry of its own: `Registry::with_clock(Clock::tokio())`.
//!
//! A synchronous call blocks its thread for pauses and in queues. Where asynchronous code runs on that thread, a
//! warning says so once for each operation: make the function an `async fn`, or call it in
//! `tokio::task::spawn_blocking`. (Work in `tokio::task::unconstrained` is not noticed: it cannot be told from that of
//! `spawn_blocking`.)
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
mod timer;

pub use delay::Delay;
pub use manual::ManualClock;
pub(crate) use manual::unparker;
pub(crate) use timer::{BoxedTimer, Timer};

use std::pin::Pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use manual::Manual;

/// A point on a [`Clock`]: nanoseconds from an arbitrary origin. All arithmetic saturates, so a clock that
/// jumps in either direction never overflows.
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
    /// Later than every reachable point: "never".
    pub(crate) const NEVER: Self = Self(u64::MAX);

    pub(crate) const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    pub(crate) const fn as_nanos(self) -> u64 {
        self.0
    }

    /// The time from `earlier` to this point; zero if `earlier` is the later one.
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

    /// The point `span` later; saturates at the end of time (some 584 years).
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

/// The nanoseconds of a span, saturating.
pub(crate) const fn nanos(span: Duration) -> u64 {
    let nanos = span.as_nanos();
    if nanos > u64::MAX as u128 {
        u64::MAX
    } else {
        // Checked in the line above.
        #[allow(clippy::cast_possible_truncation)]
        {
            nanos as u64
        }
    }
}

/// Where the time comes from; cheap to clone. See the [module](self).
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::clock::{Clock, ManualClock};
///
/// /// What tells the time takes a clock, and its test gives it one that it moves.
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
    /// Found once, so that a reading does not look for it.
    System(&'static System),
    Tokio,
    Manual(Arc<Manual>),
}

/// No timer can be had here: there is no tokio runtime, or it was built without `enable_time`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NoTimer;

impl Clock {
    /// The machine's monotonic clock. The first use in a process calibrates it (below 1 ms as a rule, 200 ms at most).
    ///
    /// ```
    /// use resilient_runtime::clock::Clock;
    ///
    /// let before = Clock::system().now();
    /// assert!(Clock::system().now() >= before, "all of them are one clock");
    /// ```
    pub fn system() -> Self {
        Self(Source::System(&SYSTEM))
    }

    /// Tokio's clock: virtual under `tokio::time::pause`.
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

    /// Now, on this clock.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::clock::ManualClock;
    ///
    /// let time = ManualClock::new();
    /// let (clock, before) = (time.clock(), time.clock().now());
    /// assert_eq!(clock.now(), before, "it stands still");
    /// time.advance(Duration::from_nanos(1));
    /// assert!(clock.now() > before);
    /// ```
    #[inline]
    pub fn now(&self) -> Instant {
        match &self.0 {
            Source::System(system) => Instant(system.nanos()),
            Source::Tokio => Instant(tokio_nanos()),
            Source::Manual(manual) => manual.now(),
        }
    }

    /// Blocks the thread for `span`. A [`ManualClock`] is moved forward instead: a blocking wait on a clock
    /// that only its own thread moves would otherwise last for ever.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::clock::ManualClock;
    ///
    /// let clock = ManualClock::new().clock();
    /// let before = clock.now();
    /// clock.sleep(Duration::from_hours(1)); // and is over at once
    /// assert_eq!(clock.now().since(before), Duration::from_hours(1));
    /// ```
    pub fn sleep(&self, span: Duration) {
        match &self.0 {
            Source::System(_) | Source::Tokio => std::thread::sleep(span),
            Source::Manual(manual) => manual.advance(span),
        }
    }

    /// Blocks the thread until it is unparked or `until` is reached; may wake early. Whether `until` is reached.
    ///
    /// The thread waits in real time: a paused tokio clock would not move as long as it blocks.
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
        }
    }

    /// A timer that fires at `at`, made in its place: it is large.
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
        }
    }

    /// Says once for each `name` that its calls block a thread on which asynchronous code runs, if this one is such a thread.
    /// A [`ManualClock`] blocks none.
    #[cold]
    pub(crate) fn warn_of_blocking(&self, name: &'static str) {
        if !matches!(self.0, Source::Manual(_)) {
            blocking::warn(name);
        }
    }

    /// Whether points of the two clocks can be compared.
    #[inline]
    pub(crate) fn identity(&self) -> u32 {
        match &self.0 {
            Source::System(_) => 0,
            Source::Tokio => 1,
            Source::Manual(manual) => manual.number(),
        }
    }

    /// The clock of this [`identity`](Self::identity), if there still is one.
    pub(crate) fn identified(identity: u32) -> Option<Self> {
        match identity {
            0 => Some(Self::system()),
            1 => Some(Self::tokio()),
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
    /// A paused runtime may have been started before the origin was taken, so that its time lies before it.
    const BASE: u64 = 1 << 62;
    static ORIGIN: LazyLock<std::time::Instant> = LazyLock::new(std::time::Instant::now);
    let now = tokio::time::Instant::now().into_std();
    match now.checked_duration_since(*ORIGIN) {
        Some(later) => BASE.saturating_add(nanos(later)),
        None => BASE.saturating_sub(nanos(ORIGIN.saturating_duration_since(now))),
    }
}
