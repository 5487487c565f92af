//! Several attempts of one call at the same time.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::Hedge;
use crate::budget::RetryBudget;
use crate::clock::{Clock, Instant, Timer};

/// What an attempt is worth to the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RaceOutcome {
    /// The call ends with it.
    Decides,
    /// Another may do better.
    Failed,
    /// It ran out of the call's own time: there is none for another.
    TooLate,
    /// It was not made, and another would not be, either; or it says nothing for another reason.
    Refused,
}

/// Which attempt is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    First,
    /// One beside a slow one, or after one that failed, which makes it one of so many repetitions.
    Hedge {
        repeated: u32,
    },
}

/// How many attempts may be sent besides the first, as far as the call around bounds that, too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    /// Beside slow ones.
    pub(crate) beside: u32,
    /// After one that failed.
    pub(crate) repeated: u32,
    /// None is sent after this.
    pub(crate) until: Instant,
}

impl Left {
    pub(crate) const UNBOUNDED: Self = Self { beside: u32::MAX, repeated: u32::MAX, until: Instant::NEVER };
    pub(crate) const NONE: Self = Self { beside: 0, repeated: 0, until: Instant::NEVER };
}

/// How many were sent besides the first.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    pub(crate) beside: u32,
    pub(crate) repeated: u32,
}

/// Why another attempt is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Because {
    Slow,
    Failed,
}

pin_project! {
    /// Makes attempts until one decides: the first, and with `Hedge`'s delay, or at once after a failure, others.
    ///
    /// # Cancel safety
    /// Dropping it drops all attempts; each counts for as long as it has run.
    pub(crate) struct Race<'h, F: Future, S, J> {
        hedge: &'h Hedge,
        budget: &'h RetryBudget,
        clock: &'h Clock,
        send: S,
        judge: J,
        #[pin]
        first: Option<F>,
        first_started: Instant,
        // Boxed: of most calls there are none.
        others: Vec<Other<F>>,
        // What failed while others run, for when they are refused.
        failed: Option<F::Output>,
        sent: u32,
        left: Left,
        spent: Spent,
        #[pin]
        timer: Option<Timer>,
        // The timer was armed, or there is none to be had.
        is_waiting: bool,
        is_begun: bool,
    }

    impl<F: Future, S, J> PinnedDrop for Race<'_, F, S, J> {
        fn drop(this: Pin<&mut Self>) {
            this.lose();
        }
    }
}

impl<F: Future, S, J> Race<'_, F, S, J> {
    /// What still runs has lost. It counts for as long as it has run: it would have taken longer.
    fn lose(self: Pin<&mut Self>) {
        let mut this = self.project();
        if this.first.is_some() {
            this.hedge.took(this.clock, *this.first_started, RaceOutcome::Failed);
            this.first.set(None);
        }
        for other in this.others.drain(..) {
            this.hedge.took(this.clock, other.started, RaceOutcome::Failed);
        }
    }
}

struct Other<F> {
    attempt: Pin<Box<F>>,
    started: Instant,
}

