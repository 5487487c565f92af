//! Carries what has the same key out once: a repeated call gets the answer of the first.
//!
//! - A call *claims* its key with a *lease*, renewed as long as it runs, and a number that fences it off from whoever
//!   had or will have the key. Its answer is kept for `ttl`, and given to all who come with the same key.
//! - One that comes while the first runs waits up to `max_wait` and its own deadline, or is refused with
//!   [`InProgress`](RejectionKind::InProgress).
//! - The same key with another payload is refused, before anything else is looked at.
//! - A failure that is known to have had no effect frees the key. One that may have had an effect (time ran out, the
//!   connection broke, the process died) or about which nothing is known ([`Class::Unknown`](crate::Class::Unknown)) leaves
//!   the key taken: `on_unknown` says whether the next call is refused (`reject`: at most once) or carried out (`reexecute`:
//!   at least once), at once where the call has ended by itself, and else when its lease is over. Never exactly once: that only a
//!   transaction gives which holds the record and the effect, or a key that is passed on to where the effect is.
//! - A replay gives the same value, to the bit, and [`replayed`] is true behind it. With `keep_errors` an error that
//!   would be met again is kept and given again likewise.
//! - An answer that cannot be saved (too large, a type that reads back as another value, a store that fails) is given to
//!   its caller, and [`unsaved`] says so behind the call. It is never replaced by an error, and the call is not carried
//!   out again unless `on_unknown = reexecute`.
//! - A record knows the operation and the type of its answer. Another operation that uses the same key of the same
//!   component is refused ([`KeyReused`](RejectionKind::KeyReused)), and so is a type that has changed since
//!   ([`StoredValueMismatch`](RejectionKind::StoredValueMismatch)). The operation is the name of the annotated function
//!   with its modules, or that of the pipeline: whoever renames a function and wants its records to hold gives it the name
//!   that it had, as in `name = "shop::charge"`, and the component a name of its own, as in `idempotent("charge", ..)`.
//!   Calls by hand, through [`Idempotency::call`] or [`Idempotency::claim`], belong to no operation: only the type is
//!   compared.
//! - The lease of an asynchronous call is renewed as long as somebody polls it; that of a synchronous one is not, as
//!   there is nobody to do that: let `lease` be longer than it can take. Code in the call can ask
//!   [`lease_is_lost`] before it does what cannot be undone.
//! - Records are kept in a [`MemoryStore`], in a file (`DurableStore`, with the feature `durable`), or in a store of your
//!   own, which others may share.
//!   When it does not answer, `on_store_failure` says what happens.
//!
//! After the designs of Stripe (B. Leach, *Designing robust and predictable APIs with idempotency*, 2017), AWS Powertools
//! and the IETF draft `httpapi-idempotency-key-header`; fencing after M. Kleppmann, *How to do distributed locking*, 2016.
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
mod ended;
mod ending;
mod holding;
mod lease;
mod memory;
mod record;
mod replay;
mod stats;
mod store;
mod stored;
mod stores;
mod wait;

use std::sync::Arc;
use std::time::Duration;

pub use claim_outcome::{ClaimOutcome, Stored};
pub use config::{Config, OnStoreFailure, OnUnknown};
#[cfg(feature = "durable")]
pub use durable::{DurableStore, OpenError};
pub use ended::{Unsaved, replayed, unsaved};
pub use holding::Holding;
pub use lease::{Lease, lease_is_lost};
pub use memory::MemoryStore;
pub use replay::{Codec, Replay};
pub use stats::Stats;
pub use store::{Answer, Claim, Claimed, ClientId, Fingerprint, IdempotencyStore, Owner, StoreError};

pub(crate) use ended::{Mark, mark};
pub(crate) use ending::Effect;
pub(crate) use lease::{Around, around, has_begun};
pub(crate) use store::Printer;
pub(crate) use stores::Stores;

use crate::component::{Component, Core, Create, Kind};
use crate::nearest::nearest;
use crate::observe::{EventKind, LogLimit, log_limited};
use crate::rejection::{Rejection, RejectionKind};
use crate::settings::ConfigError;
use crate::sync::{AtomicU64, Mutex, Ordering};
use ending::Ending;
use stats::Counters;

