//! The right to carry a call out, for as long as it is renewed.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::store::{Answer, IdempotencyStore, Owner};
use super::wait::{Mode, blocking};
use super::{Effect, Idempotency};
use crate::clock::{Instant, Timer};
use crate::observe::Happening;
use crate::sync::{AtomicU64, Ordering};

/// A claim on a key. Dropped without [`complete`](Self::complete) or [`give_up`](Self::give_up), it ends with its time,
/// and what became of the call is not known (T105).
#[derive(Debug)]
#[must_use = "a lease that is dropped leaves a record of a call that was lost"]
pub struct Lease<'a> {
    pub(super) idempotency: &'a Idempotency,
    pub(super) store: Arc<dyn IdempotencyStore>,
    pub(super) key: String,
    pub(super) owner: Owner,
    pub(super) span: Duration,
    /// When it ends if it is not renewed, in nanoseconds of the clock; 0 where it was lost. Relaxed: read for advice,
    /// the store has the last word.
    pub(super) until: AtomicU64,
}

impl Lease<'_> {
    /// Whether another may have taken the call over: what this one does from now on is not recorded (T107).
    pub fn is_lost(&self) -> bool {
        self.idempotency.core.clock().now().as_nanos() >= self.until.load(Ordering::Relaxed)
    }

    /// Polls `work`, and renews the lease each third of its time as long as that is pending.
    ///
    /// # Cancel safety
    /// Dropping it drops the work; the lease is not renewed any more.
    pub fn keep<F: Future>(&self, work: F) -> Keep<'_, F> {
        Keep { work, lease: self, timer: None, is_armed: false, renewal: None }
    }

    /// Keeps the answer. Whether it is kept: not if the lease was lost, the answer is too large or the store fails; the
    /// call has been carried out all the same.
    ///
    /// # Cancel safety
    /// If the future is dropped, the answer may be kept or not.
    pub async fn complete<T: serde::Serialize>(self, answer: &T) -> bool {
        self.end(Effect::Done(answer), Mode::Async).await
    }

    /// The call had no effect: the key can be used again.
    ///
    /// # Cancel safety
    /// If the future is dropped, the key may be free, or be so when the lease ends.
    pub async fn give_up(self) {
        self.end(Effect::<&()>::None, Mode::Async).await;
    }

    pub(super) async fn end<T: serde::Serialize>(self, effect: Effect<T>, mode: Mode) -> bool {
        let Self { idempotency, store, key, owner, .. } = &self;
        let (clock, config) = (idempotency.core.clock(), idempotency.core.config());
        let answer = match effect {
            Effect::Unknown => return false,
            Effect::None => {
                let abandoned = store.abandon(key, *owner);
                let _ = mode.answer(clock, config.store_timeout, abandoned).await;
                idempotency.counters.abandoned.count();
                return false;
            }
            Effect::Done(answer) => serde_json::to_vec(&answer),
        };
        let problem = match answer {
            Ok(bytes) if bytes.len() > config.max_value as usize => {
                format!("the answer of {} bytes is larger than max_value", bytes.len())
            }
            Ok(bytes) => {
                let completed = store.complete(key, *owner, bytes, config.ttl);
                match mode.answer(clock, config.store_timeout, completed).await {
                    Ok(true) => return true,
                    Ok(false) => "the lease was lost before the call had ended".to_owned(),
                    Err(error) => error.to_string(),
                }
            }
            Err(error) => format!("the answer cannot be written as JSON: {error}"),
        };
        idempotency.not_kept(&problem);
        false
    }

    pub(super) fn end_blocking<T: serde::Serialize>(self, effect: Effect<T>) -> bool {
        blocking(self.end(effect, Mode::Blocking))
    }

    fn renewed(&self, now: Instant) {
        self.until.store(now.after(self.span).as_nanos(), Ordering::Relaxed);
    }

    #[cold]
    fn lost(&self) {
        self.until.store(0, Ordering::Relaxed);
        self.idempotency.counters.lost.count();
        let name = self.idempotency.core.name;
        tracing::warn!(target: "resilient::idempotency", idempotency = %name, "the lease of a running call was lost");
        self.idempotency.publish(Happening::LeaseLost);
    }
}

pin_project! {
    /// Work under a lease.
    #[derive(Debug)]
    pub struct Keep<'l, F> {
        #[pin]
        work: F,
        lease: &'l Lease<'l>,
        #[pin]
        timer: Option<Timer>,
        is_armed: bool,
        renewal: Option<Renewal<'l>>,
    }
}

struct Renewal<'l>(Answer<'l, bool>);

impl std::fmt::Debug for Renewal<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Renewal")
    }
}

impl<F: Future> Keep<'_, F> {
    /// Renews the lease when it is time.
    fn poll_renewal(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        let mut this = self.project();
        let lease: &Lease<'_> = this.lease;
        let clock = lease.idempotency.core.clock();
        while lease.until.load(Ordering::Relaxed) != 0 {
            if let Some(renewal) = this.renewal {
                let Poll::Ready(renewed) = renewal.0.as_mut().poll(cx) else { return };
                *this.renewal = None;
                match renewed {
                    Ok(true) => lease.renewed(clock.now()),
                    Ok(false) => return lease.lost(),
                    // Tried again in another third, as long as there is one.
                    Err(_) => {}
                }
                *this.is_armed = false;
            }
            if !*this.is_armed {
                *this.is_armed = true;
                this.timer.set(None);
                let at = clock.now().after(lease.span / 3);
                // Without a timer the lease ends in its time.
                let _ = clock.arm(this.timer.as_mut(), at);
            }
            let Some(timer) = this.timer.as_mut().as_pin_mut() else { return };
            if timer.poll(cx).is_pending() {
                return;
            }
            this.timer.set(None);
            *this.renewal = Some(Renewal(lease.store.renew(&lease.key, lease.owner, lease.span)));
        }
    }
}

impl<F: Future> Future for Keep<'_, F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let told = Told::enter(self.lease);
        let poll = self.as_mut().project().work.poll(cx);
        drop(told);
        if poll.is_pending() {
            self.poll_renewal(cx);
        }
        poll
    }
}

thread_local! {
    /// When the lease of the call around this code ends.
    static UNTIL: Cell<(u64, u64)> = const { Cell::new((u64::MAX, 0)) };
}

/// Restores what was told before.
struct Told((u64, u64));

impl Told {
    fn enter(lease: &Lease<'_>) -> Self {
        let now = lease.idempotency.core.clock().now().as_nanos();
        Self(UNTIL.replace((lease.until.load(Ordering::Relaxed), now)))
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        UNTIL.set(self.0);
    }
}

/// Whether the idempotent call around this code has lost its lease: another may have taken it over, so that it should
/// stop before its next effect. Known as of the last time that its future was polled.
pub fn lease_is_lost() -> bool {
    let (until, now) = UNTIL.get();
    now >= until
}