impl<'h, F, S, J> Race<'h, F, S, J>
where
    F: Future,
    S: FnMut(Sent) -> F,
    J: FnMut(&mut F::Output) -> RaceOutcome,
{
    /// The first attempt has started at `now`, and is sent with the first poll; `judge` is shown each that ends.
    #[inline]
    pub(crate) fn new(
        hedge: &'h Hedge,
        budget: &'h RetryBudget,
        clock: &'h Clock,
        now: Instant,
        left: Left,
        send: S,
        judge: J,
    ) -> Self {
        Self {
            hedge,
            budget,
            clock,
            send,
            judge,
            first: None,
            first_started: now,
            others: Vec::new(),
            failed: None,
            sent: 0,
            left,
            spent: Spent::default(),
            timer: None,
            is_waiting: false,
            is_begun: false,
        }
    }

    fn poll_attempts(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Option<(F::Output, RaceOutcome)> {
        let mut this = self.project();
        let mut latest = None;
        if let Some(first) = this.first.as_mut().as_pin_mut()
            && let Poll::Ready(mut output) = first.poll(cx)
        {
            this.first.set(None);
            let worth = (this.judge)(&mut output);
            this.hedge.took(this.clock, *this.first_started, worth);
            if worth == RaceOutcome::Decides {
                return Some((output, worth));
            }
            latest = Some((output, worth));
        }
        let mut index = 0;
        while let Some(other) = this.others.get_mut(index) {
            let Poll::Ready(mut output) = other.attempt.as_mut().poll(cx) else {
                index += 1;
                continue;
            };
            let Other { started, .. } = this.others.swap_remove(index);
            let worth = (this.judge)(&mut output);
            this.hedge.took(this.clock, started, worth);
            latest = Some((output, worth));
            if worth == RaceOutcome::Decides {
                this.hedge.counters.won();
                return latest;
            }
        }
        latest
    }

    /// Sends another attempt if there may be one.
    fn hedge(self: Pin<&mut Self>, because: Because) -> bool {
        let mut this = self.project();
        this.timer.set(None);
        *this.is_waiting = false;
        let (spent, left) = match because {
            Because::Slow => (&mut this.spent.beside, this.left.beside),
            Because::Failed => (&mut this.spent.repeated, this.left.repeated),
        };
        if *this.sent >= this.hedge.max() || *spent >= left {
            return false;
        }
        if this.left.until != Instant::NEVER && this.clock.now() > this.left.until {
            return false;
        }
        if !this.budget.try_withdraw() {
            this.hedge.counters.denied();
            *this.sent = u32::MAX;
            return false;
        }
        *this.sent += 1;
        *spent += 1;
        this.hedge.sent(*this.sent);
        let attempt = Box::pin((this.send)(Sent::Hedge { repeated: this.spent.repeated }));
        this.others.push(Other { attempt, started: this.clock.now() });
        true
    }

    /// Whether it is time for another attempt; arms the timer where there is none yet.
    fn poll_delay(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let mut this = self.project();
        let may_be_sent = *this.sent < this.hedge.max() && this.spent.beside < this.left.beside;
        if !*this.is_waiting && may_be_sent {
            *this.is_waiting = true;
            let now = this.clock.now();
            // Without a delay, or a timer, there is no hedging; a failure can still bring another attempt.
            let delay = this.hedge.estimate.delay(now);
            let since = this.others.last().map_or(*this.first_started, |other| other.started);
            if let Some(span) = delay {
                let _ = this.clock.arm(this.timer.as_mut(), since.after(span));
            }
        }
        this.timer.as_pin_mut().is_some_and(|timer| timer.poll(cx).is_ready())
    }
}

impl<F, S, J> Future for Race<'_, F, S, J>
where
    F: Future,
    S: FnMut(Sent) -> F,
    J: FnMut(&mut F::Output) -> RaceOutcome,
{
    type Output = (F::Output, Spent);

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if !self.is_begun {
            let mut this = self.as_mut().project();
            *this.is_begun = true;
            this.first.set(Some((this.send)(Sent::First)));
        }
        loop {
            let ended = self.as_mut().poll_attempts(cx);
            let is_alone = self.first.is_none() && self.others.is_empty();
            match ended {
                Some((output, RaceOutcome::Decides)) => {
                    let spent = self.spent;
                    self.lose();
                    return Poll::Ready((output, spent));
                }
                // At once: there is nothing to wait for (T77).
                Some((output, RaceOutcome::Failed)) => {
                    if !self.as_mut().hedge(Because::Failed) && is_alone {
                        return Poll::Ready((output, self.spent));
                    }
                    *self.as_mut().project().failed = Some(output);
                }
                Some((output, RaceOutcome::Refused | RaceOutcome::TooLate)) => {
                    if is_alone {
                        let failed = self.as_mut().project().failed.take();
                        return Poll::Ready((failed.unwrap_or(output), self.spent));
                    }
                }
                None => {
                    if !self.as_mut().poll_delay(cx) || !self.as_mut().hedge(Because::Slow) {
                        return Poll::Pending;
                    }
                }
            }
        }
    }
}
