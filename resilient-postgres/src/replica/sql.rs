//! The statements of a member of replica sets.

use resilient_runtime::store::{Expected, ReplicaKey, ReplicaRecord, ReplicaVersion, ReplicaWrite};
use sha2::{Digest as _, Sha256};

use super::{MOST_KEY_BYTES, OLDEST_SERVER, micros, tolerated};
use crate::names::Names;
use crate::sql::{PRIMARY, VERSION, bytes, hash, micros_of, uuid};

/// Reads the record of a key.
pub(super) fn read(names: &Names, key: &ReplicaKey) -> String {
    found(names, key, None)
}

/// Writes the record if the condition is met. The second statement reads the record that is there then.
///
/// The first statement can wait for another transaction, and does not report the record that this one wrote. The second one
/// sees it, because each statement of a transaction has a snapshot of its own.
pub(super) fn write(names: &Names, write: &ReplicaWrite) -> String {
    let Names { replicas, .. } = names;
    let ReplicaWrite { key, record, expected, max_ahead } = write;
    let (version, mark) = (uuid(record.version.0), record.mark(key).cast_signed());
    let value = record.value.as_deref().map_or_else(|| "NULL::bytea".to_owned(), bytes);
    let earliest = micros(record.version).saturating_sub(tolerated(*max_ahead));
    let is_allowed = format!("{} AND {} >= {earliest}", is_usable(names), micros_of("clock_timestamp()"));
    let insert = |is_met: &str, on_conflict: &str| {
        format!(
            "INSERT INTO {replicas} AS r (set_hash, range, key_hash, set_name, key, version, mark, value) \
             SELECT {set_hash}, {range}, {key_hash}, {set}, {key}, {version}, '{mark}'::int8, {value} \
             WHERE {is_allowed} {is_met} ON CONFLICT (set_hash, range, key_hash) DO {on_conflict}",
            set_hash = hashed(key.set()),
            range = key.range(),
            key_hash = hashed(key.key()),
            set = bytes(key.set().as_bytes()),
            key = bytes(key.key().as_bytes()),
        )
    };
    let is_here = is_at(key);
    let changed = match expected {
        // A record that stays is not locked.
        Expected::Older => insert(
            &format!("AND NOT EXISTS (SELECT FROM {replicas} r WHERE {is_here} AND r.version >= {version})"),
            "UPDATE SET version = excluded.version, mark = excluded.mark, value = excluded.value \
             WHERE r.version < excluded.version",
        ),
        Expected::Exactly(None) => insert("", "NOTHING"),
        Expected::Exactly(Some(expected)) => format!(
            "UPDATE {replicas} r SET version = {version}, mark = '{mark}'::int8, value = {value} \
             WHERE {is_here} AND r.version = {} AND {is_allowed}",
            uuid(expected.0)
        ),
    };
    format!("{changed}; {}", found(names, key, Some(record)))
}

/// Deletes a tombstone.
pub(super) fn forget(names: &Names, key: &ReplicaKey, version: ReplicaVersion) -> String {
    format!(
        "DELETE FROM {} r WHERE {} AND r.version = {} AND r.value IS NULL AND {}; {}",
        names.replicas,
        is_at(key),
        uuid(version.0),
        is_usable(names),
        found(names, key, None)
    )
}

/// Computes the digest of a range.
pub(super) fn digest(names: &Names, set: &str, range: u16) -> String {
    format!(
        "SELECT {}, coalesce(bit_xor(r.mark), 0) AS digest FROM {} r WHERE r.set_hash = {} AND r.range = {range}",
        state(names),
        names.replicas,
        hashed(set)
    )
}

/// Reads up to `limit` records of a range, in the order of the hashes of their keys, after the hash `after`.
///
/// The response is one row. It ends early after [`MOST_KEY_BYTES`], and has one record at least.
pub(super) fn list(names: &Names, set: &str, range: u16, after: &[u8], limit: u32) -> String {
    format!(
        "WITH found AS (SELECT r.key_hash, r.key, r.version, r.value IS NULL AS is_removed FROM {replicas} r \
         WHERE r.set_hash = {set} AND r.range = {range} AND r.key_hash > {after} ORDER BY r.key_hash LIMIT {limit} + 1), \
         page AS (SELECT *, row_number() OVER previous AS number, \
         sum(octet_length(key)) OVER previous - octet_length(key) AS bytes \
         FROM found WINDOW previous AS (ORDER BY key_hash)) \
         SELECT {state}, count(*) AS count, \
         string_agg(encode(key, 'hex') || ':' || replace(page.version::text, '-', '') || ':' || is_removed::int4, ',' \
         ORDER BY key_hash) FILTER (WHERE number <= {limit} AND bytes < {MOST_KEY_BYTES}) AS entries FROM page",
        replicas = names.replicas,
        set = hashed(set),
        after = bytes(after),
        state = state(names),
    )
}

/// Reads the record of a key. Its value is not returned if the record is `written`.
fn found(names: &Names, key: &ReplicaKey, written: Option<&ReplicaRecord>) -> String {
    let is_written = match written {
        None => "false".to_owned(),
        Some(ReplicaRecord { version, value }) => {
            let has_value = match value {
                None => "r.value IS NULL".to_owned(),
                Some(value) => format!("sha256(r.value) = {}", bytes(&Sha256::digest(value))),
            };
            format!("coalesce(r.version = {} AND {has_value}, false)", uuid(version.0))
        }
    };
    format!(
        "SELECT {state}, {is_written} AS is_written, replace(r.version::text, '-', '') AS found, \
         CASE WHEN NOT {is_written} THEN encode(r.value, 'hex') END AS value \
         FROM (SELECT) one LEFT JOIN {replicas} r ON {is_here}",
        state = state(names),
        replicas = names.replicas,
        is_here = is_at(key)
    )
}

fn is_at(key: &ReplicaKey) -> String {
    format!(
        "r.set_hash = {} AND r.range = {} AND r.key_hash = {}",
        hashed(key.set()),
        key.range(),
        hashed(key.key())
    )
}

/// Whether the tables and the server have versions that may be changed.
fn is_usable(names: &Names) -> String {
    format!("(SELECT max(version) FROM {}) = {VERSION} AND {SERVER} >= {OLDEST_SERVER}", names.versions)
}

/// The columns that each operation reads.
fn state(names: &Names) -> String {
    format!(
        "{} AS now, (SELECT max(version) FROM {}) AS version, {SERVER} AS server, {PRIMARY}",
        micros_of("clock_timestamp()"),
        names.versions
    )
}

/// The version of the server, such as 150004.
const SERVER: &str = "current_setting('server_version_num')::int4";

fn hashed(text: &str) -> String {
    format!("decode('{}', 'hex')", hash(text))
}
