//! Where records are kept. A store of your own implements [`IdempotencyStore`].

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

/// What a store gives in its own time.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Who claimed a key: a number that is drawn for each call, and fences off whoever had the key before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Owner(pub u128);

/// What a call was asked to do, in a number: equal for equal payloads, today and after a restart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Fingerprint(pub u128);

/// A call that wants to be the one that is carried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The component's name, and the caller's key.
    pub key: String,
    /// What it is asked to do.
    pub fingerprint: Fingerprint,
    /// Who asks.
    pub owner: Owner,
    /// How long it holds the key, unless it is renewed.
    pub lease: Duration,
    /// How long after its lease the record of a claim is kept that was neither completed nor abandoned.
    pub lost_for: Duration,
    /// Whether it takes over what was lost: a claim whose lease is over.
    pub takes_over: bool,
}

/// What a store says to a claim.
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
    /// The key was used with another fingerprint. Said before anything else.
    KeyReused,
    /// Another had it, and its lease is over.
    Lost,
}

/// Keeps records of calls by key.
///
/// All changes are atomic. `renew`, `complete` and `abandon` are compare-and-set on the owner: they change a record only
/// while it is claimed by `owner`, and give `false` otherwise, so that whoever was too slow cannot touch what its
/// successor did. What was acknowledged stays. The time is the store's: the hosts that share it need not agree on one.
///
/// Each question is dropped when its time is over, and has then been carried out or not.
pub trait IdempotencyStore: fmt::Debug + Send + Sync + 'static {
    /// Claims a key, or says what is known of it. A record that is over counts as none.
    fn claim(&self, claim: Claim) -> Answer<'_, Claimed>;

    /// Holds a claim for `lease` from now.
    fn renew<'a>(&'a self, key: &'a str, owner: Owner, lease: Duration) -> Answer<'a, bool>;

    /// Keeps the answer for `ttl` from now; no longer at all where that is zero.
    fn complete<'a>(&'a self, key: &'a str, owner: Owner, answer: Vec<u8>, ttl: Duration)
    -> Answer<'a, bool>;

    /// Forgets a claim that had no effect. If the call was dropped, this is polled once and dropped as well: do by then
    /// what can be done.
    fn abandon<'a>(&'a self, key: &'a str, owner: Owner) -> Answer<'a, bool>;
}

/// A store that could not do what it was asked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It holds as many records as it may, and none of them is over.
    #[error("the store is full: {records} records are live")]
    Full {
        /// How many there are.
        records: usize,
    },
    /// It cannot be reached, read or written.
    #[error("{0}")]
    Unavailable(String),
    /// It took longer than it may.
    #[error("the store did not answer in time")]
    TimedOut,
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
    /// use resilient::idempotency::Fingerprint;
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
