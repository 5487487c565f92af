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

mod claiming;
mod clients;
mod config;
#[cfg(feature = "durable")]
mod durable;
mod ending;
mod lease;
mod memory;
mod record;
mod replay;
mod stats;
mod store;
mod stored;
mod stores;
mod wait;

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

pub use config::{Config, OnStoreFailure, OnUnknown};
#[cfg(feature = "durable")]
pub use durable::{DurableStore, OpenError};
pub use lease::{Keep, Lease, lease_is_lost};
pub use memory::MemoryStore;
pub use replay::{Codec, Replay, Unsaved, replayed, unsaved};
pub use stats::Stats;
pub use store::{Answer, Claim, Claimed, Client, Fingerprint, IdempotencyStore, Owner, StoreError};

pub(crate) use ending::Effect;
pub(crate) use lease::{Around, around, has_begun};
pub(crate) use replay::{Mark, mark};
pub(crate) use store::Printer;
pub(crate) use stores::Stores;

use crate::clock::Instant;
use crate::component::{Component, Core, Create, Kind};
use crate::nearest::nearest;
use crate::observe::{EventKind, LogLimit, log_limited};
use crate::outcome::{Judgement, Reject};
use crate::rejection::{Rejection, RejectionKind};
use crate::scope::Scope;
use crate::settings::{ConfigError, Effective};
use crate::sync::{AtomicU64, Mutex, Ordering};
use ending::Ending;
use stats::Counters;
use stored::Unreadable;
use wait::{Mode, blocking};

/// Records that the store of its own has room for.
const RECORDS: usize = 100_000;

/// Carries calls out once for each key. See the [module](self).
///
/// ```
/// use resilient_runtime::{Component, Registry, idempotency::Fingerprint};
///
/// let once = Registry::new().idempotency("welcome");
/// let mail = |id: u32| once.call("ada", Fingerprint::NONE, || Some(id));
/// assert_eq!((mail(1), mail(2)), (Some(1), Some(1)));
/// assert_eq!((once.stats().executed, once.stats().replayed), (1, 1));
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

/// Whether a call is to be carried out.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient_runtime::{Registry, idempotency::{Fingerprint, ClaimOutcome}};
///
/// let once = Registry::new().idempotency("refund");
/// match once.claim("order 7", Fingerprint::NONE).await.unwrap() {
///     ClaimOutcome::Run(lease) => assert!(lease.unwrap().complete(&995).await),
///     ClaimOutcome::Replay(_) => unreachable!("nobody had the key before"),
/// }
/// assert!(matches!(once.claim("order 7", Fingerprint::NONE).await, Ok(ClaimOutcome::Replay(_))));
/// # }
/// ```
#[derive(Debug)]
pub enum ClaimOutcome<'a> {
    /// Yes. `None`: without a record, because the store does not answer and the settings are to go on then.
    Run(Option<Lease<'a>>),
    /// No: an earlier one was.
    Replay(Stored<'a>),
}

/// The answer of an earlier call.
///
/// ```
/// # use resilient_runtime::{Registry, Rejection, idempotency::{Fingerprint, ClaimOutcome}};
/// # let once = Registry::new().idempotency("invoice");
/// assert_eq!(once.call("order 7", Fingerprint::NONE, || Some(995)), Some(995));
/// let stored = once.claim_blocking("order 7", Fingerprint::NONE).unwrap();
/// assert!(matches!(stored, ClaimOutcome::Replay(_)));
/// ```
#[derive(Debug)]
pub struct Stored<'a> {
    idempotency: &'a Idempotency,
    operation: &'static str,
    bytes: Vec<u8>,
}

