//! Carries what has the same key out once: a repeated call gets the answer of the first.
//!
//! - A call *claims* its key with a *lease*, renewed as long as it runs, and a number that fences it off from whoever
//!   had or will have the key. Its answer is kept for `ttl`, and given to all who come with the same key.
//! - One that comes while the first runs waits up to `max_wait` and its own deadline, or is refused with
//!   [`InProgress`](RejectionKind::InProgress).
//! - The same key with another payload is refused, before anything else is looked at.
//! - A failure that had no effect frees the key. One of which that is not known (time ran out, the connection broke, the
//!   process died) leaves the claim: when its lease is over, `on_unknown` says whether the next call is refused
//!   (`reject`: at most once) or carried out (`reexecute`: at least once). Never exactly once: that only a
//!   transaction gives which holds the record and the effect, or a key that is passed on to where the effect is.
//! - Records are kept in a [`MemoryStore`], in a file ([`DurableStore`], feature `durable`), or in a store of your own.
//!   When it does not answer, `on_store_failure` says what happens.
//!
//! After the designs of Stripe (B. Leach, *Designing robust and predictable APIs with idempotency*, 2017), AWS Powertools
//! and the IETF draft `httpapi-idempotency-key-header`; fencing after M. Kleppmann, *How to do distributed locking*, 2016.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use std::cell::Cell;
//! use resilient::{Registry, Rejection, RejectionKind, idempotency::Fingerprint};
//!
//! let once = Registry::new().idempotency("charge");
//! let charged = Cell::new(0);
//! let charge = async |key: &str, cents: u32| -> Result<u32, Rejection> {
//!     once.call_async(key, Fingerprint::of(&cents), async || {
//!         charged.set(charged.get() + cents);
//!         Ok(cents)
//!     })
//!     .await
//! };
//! assert_eq!(charge("order 7", 995).await, Ok(995));
//! assert_eq!(charge("order 7", 995).await, Ok(995));
//! assert_eq!(charged.get(), 995);
//! assert_eq!(charge("order 7", 1).await.unwrap_err().kind(), RejectionKind::KeyReused);
//! # }
//! ```

mod config;
mod lease;
mod memory;
mod record;
mod replay;
mod stats;
mod store;
mod wait;

use std::sync::Arc;
use std::time::Duration;

pub use config::{Config, OnStoreFailure, OnUnknown};
pub use lease::{Keep, Lease, lease_is_lost};
pub use memory::MemoryStore;
pub use replay::Replay;
pub use stats::Stats;
pub use store::{Answer, Claim, Claimed, Fingerprint, IdempotencyStore, Owner, StoreError};

use crate::clock::Instant;
use crate::component::{Component, Core, Create, Kind};
use crate::observe::Happening;
use crate::outcome::Reject;
use crate::rejection::{Rejection, RejectionKind};
use crate::scope::Scope;
use crate::settings::{ConfigError, Effective};
use crate::sync::{AtomicU64, Mutex};
use stats::Counters;
use wait::{Mode, blocking};

/// The longest key, in bytes.
const LONGEST_KEY: usize = 1024;
/// Records that the store of its own has room for.
const RECORDS: usize = 100_000;
/// Between two looks at a record that is in progress, at first and at most.
const STEPS: (Duration, Duration) = (Duration::from_millis(5), Duration::from_millis(250));

/// Carries calls out once for each key. See the [module](self).
#[derive(Debug)]
pub struct Idempotency {
    core: Core<Config>,
    store: Mutex<Arc<dyn IdempotencyStore>>,
    counters: Counters,
}

/// Whether a call is to be carried out.
#[derive(Debug)]
pub enum Held<'a> {
    /// Yes. `None`: without a record, because the store does not answer and the settings are to go on then.
    Run(Option<Lease<'a>>),
    /// No: this is the answer, in JSON.
    Replay(Vec<u8>),
}

/// What a call that has ended did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect<T> {
    /// It succeeded with this answer.
    Done(T),
    /// Nothing.
    None,
    /// That is not known.
    Unknown,
}

