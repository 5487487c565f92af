//! The request of a call to a rate limiter.

use std::hash::{BuildHasher, Hash};

use super::RateLimiter;

/// The hash of a key. 0 for the limit without a key.
pub(crate) type RateKey = u64;

/// The key and the weight of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(super) key: RateKey,
    pub(super) weight: u32,
}

impl Request {
    /// Weight 1, without a key.
    pub(crate) const ONE: Self = Self { key: 0, weight: 1 };

    pub(crate) const fn of(key: RateKey, weight: u32) -> Self {
        Self { key, weight }
    }

    pub(crate) fn with_weight(self, weight: u32) -> Self {
        Self { weight, ..self }
    }

    pub(crate) const fn key(self) -> RateKey {
        self.key
    }

    pub(crate) const fn weight(self) -> u32 {
        self.weight
    }
}

impl RateLimiter {
    /// Creates a request of weight 1 for the limit of a key.
    pub(crate) fn request<K: Hash + ?Sized>(&self, key: &K) -> Request {
        let key = match self.shared() {
            Some(shared) => shared.hash(key),
            None => self.hasher.hash_one(key).max(1),
        };
        Request { key, weight: 1 }
    }
}
