//! The role of a store that keeps idempotency records.

use std::fmt;
use std::time::Duration;

use super::{Answer, TransactionalStore, ready};
use crate::portable::portable_numbers;

/// Identifies the call that claimed a key.
///
/// The number is unique for each call. It fences off earlier owners of the key.
///
/// ```
/// use resilient_runtime::idempotency::Owner;
///
/// assert_ne!(Owner(1), Owner(2), "a slow call differs from its successor");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(pub u128);

/// Identifies the untrusted client that a key belongs to.
///
/// A store limits each client to a share of its capacity.
///
/// ```
/// use resilient_runtime::idempotency::{ClientId, Fingerprint};
///
/// let Fingerprint(ada) = Fingerprint::of("ada");
/// assert_ne!(ClientId(ada), ClientId(7));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u128);

/// A hash of a call's payload: equal for equal payloads, also after a restart.
///
/// ```
/// use resilient_runtime::idempotency::Fingerprint;
///
/// assert_eq!(Fingerprint::of("995 cents"), Fingerprint::of("995 cents"));
/// assert_ne!(Fingerprint::of("995 cents"), Fingerprint::NONE);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Fingerprint(pub u128);

/// A request to claim a key.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use std::time::Duration;
/// use resilient_runtime::clock::Clock;
/// use resilient_runtime::idempotency::{Claim, Claimed, Fingerprint, IdempotencyStore, MemoryStore, Owner};
///
/// let (store, lease) = (MemoryStore::new(Clock::system(), 10), Duration::from_mins(1));
/// let claim = |owner| {
///     let (key, fingerprint) = ("charge\0order 7".into(), Fingerprint::NONE);
///     store.claim(Claim { key, fingerprint, operation: "", owner, lease, lost_for: lease, takes_over: false, client: None })
/// };
/// assert_eq!(claim(Owner(1)).await, Ok(Claimed::Acquired));
/// assert!(matches!(claim(Owner(2)).await, Ok(Claimed::InProgress { .. })));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The component's name and the caller's key.
    pub key: String,
    /// The hash of the call's payload.
    pub fingerprint: Fingerprint,
    /// The operation, such as the path of an annotated function; empty if unknown.
    ///
    /// If the operations of the record and of the claim are both known, they must be equal.
    pub operation: &'static str,
    /// Identifies the call.
    pub owner: Owner,
    /// How long the claim holds the key if it is not renewed.
    pub lease: Duration,
    /// How long the record is stored after its lease has expired.
    ///
    /// It applies to a claim that was not completed or abandoned.
    pub lost_for: Duration,
    /// Whether to take over a key whose lease has expired.
    pub takes_over: bool,
    /// The client that the key belongs to; `None` for the program's own calls.
    ///
    /// To stay within a client's share, a store may drop completed records of that client. It must not drop records
    /// that are running or lost, or that belong to the program.
    pub client: Option<ClientId>,
}

/// The result of a claim.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # use std::time::Duration;
/// # use resilient_runtime::clock::Clock;
/// use resilient_runtime::idempotency::{Claim, Claimed, Fingerprint, IdempotencyStore, MemoryStore, Owner};
///
/// # let (store, lease) = (MemoryStore::new(Clock::system(), 10), Duration::from_mins(1));
/// let claim = |fingerprint| {
///     let (key, owner) = ("7".into(), Owner(1));
///     store.claim(Claim { key, fingerprint, operation: "", owner, lease, lost_for: lease, takes_over: false, client: None })
/// };
/// assert_eq!(claim(Fingerprint::NONE).await, Ok(Claimed::Acquired));
/// store.complete("7", Owner(1), b"995".to_vec(), Duration::from_hours(1)).await.unwrap();
/// assert_eq!(claim(Fingerprint::NONE).await, Ok(Claimed::Done(b"995".to_vec())));
/// assert_eq!(claim(Fingerprint::of("other")).await, Ok(Claimed::KeyReused));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The caller owns the key.
    Acquired,
    /// Another call owns the key and its lease has not expired.
    InProgress {
        /// The time until that lease expires, unless it is renewed.
        retry_after: Duration,
    },
    /// A call with the key was completed, with this result.
    Done(Vec<u8>),
    /// The key was used with another fingerprint.
    ///
    /// Only the operation is checked before the fingerprint.
    KeyReused,
    /// The key was used by another operation, with this name.
    OtherOperation(String),
    /// Another call owned the key and its lease has expired.
    Lost,
}