impl Idempotency {
    /// Runs `work`, unless a call with this key was carried out; then gives its answer. A failure frees the key: for one
    /// that may have had its effect, use [`claim`](Self::claim), or a pipeline.
    ///
    /// # Cancel safety
    /// Dropping the future while the work runs leaves the key claimed until the lease is over.
    pub async fn call_async<R: Replay + Reject>(
        &self,
        key: &str,
        fingerprint: Fingerprint,
        work: impl AsyncFnOnce() -> R,
    ) -> R {
        let lease = match self.claim(key, fingerprint).await {
            Ok(Held::Run(lease)) => lease,
            Ok(Held::Replay(answer)) => return self.replay(&answer).unwrap_or_else(R::from_rejection),
            Err(rejection) => return R::from_rejection(rejection),
        };
        let Some(lease) = lease else { return work().await };
        let outcome = lease.keep(work()).await;
        lease.end(Effect::of(&outcome), Mode::Async).await;
        outcome
    }

    /// Runs `work`, unless a call with this key was carried out, and blocks the thread while it waits. The lease is not
    /// renewed while the work runs: let it be longer.
    pub fn call<R: Replay + Reject>(
        &self,
        key: &str,
        fingerprint: Fingerprint,
        work: impl FnOnce() -> R,
    ) -> R {
        let lease = match self.claim_blocking(key, fingerprint, self.inherited()) {
            Ok(Held::Run(lease)) => lease,
            Ok(Held::Replay(answer)) => return self.replay(&answer).unwrap_or_else(R::from_rejection),
            Err(rejection) => return R::from_rejection(rejection),
        };
        let outcome = work();
        if let Some(lease) = lease {
            lease.end_blocking(Effect::of(&outcome));
        }
        outcome
    }