impl Stored<'_> {
    /// The value that [`Lease::complete`] was given.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use resilient_runtime::{Registry, RejectionKind, idempotency::{Fingerprint, ClaimOutcome}};
    /// # let once = Registry::new().idempotency("ticket");
    /// if let ClaimOutcome::Run(Some(lease)) = once.claim("seat 7", Fingerprint::NONE).await.unwrap() {
    ///     lease.complete("row A").await;
    /// }
    /// if let ClaimOutcome::Replay(stored) = once.claim("seat 7", Fingerprint::NONE).await.unwrap() {
    ///     assert_eq!(stored.read::<String>().unwrap(), "row A");
    ///     assert_eq!(stored.read::<u32>().unwrap_err().kind(), RejectionKind::StoredValueMismatch);
    /// }
    /// # assert!(resilient_runtime::Component::stats(&*once).replayed == 1);
    /// # }
    /// ```
    ///
    /// What was read is written once more and compared, so that a type that has changed since is an error and not read
    /// in part.
    ///
    /// # Errors
    /// When what is stored is no such value, or was made by another operation.
    pub fn read<T: serde::Serialize + serde::de::DeserializeOwned>(&self) -> Result<T, Rejection> {
        self.replayed(replay::read(&self.bytes, self.operation))
    }

    /// The outcome that was kept.
    pub(crate) fn outcome<R>(&self, codec: Codec<R>) -> Result<R, Rejection> {
        self.replayed(codec.read(&self.bytes, self.operation))
    }

    fn replayed<R>(&self, read: Result<R, Unreadable>) -> Result<R, Rejection> {
        let idempotency = self.idempotency;
        match read {
            Ok(outcome) => {
                replay::mark(Mark::Replayed);
                idempotency.counters.replayed.count();
                idempotency.publish(EventKind::Replayed);
                Ok(outcome)
            }
            Err(Unreadable::Operation(by)) => Err(idempotency.other_operation(&by, self.operation)),
            Err(Unreadable::Value(why)) => {
                // It can contain what is stored.
                let why = idempotency.core.environment.texts().clean(&why);
                log_limited!(
                    idempotency.log_limits.unreadable, idempotency.core.clock(), ERROR,
                    target: "resilient_runtime::idempotency",
                    idempotency = %idempotency.core.name, why, "a stored answer cannot be read"
                );
                let refusal = idempotency.refuse(RejectionKind::StoredValueMismatch, None);
                Err(match why {
                    Some(why) => refusal.explained(why),
                    None => refusal,
                })
            }
        }
    }
}

