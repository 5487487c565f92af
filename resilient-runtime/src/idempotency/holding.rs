//! A future whose lease is renewed while it is pending.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::Lease;
use crate::clock::{Instant, Timer};
use crate::store::Answer;
use crate::store::wait::{Mode, within};
use crate::sync::Ordering;

pin_project! {
    /// A future that runs under a lease and renews it. See [`Lease::hold_async`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, idempotency::{Fingerprint, ClaimOutcome, Holding}};
    ///
    /// let once = Registry::new().idempotency("sync");
    /// let ClaimOutcome::Run(Some(lease)) = once.claim("today", Fingerprint::NONE).await.unwrap() else { panic!() };
    /// let work: Holding<'_, _> = lease.hold_async(async { "done" });
    /// assert_eq!(work.await, "done");
    /// # }
    /// ```
    #[derive(Debug)]
    pub struct Holding<'l, F> {
        #[pin]
        work: F,
        lease: &'l Lease<'l>,
        #[pin]
        timer: Option<Timer>,
        is_armed: bool,
        renewal: Option<Renewal<'l>>,
    }
}

struct Renewal<'l> {
    answer: Answer<'l, bool>,
    asked: Instant,
}

impl std::fmt::Debug for Renewal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Renewal").field("asked", &self.asked).finish_non_exhaustive()
    }
}

impl<'l, F> Holding<'l, F> {
    pub(super) fn new(lease: &'l Lease<'l>, work: F) -> Self {
        Self { work, lease, timer: None, is_armed: false, renewal: None }
    }
}

impl<F: Future> Holding<'_, F> {
    /// Renews the lease when due.
    fn poll_renewal(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        let mut this = self.project();
        let lease: &Lease<'_> = this.lease;
        let clock = lease.idempotency.core.clock();
        while lease.shown.until.load(Ordering::Relaxed) != 0 {
            if let Some(renewal) = this.renewal
                && let Poll::Ready(renewed) = Pin::new(&mut renewal.answer).poll(cx)
            {
                match renewed {
                    // Measured from the request, because the store's lease may have started then.
                    Ok(true) => {
                        let until = renewal.asked.after(lease.span);
                        lease.shown.until.store(until.as_nanos(), Ordering::Relaxed);
                    }
                    Ok(false) => lease.lost(),
                    // Retried after another third of the lease, while it has not expired.
                    Err(_) => {}
                }
                *this.renewal = None;
            }
            if !*this.is_armed {
                *this.is_armed = true;
                this.timer.set(None);
                // Without a timer the lease is not renewed and expires.
                let _ = clock.arm(this.timer.as_mut(), clock.now().after(lease.span / 3));
            }
            let Some(timer) = this.timer.as_mut().as_pin_mut() else { return };
            if timer.poll(cx).is_pending() {
                return;
            }
            *this.is_armed = false;
            let (idempotency, asked) = (lease.idempotency, clock.now());
            let until = asked.after(idempotency.store_timeout(&idempotency.core.config()));
            let renewal =
                idempotency.ask(Mode::Async, || lease.store.renew(&lease.key, lease.owner, lease.span));
            // A renewal that hangs must not hold a place in the store.
            let answer = Box::pin(within(clock, until, renewal));
            *this.renewal = Some(Renewal { answer, asked });
        }
    }
}

impl<F: Future> Future for Holding<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let told = self.lease.shown.enter();
        let poll = self.as_mut().project().work.poll(cx);
        drop(told);
        if poll.is_pending() {
            self.poll_renewal(cx);
        }
        poll
    }
}
