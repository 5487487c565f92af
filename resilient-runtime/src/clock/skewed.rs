//! A clock that fault injection can skew.
//!
//! Only differences of a monotonic clock have a meaning. A skew therefore never moves the clock back: it jumps ahead, or
//! runs at another speed. At the end of a fault the clock runs at its usual speed again, and keeps its distance from the
//! clock beneath it. Waiting timers and threads follow the skewed clock, because each change wakes them to wait anew.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use super::{BoxedTimer, Clock, Instant, NoTimer, Source, nanos, unparker};
use crate::sync::{AtomicU64, Mutex, Ordering};
use crate::waiters::{Place, Waiters};
use crate::weak_table::WeakTable;

/// A fault that changes the speed of a clock while it lasts.
pub(crate) trait SpeedFault: Send + Sync {
    fn is_over(&self) -> bool;

    /// Returns when its lease ends on the clock beneath, in nanoseconds.
    fn end(&self) -> u64;

    /// Returns the time until its lease ends.
    fn left(&self) -> Duration;
}

impl fmt::Debug for dyn SpeedFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpeedFault").field("is_over", &self.is_over()).finish_non_exhaustive()
    }
}

/// Numbers of skewable clocks have this bit, so that they differ from the numbers of manual clocks.
pub(super) const NUMBERS: u32 = 1 << 31;

fn known() -> std::sync::MutexGuard<'static, WeakTable<Skewed>> {
    static KNOWN: std::sync::Mutex<WeakTable<Skewed>> = std::sync::Mutex::new(WeakTable::after(NUMBERS));
    KNOWN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

pub(super) fn find(number: u32) -> Option<Arc<Skewed>> {
    known().find(number)
}

pub(crate) struct Skewed {
    number: u32,
    base: Clock,
    /// Odd while the clock runs at another speed. It changes with each change of the skew, so that a reader that sees
    /// the same even number before and after reading `offset` has read the one that belongs to it.
    epoch: AtomicU64,
    /// Added to the time of `base`, wrapping, while the epoch is even.
    offset: AtomicU64,
    /// The latest time that was read under the lock. A processor can read its time before the epoch, as an earlier time.
    floor: AtomicU64,
    state: Mutex<State>,
    waiters: Waiters,
}

/// The skew since the last change, in nanoseconds.
#[derive(Debug)]
struct State {
    /// The time of `base`, and of this clock, at the last change.
    base: u64,
    value: u64,
    /// The faults that change the speed. Weak: a fault has this clock.
    faults: Vec<(f64, Weak<dyn SpeedFault>)>,
}

impl State {
    fn speed(&self) -> f64 {
        self.faults.iter().map(|(speed, _)| speed).product()
    }

    /// Moves the last change to `base`. Faults that are over count until they ended.
    fn settle(&mut self, base: u64) {
        let ended = |(_, fault): &(f64, Weak<dyn SpeedFault>)| match fault.upgrade() {
            Some(fault) => fault.is_over().then(|| fault.end()),
            None => Some(base),
        };
        // Each with the end of its lease, the first end first.
        while let Some((end, index)) =
            (0..self.faults.len()).filter_map(|index| Some((ended(&self.faults[index])?, index))).min()
        {
            self.run(end.clamp(self.base, base.max(self.base)));
            self.faults.remove(index);
        }
        self.run(base);
    }

    /// Returns the time until the next fault is over.
    fn left(&self) -> Duration {
        let left =
            |fault: &Weak<dyn SpeedFault>| fault.upgrade().map_or(Duration::ZERO, |fault| fault.left());
        self.faults.iter().map(|(_, fault)| left(fault)).min().unwrap_or_default()
    }

    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates
    fn run(&mut self, base: u64) {
        let passed = base.saturating_sub(self.base);
        let speed = self.speed();
        let passed = if (speed - 1.0).abs() < f64::EPSILON { passed } else { (passed as f64 * speed) as u64 };
        self.base = self.base.max(base);
        self.value = self.value.saturating_add(passed);
    }
}

impl fmt::Debug for Skewed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Skewed").field("base", &self.base).finish_non_exhaustive()
    }
}

