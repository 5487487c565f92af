//! The lease of a claimed key.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use super::Holding;
use super::Idempotency;
use super::ended::{Mark, Unsaved, mark as note};
use super::ending::{Effect, Ending};
use crate::clock::{Clock, Instant};
use crate::context::{self, Before, Entered};
use crate::observe::{EventKind, log_limited};
use crate::replay::Codec;
use crate::store::idempotency::{IdempotencyStore, Owner};
use crate::store::wait::{Guarded, Mode, blocking};
use crate::stored;
use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// A claim on a key.
///
/// A lease dropped without [`complete`](Self::complete), [`give_up`](Self::give_up) or [`lose`](Self::lose) leaves the
/// outcome of its call unknown. It expires after its time; a lease from [`claim_of`](Idempotency::claim_of) expires at
/// once.
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
#[must_use = "a dropped lease leaves the outcome of its call unknown"]
pub struct Lease<'a> {
    pub(super) idempotency: &'a Idempotency,
    pub(super) store: Arc<dyn IdempotencyStore>,
    pub(super) key: String,
    pub(super) owner: Owner,
    pub(super) operation: &'static str,
    pub(super) span: Duration,
    pub(super) shown: Arc<Shown>,
    /// Whether to free the key if the lease is dropped before the body was first suspended. Only set in a pipeline.
    pub(super) frees_unbegun: bool,
    pub(super) has_ended: bool,
    /// Upper limit for the time that the result is stored.
    pub(super) most: Duration,
    /// Whether the lease expires when it is dropped.
    pub(super) ends_dropped: bool,
}

/// State that a lease shares with the code running under it.
#[derive(Debug)]
pub(super) struct Shown {
    clock: Clock,
    /// When the lease expires if it is not renewed, in nanoseconds of the clock; 0 once it is lost. Relaxed: it is only
    /// advice, the store decides.
    pub(super) until: AtomicU64,
    /// Whether a body has started that has not ended, or that may have had an effect. Relaxed: only one task uses it.
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
    /// Whether the lease has expired, so that another call might have taken over.
    ///
    /// Effects of this call from now on might not be recorded.
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
    /// assert!(lease.is_lost(), "it was not renewed");
    /// # }
    /// ```
    pub fn is_lost(&self) -> bool {
        self.shown.is_lost()
    }

    pub(crate) fn freed_unbegun(mut self) -> Self {
        self.frees_unbegun = true;
        self
    }

