//! How keys and records are stored in a file.

use resilient_runtime::store::{ReplicaKey, ReplicaRecord, ReplicaVersion};

/// Where the records of a range begin: the length of the name of the set, the name, and the range.
pub(super) fn range_of(set: &str, range: u16) -> Vec<u8> {
    let length = u32::try_from(set.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes()[..], set.as_bytes(), &range.to_be_bytes()].concat()
}

/// Where a record is: its range and its key.
pub(super) fn place(key: &ReplicaKey) -> Vec<u8> {
    [&range_of(key.set(), key.range()), key.key().as_bytes()].concat()
}

/// The key of a place, if it is in the range.
pub(super) fn key_in(place: &[u8], range: &[u8]) -> Option<String> {
    String::from_utf8(place.strip_prefix(range)?.to_vec()).ok()
}

/// The bytes of a record: its version, 1 if it has a value, and the value.
pub(super) fn pack(record: &ReplicaRecord) -> Vec<u8> {
    let value = record.value.as_deref();
    let version = record.version.0.to_be_bytes();
    [&version[..], &[u8::from(value.is_some())], value.unwrap_or_default()].concat()
}

/// Reads what [`pack`] has written.
pub(super) fn unpack(bytes: &[u8]) -> Option<ReplicaRecord> {
    let (version, rest) = bytes.split_first_chunk()?;
    let value = match rest.split_first()? {
        (0, []) => None,
        (1, value) => Some(value.to_vec()),
        _ => return None,
    };
    Some(ReplicaRecord { version: ReplicaVersion(u128::from_be_bytes(*version)), value })
}
