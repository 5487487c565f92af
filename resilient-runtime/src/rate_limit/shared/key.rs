//! The hash of a key that is equal in all instances.

use std::hash::Hasher;

use siphasher::sip::SipHasher24;

use crate::portable::portable_numbers;

/// SipHash-2-4 with a fixed key. The hash of the standard library can change between releases, and instances of two releases
/// must share their limits.
#[derive(Clone, Debug)]
pub(in crate::rate_limit) struct SharedHasher(SipHasher24);

impl SharedHasher {
    /// For the keys of one limiter. Clients cannot choose its name.
    pub(super) fn named(name: &str) -> Self {
        let part = |first, second| SipHasher24::new_with_keys(first, second).hash(name.as_bytes());
        Self(SipHasher24::new_with_keys(part(0, 1), part(2, 3)))
    }
}

impl Hasher for SharedHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.write(bytes);
    }

    portable_numbers!();

    fn finish(&self) -> u64 {
        self.0.finish()
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use std::hash::Hash;

    use super::*;

    #[test]
    fn a_key_has_the_same_hash_in_every_instance_and_another_one_in_every_limiter() {
        let hash = |name: &str, key: &dyn Fn(&mut SharedHasher)| {
            let mut hasher = SharedHasher::named(name);
            key(&mut hasher);
            hasher.finish()
        };
        let ada = hash("login", &|hasher| "ada".hash(hasher));
        assert_eq!(ada, hash("login", &|hasher| String::from("ada").hash(hasher)));
        assert_ne!(ada, hash("search", &|hasher| "ada".hash(hasher)));
        assert_ne!(ada, hash("login", &|hasher| "bob".hash(hasher)));
        // A change of this number would give each client a new limit during a deployment.
        assert_eq!(ada, PINNED);
    }

    const PINNED: u64 = 10_345_759_591_043_159_112;
}
