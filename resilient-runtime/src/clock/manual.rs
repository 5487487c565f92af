//! A clock that moves only when it is advanced.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use super::{Clock, Instant, Source, nanos};
use crate::sync::Mutex;
use crate::weak_table::WeakTable;

/// A handle that moves a test's clock.
///
/// Clones move the same clock. [`advance`](Self::advance) wakes timers that are due, in the order of their
/// deadlines.
///
/// ```
/// use std::time::Duration;
/// let time = resilient_runtime::clock::ManualClock::new();
/// let start = time.clock().now();
/// time.advance(Duration::from_millis(5));
/// assert_eq!(time.clock().now().since(start), Duration::from_millis(5));
/// ```
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Manual>);

impl ManualClock {
    /// Creates a clock that starts at one hour, so that it can be moved back.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::clock::ManualClock;
    ///
    /// let (one, other) = (ManualClock::new(), ManualClock::new());
    /// one.advance(Duration::from_secs(1));
    /// assert!(one.clock().now() > other.clock().now(), "each clock moves independently");
    /// ```
    pub fn new() -> Self {
        let hour = nanos(Duration::from_hours(1));
        Self(known().join(|number| Manual { number, now: AtomicU64::new(hour), timers: Mutex::default() }))
    }

    /// Returns the clock to pass to a registry.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, clock::ManualClock};
    ///
    /// let time = ManualClock::new();
    /// let breaker = Registry::with_clock(time.clock()).circuit_breaker("payment");
    /// assert!(breaker.stats().unchanged_for.is_zero());
    /// ```
    pub fn clock(&self) -> Clock {
        Clock(Source::Manual(Arc::clone(&self.0)))
    }

    /// Moves the clock forward and wakes the timers that are due.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use resilient_runtime::{Component, Registry, Rejection, clock::ManualClock, timeout::Config};
    ///
    /// let time = ManualClock::new();
    /// let timeout = Registry::with_clock(time.clock()).timeout("report");
    /// timeout.reconfigure(Config::default().total(Duration::from_secs(9))).unwrap();
    /// let hangs = timeout.call_async(std::future::pending::<Result<(), Rejection>>);
    /// let (late, ()) = tokio::join!(hangs, async { time.advance(Duration::from_secs(9)) });
    /// assert!(late.unwrap_err().is_timeout());
    /// # }
    /// ```
    pub fn advance(&self, span: Duration) {
        self.0.advance(span);
    }

    /// Moves the clock back.
    ///
    /// Real monotonic clocks do not move back. Components must still tolerate it, and this method tests that.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::clock::ManualClock;
    ///
    /// let time = ManualClock::new();
    /// let before = time.clock().now();
    /// time.rewind(Duration::from_secs(1));
    /// assert!(time.clock().now() < before);
    /// ```
    pub fn rewind(&self, span: Duration) {
        let back = |now: u64| Some(now.saturating_sub(nanos(span)));
        let _ = self.0.now.fetch_update(Ordering::AcqRel, Ordering::Acquire, back);
    }

    /// The number of timers that are waiting on this clock.
    #[cfg(test)]
    pub(crate) fn timers(&self) -> usize {
        self.0.timers.lock().waiting.len()
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

#[derive(Debug)]
pub(super) struct Manual {
    number: u32,
    now: AtomicU64,
    timers: Mutex<Timers>,
}

/// All manual clocks by number, so that the clock of a point in time can be found. The numbers 0 and 1 belong to
/// the other clocks.
fn known() -> std::sync::MutexGuard<'static, WeakTable<Manual>> {
    static KNOWN: std::sync::Mutex<WeakTable<Manual>> = std::sync::Mutex::new(WeakTable::after(1));
    KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Returns the manual clock with this number, if it still exists.
pub(super) fn find(number: u32) -> Option<Arc<Manual>> {
    known().find(number)
}

impl Drop for Manual {
    fn drop(&mut self) {
        known().leave(self.number);
    }
}

#[derive(Debug, Default)]
struct Timers {
    waiting: BTreeMap<(Instant, u64), Waker>,
    last_id: u64,
}

impl Manual {
    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn now(&self) -> Instant {
        Instant::from_nanos(self.now.load(Ordering::Acquire))
    }

    pub(super) fn advance(&self, span: Duration) {
        let forward = |now: u64| Some(now.saturating_add(nanos(span)));
        let _ = self.now.fetch_update(Ordering::AcqRel, Ordering::Acquire, forward);
        let now = self.now();
        let due = {
            let mut timers = self.timers.lock();
            let later = timers.waiting.split_off(&(now.after(Duration::from_nanos(1)), 0));
            std::mem::replace(&mut timers.waiting, later)
        };
        // Wake outside the lock: a woken task can arm a new timer immediately.
        due.into_values().for_each(Waker::wake);
    }

    /// Registers a waker for `at`. Pass the returned key to [`forget`](Self::forget) to remove it.
    pub(super) fn register(&self, at: Instant, waker: Waker) -> (Instant, u64) {
        let mut timers = self.timers.lock();
        timers.last_id += 1;
        let key = (at, timers.last_id);
        timers.waiting.insert(key, waker);
        key
    }

    pub(super) fn forget(&self, key: (Instant, u64)) {
        let waker = self.timers.lock().waiting.remove(&key);
        // Drop outside the lock: dropping the waker can end a task that owns timers.
        drop(waker);
    }

    pub(super) fn park(&self, until: Instant) {
        let key = self.register(until, unparker());
        if self.now() < until {
            std::thread::park();
        }
        self.forget(key);
    }

    #[cfg(feature = "chaos")]
    pub(super) fn park_at_most(&self, until: Instant, span: Duration) {
        let key = self.register(until, unparker());
        if self.now() < until {
            std::thread::park_timeout(span);
        }
        self.forget(key);
    }
}

/// Returns a waker that unparks the current thread. A thread creates it once, so that a rejected call allocates nothing.
pub(crate) fn unparker() -> Waker {
    thread_local! {
        static UNPARKER: Waker = new_unparker();
    }
    // While the thread ends, its variables may be gone.
    UNPARKER.try_with(Waker::clone).unwrap_or_else(|_| new_unparker())
}

fn new_unparker() -> Waker {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    Waker::from(Arc::new(Unpark(std::thread::current())))
}