/// Stores records of calls by key.
///
/// All changes are atomic. `renew`, `complete`, `abandon` and `lose` are compare-and-set on the owner: they change a
/// record only while it is claimed by `owner` and return `false` otherwise, so a slow call cannot change the record of
/// its successor. Acknowledged changes are not lost. All times are measured by the store's clock, so the hosts that
/// share a store do not need synchronized clocks.
///
/// A future is dropped when its timeout expires. Its change might have been made or not.
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::idempotency::{Answer, Claim, Claimed, IdempotencyStore, Owner};
///
/// /// Stores nothing, so every call is executed.
/// #[derive(Debug)]
/// struct Forgetful;
/// impl IdempotencyStore for Forgetful {
///     fn claim(&self, _: Claim) -> Answer<'_, Claimed> { Box::pin(async { Ok(Claimed::Acquired) }) }
///     fn renew<'a>(&'a self, _: &'a str, _: Owner, _: Duration) -> Answer<'a, bool> { Box::pin(async { Ok(true) }) }
///     fn complete<'a>(&'a self, _: &'a str, _: Owner, _: Vec<u8>, _: Duration) -> Answer<'a, bool> {
///         Box::pin(async { Ok(true) })
///     }
///     fn abandon<'a>(&'a self, _: &'a str, _: Owner) -> Answer<'a, bool> { Box::pin(async { Ok(true) }) }
/// }
/// # use resilient_runtime::{Registry, idempotency::Fingerprint};
/// let once = Registry::new().idempotency("test");
/// once.set_store(std::sync::Arc::new(Forgetful));
/// let call = |answer: u32| once.call("7", Fingerprint::NONE, || Some(answer));
/// assert_eq!((call(1), call(2)), (Some(1), Some(2)));
/// ```
pub trait IdempotencyStore: fmt::Debug + Send + Sync + 'static {
    /// Claims a key, or returns the state of its record.
    ///
    /// An expired record counts as missing.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use std::time::Duration;
    /// # use resilient_runtime::clock::ManualClock;
    /// use resilient_runtime::idempotency::{Claim, Claimed, Fingerprint, IdempotencyStore, MemoryStore, Owner};
    ///
    /// # let time = ManualClock::new();
    /// # let (store, lease) = (MemoryStore::new(time.clock(), 10), Duration::from_mins(1));
    /// let claim = |owner| {
    ///     let (key, fingerprint) = ("7".into(), Fingerprint::NONE);
    ///     store.claim(Claim { key, fingerprint, operation: "", owner, lease, lost_for: lease, takes_over: false, client: None })
    /// };
    /// assert_eq!(claim(Owner(1)).await, Ok(Claimed::Acquired));
    /// time.advance(lease);
    /// assert_eq!(claim(Owner(2)).await, Ok(Claimed::Lost));
    /// # }
    /// ```
    fn claim(&self, claim: Claim) -> Answer<'_, Claimed>;

    /// Extends the lease of a claim to `lease` from now.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use std::time::Duration;
    /// # use resilient_runtime::clock::ManualClock;
    /// use resilient_runtime::idempotency::{Claim, Fingerprint, IdempotencyStore, MemoryStore, Owner};
    ///
    /// # let time = ManualClock::new();
    /// # let (store, lease) = (MemoryStore::new(time.clock(), 10), Duration::from_mins(1));
    /// # let (key, owner, fingerprint) = ("7".into(), Owner(1), Fingerprint::NONE);
    /// let claim = Claim { key, fingerprint, operation: "", owner, lease, lost_for: lease, takes_over: false, client: None };
    /// store.claim(claim).await.unwrap();
    /// assert_eq!(store.renew("7", Owner(1), lease).await, Ok(true));
    /// assert_eq!(store.renew("7", Owner(2), lease).await, Ok(false), "another owner");
    /// # }
    /// ```
    fn renew<'a>(&'a self, key: &'a str, owner: Owner, lease: Duration) -> Answer<'a, bool>;

    /// Stores the result for `ttl` from now. A `ttl` of zero removes the record.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use std::time::Duration;
    /// # use resilient_runtime::clock::ManualClock;
    /// use resilient_runtime::idempotency::{IdempotencyStore, MemoryStore, Owner};
    ///
    /// let store = MemoryStore::new(ManualClock::new().clock(), 10);
    /// let stored = store.complete("7", Owner(1), b"995".to_vec(), Duration::from_hours(1)).await;
    /// assert_eq!(stored, Ok(false), "the key was not claimed");
    /// # }
    /// ```
    fn complete<'a>(&'a self, key: &'a str, owner: Owner, answer: Vec<u8>, ttl: Duration)
    -> Answer<'a, bool>;

    /// Removes a claim whose call had no effect.
    ///
    /// If the call was dropped, this future is polled once and then dropped, so do as much as possible before it is
    /// first pending.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use std::time::Duration;
    /// # use resilient_runtime::clock::ManualClock;
    /// use resilient_runtime::idempotency::{Claim, Fingerprint, IdempotencyStore, MemoryStore, Owner};
    ///
    /// # let (store, lease) = (MemoryStore::new(ManualClock::new().clock(), 10), Duration::from_mins(1));
    /// # let (key, owner, fingerprint) = ("7".into(), Owner(1), Fingerprint::NONE);
    /// let claim = Claim { key, fingerprint, operation: "", owner, lease, lost_for: lease, takes_over: false, client: None };
    /// store.claim(claim).await.unwrap();
    /// assert_eq!(store.abandon("7", Owner(1)).await, Ok(true));
    /// assert!(store.is_empty());
    /// # }
    /// ```
    fn abandon<'a>(&'a self, key: &'a str, owner: Owner) -> Answer<'a, bool>;

    /// Expires the lease of a claim whose call ended with an unknown outcome.
    ///
    /// This future might be polled only once, like the future of [`abandon`](Self::abandon). The default implementation
    /// does nothing, so the lease expires later.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use std::time::Duration;
    /// # use resilient_runtime::clock::ManualClock;
    /// use resilient_runtime::idempotency::{Claim, Claimed, Fingerprint, IdempotencyStore, MemoryStore, Owner};
    ///
    /// # let (store, lease) = (MemoryStore::new(ManualClock::new().clock(), 10), Duration::from_mins(1));
    /// # let fingerprint = Fingerprint::NONE;
    /// let claim = |owner| {
    ///     let key = "7".into();
    ///     store.claim(Claim { key, fingerprint, operation: "", owner, lease, lost_for: lease, takes_over: false, client: None })
    /// };
    /// claim(Owner(1)).await.unwrap();
    /// assert_eq!(store.lose("7", Owner(1)).await, Ok(true));
    /// assert_eq!(claim(Owner(2)).await, Ok(Claimed::Lost), "without a wait");
    /// # }
    /// ```
    fn lose<'a>(&'a self, _key: &'a str, _owner: Owner) -> Answer<'a, bool> {
        ready(Ok(false))
    }

    /// Returns the store as one that can write a record in the transaction of the caller, if it can.
    ///
    /// `idempotent(transaction = ..)` needs it. The default implementation returns `None`.
    ///
    /// ```
    /// use resilient_runtime::{clock::Clock, idempotency::{IdempotencyStore, MemoryStore}};
    ///
    /// assert!(MemoryStore::new(Clock::system(), 10).transactional().is_none());
    /// ```
    fn transactional(&self) -> Option<&dyn TransactionalStore> {
        None
    }
}

