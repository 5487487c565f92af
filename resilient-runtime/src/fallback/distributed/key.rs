//! Keys in the store.

use std::fmt::Write as _;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::Distributed;
use crate::fallback::NoAnswer;
use crate::portable::portable_numbers;
use crate::stored;

/// The longest key, in bytes.
const LONGEST: usize = 1024;

/// The key of a value: the same in all processes, whatever their machine is.
#[derive(Clone, Debug)]
pub(crate) struct DistributedKey {
    text: Arc<str>,
    hash: u128,
}

impl DistributedKey {
    pub(in crate::fallback) fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// The key of the value in memory.
    pub(super) fn hash(&self) -> u128 {
        self.hash
    }
}

impl Distributed {
    /// Returns the key of a value of type `V`. `owner` is the path of the function that returns the value, so that functions
    /// with one fallback name do not share values. Without one, the name of the fallback is used.
    pub(in crate::fallback) fn key<V, K: Hash + ?Sized>(
        &self,
        owner: &str,
        key: &K,
    ) -> Result<DistributedKey, NoAnswer> {
        let mut bytes = KeyBytes { bytes: Vec::with_capacity(32), is_too_long: false };
        key.hash(&mut bytes);
        if bytes.is_too_long {
            self.not_stored(&format!("its key is longer than {LONGEST} bytes: use a shorter key"));
            return Err(NoAnswer::Empty);
        }
        let (kind, owner) = if owner.is_empty() { ("name", self.name) } else { ("fn", owner) };
        let mut text = format!("{kind} {owner}\0{}\0", stored::type_name::<V>());
        for byte in bytes.bytes {
            match byte {
                b'%' | 0..=31 | 127.. => _ = write!(text, "%{byte:02x}"),
                _ => text.push(char::from(byte)),
            }
        }
        let hash = self.near.hash(&text);
        Ok(DistributedKey { text: text.into(), hash })
    }
}

/// Collects the bytes that a key is hashed by, so that keys that differ have different bytes.
struct KeyBytes {
    bytes: Vec<u8>,
    is_too_long: bool,
}

impl Hasher for KeyBytes {
    fn finish(&self) -> u64 {
        0
    }

    fn write(&mut self, bytes: &[u8]) {
        if self.bytes.len() + bytes.len() > LONGEST {
            self.is_too_long = true;
        } else {
            self.bytes.extend_from_slice(bytes);
        }
    }

    portable_numbers!();
}
