//! Runs several attempts of one call concurrently.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::Hedge;
use crate::budget::RetryBudget;
use crate::clock::{Clock, Instant, Timer};

/// The effect of the result of an attempt on the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RaceOutcome {
    /// The call returns this result.
    Decides,
    /// Another attempt can succeed.
    Failed,
    /// The call timed out, so no time is left for another attempt.
    TooLate,
    /// The attempt was rejected, and another would be, too; or its result is not evidence for another reason.
    Refused,
}

/// The kind of attempt that is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    First,
    /// An attempt in parallel with a slow one, or after a failed one.
    Hedge {
        /// Number of attempts sent after a failure so far.
        repeated: u32,
    },
}

/// The limits that the call sets for additional attempts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Left {
    /// Maximum number of attempts in parallel with slow ones.
    pub(crate) beside: u32,
    /// Maximum number of attempts after a failure.
    pub(crate) repeated: u32,
    /// No attempt is sent after this time.
    pub(crate) until: Instant,
}

impl Left {
    pub(crate) const UNBOUNDED: Self = Self { beside: u32::MAX, repeated: u32::MAX, until: Instant::NEVER };
    pub(crate) const NONE: Self = Self { beside: 0, repeated: 0, until: Instant::NEVER };
}

/// The number of additional attempts sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Spent {
    pub(crate) beside: u32,
    pub(crate) repeated: u32,
}

/// The reason for another attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Because {
    Slow,
    Failed,
}

pin_project! {
    /// Runs attempts until one decides the call. Sends another after the delay, or immediately after a failure.
    ///
    /// # Cancel safety
    /// Dropping it drops all attempts. Each is recorded with the time that it ran.
    pub(crate) struct Race<'h, F: Future, S, J> {
        hedge: &'h Hedge,
        budget: &'h RetryBudget,
        clock: &'h Clock,
        send: S,
        judge: J,
        #[pin]
        first: Option<F>,
        first_started: Instant,
        // Boxed, because most calls have none.
        others: Vec<Other<F>>,
        // The last failure, which is returned if the remaining attempts are rejected.
        failed: Option<F::Output>,
        sent: u32,
        left: Left,
        spent: Spent,
        #[pin]
        timer: Option<Timer>,
        // The timer is armed, or no timer is available.
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
    /// Drops the running attempts, which lost, and records the time that they ran.
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
    /// Creates the future. The first attempt starts at `now` and is sent at the first poll. `judge` receives each
    /// result.
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

    /// Sends another attempt if the limits and the budget allow it.
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

    /// Whether it is time for another attempt. Arms the timer if needed.
    fn poll_delay(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let mut this = self.project();
        let may_be_sent = *this.sent < this.hedge.max() && this.spent.beside < this.left.beside;
        if !*this.is_waiting && may_be_sent {
            *this.is_waiting = true;
            let now = this.clock.now();
            // Without a delay or a timer, another attempt is sent only after a failure.
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
                // Immediately, because there is nothing to wait for (T77).
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