impl Drop for Skewed {
    fn drop(&mut self) {
        known().leave(self.number);
    }
}

impl Skewed {
    pub(super) fn of(base: Clock) -> Arc<Self> {
        let now = base.now().as_nanos();
        known().join(|number| Self {
            number,
            base,
            epoch: AtomicU64::new(0),
            offset: AtomicU64::new(0),
            floor: AtomicU64::new(0),
            state: Mutex::new(State { base: now, value: now, faults: Vec::new() }),
            waiters: Waiters::default(),
        })
    }

    pub(super) fn number(&self) -> u32 {
        self.number
    }

    pub(super) fn base(&self) -> &Clock {
        &self.base
    }

    pub(super) fn now(&self) -> Instant {
        let epoch = self.epoch.load(Ordering::Acquire);
        if epoch.is_multiple_of(2) {
            // Between the two readings of the epoch: with an older time and the offset after a slow phase, the clock
            // would move back.
            let base = self.base.now().as_nanos();
            let offset = self.offset.load(Ordering::Acquire);
            if self.epoch.load(Ordering::Acquire) == epoch {
                let floor = self.floor.load(Ordering::Acquire);
                return Instant::from_nanos(base.wrapping_add(offset).max(floor));
            }
        }
        self.now_slowly(self.base.now().as_nanos())
    }

    #[cold]
    fn now_slowly(&self, base: u64) -> Instant {
        let mut state = self.state.lock();
        let (before, value) = (state.faults.len(), self.settled(&mut state, base));
        let is_changed = state.faults.len() != before;
        drop(state);
        if is_changed {
            self.waiters.wake_all();
        }
        Instant::from_nanos(value)
    }

    /// Settles the state at `base`, and publishes a change. Returns the time.
    fn settled(&self, state: &mut State, base: u64) -> u64 {
        let before = state.faults.len();
        state.settle(base);
        self.floor.fetch_max(state.value, Ordering::AcqRel);
        if state.faults.len() != before {
            self.publish(state);
        }
        state.value
    }

    /// Publishes a change of the state, which must be settled.
    fn publish(&self, state: &State) {
        let epoch = self.epoch.load(Ordering::Relaxed);
        // Odd in between, so that no reader uses the offset.
        self.epoch.store(epoch | 1, Ordering::SeqCst);
        self.offset.store(state.value.wrapping_sub(state.base), Ordering::SeqCst);
        let next = (epoch | 1) + 1;
        self.epoch.store(if state.faults.is_empty() { next } else { next + 1 }, Ordering::SeqCst);
    }

    /// Returns when `at` is reached on the clock beneath, and whether that is final. If not, look again then.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates
    fn on_base(&self, at: Instant) -> (Instant, bool) {
        let now = self.base.now();
        let mut state = self.state.lock();
        let value = self.settled(&mut state, now.as_nanos());
        let span = at.as_nanos().saturating_sub(value);
        if state.faults.is_empty() {
            return (now.after(Duration::from_nanos(span)), true);
        }
        let reached = span as f64 / state.speed();
        let reached = now.after(Duration::from_nanos(if reached.is_finite() {
            reached.ceil() as u64
        } else {
            u64::MAX
        }));
        let end = now.after(state.left());
        (reached.min(end), reached <= end)
    }

    pub(super) fn sleep(&self, span: Duration) {
        let until = self.now().after(span);
        if self.base.moves_by_itself() {
            // Not `sleep` of the clock beneath, which the end of a fault could not wake.
            while !self.park(until) {}
            return;
        }
        loop {
            let (at, is_final) = self.on_base(until);
            self.base.sleep(at.since(self.base.now()));
            if is_final {
                break;
            }
        }
    }

    pub(super) fn park(&self, until: Instant) -> bool {
        let mut place = None;
        self.waiters.register(&mut place, unparker());
        let (at, is_final) = self.on_base(until);
        let is_reached = self.base.park(at) && is_final;
        self.waiters.leave(place.as_ref());
        is_reached
    }

    pub(super) fn park_at_most(&self, until: Instant, span: Duration) {
        let mut place = None;
        self.waiters.register(&mut place, unparker());
        self.base.park_at_most(self.on_base(until).0, span);
        self.waiters.leave(place.as_ref());
    }

