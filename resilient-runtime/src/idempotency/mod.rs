//! Idempotency: runs calls with the same key once and replays the first result.
//!
//! - A call *claims* its key. It gets a *lease*, which is renewed while the call runs, and a unique owner number, which
//!   fences off earlier and later owners of the key. The result is stored for `ttl` and returned to every call with the
//!   same key.
//! - A call whose key is in use waits up to `max_wait` and its own deadline. After that it is rejected with
//!   [`InProgress`](RejectionKind::InProgress).
//! - A call with the same key and another payload is rejected before any wait or replay
//!   ([`KeyReused`](RejectionKind::KeyReused)).
//! - A failure that had no effect frees the key.
//! - A failure that may have had an effect (a timeout, a broken connection, a crash of the process) or whose effect
//!   is unknown ([`Class::Unknown`](crate::Class::Unknown)) leaves the key claimed. `on_unknown` decides about the next
//!   call: `reject` rejects it (at most once), `reexecute` executes it (at least once). The decision applies at once if
//!   the call ended by itself, otherwise when its lease expires.
//! - This is never exactly once. That needs a transaction that covers the record and the effect, or a key that is
//!   passed on to the system that performs the effect.
//! - A replay returns the same value, bit for bit. After it, [`replayed`] returns true. With `keep_errors`, permanent
//!   errors are stored and replayed too.
//! - A result that cannot be stored (it is too large, its type reads back as a different value, or the store fails) is
//!   still returned to its caller, and [`unsaved`] returns the reason. It is never replaced by an error. The call is
//!   not executed again unless `on_unknown = reexecute`.
//! - A record contains the operation and the type of the result. If another operation uses the same key of the same
//!   component, its call is rejected ([`KeyReused`](RejectionKind::KeyReused)). If the type of the result has changed
//!   since, the call is rejected too ([`StoredValueMismatch`](RejectionKind::StoredValueMismatch)).
//! - The operation is the path of the annotated function, or the name of the pipeline. To rename a function and keep
//!   its records valid, set its old name, as in `name = "shop::charge"`, and name its component, as in
//!   `idempotent("charge", ..)`. Direct calls through [`Idempotency::call`] or [`Idempotency::claim`] have no
//!   operation, so only the type is compared.
//! - The lease of an asynchronous call is renewed while the call is polled. The lease of a synchronous call is not
//!   renewed: set `lease` to more time than the call can take. Code in the call can check [`lease_is_lost`] before an
//!   irreversible effect.
//! - Records are stored in a [`MemoryStore`], in a file (`DurableStore`, with the feature `durable`), or in your own
//!   store, which several processes can share. If the store fails, `on_store_failure` decides whether calls run.
//!
//! Based on the designs of Stripe (B. Leach, *Designing robust and predictable APIs with idempotency*, 2017), AWS
//! Powertools and the IETF draft `httpapi-idempotency-key-header`. Fencing follows M. Kleppmann, *How to do distributed
//! locking*, 2016.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() {
//! use std::cell::Cell;
//! use resilient_runtime::{Registry, Rejection, RejectionKind, idempotency::Fingerprint};
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

mod call;
mod claim;
mod claim_outcome;
mod claiming;
mod clients;
mod config;
#[cfg(feature = "durable")]
mod durable;
mod encoded;
mod ended;
mod ending;
mod guarded;
mod holding;
#[cfg(feature = "chaos")]
mod injected;
mod lease;
mod memory;
mod record;
mod replay;
mod stats;
mod stored;
mod transaction;

use std::sync::Arc;
use std::time::Duration;

pub use crate::store::TransactionalStore;
pub use crate::store::idempotency::{Claim, Claimed, ClientId, Fingerprint, IdempotencyStore, Owner};
pub use crate::store::{Answer, StoreError};
pub use claim_outcome::{ClaimOutcome, Stored};
pub use config::{Config, OnStoreFailure, OnUnknown};
#[cfg(feature = "durable")]
pub use durable::{DurableStore, OpenError};
pub use encoded::{ResultError, decode_result, encode_result};
pub use ended::{Unsaved, replayed, unsaved};
pub use holding::Holding;
pub use lease::{Lease, lease_is_lost};
pub use memory::MemoryStore;
pub use replay::{Codec, Replay};
pub use stats::Stats;
pub use transaction::StoreTransaction;

pub(crate) use crate::store::idempotency::Printer;
pub(crate) use ended::{Mark, mark};
pub(crate) use ending::Effect;
pub(crate) use lease::{Around, around, has_begun};
#[doc(hidden)]
pub use transaction::{TransactionClaim, TransactionLease};

use crate::component::{Component, Core, Create, Kind};
use crate::observe::{EventKind, LogLimit, log_limited};
use crate::rejection::{Rejection, RejectionKind};
use crate::settings::ConfigError;
use crate::store::NamedStores;
use crate::sync::{AtomicU64, Mutex, Ordering};
use ending::Ending;
use stats::Counters;

/// Capacity of the default store, in records.
const RECORDS: usize = 100_000;