/// Records that the store of its own has room for.
const RECORDS: usize = 100_000;

/// Carries calls out once for each key. See the [module](self).
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
    stores: Arc<Stores>,
    counters: Counters,
    /// Until when it counts that the store was full, in nanoseconds of the clock. Relaxed: for a report.
    full_until: AtomicU64,
    log_limits: LogLimits,
}

/// By what is wrong.
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
    /// Keeps the records elsewhere from now on; those of before are not looked at any more. A store that the settings
    /// name goes before this.
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

    /// Whether the work may run twice: then a call may also be repeated where it may have been carried out.
    pub(crate) fn reexecutes(&self) -> bool {
        self.core.config().on_unknown == OnUnknown::Reexecute
    }

    /// `outcome`: with the operation that made it.
    fn ending<R>(&self, effect: Effect, outcome: (Option<&R>, &str), codec: Codec<R>) -> Ending {
        Ending::of(effect, outcome, codec, self.core.config().keep_errors)
    }

    /// The call was carried out, and its answer could not be kept.
    #[cold]
    fn not_kept(&self, why: Unsaved, problem: &str) {
        self.counters.not_kept.count();
        let reason = why.as_str();
        let problem = self.core.environment.texts().clean(problem).unwrap_or_else(|| reason.to_owned());
        log_limited!(
            self.log_limits.not_kept, self.core.clock(), ERROR, target: "resilient_runtime::idempotency",
            idempotency = %self.core.name, reason, problem, "an answer was not saved"
        );
        self.publish(EventKind::Unsaved { reason, problem });
    }

    #[cold]
    fn refuse(&self, kind: RejectionKind, retry_after: Option<Duration>) -> Rejection {
        mark(Mark::Fresh);
        let name = self.core.name;
        tracing::debug!(target: "resilient_runtime::idempotency", idempotency = %name, kind = kind.as_str(), "refused");
        self.publish(EventKind::Rejected { rejection: kind, retry_after });
        Rejection::after(kind, name, retry_after)
    }

    fn publish(&self, what: EventKind) {
        self.core.publish(Self::KIND, what);
    }

    /// What is wrong with the store that the settings name.
    pub(crate) fn store_problem(&self) -> Option<String> {
        let name = self.core.config().store.clone()?;
        self.stores.get(&name).is_none().then(|| unknown_store(&name, &self.stores.names()))
    }

    /// That the store refuses new keys because it is full, if it did so in the last minute.
    pub(crate) fn full_store(&self) -> Option<String> {
        let is_full = self.core.clock().now().as_nanos() < self.full_until.load(Ordering::Relaxed);
        is_full.then(|| "the idempotency store is full, and new keys are refused".into())
    }

    pub(crate) fn with_stores(core: Core<Config>, stores: Arc<Stores>) -> Self {
        let memory: Arc<dyn IdempotencyStore> = Arc::new(MemoryStore::new(core.clock().clone(), RECORDS));
        Self {
            core,
            store: Mutex::new(memory),
            stores,
            counters: Counters::default(),
            full_until: AtomicU64::new(0),
            log_limits: LogLimits::default(),
        }
    }
}

fn unknown_store(name: &str, known: &[Arc<str>]) -> String {
    match nearest(name, known.iter().map(|name| &**name)) {
        Some(meant) => format!("no idempotency store is called `{name}`; did you mean `{meant}`?"),
        None => format!(
            "no idempotency store is called `{name}`: say `registry.set_idempotency_store(\"{name}\", ..)` first"
        ),
    }
}

impl Create for Idempotency {
    const ALWAYS_ON: Option<&str> = Some(
        "idempotency cannot be switched off: a repeated call would be carried out twice; `ttl = \"0s\"` keeps no answers",
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
        let allowed = "stores have names in a registry only: leave it away, and use `Idempotency::set_store`";
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

    /// Zeroes the counts; records stay.
    fn reset(&self) {
        self.counters.reset();
        self.core.publish(Self::KIND, EventKind::Reset);
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
