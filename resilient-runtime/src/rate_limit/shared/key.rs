//! The hash of a key that is equal in all instances.

use std::hash::Hasher;

/// SipHash-2-4 (Aumasson and Bernstein, 2012) with a fixed key. The hash of the standard library can change between
/// releases, and instances of two releases must share their limits.
///
/// Numbers are hashed in little-endian order, and `usize` as 64 bits, so that the hash does not depend on the machine.
#[derive(Clone, Debug)]
pub(in crate::rate_limit) struct SharedHasher {
    state: [u64; 4],
    /// Up to 7 bytes that do not fill a word yet.
    tail: u64,
    length: u64,
}

impl SharedHasher {
    pub(super) fn new(first: u64, second: u64) -> Self {
        let state = [
            first ^ 0x736f_6d65_7073_6575,
            second ^ 0x646f_7261_6e64_6f6d,
            first ^ 0x6c79_6765_6e65_7261,
            second ^ 0x7465_6462_7974_6573,
        ];
        Self { state, tail: 0, length: 0 }
    }

    /// For the keys of one limiter. Clients cannot choose its name.
    pub(super) fn named(name: &str) -> Self {
        let mut first = Self::new(0, 1);
        first.write(name.as_bytes());
        let mut second = Self::new(2, 3);
        second.write(name.as_bytes());
        Self::new(first.finish(), second.finish())
    }

    fn word(state: &mut [u64; 4], word: u64) {
        state[3] ^= word;
        round(state);
        round(state);
        state[0] ^= word;
    }
}

fn round([a, b, c, d]: &mut [u64; 4]) {
    *a = a.wrapping_add(*b);
    *b = b.rotate_left(13) ^ *a;
    *a = a.rotate_left(32);
    *c = c.wrapping_add(*d);
    *d = d.rotate_left(16) ^ *c;
    *a = a.wrapping_add(*d);
    *d = d.rotate_left(21) ^ *a;
    *c = c.wrapping_add(*b);
    *b = b.rotate_left(17) ^ *c;
    *c = c.rotate_left(32);
}

impl Hasher for SharedHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            let at = self.length % 8;
            self.tail |= u64::from(*byte) << (8 * at);
            self.length = self.length.wrapping_add(1);
            if at == 7 {
                Self::word(&mut self.state, std::mem::take(&mut self.tail));
            }
        }
    }

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

    fn write_isize(&mut self, number: isize) {
        self.write_i64(number as i64);
    }

    fn write_i16(&mut self, number: i16) {
        self.write(&number.to_le_bytes());
    }

    fn write_i32(&mut self, number: i32) {
        self.write(&number.to_le_bytes());
    }

    fn write_i64(&mut self, number: i64) {
        self.write(&number.to_le_bytes());
    }

    fn write_i128(&mut self, number: i128) {
        self.write(&number.to_le_bytes());
    }

    fn finish(&self) -> u64 {
        let mut state = self.state;
        Self::word(&mut state, self.tail | self.length << 56);
        state[2] ^= 0xff;
        (0..4).for_each(|_| round(&mut state));
        state[0] ^ state[1] ^ state[2] ^ state[3]
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use std::hash::Hash;

    use super::*;

    #[test]
    fn it_is_the_published_function() {
        // The vectors of the reference implementation: key 00 01 .. 0f, and the inputs (), 00, 00 01 ..
        let hash = |length: u8| {
            let mut hasher = SharedHasher::new(0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908);
            hasher.write(&(0..length).collect::<Vec<u8>>());
            hasher.finish().to_le_bytes()
        };
        assert_eq!(hash(0), [0x31, 0x0e, 0x0e, 0xdd, 0x47, 0xdb, 0x6f, 0x72]);
        assert_eq!(hash(1), [0xfd, 0x67, 0xdc, 0x93, 0xc5, 0x39, 0xf8, 0x74]);
        assert_eq!(hash(15), [0xe5, 0x45, 0xbe, 0x49, 0x61, 0xca, 0x29, 0xa1]);
    }

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