impl Idempotency {
    /// Runs `work`, unless a call with this key was carried out; then gives its answer. Every failure frees the key: for
    /// work that may fail and have had its effect, use [`call_judged_async`](Self::call_judged_async).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, idempotency::Fingerprint};
    ///
    /// let once = Registry::new().idempotency("ship");
    /// let ship = async |parcel: u32| {
    ///     once.call_async("order 7", Fingerprint::NONE, async || Some(parcel)).await
    /// };
    /// assert_eq!((ship(1).await, resilient_runtime::replayed()), (Some(1), false));
    /// assert_eq!((ship(2).await, resilient_runtime::replayed()), (Some(1), true));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future while the work runs leaves the key claimed until the lease is over.
    pub async fn call_async<R: Replay + Reject<Error: 'static>>(
        &self,
        key: &str,
        fingerprint: Fingerprint,
        work: impl AsyncFnOnce() -> R,
    ) -> R {
        self.call_judged_async(key, fingerprint, Codec::answers(), work, Judgement::of).await
    }

    /// Like [`call_async`](Self::call_async), with a judge of your own, such as
    /// [`Verdict::by_class`](crate::Verdict::by_class), which tells a failure without an effect from one that may have
    /// had it; and with the errors that `codec` can keep.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::io::{self, ErrorKind};
    /// use resilient_runtime::{Registry, Verdict, idempotency::{Codec, Fingerprint}};
    ///
    /// let once = Registry::new().idempotency("transfer");
    /// let transfer = async |answer: io::Result<u32>| {
    ///     let work = async move || answer;
    ///     once.call_judged_async("order 7", Fingerprint::NONE, Codec::answers(), work, Verdict::by_class).await
    /// };
    /// assert!(transfer(Err(ErrorKind::ConnectionRefused.into())).await.is_err());
    /// assert_eq!(transfer(Ok(995)).await.unwrap(), 995, "that had no effect, so the key was free");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// As of [`call_async`](Self::call_async).
    pub async fn call_judged_async<R: Reject, J: Into<Judgement>>(
        &self,
        key: &str,
        fingerprint: Fingerprint,
        codec: Codec<R>,
        work: impl AsyncFnOnce() -> R,
        judge: impl Fn(&R) -> J,
    ) -> R {
        let lease = match self.claim(key, fingerprint).await {
            Ok(ClaimOutcome::Run(lease)) => lease,
            Ok(ClaimOutcome::Replay(stored)) => {
                return stored.outcome(codec).unwrap_or_else(R::from_rejection);
            }
            Err(rejection) => return R::from_rejection(rejection),
        };
        let Some(lease) = lease else {
            let outcome = work().await;
            replay::mark(Mark::Unsaved(Unsaved::NoRecord));
            return outcome;
        };
        let outcome = lease.keep(work()).await;
        let effect = Effect::of(judge(&outcome).into().verdict());
        let ending = self.ending(effect, (Some(&outcome), ""), codec);
        lease.end(ending).await;
        outcome
    }

    /// Runs `work`, unless a call with this key was carried out, and blocks the thread while it waits. The lease is not
    /// renewed while the work runs: let it be longer. Every failure frees the key.
    ///
    /// ```
    /// use resilient_runtime::{Registry, idempotency::Fingerprint};
    ///
    /// let once = Registry::new().idempotency("report");
    /// let mut made = 0;
    /// for _ in 0..3 {
    ///     once.call("2026-11", Fingerprint::NONE, || {
    ///         made += 1;
    ///         Some(made)
    ///     });
    /// }
    /// assert_eq!(made, 1);
    /// ```
    pub fn call<R: Replay + Reject<Error: 'static>>(
        &self,
        key: &str,
        fingerprint: Fingerprint,
        work: impl FnOnce() -> R,
    ) -> R {
        self.call_judged(key, fingerprint, Codec::answers(), work, Judgement::of)
    }

    /// Like [`call`](Self::call), with a judge of your own and the errors that `codec` can keep.
    ///
    /// ```
    /// use resilient_runtime::{Class, Classify, Component, Registry, Rejection, Verdict};
    /// use resilient_runtime::idempotency::{Codec, Config, Fingerprint};
    ///
    /// #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    /// enum PayError { NoFunds, Rejected(String) }
    /// impl Classify for PayError {
    ///     fn classify(&self) -> Class { Class::Permanent }
    /// }
    /// impl From<Rejection> for PayError {
    ///     fn from(rejection: Rejection) -> Self { Self::Rejected(rejection.to_string()) }
    /// }
    ///
    /// let once = Registry::new().idempotency("charge");
    /// once.reconfigure(Config::default().keep_errors(true)).unwrap();
    /// let charge = |answer: Result<u32, PayError>| {
    ///     let codec = Codec::answers_and_errors();
    ///     once.call_judged("order 7", Fingerprint::NONE, codec, || answer, Verdict::by_class)
    /// };
    /// assert_eq!(charge(Err(PayError::NoFunds)), Err(PayError::NoFunds));
    /// assert_eq!(charge(Ok(995)), Err(PayError::NoFunds), "the same, again");
    /// ```
    pub fn call_judged<R: Reject, J: Into<Judgement>>(
        &self,
        key: &str,
        fingerprint: Fingerprint,
        codec: Codec<R>,
        work: impl FnOnce() -> R,
        judge: impl Fn(&R) -> J,
    ) -> R {
        let lease = match self.claim_blocking(key, fingerprint) {
            Ok(ClaimOutcome::Run(lease)) => lease,
            Ok(ClaimOutcome::Replay(stored)) => {
                return stored.outcome(codec).unwrap_or_else(R::from_rejection);
            }
            Err(rejection) => return R::from_rejection(rejection),
        };
        let Some(lease) = lease else {
            let outcome = work();
            replay::mark(Mark::Unsaved(Unsaved::NoRecord));
            return outcome;
        };
        let outcome = lease.hold(work);
        let effect = Effect::of(judge(&outcome).into().verdict());
        lease.end_blocking(self.ending(effect, (Some(&outcome), ""), codec));
        outcome
    }

    /// Claims a key, or gives the answer of the call that had it; waits for one that runs.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, idempotency::{Fingerprint, ClaimOutcome}};
    ///
    /// let once = Registry::new().idempotency("order");
    /// let ClaimOutcome::Run(Some(lease)) = once.claim("7", Fingerprint::NONE).await.unwrap() else { panic!() };
    /// lease.give_up().await;
    /// let again = once.claim("7", Fingerprint::NONE).await.unwrap();
    /// assert!(matches!(again, ClaimOutcome::Run(_)), "the key is free again");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// If the future is dropped, the key is free again, at the latest when the lease is over.
    ///
    /// # Errors
    /// When another call with the key still runs when the wait is over, or was lost; the payload is another; the key is
    /// empty or longer than 1024 bytes; the store does not answer, or the settings name one that is not there.
    pub async fn claim(&self, key: &str, fingerprint: Fingerprint) -> Result<ClaimOutcome<'_>, Rejection> {
        let key = self.record_key(&key)?;
        self.claim_in(key, (fingerprint, ""), self.inherited(), Mode::Async).await
    }

    /// Like [`claim`](Self::claim), of one of many clients that need not mean well: a store gives each a share of its
    /// room, as [`MemoryStore`] does. It waits `max_wait` for a call that runs, whatever the settings say. A lease that is
    /// dropped is over at once.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use resilient_runtime::{Registry, RejectionKind, idempotency::{Client, Fingerprint}};
    ///
    /// let once = Registry::new().idempotency("upload");
    /// let upload = async || once.claim_of(Client(7), "a.png", Fingerprint::NONE, Duration::ZERO).await;
    /// let _lease = upload().await.unwrap();
    /// assert_eq!(upload().await.unwrap_err().kind(), RejectionKind::InProgress, "at once");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// As of [`claim`](Self::claim).
    ///
    /// # Errors
    /// As of [`claim`](Self::claim).
    pub async fn claim_of(
        &self,
        client: Client,
        key: &str,
        fingerprint: Fingerprint,
        max_wait: Duration,
    ) -> Result<ClaimOutcome<'_>, Rejection> {
        let key = self.record_key(&key)?;
        let until = self.core.clock().now().after(max_wait).min(self.inherited());
        self.claim_for(Some(client), key, (fingerprint, ""), until, Mode::Async).await
    }

    /// Like [`claim`](Self::claim), and blocks the thread while it waits.
    ///
    /// ```
    /// use resilient_runtime::{Registry, RejectionKind, idempotency::Fingerprint};
    ///
    /// let once = Registry::new().idempotency("payout");
    /// let held = once.claim_blocking("order 7", Fingerprint::of(&995)).unwrap();
    /// let other = once.claim_blocking("order 7", Fingerprint::of(&1)).unwrap_err();
    /// assert_eq!(other.kind(), RejectionKind::KeyReused, "another payload");
    /// # drop(held);
    /// ```
    ///
    /// # Errors
    /// As of [`claim`](Self::claim).
    pub fn claim_blocking(&self, key: &str, fingerprint: Fingerprint) -> Result<ClaimOutcome<'_>, Rejection> {
        self.claim_until_blocking(self.record_key(&key)?, (fingerprint, ""), self.inherited())
    }

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

    fn inherited(&self) -> Instant {
        Scope::current().deadline_on(self.core.clock())
    }

    // What the pipeline calls ------------------------------------------------------------------------------

    pub(crate) fn key(&self, key: &dyn Display) -> Result<String, Rejection> {
        self.record_key(key)
    }

    pub(crate) async fn claim_until(
        &self,
        key: String,
        asked: (Fingerprint, &'static str),
        deadline: Instant,
    ) -> Result<ClaimOutcome<'_>, Rejection> {
        self.claim_in(key, asked, deadline, Mode::Async).await
    }

    pub(crate) fn claim_until_blocking(
        &self,
        key: String,
        asked: (Fingerprint, &'static str),
        deadline: Instant,
    ) -> Result<ClaimOutcome<'_>, Rejection> {
        blocking(self.claim_in(key, asked, deadline, Mode::Blocking))
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
        replay::mark(Mark::Fresh);
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
        self.core.publish(Self::KIND, EventKind::Reset);
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