/// Executes calls once per key. See the [module](self).
///
/// ```
/// use resilient_runtime::{Component, Idempotency, idempotency::{Config, Fingerprint}};
///
/// let once = Idempotency::new(Config::default())?;
/// let mail = |id: u32| once.call("ada", Fingerprint::NONE, || Some(id));
/// assert_eq!((mail(1), mail(2)), (Some(1), Some(1)));
/// assert_eq!((once.stats().executed, once.stats().replayed), (1, 1));
/// # Ok::<_, resilient_runtime::ConfigError>(())
/// ```
#[derive(Debug)]
pub struct Idempotency {
    core: Core<Config>,
    store: Mutex<Arc<dyn IdempotencyStore>>,
    stores: Arc<NamedStores>,
    counters: Counters,
    /// Until when the store counts as full, in nanoseconds of the clock. Relaxed: it is only used for a report.
    full_until: AtomicU64,
    log_limits: LogLimits,
    #[cfg(feature = "chaos")]
    faults: crate::chaos::OnComponent,
}

/// Log limits, one for each problem.
#[derive(Debug, Default)]
struct LogLimits {
    no_store: LogLimit,
    no_answer: LogLimit,
    unreadable: LogLimit,
    not_kept: LogLimit,
    other_operation: LogLimit,
    lost: LogLimit,
}

impl Idempotency {
    /// Replaces the store.
    ///
    /// Records in the previous store are no longer used. A store named in the settings takes precedence over this one.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use resilient_runtime::{Registry, idempotency::{Fingerprint, MemoryStore}};
    ///
    /// let registry = Registry::new();
    /// let small = Arc::new(MemoryStore::new(registry.clock().clone(), 10));
    /// let once = registry.idempotency("vote");
    /// once.set_store(small.clone());
    /// once.call("ada", Fingerprint::NONE, || Some(true));
    /// assert_eq!(small.len(), 1);
    /// ```
    pub fn set_store(&self, store: Arc<dyn IdempotencyStore>) {
        *self.store.lock() = store;
    }

    /// Whether the work can run twice. If so, a call can be retried even if an attempt might have had an effect.
    pub(crate) fn reexecutes(&self) -> bool {
        self.core.config().on_unknown == OnUnknown::Reexecute
    }

    /// `outcome` comes with the operation that produced it.
    fn ending<R>(&self, effect: Effect, outcome: (Option<&R>, &str), codec: Codec<R>) -> Ending {
        Ending::of(effect, outcome, codec, self.core.config().keep_errors)
    }

    /// Reports that the call was executed and its result could not be stored.
    #[cold]
    fn not_kept(&self, why: Unsaved, problem: &str) {
        self.counters.not_kept.count();
        let reason = why.as_str();
        let problem = self.core.environment.texts().clean(problem).unwrap_or_else(|| reason.to_owned());
        log_limited!(
            self.log_limits.not_kept, self.core.clock(), ERROR, target: "resilient_runtime::idempotency",
            idempotency = %self.core.name, reason, problem, "a result was not stored"
        );
        self.publish(EventKind::Unsaved { reason, problem });
    }

    #[cold]
    fn refuse(&self, kind: RejectionKind, retry_after: Option<Duration>) -> Rejection {
        mark(Mark::Fresh);
        let name = self.core.name;
        tracing::debug!(target: "resilient_runtime::idempotency", idempotency = %name, kind = kind.as_str(), "call rejected");
        self.publish(EventKind::Rejected { rejection: kind, retry_after });
        Rejection::after(kind, name, retry_after)
    }

    fn publish(&self, what: EventKind) {
        self.core.publish(Self::KIND, what);
    }

    /// The problem with the store named in the settings, if it is not registered.
    pub(crate) fn store_problem(&self) -> Option<String> {
        let name = self.core.config().store.clone()?;
        self.stores.get(&name).err()
    }

    /// A message if the store rejected a new key because it was full within the last minute.
    pub(crate) fn full_store(&self) -> Option<String> {
        let is_full = self.core.clock().now().as_nanos() < self.full_until.load(Ordering::Relaxed);
        is_full.then(|| "the idempotency store is full and rejects new keys".into())
    }

    pub(crate) fn with_stores(core: Core<Config>, stores: Arc<NamedStores>) -> Self {
        let memory: Arc<dyn IdempotencyStore> = Arc::new(MemoryStore::new(core.clock().clone(), RECORDS));
        Self {
            core,
            store: Mutex::new(memory),
            stores,
            counters: Counters::default(),
            full_until: AtomicU64::new(0),
            log_limits: LogLimits::default(),
            #[cfg(feature = "chaos")]
            faults: crate::chaos::OnComponent::default(),
        }
    }
}

impl Create for Idempotency {
    const ALWAYS_ON: Option<&str> = Some(
        "idempotency cannot be disabled: a repeated call would be executed twice; use a short `ttl` instead",
    );
    const REFUSALS: &[RejectionKind] = &[
        RejectionKind::InProgress,
        RejectionKind::OutcomeUnknown,
        RejectionKind::KeyReused,
        RejectionKind::InvalidKey,
        RejectionKind::StoredValueMismatch,
        RejectionKind::StoreUnavailable,
        RejectionKind::NoStore,
    ];

    fn create(core: Core<Config>) -> Self {
        Self::with_stores(core, Arc::default())
    }

    fn check_standalone(config: &Config, error: &mut ConfigError) {
        let allowed =
            "named stores exist only in a registry: leave it unset and call `Idempotency::set_store`";
        error.require(config.store.is_none(), "store", config.store.clone(), allowed);
    }
}

impl Component for Idempotency {
    const KIND: Kind = Kind::Idempotency;
    type Config = Config;
    type Stats = Stats;

    fn core(&self) -> &Core<Config> {
        &self.core
    }

    fn stats(&self) -> Stats {
        self.counters.snapshot()
    }

    /// Sets the counters to zero; records stay.
    fn reset(&self) {
        self.counters.reset();
        self.core.publish(Self::KIND, EventKind::Reset);
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
