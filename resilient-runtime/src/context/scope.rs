//! The part of the context that every call reads: the deadline, the number of the attempt, the timeout.

use std::cell::Cell;

use super::{Enter, Entered, Part, Retries};
use crate::classify::Verdict;
use crate::clock::{Clock, Instant};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    /// From 1; 0 outside of any retry. With [`HEDGE`] if the attempt was sent beside or after another one by a hedge.
    attempt: u32,
    deadline: Instant,
    /// The clock that `deadline` is on.
    clock: u32,
    /// The timeout nearest to the body, by its number; 0 where there is none.
    timeout: u32,
    /// The retries that must not repeat here, by their bits in [`Retries`]: a call around this code repeats because they
    /// gave up, so that repeating inside as well would multiply.
    standing_back: u32,
}

/// A mark beside the number of the attempt: a scope is copied with each poll.
const HEDGE: u32 = 1 << 31;

impl Scope {
    const NONE: Self = Self { attempt: 0, deadline: Instant::NEVER, clock: 0, timeout: 0, standing_back: 0 };

    #[inline]
    pub(crate) fn current() -> Self {
        CURRENT.get()
    }

    /// The same deadline, and attempt `number` of the retry nearest to the body; in it, `standing_back` retries stand back
    /// besides those that do so already.
    #[inline]
    pub(crate) fn with_attempt(self, number: u32, standing_back: Retries) -> Self {
        Self { attempt: number, standing_back: self.standing_back | standing_back.0, ..self }
    }

    /// In an attempt that a hedge has sent beside or after another one, or in the one before those.
    pub(crate) fn hedged(self, is_hedge: bool) -> Self {
        let number = self.attempt & !HEDGE;
        Self { attempt: if is_hedge { number | HEDGE } else { number }, ..self }
    }

    /// With this deadline, or that of the calls around if it is earlier: no scope extends the time of another.
    #[inline]
    pub(crate) fn with_deadline(self, deadline: Instant, clock: &Clock) -> Self {
        if deadline == Instant::NEVER {
            return self;
        }
        let deadline =
            if self.deadline == Instant::NEVER { deadline } else { deadline.min(self.deadline_on(clock)) };
        Self { deadline, clock: clock.identity(), ..self }
    }

    /// This scope, taken along to where `around` is the scope: with the earlier deadline of the two.
    #[inline]
    fn inside(self, around: Self) -> Self {
        if around.deadline == Instant::NEVER && around.standing_back == 0 {
            self
        } else {
            self.narrowed(around)
        }
    }

    fn narrowed(self, around: Self) -> Self {
        let standing_back = self.standing_back | around.standing_back;
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
        Self { deadline, clock, standing_back, ..self }
    }

    /// The deadline of the calls around this one. From another clock it is carried over by the time that remains.
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

    /// The deadline of the calls around, and the clock that it is on.
    pub(crate) fn deadline(self) -> Option<(Instant, Clock)> {
        if self.deadline == Instant::NEVER {
            return None;
        }
        Clock::identified(self.clock).map(|clock| (self.deadline, clock))
    }

    /// Inside of the timeout of this number.
    #[inline]
    pub(crate) fn in_timeout(self, number: u32) -> Self {
        Self { timeout: number, ..self }
    }

    /// The number of the timeout nearest to the body; 0 where there is none.
    pub(crate) fn timeout(self) -> u32 {
        self.timeout
    }

    /// The retries that stand back here.
    #[inline]
    pub(crate) fn standing_back(self) -> Retries {
        Retries(self.standing_back)
    }

    /// Whether the body would see no difference to this scope in attempt `number` of a retry.
    #[inline]
    pub(crate) fn is_as_in_attempt(self, number: u32) -> bool {
        number == 1 && self.attempt <= 1
    }

    #[cold]
    fn restore_standing_back(self) {
        let left = CURRENT.get().standing_back;
        CURRENT.set(Self { standing_back: self.standing_back & left, ..self });
    }

    /// Makes this the scope of the thread until the guard is dropped.
    #[inline]
    pub(crate) fn enter(self) -> Entered {
        Entered::from(CURRENT.replace(self))
    }
}

impl Part for Scope {
    /// Makes this the scope of the thread again, without the retries that need not stand back any longer.
    #[inline]
    fn restore(self) {
        if self.standing_back == 0 { CURRENT.set(self) } else { self.restore_standing_back() }
    }
}

impl Enter for Scope {
    /// With the earlier deadline of this and what is around.
    #[inline]
    fn enter(&self) -> impl Sized + use<> {
        self.inside(Self::current()).enter()
    }

    #[inline]
    fn polled(&mut self) {
        if self.standing_back != 0 {
            self.standing_back &= Self::current().standing_back;
        }
    }
}

/// A call of this retry has succeeded: what fails from here on in the attempt of the call around is another matter, and may
/// be repeated again.
#[cold]
pub(crate) fn stand_back_no_longer(retry: Retries) {
    let scope = Scope::current();
    CURRENT.set(Scope { standing_back: scope.standing_back & !retry.0, ..scope });
}

/// Whether a call by hand that ends in this way at this moment may have failed only because the deadline of the calls around
/// it is over. Then its end is no evidence.
#[cold]
pub(crate) fn is_cut_short(verdict: Verdict, clock: &Clock) -> bool {
    let deadline = Scope::current().deadline_on(clock);
    let may_be = matches!(verdict, Verdict::Failure(class) if class.may_be_cut_short());
    may_be && deadline != Instant::NEVER && clock.now() >= deadline
}

thread_local! {
    static CURRENT: Cell<Scope> = const { Cell::new(Scope::NONE) };
}

/// The number of the attempt in which this code runs: 1 for the first, and outside of any retry.
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

/// Whether this code runs in an attempt that a hedge has sent beside another one, or at once after another one failed.
///
/// [`attempt`] of an attempt that was sent because another was slow is that of the other. One that was sent at once after a
/// failure is a repetition and, where the call has a retry, has a number of its own.
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
