//! What a protected call tells the code inside it: the number of the attempt, and the deadline.
//!
//! Kept in a thread-local that is set while the body runs (of a future: while it is polled), so that nested
//! protected calls inherit it without an argument. It does not follow `spawn`.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use crate::clock::{Clock, Instant};

#[derive(Clone, Copy, Debug)]
pub(crate) struct Scope {
    /// From 1; 0 outside of any retry. With [`REPEATING`] if any call around the body is at its second attempt or later.
    attempt: u32,
    deadline: Instant,
    /// The clock that `deadline` is on.
    clock: u32,
    /// The timeout nearest to the body, by its number; 0 where there is none.
    timeout: u32,
}

/// A mark beside the number of the attempt: a scope is copied with each poll.
const REPEATING: u32 = 1 << 31;

impl Scope {
    const NONE: Self = Self { attempt: 0, deadline: Instant::NEVER, clock: 0, timeout: 0 };

    #[inline]
    pub(crate) fn current() -> Self {
        CURRENT.get()
    }

    /// The same deadline, and attempt `number` of the retry nearest to the body.
    #[inline]
    pub(crate) fn with_attempt(self, number: u32) -> Self {
        let repeating = if number > 1 { REPEATING } else { self.attempt & REPEATING };
        Self { attempt: number | repeating, ..self }
    }

    /// With this deadline, if it is one: none does not lift that of another clock.
    #[inline]
    pub(crate) fn with_deadline(self, deadline: Instant, clock: &Clock) -> Self {
        if deadline == Instant::NEVER {
            return self;
        }
        Self { deadline, clock: clock.identity(), ..self }
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

    /// Whether a call around this one is at its second attempt or later.
    #[inline]
    pub(crate) fn inside_retry(self) -> bool {
        self.attempt & REPEATING != 0
    }

    /// Whether the body would see no difference to this scope in attempt `number` of a retry.
    #[inline]
    pub(crate) fn is_as_in_attempt(self, number: u32) -> bool {
        number == 1 && self.attempt & !REPEATING <= 1
    }

    /// Makes this the scope of the thread until the guard is dropped.
    #[inline]
    pub(crate) fn enter(self) -> Entered {
        Entered { outer: Some(CURRENT.replace(self)) }
    }
}

thread_local! {
    static CURRENT: Cell<Scope> = const { Cell::new(Scope::NONE) };
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
        let _entered = this.scope.enter();
        this.body.poll(cx)
    }
}

/// The number of the attempt in which this code runs: 1 for the first, and outside of any retry.
///
/// ```
/// use resilient::{Registry, clock::ManualClock};
///
/// let retry = Registry::with_clock(ManualClock::new().clock()).retry("r");
/// let third = retry.call(|| if resilient::attempt() < 3 { Err("again") } else { Ok(resilient::attempt()) });
/// assert_eq!(third, Ok(3));
/// ```
pub fn attempt() -> u32 {
    (Scope::current().attempt & !REPEATING).max(1)
}
