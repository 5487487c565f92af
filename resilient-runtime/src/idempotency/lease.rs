//! The right to carry a call out, for as long as it is renewed.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use super::Holding;
use super::Idempotency;
use super::ended::{Mark, Unsaved, mark as note};
use super::ending::{Effect, Ending};
use super::replay::Codec;
use super::store::{IdempotencyStore, Owner};
use super::stored;
use super::wait::{Guarded, Mode, blocking, guarded};
use crate::clock::{Clock, Instant};
use crate::context::{self, Before, Entered};
use crate::observe::{EventKind, log_limited};
use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// A claim on a key. Dropped without [`complete`](Self::complete) or [`give_up`](Self::give_up), it ends with its time, or
/// at once where it is that of [`claim_of`](Idempotency::claim_of); and what became of the call is not known (T105).
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient_runtime::{Registry, RejectionKind, idempotency::{Config, Fingerprint, ClaimOutcome}};
/// # use resilient_runtime::Component;
/// # use std::time::Duration;
///
/// let once = Registry::new().idempotency("charge");
/// once.reconfigure(Config::default().max_wait(Duration::ZERO)).unwrap();
/// let ClaimOutcome::Run(Some(lease)) = once.claim("order 7", Fingerprint::NONE).await.unwrap() else { panic!() };
/// let second = once.claim("order 7", Fingerprint::NONE).await.unwrap_err();
/// assert_eq!(second.kind(), RejectionKind::InProgress);
/// # lease.give_up().await;
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a lease that is dropped leaves a record of a call that was lost"]
pub struct Lease<'a> {
    pub(super) idempotency: &'a Idempotency,
    pub(super) store: Arc<dyn IdempotencyStore>,
    pub(super) key: String,
    pub(super) owner: Owner,
    pub(super) operation: &'static str,
    pub(super) span: Duration,
    pub(super) shown: Arc<Shown>,
    /// Whether it frees the key where it is dropped before the body was suspended once; that is known in a pipeline.
    pub(super) frees_unbegun: bool,
    pub(super) has_ended: bool,
    /// How long its answer is kept at most.
    pub(super) most: Duration,
    /// Whether its time is over where it is dropped.
    pub(super) ends_dropped: bool,
}

/// What the code under a lease can see of it, and says of itself.
#[derive(Debug)]
pub(super) struct Shown {
    clock: Clock,
    /// When it ends if it is not renewed, in nanoseconds of the clock; 0 where it was lost. Relaxed: read for advice,
    /// the store has the last word.
    pub(super) until: AtomicU64,
    /// Whether a body has begun that has not ended, or may have had an effect. Of one task: relaxed.
    begun: AtomicBool,
}

impl Shown {
    pub(super) fn until(clock: &Clock, until: Instant) -> Arc<Self> {
        let until = AtomicU64::new(until.as_nanos());
        Arc::new(Self { clock: clock.clone(), until, begun: AtomicBool::new(false) })
    }

    fn is_lost(&self) -> bool {
        self.clock.now().as_nanos() >= self.until.load(Ordering::Relaxed)
    }
}

