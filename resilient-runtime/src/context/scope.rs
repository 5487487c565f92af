//! The part of the context that every call reads: the deadline, the attempt number, the timeout.

use std::cell::Cell;

use super::{Enter, Entered, Part, Retries};
use crate::classify::Verdict;
use crate::clock::{Clock, Instant};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    /// From 1; 0 outside of any retry. Contains [`HEDGE`] if a hedge sent the attempt in addition to another one.
    attempt: u32,
    deadline: Instant,
    /// The identity of the clock of `deadline`.
    clock: u32,
    /// The number of the nearest enclosing timeout; 0 if there is none.
    timeout: u32,
    /// The suppressed retries, by their bits in [`Retries`]: an outer call retries because they gave up, so another
    /// retry inside would multiply the attempts.
    suppressed: u32,
}

/// A flag in the attempt number, which keeps the scope small: it is copied with each poll.
const HEDGE: u32 = 1 << 31;

impl Scope {
    const NONE: Self = Self { attempt: 0, deadline: Instant::NEVER, clock: 0, timeout: 0, suppressed: 0 };

    #[inline]
    pub(crate) fn current() -> Self {
        CURRENT.get()
    }

    /// Sets the number of the attempt of the nearest retry, and suppresses more retries in it.
    #[inline]
    pub(crate) fn with_attempt(self, number: u32, suppressed: Retries) -> Self {
        Self { attempt: number, suppressed: self.suppressed | suppressed.0, ..self }
    }

    /// Sets whether a hedge sent the attempt in addition to another one.
    pub(crate) fn hedged(self, is_hedge: bool) -> Self {
        let number = self.attempt & !HEDGE;
        Self { attempt: if is_hedge { number | HEDGE } else { number }, ..self }
    }

    /// Sets the deadline, unless the current one is earlier: no scope extends a deadline.
    #[inline]
    pub(crate) fn with_deadline(self, deadline: Instant, clock: &Clock) -> Self {
        if deadline == Instant::NEVER {
            return self;
        }
        let deadline =
            if self.deadline == Instant::NEVER { deadline } else { deadline.min(self.deadline_on(clock)) };
        Self { deadline, clock: clock.identity(), ..self }
    }

    /// Combines this carried scope with the current one, `around`: the earlier deadline applies.
    #[inline]
    fn inside(self, around: Self) -> Self {
        if around.deadline == Instant::NEVER && around.suppressed == 0 { self } else { self.narrowed(around) }
    }

    fn narrowed(self, around: Self) -> Self {
        let suppressed = self.suppressed | around.suppressed;
        let (deadline, clock) = if around.deadline == Instant::NEVER {
            (self.deadline, self.clock)
        } else if self.deadline == Instant::NEVER || self.clock == around.clock {
            (self.deadline.min(around.deadline), around.clock)
        } else {
            let earlier = match around.deadline() {
                Some((deadline, clock)) => self.with_deadline(deadline, &clock),
                None => self,
            };
            (earlier.deadline, earlier.clock)
        };
        Self { deadline, clock, suppressed, ..self }
    }

    /// Returns the inherited deadline on `clock`. A deadline of another clock is converted by its remaining time.
    #[inline]
    pub(crate) fn deadline_on(self, clock: &Clock) -> Instant {
        if self.deadline == Instant::NEVER || self.clock == clock.identity() {
            return self.deadline;
        }
        self.deadline_carried_to(clock)
    }

    #[cold]
    fn deadline_carried_to(self, clock: &Clock) -> Instant {
        match self.deadline() {
            Some((deadline, theirs)) => clock.now().after(deadline.since(theirs.now())),
            None => Instant::NEVER,
        }
    }

    /// Returns the inherited deadline and its clock.
    pub(crate) fn deadline(self) -> Option<(Instant, Clock)> {
        if self.deadline == Instant::NEVER {
            return None;
        }
        Clock::identified(self.clock).map(|clock| (self.deadline, clock))
    }