    /// Claims a key, or gives the answer of the call that had it; waits for one that runs.
    ///
    /// # Cancel safety
    /// If the future is dropped, the key may be claimed until the lease is over.
    ///
    /// # Errors
    /// When another call with the key runs too long or was lost, the payload is another, the key is empty or longer than
    /// 1024 bytes, or the store does not answer.
    pub async fn claim(&self, key: &str, fingerprint: Fingerprint) -> Result<Held<'_>, Rejection> {
        self.claim_in(key, fingerprint, self.inherited(), Mode::Async).await
    }

    /// Keeps the records elsewhere from now on; those of before are not looked at any more.
    pub fn set_store(&self, store: Arc<dyn IdempotencyStore>) {
        *self.store.lock() = store;
    }

    fn inherited(&self) -> Instant {
        Scope::current().deadline_on(self.core.clock())
    }

    // What the pipeline calls ------------------------------------------------------------------------------

    pub(crate) async fn claim_async(
        &self,
        key: &str,
        fingerprint: Fingerprint,
        deadline: Instant,
    ) -> Result<Held<'_>, Rejection> {
        self.claim_in(key, fingerprint, deadline, Mode::Async).await
    }

    pub(crate) fn claim_blocking(
        &self,
        key: &str,
        fingerprint: Fingerprint,
        deadline: Instant,
    ) -> Result<Held<'_>, Rejection> {
        blocking(self.claim_in(key, fingerprint, deadline, Mode::Blocking))
    }

    /// The outcome of an answer that was kept.
    pub(crate) fn replay<R: Replay>(&self, answer: &[u8]) -> Result<R, Rejection> {
        match serde_json::from_slice(answer) {
            Ok(value) => {
                self.counters.replayed.count();
                self.publish(Happening::Replayed);
                Ok(R::replay(value))
            }
            Err(error) => {
                let name = self.core.name;
                tracing::error!(target: "resilient::idempotency", idempotency = %name, %error, "a stored answer cannot be read");
                Err(self.refuse(RejectionKind::StoredValueMismatch, None))
            }
        }
    }

    async fn claim_in(
        &self,
        key: &str,
        fingerprint: Fingerprint,
        deadline: Instant,
        mode: Mode,
    ) -> Result<Held<'_>, Rejection> {
        if key.is_empty() || key.len() > LONGEST_KEY {
            return Err(self.refuse(RejectionKind::InvalidKey, None));
        }
        let (clock, config) = (self.core.clock(), self.core.config());
        let store = Arc::clone(&self.store.lock());
        let until = clock.now().after(config.max_wait).min(deadline);
        let claim = Claim {
            key: format!("{}\u{0}{key}", self.core.name),
            fingerprint,
            owner: Owner(self.core.environment.random.unique()),
            lease: config.lease,
            ttl: config.ttl,
            takes_over: config.on_unknown == OnUnknown::Reexecute,
        };
        let mut step = STEPS.0;
        loop {
            let began = clock.now();
            let claimed = mode.answer(clock, config.store_timeout, store.claim(claim.clone())).await;
            let retry_after = match claimed {
                Ok(Claimed::Acquired) => {
                    self.counters.executed.count();
                    // From before it was asked for: the store's time may have begun then.
                    let until = AtomicU64::new(began.after(config.lease).as_nanos());
                    let Claim { key, owner, .. } = claim;
                    let lease = Lease { idempotency: self, store, key, owner, span: config.lease, until };
                    return Ok(Held::Run(Some(lease)));
                }
                Ok(Claimed::Done(answer)) => return Ok(Held::Replay(answer)),
                Ok(Claimed::KeyReused) => {
                    self.counters.key_reused.count();
                    return Err(self.refuse(RejectionKind::KeyReused, None));
                }
                Ok(Claimed::Lost) => {
                    self.counters.unknown.count();
                    return Err(self.refuse(RejectionKind::OutcomeUnknown, None));
                }
                Ok(Claimed::InProgress { retry_after }) => retry_after,
                Err(error) => return self.without_store(&error, config.on_store_failure),
            };
            let left = until.since(clock.now());
            if step == STEPS.0 && !left.is_zero() {
                self.counters.waited.count();
            }
            if left.is_zero() || !mode.pause(clock, step.min(left)).await {
                self.counters.in_progress.count();
                return Err(self.refuse(RejectionKind::InProgress, Some(retry_after)));
            }
            step = (step * 2).min(STEPS.1);
        }
    }

    #[cold]
    fn without_store(&self, error: &StoreError, then: OnStoreFailure) -> Result<Held<'_>, Rejection> {
        self.counters.store_failures.count();
        let name = self.core.name;
        tracing::error!(target: "resilient::idempotency", idempotency = %name, %error, "the store did not answer");
        self.publish(Happening::StoreFailed { problem: error.to_string() });
        match then {
            OnStoreFailure::Open => Ok(Held::Run(None)),
            OnStoreFailure::Closed => {
                Err(self.refuse(RejectionKind::StoreUnavailable, Some(Duration::from_secs(1))))
            }
        }
    }

    /// The call was carried out, and its answer could not be kept.
    #[cold]
    fn not_kept(&self, problem: &str) {
        self.counters.not_kept.count();
        let name = self.core.name;
        tracing::error!(target: "resilient::idempotency", idempotency = %name, problem, "an answer was not kept");
        self.publish(Happening::StoreFailed { problem: problem.to_owned() });
    }

    #[cold]
    fn refuse(&self, kind: RejectionKind, retry_after: Option<Duration>) -> Rejection {
        let name = self.core.name;
        tracing::debug!(target: "resilient::idempotency", idempotency = %name, kind = kind.as_str(), "refused");
        self.publish(Happening::Rejected { rejection: kind, retry_after });
        Rejection::after(kind, name, retry_after)
    }

    fn publish(&self, what: Happening) {
        self.core.publish(Self::KIND, what);
    }
}

impl<'v, T> Effect<&'v T> {
    /// Of an outcome whose failures have no effect.
    fn of<R: Replay<Value = T>>(outcome: &'v R) -> Self {
        outcome.value().map_or(Self::None, Self::Done)
    }
}

impl Create for Idempotency {
    fn create(core: Core<Config>) -> Self {
        let store = Mutex::new(
            Arc::new(MemoryStore::new(core.clock().clone(), RECORDS)) as Arc<dyn IdempotencyStore>
        );
        Self { core, store, counters: Counters::default() }
    }

    fn core(&self) -> &Core<Config> {
        &self.core
    }
}

impl Component for Idempotency {
    const KIND: Kind = Kind::Idempotency;
    type Config = Config;
    type Stats = Stats;

    fn name(&self) -> &str {
        self.core.name
    }

    fn stats(&self) -> Stats {
        self.counters.snapshot()
    }

    /// Zeroes the counts; records stay.
    fn reset(&self) {
        self.counters.reset();
        self.core.publish(Self::KIND, Happening::Reset);
    }

    fn config(&self) -> Arc<Config> {
        self.core.config()
    }

    fn reconfigure(&self, config: Config) -> Result<(), ConfigError> {
        self.core.reconfigure(Self::KIND, config, |_| ())
    }

    fn effective(&self) -> Vec<Effective> {
        self.core.settings.effective()
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
