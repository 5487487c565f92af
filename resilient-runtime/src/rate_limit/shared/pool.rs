//! Tokens that were taken from the store in advance.

use std::sync::Arc;

use tokio::sync::{Notify, watch};

use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering};

/// Tokens of a lease that was not used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Lease {
    pub(super) tokens: u32,
    pub(super) mark: u64,
}

/// The result of the last request for a lease.
#[derive(Clone, Debug, Default)]
pub(super) enum Refill {
    #[default]
    None,
    Granted,
    Refused,
    Failed,
}

#[derive(Debug)]
pub(super) struct Pool {
    /// Relaxed, as all numbers here: a token does not order anything that a call does.
    tokens: AtomicU64,
    /// How many of them are from calls that did not run. They are not returned to the store, which may have granted others
    /// in their place.
    put_back: AtomicU64,
    /// Below this number, the keeper takes another lease.
    low: AtomicU64,
    /// Whether the keeper will look at the pool, so that calls do not wake it again.
    is_told: AtomicBool,
    /// The greatest weight of a call that waits for tokens.
    wanted: AtomicU32,
    /// The newest lease first.
    leases: Mutex<[Lease; 2]>,
    pub(super) wake: Arc<Notify>,
    pub(super) refills: watch::Sender<Refill>,
}

impl Pool {
    pub(super) fn new() -> Self {
        Self {
            tokens: AtomicU64::new(0),
            put_back: AtomicU64::new(0),
            low: AtomicU64::new(0),
            is_told: AtomicBool::new(false),
            wanted: AtomicU32::new(0),
            leases: Mutex::default(),
            wake: Arc::new(Notify::new()),
            refills: watch::Sender::default(),
        }
    }

    pub(super) fn tokens(&self) -> u64 {
        self.tokens.load(Ordering::Relaxed)
    }

    /// Takes tokens, without a lock, an allocation or a request to the store.
    #[inline]
    pub(super) fn take(&self, weight: u32) -> bool {
        let taken = |tokens: u64| tokens.checked_sub(u64::from(weight));
        let Ok(before) = self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, taken) else {
            return false;
        };
        if before - u64::from(weight) < self.low.load(Ordering::Relaxed)
            && !self.is_told.load(Ordering::Relaxed)
        {
            self.tell();
        }
        true
    }

    #[cold]
    fn tell(&self) {
        if !self.is_told.swap(true, Ordering::Relaxed) {
            self.wake.notify_one();
        }
    }

    /// Returns the tokens of a call that did not run. The pool then holds no more than after a lease.
    pub(super) fn put(&self, weight: u32) {
        let leases = self.leases.lock();
        let [newest, before] = leases.map(|lease| lease.tokens);
        let most = u64::from(newest) + u64::from(before.div_ceil(2));
        let put = |tokens: u64| {
            let after = tokens.saturating_add(weight.into());
            (after <= most).then_some(after)
        };
        if self.tokens.fetch_update(Ordering::Relaxed, Ordering::Relaxed, put).is_ok() {
            self.put_back.fetch_add(weight.into(), Ordering::Relaxed);
        }
    }

    /// Asks the keeper for tokens, for a call that waits.
    pub(super) fn want(&self, weight: u32) {
        self.wanted.fetch_max(weight, Ordering::Relaxed);
        self.wake.notify_one();
    }

    /// Whether the keeper must take a lease.
    pub(super) fn is_asked(&self) -> bool {
        self.is_told.load(Ordering::Relaxed) || self.is_wanted()
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed) > 0
    }

    pub(super) fn take_wanted(&self) -> u32 {
        self.wanted.swap(0, Ordering::Relaxed)
    }

    /// Adds a lease.
    pub(super) fn add(&self, lease: Lease) {
        let mut leases = self.leases.lock();
        *leases = [lease, leases[0]];
        self.low.store(u64::from(lease.tokens.div_ceil(2)), Ordering::Relaxed);
        let before = self.tokens.fetch_add(u64::from(lease.tokens), Ordering::Relaxed);
        // Tokens that calls have used since are not in the pool.
        self.put_back.fetch_min(before, Ordering::Relaxed);
    }

    /// Lets calls tell the keeper again.
    pub(super) fn listen(&self) {
        self.is_told.store(false, Ordering::Relaxed);
    }

    /// Takes all tokens, to return them. Tokens are used in the order in which they were leased.
    pub(super) fn drain(&self) -> Vec<Lease> {
        let mut last = self.leases.lock();
        self.low.store(0, Ordering::Relaxed);
        let put_back = self.put_back.swap(0, Ordering::Relaxed);
        let mut left = self.tokens.swap(0, Ordering::Relaxed).saturating_sub(put_back);
        let leases = std::mem::take(&mut *last);
        drop(last);
        let part = |lease: Lease| {
            let tokens = u32::try_from(left).unwrap_or(u32::MAX).min(lease.tokens);
            left -= u64::from(tokens);
            Lease { tokens, ..lease }
        };
        leases.map(part).into_iter().filter(|lease| lease.tokens > 0).collect()
    }
}
