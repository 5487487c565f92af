//! Hashes of keys that clients choose, such as user names. Tables store the hash instead of the key.
//!
//! The hash is `SipHash` with random keys, so a client cannot construct keys that collide. It has 128 bits, because two
//! clients must never share an entry: among 10^9 keys the probability of a collision is about 10^-21.

use std::hash::{BuildHasher, Hash, RandomState};

/// Hashes keys. Two hashers return different hashes for the same key.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeyHasher {
    low: RandomState,
    high: RandomState,
}

impl KeyHasher {
    pub(crate) fn hash<K: Hash + ?Sized>(&self, key: &K) -> u128 {
        u128::from(self.low.hash_one(key)) | u128::from(self.high.hash_one(key)) << 64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_equal_keys_have_equal_hashes() {
        let hasher = KeyHasher::default();
        assert_eq!(hasher.hash("a"), hasher.hash(&String::from("a")));
        let distinct: std::collections::BTreeSet<u128> = (0..10_000).map(|key| hasher.hash(&key)).collect();
        assert_eq!(distinct.len(), 10_000);
        assert_ne!(hasher.hash("a"), KeyHasher::default().hash("a"), "each hasher has its own random keys");
    }
}