    /// Returns the span of this clock that passes in at least `span` of the clock beneath.
    pub(super) fn scaled(&self, span: Duration) -> Duration {
        let speed = self.state.lock().speed().min(1.0);
        let scaled = Duration::try_from_secs_f64(span.as_secs_f64() * speed).unwrap_or(span);
        // Never zero, which would be reached at once: on a stopped clock it is reached after the clock runs again.
        scaled.max(Duration::from_nanos(1)).min(span)
    }
}

impl Skewed {
    /// Moves the clock ahead by `jump`, and changes its speed while the fault lasts. Call [`update`](Self::update) after
    /// this.
    pub(crate) fn skew(&self, jump: Duration, speed: f64, fault: Weak<dyn SpeedFault>) {
        let mut state = self.state.lock();
        // Odd before the time is read: otherwise a reader could use the old offset with a later time.
        self.epoch.fetch_or(1, Ordering::SeqCst);
        // A processor can read its time a little after the epoch that is read later in the program. About a microsecond.
        for _ in 0..100 {
            std::hint::spin_loop();
        }
        state.settle(self.base.now().as_nanos());
        state.value = state.value.saturating_add(nanos(jump));
        if (speed - 1.0).abs() > f64::EPSILON {
            state.faults.push((speed, fault));
        }
        self.publish(&state);
    }

    /// Applies that faults have changed or ended, and lets all that wait look again.
    pub(crate) fn update(&self) {
        self.now_slowly(self.base.now().as_nanos());
        self.waiters.wake_all();
    }
}

/// A timer of a skewable clock.
#[derive(Debug)]
pub(crate) struct SkewedWait {
    clock: Arc<Skewed>,
    at: Instant,
    /// The timer of the clock beneath, and the epoch for which it was armed.
    timer: Option<(BoxedTimer, u64)>,
    place: Option<Place>,
}

impl SkewedWait {
    pub(super) fn armed(clock: &Arc<Skewed>, at: Instant) -> Result<Self, NoTimer> {
        let mut wait = Self { clock: Arc::clone(clock), at, timer: None, place: None };
        wait.arm()?;
        Ok(wait)
    }

    fn arm(&mut self) -> Result<(), NoTimer> {
        let epoch = self.clock.epoch.load(Ordering::Acquire);
        let (at, _) = self.clock.on_base(self.at);
        self.timer = Some((BoxedTimer::armed(&self.clock.base, at)?, epoch));
        Ok(())
    }
}

impl Future for SkewedWait {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        this.clock.waiters.register(&mut this.place, cx.waker().clone());
        loop {
            // After registering, so that a change in between is not missed.
            let epoch = this.clock.epoch.load(Ordering::Acquire);
            if this.clock.now() >= this.at {
                return Poll::Ready(());
            }
            match &mut this.timer {
                Some((timer, armed)) if *armed == epoch => {
                    if Pin::new(timer).poll(cx).is_pending() {
                        return Poll::Pending;
                    }
                    this.timer = None;
                }
                // Without a runtime, there was no timer in the first place.
                _ => {
                    if this.arm() == Err(NoTimer) {
                        return Poll::Ready(());
                    }
                }
            }
        }
    }
}

impl Drop for SkewedWait {
    fn drop(&mut self) {
        self.clock.waiters.leave(self.place.take().as_ref());
    }
}

impl Clock {
    /// Returns this clock so that [`Fault::skew_clock`](crate::chaos::Fault::skew_clock) can skew it.
    ///
    /// Without a fault, it is the same time at a slightly higher cost for each reading.
    ///
    /// ```
    /// use resilient_runtime::{Registry, clock::Clock};
    ///
    /// let registry = Registry::with_clock(Clock::system().skewable());
    /// let before = Clock::system().now();
    /// assert!(registry.clock().now() >= before);
    /// ```
    #[must_use]
    pub fn skewable(self) -> Self {
        match self.0 {
            Source::Skewed(_) => self,
            _ => Self(Source::Skewed(Skewed::of(self))),
        }
    }
}