impl Lease<'_> {
    /// Whether another may have taken the call over: what this one does from now on may not be recorded (T107).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use resilient_runtime::{Registry, clock::ManualClock, idempotency::{Fingerprint, ClaimOutcome}};
    ///
    /// let time = ManualClock::new();
    /// let once = Registry::with_clock(time.clock()).idempotency("export");
    /// let ClaimOutcome::Run(Some(lease)) = once.claim("today", Fingerprint::NONE).await.unwrap() else { panic!() };
    /// assert!(!lease.is_lost());
    /// time.advance(Duration::from_mins(1));
    /// assert!(lease.is_lost(), "nobody has renewed it");
    /// # }
    /// ```
    pub fn is_lost(&self) -> bool {
        self.shown.is_lost()
    }

    pub(crate) fn freed_unbegun(mut self) -> Self {
        self.frees_unbegun = true;
        self
    }

    /// Like [`hold`](Self::hold), for a future: renews the lease each third of its time as long as it is pending.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, idempotency::{Fingerprint, ClaimOutcome}};
    ///
    /// let once = Registry::new().idempotency("backup");
    /// let ClaimOutcome::Run(Some(lease)) = once.claim("today", Fingerprint::NONE).await.unwrap() else { panic!() };
    /// let bytes = lease.hold_async(async { 4096 }).await;
    /// assert!(lease.complete(&bytes).await);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping it drops the work; the lease is not renewed any more.
    pub fn hold_async<F: Future>(&self, work: F) -> Holding<'_, F> {
        Holding::new(self, work)
    }

    /// Runs `work`, which can then ask [`lease_is_lost`]. The lease is not renewed meanwhile: nobody could do that.
    ///
    /// ```
    /// use resilient_runtime::{Registry, idempotency::{self, Fingerprint, ClaimOutcome}};
    ///
    /// let once = Registry::new().idempotency("import");
    /// let ClaimOutcome::Run(Some(lease)) = once.claim_blocking("today", Fingerprint::NONE).unwrap() else { panic!() };
    /// assert!(lease.hold(|| !idempotency::lease_is_lost()));
    /// ```
    pub fn hold<R>(&self, work: impl FnOnce() -> R) -> R {
        let _told = self.shown.enter();
        work()
    }

    /// Keeps the answer. Whether it is kept: not if the lease was taken over, the answer is too large or the store fails,
    /// as [`unsaved`](crate::unsaved) says; the call has been carried out all the same.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, idempotency::{Fingerprint, ClaimOutcome}};
    ///
    /// let once = Registry::new().idempotency("label");
    /// let ClaimOutcome::Run(Some(lease)) = once.claim("parcel 7", Fingerprint::NONE).await.unwrap() else { panic!() };
    /// assert!(lease.complete("L-0007").await);
    /// let ClaimOutcome::Replay(kept) = once.claim("parcel 7", Fingerprint::NONE).await.unwrap() else { panic!() };
    /// assert_eq!(kept.read::<String>().unwrap(), "L-0007");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// If the future is dropped, the answer may be kept or not.
    pub async fn complete<T: serde::Serialize + ?Sized>(self, answer: &T) -> bool {
        self.end(Ending::kept(stored::write(answer))).await
    }

    /// Like [`complete`](Self::complete), and keeps the answer for `most` at most, however much longer the `ttl` of the
    /// settings is.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use resilient_runtime::{Registry, clock::ManualClock, idempotency::{Fingerprint, ClaimOutcome}};
    ///
    /// let time = ManualClock::new();
    /// let once = Registry::with_clock(time.clock()).idempotency("search");
    /// let ClaimOutcome::Run(Some(lease)) = once.claim("x", Fingerprint::NONE).await.unwrap() else { panic!() };
    /// lease.complete_for("nothing was found", Duration::from_secs(10)).await;
    /// assert!(matches!(once.claim("x", Fingerprint::NONE).await, Ok(ClaimOutcome::Replay(_))));
    /// time.advance(Duration::from_secs(10));
    /// assert!(matches!(once.claim("x", Fingerprint::NONE).await, Ok(ClaimOutcome::Run(_))));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// As of [`complete`](Self::complete).
    pub async fn complete_for<T: serde::Serialize + ?Sized>(mut self, answer: &T, most: Duration) -> bool {
        self.most = most;
        self.complete(answer).await
    }

    /// The call had no effect: the key can be used again.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Registry, idempotency::{Fingerprint, ClaimOutcome}};
    ///
    /// let once = Registry::new().idempotency("booking");
    /// let ClaimOutcome::Run(Some(lease)) = once.claim("seat 7", Fingerprint::NONE).await.unwrap() else { panic!() };
    /// lease.give_up().await;
    /// assert_eq!(once.stats().abandoned, 1);
    /// assert!(matches!(once.claim("seat 7", Fingerprint::NONE).await, Ok(ClaimOutcome::Run(_))));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// If the future is dropped, the key may be free, or be so when the lease ends.
    pub async fn give_up(self) {
        self.end(Ending::Free).await;
    }

    /// The call has ended, and what it did is not known: `on_unknown` holds for the next one with the key from now on, and
    /// not only when the time of the lease is over.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, RejectionKind, idempotency::{Fingerprint, ClaimOutcome}};
    ///
    /// let once = Registry::new().idempotency("wire");
    /// let ClaimOutcome::Run(Some(lease)) = once.claim("order 7", Fingerprint::NONE).await.unwrap() else { panic!() };
    /// lease.lose().await; // the connection broke, and the bank does not say
    /// let again = once.claim("order 7", Fingerprint::NONE).await.unwrap_err();
    /// assert_eq!(again.kind(), RejectionKind::OutcomeUnknown);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// If the future is dropped, the lease may be over, or end in its time.
    pub async fn lose(self) {
        self.end(Ending::Lose).await;
    }

    /// What is to be done when a call of a pipeline has ended; nothing without a record.
    pub(crate) fn ended<R>(
        lease: Option<Self>,
        effect: Effect,
        codec: Codec<R>,
        outcome: Option<&R>,
    ) -> Option<(Self, Ending)> {
        let Some(lease) = lease else {
            note(Mark::Unsaved(Unsaved::NoRecord));
            return None;
        };
        let ending = lease.idempotency.ending(effect, (outcome, lease.operation), codec);
        Some((lease, ending))
    }

    pub(crate) async fn end(self, ending: Ending) -> bool {
        self.end_in(ending, Mode::Async).await
    }

    async fn end_in(mut self, ending: Ending, mode: Mode) -> bool {
        self.has_ended = true;
        let (is_kept, mark) = match self.settle(ending, mode).await {
            Ok(is_kept) => (is_kept, Mark::Fresh),
            Err((why, problem)) => {
                self.idempotency.not_kept(why, &problem);
                (false, Mark::Unsaved(why))
            }
        };
        // Behind the last wait: before, it could have been another thread.
        note(mark);
        is_kept
    }

    /// Whether an answer was kept, or why it could not be.
    async fn settle(&self, ending: Ending, mode: Mode) -> Result<bool, (Unsaved, String)> {
        let Self { idempotency, store, key, owner, .. } = self;
        let waits = (idempotency.core.clock(), idempotency.core.name);
        let config = idempotency.core.config();
        let lose = || mode.answer(waits, config.store_timeout, guarded(|| store.lose(key, *owner)));
        match ending {
            Ending::Leave => Ok(false),
            Ending::Lose => {
                let _ = lose().await;
                Ok(false)
            }
            Ending::Free => {
                let abandoned = guarded(|| store.abandon(key, *owner));
                let _ = mode.answer(waits, config.store_timeout, abandoned).await;
                idempotency.counters.abandoned.count();
                Ok(false)
            }
            Ending::Unkept(problem) => {
                let _ = lose().await;
                Err((Unsaved::NotKeepable, problem))
            }
            Ending::Keep(bytes) if bytes.len() > config.max_value as usize => {
                let _ = lose().await;
                let (bytes, most) = (bytes.len(), config.max_value);
                let problem = format!("the answer of {bytes} bytes is larger than max_value = {most}");
                Err((Unsaved::TooLarge, problem))
            }
            Ending::Keep(bytes) => {
                let completed = guarded(|| store.complete(key, *owner, bytes, config.ttl.min(self.most)));
                match mode.answer(waits, config.store_timeout, completed).await {
                    Ok(true) => Ok(true),
                    Ok(false) => {
                        let problem = "another call has taken the key over before this one had ended";
                        Err((Unsaved::TakenOver, problem.into()))
                    }
                    Err(error) => Err((Unsaved::StoreFailed, error.to_string())),
                }
            }
        }
    }

    pub(crate) fn end_blocking(self, ending: Ending) -> bool {
        blocking(self.end_in(ending, Mode::Blocking))
    }

    #[cold]
    pub(super) fn lost(&self) {
        self.shown.until.store(0, Ordering::Relaxed);
        self.idempotency.counters.lost.count();
        let core = &self.idempotency.core;
        log_limited!(
            self.idempotency.log_limits.lost, core.clock(), WARN, target: "resilient_runtime::idempotency",
            idempotency = %core.name, "the lease of a running call was lost"
        );
        self.idempotency.publish(EventKind::LeaseLost);
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let nothing_done = self.frees_unbegun && !self.shown.begun.load(Ordering::Relaxed);
        if self.has_ended {
            return;
        }
        if nothing_done && !std::thread::panicking() {
            abandon_unheard(&*self.store, &self.key, self.owner);
            self.idempotency.counters.abandoned.count();
        } else if self.ends_dropped {
            unheard(guarded(|| self.store.lose(&self.key, self.owner)));
        }
    }
}

