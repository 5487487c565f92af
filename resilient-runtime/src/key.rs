//! Keys that callers bring along, such as a user's name, as what a table of them holds: a hash.
//!
//! Keyed at run time (`SipHash` with random keys), so that nobody outside can choose keys that collide; and of 128
//! bits where two callers must never be taken for one: among a thousand million keys the chance of that is one in
//! 10^21.

use std::hash::{BuildHasher, Hash, RandomState};

/// Makes hashes that are the same as long as it lives.
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
    fn equal_keys_have_equal_hashes_and_others_do_not() {
        let hasher = KeyHasher::default();
        assert_eq!(hasher.hash("a"), hasher.hash(&String::from("a")));
        let distinct: std::collections::BTreeSet<u128> = (0..10_000).map(|key| hasher.hash(&key)).collect();
        assert_eq!(distinct.len(), 10_000);
        assert_ne!(hasher.hash("a"), KeyHasher::default().hash("a"), "keyed anew each time");
    }
}