    /// Sets the number of the nearest enclosing timeout.
    #[inline]
    pub(crate) fn in_timeout(self, number: u32) -> Self {
        Self { timeout: number, ..self }
    }

    /// Returns the number of the nearest enclosing timeout; 0 if there is none.
    pub(crate) fn timeout(self) -> u32 {
        self.timeout
    }

    /// Returns the suppressed retries.
    #[inline]
    pub(crate) fn suppressed(self) -> Retries {
        Retries(self.suppressed)
    }

    /// Whether the body cannot distinguish this scope from attempt `number` of a retry.
    #[inline]
    pub(crate) fn is_as_in_attempt(self, number: u32) -> bool {
        number == 1 && self.attempt <= 1
    }

    #[cold]
    fn restore_suppressed(self) {
        let left = CURRENT.get().suppressed;
        CURRENT.set(Self { suppressed: self.suppressed & left, ..self });
    }

    /// Makes this the current scope of the thread until the guard is dropped.
    #[inline]
    pub(crate) fn enter(self) -> Entered {
        Entered::from(CURRENT.replace(self))
    }
}

impl Part for Scope {
    /// Makes this the current scope again, without the retries that are no longer suppressed.
    #[inline]
    fn restore(self) {
        if self.suppressed == 0 { CURRENT.set(self) } else { self.restore_suppressed() }
    }
}

impl Enter for Scope {
    /// Enters with the earlier of this and the current deadline.
    #[inline]
    fn enter(&self) -> impl Sized + use<> {
        self.inside(Self::current()).enter()
    }

    #[inline]
    fn polled(&mut self) {
        if self.suppressed != 0 {
            self.suppressed &= Self::current().suppressed;
        }
    }
}

/// Stops suppressing a retry after a call of it succeeded: a later failure in the attempt of the outer call is a new
/// one, and can be retried.
#[cold]
pub(crate) fn stop_suppressing(retry: Retries) {
    let scope = Scope::current();
    CURRENT.set(Scope { suppressed: scope.suppressed & !retry.0, ..scope });
}

/// Whether a call without the attribute that ends now with `verdict` may have failed only because an outer deadline
/// passed. Its result then says nothing about the dependency.
#[cold]
pub(crate) fn is_cut_short(verdict: Verdict, clock: &Clock) -> bool {
    let deadline = Scope::current().deadline_on(clock);
    let may_be = matches!(verdict, Verdict::Failure(class) if class.may_be_cut_short());
    may_be && deadline != Instant::NEVER && clock.now() >= deadline
}

thread_local! {
    static CURRENT: Cell<Scope> = const { Cell::new(Scope::NONE) };
}

/// Returns the number of the current attempt: 1 for the first attempt and outside of any retry.
///
/// ```
/// use resilient_runtime::{Registry, clock::ManualClock};
///
/// let retry = Registry::with_clock(ManualClock::new().clock()).retry("r");
/// let third = retry.call(|| if resilient_runtime::attempt() < 3 { Err("again") } else { Ok(resilient_runtime::attempt()) });
/// assert_eq!(third, Ok(3));
/// ```
pub fn attempt() -> u32 {
    (Scope::current().attempt & !HEDGE).max(1)
}

/// Whether a hedge sent the current attempt, because another attempt was slow or failed.
///
/// If it was sent because another attempt was slow, [`attempt`] is the number of that attempt. If it was sent after a
/// failure, it is a retry; in a call with a retry stage it has its own number.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient_runtime::{Registry, is_hedge};
///
/// let hedge = Registry::new().hedge("replicas");
/// let row = hedge.call_async(async || if is_hedge() { Some("row of the second replica") } else { None });
/// assert_eq!(row.await, Some("row of the second replica"));
/// assert!(!is_hedge());
/// # }
/// ```
pub fn is_hedge() -> bool {
    Scope::current().attempt & HEDGE != 0
}