/// Frees a key when there is nobody any more to wait for that.
pub(super) fn abandon_unheard(store: &dyn IdempotencyStore, key: &str, owner: Owner) {
    unheard(guarded(|| store.abandon(key, owner)));
}

fn unheard(mut answer: Guarded<'_, bool>) {
    let _ = Pin::new(&mut answer).poll(&mut Context::from_waker(Waker::noop()));
}

impl Shown {
    /// Makes this the lease around the code that runs now.
    pub(super) fn enter(self: &Arc<Self>) -> Entered<Before> {
        context::enter_lease(Arc::<Self>::clone(self))
    }

    fn current() -> Option<Arc<Self>> {
        context::lease()?.downcast().ok()
    }
}

/// A body is suspended that runs under the lease around this code, or may have had an effect.
#[cold]
pub(crate) fn has_begun() {
    around().has_begun();
}

/// The lease around the code that has asked, if there is one.
#[derive(Debug)]
pub(crate) struct Around(Option<Arc<Shown>>);

pub(crate) fn around() -> Around {
    Around(Shown::current())
}

impl Around {
    /// As [`has_begun`], said from elsewhere.
    pub(crate) fn has_begun(&self) {
        if let Some(shown) = &self.0 {
            shown.begun.store(true, Ordering::Relaxed);
        }
    }
}

/// Whether the idempotent call around this code has lost its lease: another may have taken it over, so that it should
/// stop before its next effect. `false` outside of such a call.
///
/// ```
/// # use std::time::Duration;
/// use resilient_runtime::{Component, Registry, Rejection, clock::ManualClock, idempotency::{self, Fingerprint}};
///
/// let time = ManualClock::new();
/// let once = Registry::with_clock(time.clock()).idempotency("export");
/// let lines = once.call("today", Fingerprint::NONE, || {
///     let lines = (0..10).take_while(|_| {
///         time.advance(Duration::from_secs(15)); // works slowly, and renews nothing while it does
///         !idempotency::lease_is_lost()
///     });
///     Ok::<_, Rejection>(lines.count())
/// });
/// assert_eq!(lines, Ok(3));
/// ```
pub fn lease_is_lost() -> bool {
    Shown::current().is_some_and(|shown| shown.is_lost())
}
