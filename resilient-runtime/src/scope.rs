//! What a protected call tells the code inside it: the number of the attempt, and the deadline.
//!
//! Kept in a thread-local that is set while the body runs (of a future: while it is polled), so that nested
//! protected calls inherit it without an argument. It does not follow `spawn`.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::clock::{Clock, Instant};
use crate::outcome::Verdict;

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

    /// Makes this the scope of the thread again, without the retries that need not stand back any longer.
    #[cold]
    fn restore(self) {
        let left = CURRENT.get().standing_back;
        CURRENT.set(Self { standing_back: self.standing_back & left, ..self });
    }

    /// Makes this the scope of the thread until the guard is dropped.
    #[inline]
    pub(crate) fn enter(self) -> Entered {
        Entered { outer: Some(CURRENT.replace(self)) }
    }
}

/// A set of retries, as a bit for each. There are more retries than bits: one that shares its bit with another stands
/// back in its place at times, which costs a repetition and no more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Retries(u32);

impl Retries {
    pub(crate) const NONE: Self = Self(0);

    /// The set of a new retry alone.
    pub(crate) fn next() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        Self(1 << (NEXT.fetch_add(1, Ordering::Relaxed) % u32::BITS))
    }

    #[inline]
    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn contains(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(crate) fn and(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that are in both.
    pub(crate) fn still_in(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

/// The retries that gave up on this thread since a call around them has last looked. That look follows as a rule in the
/// same poll; where it does not, a retry stands back that need not, or the other way round, and the budget bounds both.
#[cold]
pub(crate) fn take_given_up() -> Retries {
    Retries(GIVEN_UP.replace(0))
}

/// These have given up: should a call around them repeat, they stand back in its next attempt.
#[cold]
pub(crate) fn gave_up(retries: Retries) {
    GIVEN_UP.set(GIVEN_UP.get() | retries.0);
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
    static GIVEN_UP: Cell<u32> = const { Cell::new(0) };
}

/// Restores the scope around it, also when the body panics.
#[derive(Debug)]
pub(crate) struct Entered {
    /// `None` where it was not left.
    outer: Option<Scope>,
}

impl Entered {
    /// Where the scope stays as it is.
    #[inline]
    pub(crate) fn none() -> Self {
        Self { outer: None }
    }
}

impl Drop for Entered {
    #[inline]
    fn drop(&mut self) {
        if let Some(outer) = self.outer {
            if outer.standing_back != 0 {
                return outer.restore();
            }
            CURRENT.set(outer);
        }
    }
}

pin_project! {
    /// A future that is polled in a scope.
    #[derive(Debug)]
    pub(crate) struct Scoped<F> {
        #[pin]
        body: F,
        scope: Scope,
    }
}

pub(crate) fn scoped<F: Future>(scope: Scope, body: F) -> Scoped<F> {
    Scoped { body, scope }
}

impl<F: Future> Future for Scoped<F> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        // Each time: it is polled in whatever scope there is then.
        let _entered = this.scope.inside(Scope::current()).enter();
        let poll = this.body.poll(cx);
        if this.scope.standing_back != 0 {
            this.scope.standing_back &= Scope::current().standing_back;
        }
        poll
    }
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