impl Fingerprint {
    /// No fingerprint: payloads are not compared.
    pub const NONE: Self = Self(0);

    /// Computes the fingerprint of a hashable payload, with 128-bit FNV-1a.
    ///
    /// It detects accidental reuse of a key. It does not protect against clients that search for collisions.
    ///
    /// ```
    /// use resilient_runtime::idempotency::Fingerprint;
    /// assert_eq!(Fingerprint::of(&("ada", 995)), Fingerprint::of(&("ada", 995)));
    /// assert_ne!(Fingerprint::of(&("ada", 995)), Fingerprint::of(&("ada", 996)));
    /// ```
    pub fn of<T: std::hash::Hash + ?Sized>(payload: &T) -> Self {
        let mut printer = Printer::default();
        payload.hash(&mut printer);
        printer.fingerprint()
    }
}

/// 128-bit FNV-1a (Fowler, Noll, Vo). It is stable across versions, unlike the hashers of the standard library.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Printer(u128);

impl Default for Printer {
    fn default() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }
}

impl Printer {
    pub(crate) fn fingerprint(self) -> Fingerprint {
        Fingerprint(self.0)
    }
}

impl std::hash::Hasher for Printer {
    fn finish(&self) -> u64 {
        u64::try_from(self.0 & u128::from(u64::MAX)).unwrap_or(0)
    }

    fn write(&mut self, bytes: &[u8]) {
        const PRIME: u128 = 0x0000_0000_0100_0000_0000_0000_0000_013b;
        for byte in bytes {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(PRIME);
        }
    }

    portable_numbers!();
}
