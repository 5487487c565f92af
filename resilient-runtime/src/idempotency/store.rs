//! Where records are kept. A store of your own implements [`IdempotencyStore`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// What a store gives in its own time.
///
/// ```
/// use resilient_runtime::idempotency::{Answer, StoreError};
///
/// fn at_once<'a>(kept: bool) -> Answer<'a, bool> {
///     Box::pin(async move { if kept { Ok(true) } else { Err(StoreError::TimedOut) } })
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// assert_eq!(at_once(true).await, Ok(true));
/// # }
/// ```
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Who claimed a key: a number that is drawn for each call, and fences off whoever had the key before.
///
/// ```
/// use resilient_runtime::idempotency::Owner;
///
/// assert_ne!(Owner(1), Owner(2), "who is too slow is told from who came after");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(pub u128);

/// Whose key it is, where the calls are those of many that need not mean well: a number that tells them apart. A store
/// gives each of them a share of its room.
///
/// ```
/// use resilient_runtime::idempotency::{ClientId, Fingerprint};
///
/// let Fingerprint(ada) = Fingerprint::of("ada");
/// assert_ne!(ClientId(ada), ClientId(7));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ClientId(pub u128);

/// What a call was asked to do, in a number: equal for equal payloads, today and after a restart.
///
/// ```
/// use resilient_runtime::idempotency::Fingerprint;
///
/// assert_eq!(Fingerprint::of("995 cents"), Fingerprint::of("995 cents"));
/// assert_ne!(Fingerprint::of("995 cents"), Fingerprint::NONE);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Fingerprint(pub u128);

/// A call that wants to be the one that is carried out.
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
    /// The component's name, and the caller's key.
    pub key: String,
    /// What it is asked to do.
    pub fingerprint: Fingerprint,
    /// The operation that asks, such as an annotated function; empty where it is not known. A record answers calls of its
    /// own operation only, where both are known.
    pub operation: &'static str,
    /// Who asks.
    pub owner: Owner,
    /// How long it holds the key, unless it is renewed.
    pub lease: Duration,
    /// How long after its lease the record of a claim is kept that was neither completed nor abandoned.
    pub lost_for: Duration,
    /// Whether it takes over what was lost: a claim whose lease is over.
    pub takes_over: bool,
    /// Whose it is; `None` where it is the program's own. A store may let go of what was answered to one that takes more
    /// than its share, never of what runs, was lost, or is the program's own.
    pub client: Option<ClientId>,
}

/// What a store says to a claim.
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
    /// The key is the caller's.
    Acquired,
    /// Another has it, for so long at most unless it renews.
    InProgress {
        /// When its lease is over.
        retry_after: Duration,
    },
    /// It was carried out: this is its answer.
    Done(Vec<u8>),
    /// The key was used with another fingerprint. Said before anything else but the operation.
    KeyReused,
    /// The key was used by another operation: its name.
    OtherOperation(String),
    /// Another had it, and its lease is over.
    Lost,
}

/// Keeps records of calls by key.
///
/// All changes are atomic. `renew`, `complete`, `abandon` and `lose` are compare-and-set on the owner: they change a record only
/// while it is claimed by `owner`, and give `false` otherwise, so that whoever was too slow cannot touch what its
/// successor did. What was acknowledged stays. The time is the store's: the hosts that share it need not agree on one.
///
/// Each question is dropped when its time is over, and has then been carried out or not.
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::idempotency::{Answer, Claim, Claimed, IdempotencyStore, Owner};
///
/// /// Remembers nothing, so that every call is carried out.
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
    /// Claims a key, or says what is known of it. A record that is over counts as none.
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

    /// Holds a claim for `lease` from now.
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
    /// assert_eq!(store.renew("7", Owner(2), lease).await, Ok(false), "not theirs");
    /// # }
    /// ```
    fn renew<'a>(&'a self, key: &'a str, owner: Owner, lease: Duration) -> Answer<'a, bool>;

    /// Keeps the answer for `ttl` from now; no longer at all where that is zero.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use std::time::Duration;
    /// # use resilient_runtime::clock::ManualClock;
    /// use resilient_runtime::idempotency::{IdempotencyStore, MemoryStore, Owner};
    ///
    /// let store = MemoryStore::new(ManualClock::new().clock(), 10);
    /// let kept = store.complete("7", Owner(1), b"995".to_vec(), Duration::from_hours(1)).await;
    /// assert_eq!(kept, Ok(false), "nobody has claimed it");
    /// # }
    /// ```
    fn complete<'a>(&'a self, key: &'a str, owner: Owner, answer: Vec<u8>, ttl: Duration)
    -> Answer<'a, bool>;

    /// Forgets a claim that had no effect. If the call was dropped, this is polled once and dropped as well: do by then
    /// what can be done.
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

    /// Ends the lease of a claim now: its call has ended, and nobody will ever know what became of it. As for
    /// [`abandon`](Self::abandon) this may be polled once only. A store that does nothing here, as it does unless it is
    /// written, lets the lease end in its time.
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
    /// assert_eq!(claim(Owner(2)).await, Ok(Claimed::Lost), "at once");
    /// # }
    /// ```
    fn lose<'a>(&'a self, _key: &'a str, _owner: Owner) -> Answer<'a, bool> {
        ready(Ok(false))
    }
}

/// A store that could not do what it was asked.
///
/// ```
/// use resilient_runtime::idempotency::StoreError;
///
/// let full = StoreError::Full { records: 10, retry_after: None };
/// assert_eq!(full.to_string(), "the store is full: 10 records are live");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It holds as many records as it may, of all or of one client, and none of them is over.
    #[error("the store is full: {records} records are live")]
    Full {
        /// How many there are.
        records: usize,
        /// When the next of them is over, where that is known.
        retry_after: Option<Duration>,
    },
    /// It cannot be reached, read or written.
    #[error("{0}")]
    Unavailable(String),
    /// It took longer than it may.
    #[error("the store did not answer in time")]
    TimedOut,
    /// It panicked, with this message.
    #[error("the store panicked: {0}")]
    Panicked(String),
}

/// An answer that is there already.
pub(super) fn ready<'a, T: Send + 'a>(answer: Result<T, StoreError>) -> Answer<'a, T> {
    Box::pin(std::future::ready(answer))
}

impl Fingerprint {
    /// Where no two payloads are told apart: whoever has the key gets the answer.
    pub const NONE: Self = Self(0);

    /// Of whatever can be hashed, by FNV-1a of 128 bits: it tells mistakes from repetitions, and is no seal against
    /// those who look for collisions in their own keys.
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

/// Fowler, Noll, Vo: 1a, 128 bits. Stable, which the standard library's hashers are not.
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

    // The same on machines of either byte order and width.
    fn write_u16(&mut self, number: u16) {
        self.write(&number.to_le_bytes());
    }
    fn write_u32(&mut self, number: u32) {
        self.write(&number.to_le_bytes());
    }
    fn write_u64(&mut self, number: u64) {
        self.write(&number.to_le_bytes());
    }
    fn write_u128(&mut self, number: u128) {
        self.write(&number.to_le_bytes());
    }
    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }
}