    /// Like [`hold`](Self::hold), for a future whose lease is renewed.
    ///
    /// While the future is pending, it renews the lease after each third of the lease's duration.
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
    /// Dropping the future drops the work and ends the renewal of the lease.
    pub fn hold_async<F: Future>(&self, work: F) -> Holding<'_, F> {
        Holding::new(self, work)
    }

    /// Runs `work`, which can check [`lease_is_lost`].
    ///
    /// The lease is not renewed while `work` runs.
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

    /// Stores the result and returns whether it was stored.
    ///
    /// It is not stored if another call took over the key, the result is too large or cannot be serialized, or the
    /// store fails. [`unsaved`](crate::unsaved) returns the reason. The call counts as executed in any case.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, idempotency::{Fingerprint, ClaimOutcome}};
    ///
    /// let once = Registry::new().idempotency("label");
    /// let ClaimOutcome::Run(Some(lease)) = once.claim("parcel 7", Fingerprint::NONE).await.unwrap() else { panic!() };
    /// assert!(lease.complete("L-0007").await);
    /// let ClaimOutcome::Replay(stored) = once.claim("parcel 7", Fingerprint::NONE).await.unwrap() else { panic!() };
    /// assert_eq!(stored.read::<String>().unwrap(), "L-0007");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// If the future is dropped, the result might be stored or not.
    pub async fn complete<T: serde::Serialize + ?Sized>(self, answer: &T) -> bool {
        self.end(Ending::kept(stored::write(answer))).await
    }

    /// Like [`complete`](Self::complete), but stores the result for at most `most`.
    ///
    /// The result is stored for the shorter of `most` and the `ttl` setting.
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
    /// See [`complete`](Self::complete).
    pub async fn complete_for<T: serde::Serialize + ?Sized>(mut self, answer: &T, most: Duration) -> bool {
        self.most = most;
        self.complete(answer).await
    }

    /// Frees the key. Use it if the call had no effect.
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
    /// If the future is dropped, the key becomes free at once or when the lease expires.
    pub async fn give_up(self) {
        self.end(Ending::Free).await;
    }

    /// Ends a call whose effect is unknown.
    ///
    /// `on_unknown` applies to the next call with the key at once, instead of when the lease expires.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, RejectionKind, idempotency::{Fingerprint, ClaimOutcome}};
    ///
    /// let once = Registry::new().idempotency("wire");
    /// let ClaimOutcome::Run(Some(lease)) = once.claim("order 7", Fingerprint::NONE).await.unwrap() else { panic!() };
    /// lease.lose().await; // the connection broke before the bank responded
    /// let again = once.claim("order 7", Fingerprint::NONE).await.unwrap_err();
    /// assert_eq!(again.kind(), RejectionKind::OutcomeUnknown);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// If the future is dropped, the lease expires at once or after its time.
    pub async fn lose(self) {
        self.end(Ending::Lose).await;
    }

    /// How to end the record of a pipeline's call; `None` if the call has no record.
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
        // Set after the last await: before it, the call could have been on another thread.
        note(mark);
        is_kept
    }

    /// Whether a result was stored, or why it could not be.
    async fn settle(&self, ending: Ending, mode: Mode) -> Result<bool, (Unsaved, String)> {
        let Self { idempotency, store, key, owner, .. } = self;
        let waits = (idempotency.core.clock(), idempotency.core.name);
        let config = idempotency.core.config();
        let lose = || {
            mode.answer(
                waits,
                idempotency.store_timeout(&config),
                idempotency.ask(mode, || store.lose(key, *owner)),
            )
        };
        match ending {
            Ending::Leave => Ok(false),
            Ending::Lose => {
                let _ = lose().await;
                Ok(false)
            }
            Ending::Free => {
                let abandoned = idempotency.ask(mode, || store.abandon(key, *owner));
                let _ = mode.answer(waits, idempotency.store_timeout(&config), abandoned).await;
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
                let problem = format!("the result has {bytes} bytes, more than `max_value` = {most}");
                Err((Unsaved::TooLarge, problem))
            }
            Ending::Keep(bytes) => {
                let ttl = config.ttl.min(self.most);
                let completed = idempotency.ask(mode, || store.complete(key, *owner, bytes, ttl));
                match mode.answer(waits, idempotency.store_timeout(&config), completed).await {
                    Ok(true) => Ok(true),
                    Ok(false) => {
                        let problem = "another call took over the key before this one ended";
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
            idempotency = %core.name, "a running call lost its lease"
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
            abandon_unheard(self.idempotency, &*self.store, &self.key, self.owner);
            self.idempotency.counters.abandoned.count();
        } else if self.ends_dropped {
            unheard(self.idempotency.ask(Mode::Async, || self.store.lose(&self.key, self.owner)));
        }
    }
}

/// Frees a key without waiting for the store.
pub(super) fn abandon_unheard(
    idempotency: &Idempotency,
    store: &dyn IdempotencyStore,
    key: &str,
    owner: Owner,
) {
    unheard(idempotency.ask(Mode::Async, || store.abandon(key, owner)));
}

fn unheard(mut answer: Guarded<'_, bool>) {
    let _ = Pin::new(&mut answer).poll(&mut Context::from_waker(Waker::noop()));
}

impl Shown {
    /// Makes this the lease of the code that runs now.
    pub(super) fn enter(self: &Arc<Self>) -> Entered<Before> {
        context::enter_lease(Arc::<Self>::clone(self))
    }

    fn current() -> Option<Arc<Self>> {
        context::lease()?.downcast().ok()
    }
}

/// Notes that a body running under the current lease was suspended or may have had an effect.
#[cold]
pub(crate) fn has_begun() {
    around().has_begun();
}

/// The lease of the code that called [`around`], if there is one.
#[derive(Debug)]
pub(crate) struct Around(Option<Arc<Shown>>);

pub(crate) fn around() -> Around {
    Around(Shown::current())
}

impl Around {
    /// Like [`has_begun`], for code running elsewhere.
    pub(crate) fn has_begun(&self) {
        if let Some(shown) = &self.0 {
            shown.begun.store(true, Ordering::Relaxed);
        }
    }
}

/// Whether the current idempotent call has lost its lease.
///
/// Another call might have taken over, so this one should stop before its next effect. Returns `false` outside of an
/// idempotent call.
///
/// ```
/// # use std::time::Duration;
/// use resilient_runtime::{Component, Registry, Rejection, clock::ManualClock, idempotency::{self, Fingerprint}};
///
/// let time = ManualClock::new();
/// let once = Registry::with_clock(time.clock()).idempotency("export");
/// let lines = once.call("today", Fingerprint::NONE, || {
///     let lines = (0..10).take_while(|_| {
///         time.advance(Duration::from_secs(15)); // slow work that does not renew the lease
///         !idempotency::lease_is_lost()
///     });
///     Ok::<_, Rejection>(lines.count())
/// });
/// assert_eq!(lines, Ok(3));
/// ```
pub fn lease_is_lost() -> bool {
    Shown::current().is_some_and(|shown| shown.is_lost())
}
