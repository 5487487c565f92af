//! The request of a call to a rate limiter.

use std::hash::{BuildHasher, Hash};

use super::RateLimiter;
use super::shared::Shared;

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

#[cold]
fn hash_in_all_instances<K: Hash + ?Sized>(shared: &Shared, key: &K) -> RateKey {
    shared.hash(key)
}

impl RateLimiter {
    /// Returns the hash of a key, to pass it to [`check_key`](Self::check_key) instead of the key.
    ///
    /// The hash has a key of its own, so that a client cannot construct keys that share a limit. If the limit is shared by a
    /// store, it is the same in all instances.
    ///
    /// ```
    /// let search = resilient_runtime::Registry::new().rate_limiter("search");
    /// assert_eq!(search.hash_of_key("ada"), search.hash_of_key(&String::from("ada")));
    /// assert_ne!(search.hash_of_key("ada"), search.hash_of_key("bob"));
    /// ```
    pub fn hash_of_key<K: Hash + ?Sized>(&self, key: &K) -> u64 {
        self.request(key).key
    }

    /// Whether all instances of the service share the limit through a store.
    ///
    /// ```
    /// assert!(!resilient_runtime::Registry::new().rate_limiter("search").is_shared());
    /// ```
    pub fn is_shared(&self) -> bool {
        self.shared().is_some()
    }

    /// Creates a request of weight 1 for the limit of a key.
    pub(crate) fn request<K: Hash + ?Sized>(&self, key: &K) -> Request {
        let key = match self.shared() {
            Some(shared) => hash_in_all_instances(shared, key),
            None => self.hasher.hash_one(key).max(1),
        };
        Request { key, weight: 1 }
    }
}
