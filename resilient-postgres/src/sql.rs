//! The text of the statements.
//!
//! All statements of an operation are sent in one message of the simple query protocol, so an operation takes one round
//! trip and needs no prepared statement, which `pgbouncer` in transaction mode would not keep. Every value is written as
//! digits or hexadecimal digits, so no value can end a literal.

use std::time::Duration;

use resilient_runtime::idempotency::{Claim, Owner};
use sha2::{Digest, Sha256};

use crate::names::Names;

/// The version of the schema that the statements expect.
pub(crate) const VERSION: i32 = 2;

/// Durations are limited to this, so that times stay in the range of the server.
const LONGEST: Duration = Duration::from_hours(30 * 365 * 24);

/// A change of a record that is claimed by its owner.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Change<'a> {
    Renew(Duration),
    Lose,
    Abandon,
    Complete(&'a [u8], Duration),
}

impl Change<'_> {
    /// Whether the record no longer exists after the change.
    pub(crate) fn removes(self) -> bool {
        matches!(self, Self::Abandon | Self::Complete(_, Duration::ZERO))
    }
}

/// Where a claim is made.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    /// On a connection of the store. The claim is not made later than this time on the server, in microseconds.
    Own { until: Option<u64> },
    /// In the transaction of a caller. It waits for other transactions up to this time.
    Within { max_wait: Duration },
}

/// Claims the record, unless it is live and used by another call. The last statement reads it.
///
/// A record that a transaction of another connection has inserted makes the statement wait for the end of that
/// transaction. A record that cannot be claimed is only read, not locked.
pub(crate) fn claim(names: &Names, claim: &Claim, place: Place) -> String {
    let Names { records, versions, .. } = names;
    let (key, operation, fingerprint) = (key(&claim.key), text(claim.operation), uuid(claim.fingerprint.0));
    let (owner, lease, lost_for) = (uuid(claim.owner.0), interval(claim.lease), interval(claim.lost_for));
    let (before, restored, is_in_time) = match place {
        Place::Own { until: None } => (String::new(), "", String::new()),
        Place::Own { until: Some(until) } => (String::new(), "", format!("AND t.now <= {}", time(until))),
        Place::Within { max_wait } => (waits_for(max_wait), RESTORED, String::new()),
    };
    let is_taken_over = if claim.takes_over {
        format!(
            "OR (r.result IS NULL AND r.lease_until <= clock_timestamp() AND r.fingerprint = {fingerprint} \
             AND (r.operation = '' OR {operation} = '' OR r.operation = {operation}))"
        )
    } else {
        String::new()
    };
    let is_free = format!("(r.expires_at <= clock_timestamp() {is_taken_over})");
    format!(
        "{before}INSERT INTO {records} AS r (key, fingerprint, operation, owner, lease_until, expires_at) \
         SELECT {key}, {fingerprint}, {operation}, {owner}, t.now + {lease}, t.now + {lease} + {lost_for} \
         FROM (SELECT clock_timestamp() AS now) t \
         WHERE (SELECT max(version) FROM {versions}) = {VERSION} {is_in_time} \
         AND NOT EXISTS (SELECT FROM {records} r WHERE r.key = {key} AND NOT {is_free}) \
         ON CONFLICT (key) DO UPDATE SET fingerprint = excluded.fingerprint, operation = excluded.operation, \
         owner = excluded.owner, lease_until = clock_timestamp() + {lease}, \
         expires_at = clock_timestamp() + {lease} + {lost_for}, result = NULL WHERE {is_free}; {read}",
        read = read(names, &key, claim, restored)
    )
}

/// The columns of [`Found`](crate::found::Found).
fn read(names: &Names, key: &str, claim: &Claim, more: &str) -> String {
    let Names { records, versions, .. } = names;
    format!(
        "SELECT {more}{now} AS now, (SELECT max(version) FROM {versions}) AS version, \
         coalesce(r.expires_at > t.now, false) AS is_live, coalesce(r.operation, '') AS operation, \
         coalesce(r.fingerprint = {fingerprint}, false) AS is_same_payload, coalesce(r.owner = {owner}, false) AS is_mine, \
         coalesce((extract(epoch from r.lease_until - t.now) * 1000000)::int8, 0) AS lease, \
         encode(r.result, 'hex') AS result \
         FROM (SELECT clock_timestamp() AS now) t LEFT JOIN {records} r ON r.key = {key}",
        now = micros_of("t.now"),
        fingerprint = uuid(claim.fingerprint.0),
        owner = uuid(claim.owner.0),
    )
}

/// Changes the record if `owner` has claimed it. The second statement reads its state.
pub(crate) fn change(names: &Names, record_key: &str, owner: Owner, change: Change<'_>) -> String {
    let Names { records, versions, .. } = names;
    let (key, owner) = (key(record_key), uuid(owner.0));
    let is_held = format!(
        "r.key = {key} AND r.owner = {owner} AND r.result IS NULL AND r.expires_at > t.now \
         AND (SELECT max(version) FROM {versions}) = {VERSION}"
    );
    let now = "(SELECT clock_timestamp() AS now) t";
    let update = |changes: &str| format!("UPDATE {records} r SET {changes} FROM {now} WHERE {is_held}");
    let changed = match change {
        _ if change.removes() => format!("DELETE FROM {records} r USING {now} WHERE {is_held}"),
        Change::Renew(lease) => {
            let later = format!("greatest(t.now + {}, r.lease_until)", interval(lease));
            update(&format!("lease_until = {later}, expires_at = r.expires_at + ({later} - r.lease_until)"))
        }
        Change::Lose => update(
            "lease_until = least(t.now, r.lease_until), \
             expires_at = r.expires_at - greatest(r.lease_until - t.now, interval '0')",
        ),
        Change::Complete(result, ttl) => {
            update(&format!("result = {}, expires_at = t.now + {}", bytes(result), interval(ttl)))
        }
        Change::Abandon => String::new(),
    };
    format!(
        "{changed}; SELECT {micros} AS now, (SELECT max(version) FROM {versions}) AS version, \
         r.key IS NOT NULL AS is_there, coalesce(r.owner = {owner} AND r.result IS NOT NULL, false) AS is_completed \
         FROM {now} LEFT JOIN {records} r ON r.key = {key}",
        micros = micros_of("t.now")
    )
}

/// Deletes up to `batch` expired records, except those that another transaction uses.
pub(crate) fn expire(names: &Names, batch: u32) -> String {
    let Names { records, versions, .. } = names;
    // `now()` is constant, so the index is used.
    format!(
        "DELETE FROM {records} WHERE ctid = ANY (ARRAY(SELECT ctid FROM {records} WHERE expires_at <= now() \
         AND (SELECT max(version) FROM {versions}) = {VERSION} \
         ORDER BY expires_at LIMIT {batch} FOR UPDATE SKIP LOCKED)); {}",
        state(names)
    )
}

/// Reads the clock of the server and the version of the schema.
pub(crate) fn state(names: &Names) -> String {
    let versions = &names.versions;
    format!(
        "SELECT {} AS now, (SELECT max(version) FROM {versions}) AS version, {PRIMARY}, \
         current_setting('fsync') = 'off' AS is_unsafe",
        micros_of("clock_timestamp()")
    )
}

/// A column that is an error (25006) if the server is a standby, as a change is.
pub(crate) const PRIMARY: &str =
    "CASE WHEN pg_is_in_recovery() THEN pg_current_xact_id()::text END AS primary";

/// The settings of the transaction of an operation on an own connection. Nothing of it remains in the session.
///
/// A session can have weaker settings: a database with `synchronous_commit = off` would lose acknowledged changes.
pub(crate) fn settings(limit: Duration) -> String {
    let limit = limit.as_millis().max(1);
    format!(
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = {limit}; \
         SET LOCAL statement_timeout = {limit}; \
         SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'; "
    )
}

/// Sets a limit for the wait for locks in the transaction of a caller. [`RESTORED`] puts the setting back.
fn waits_for(limit: Duration) -> String {
    let limit = limit.as_millis().max(1);
    format!(
        "SELECT set_config('resilient.lock_timeout', current_setting('lock_timeout'), true), \
         set_config('lock_timeout', '{limit}', true); "
    )
}

/// A column that puts the setting back.
const RESTORED: &str =
    "set_config('lock_timeout', current_setting('resilient.lock_timeout'), true) AS lock_timeout, ";

/// The hash of a key, in hexadecimal digits.
pub(crate) fn hash(record_key: &str) -> String {
    hex(&Sha256::digest(record_key.as_bytes()))
}

fn key(record_key: &str) -> String {
    format!("decode('{}', 'hex')", hash(record_key))
}

pub(crate) fn bytes(bytes: &[u8]) -> String {
    format!("decode('{}', 'hex')", hex(bytes))
}

/// Only ASCII, so that it does not depend on the encoding of the database.
fn text(text: &str) -> String {
    format!("convert_from({}, 'UTF8')", bytes(text.escape_default().to_string().as_bytes()))
}

pub(crate) fn uuid(number: u128) -> String {
    format!("'{number:032x}'::uuid")
}

/// Rounded up, so that only zero is zero.
fn interval(span: Duration) -> String {
    let micros = span.min(LONGEST).as_nanos().div_ceil(1000);
    format!("interval '{}.{:06} seconds'", micros / 1_000_000, micros % 1_000_000)
}

/// A time in microseconds since 1970.
fn time(micros: u64) -> String {
    format!("to_timestamp({}.{:06}::float8)", micros / 1_000_000, micros % 1_000_000)
}

pub(crate) fn micros_of(time: &str) -> String {
    format!("(extract(epoch from {time}) * 1000000)::int8")
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(char::from(b"0123456789abcdef"[usize::from(digit)]));
        }
    }
    text
}

/// The bytes that hexadecimal digits stand for.
pub(crate) fn unhex(text: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| Some(digit(pair[0])? << 4 | digit(pair[1])?);
    text.len().is_multiple_of(2).then(|| text.as_bytes().chunks_exact(2).map(pair).collect()).flatten()
}

#[cfg(test)]
mod tests {
    use resilient_runtime::idempotency::Fingerprint;

    use super::*;

    #[test]
    fn no_value_can_end_a_literal() {
        let evil = "'; DROP TABLE x; -- \\' \0 é";
        let hour = Duration::from_hours(1);
        let claim = Claim {
            key: evil.to_owned(),
            fingerprint: Fingerprint(u128::MAX),
            operation: "'; DROP TABLE x; --",
            owner: Owner(u128::MAX),
            lease: Duration::MAX,
            lost_for: Duration::MAX,
            takes_over: true,
            client: None,
        };
        let names = Names::new("public", "records");
        let completed = Change::Complete(evil.as_bytes(), hour);
        for sql in [
            super::claim(&names, &claim, Place::Own { until: Some(u64::MAX) }),
            super::claim(&names, &claim, Place::Within { max_wait: Duration::MAX }),
            super::change(&names, evil, Owner(1), completed),
            super::change(&names, evil, Owner(1), Change::Renew(Duration::MAX)),
        ] {
            assert!(!sql.contains("DROP") && !sql.contains('\\') && sql.is_ascii(), "{sql}");
        }
    }

    #[test]
    fn hexadecimal_digits_are_read_back() {
        let all: Vec<u8> = (0..=u8::MAX).collect();
        assert_eq!(unhex(&hex(&all)), Some(all));
        assert_eq!(unhex(""), Some(Vec::new()));
        assert_eq!((unhex("0"), unhex("0g")), (None, None));
    }

    #[test]
    fn durations_are_rounded_up_and_limited() {
        assert_eq!(interval(Duration::from_nanos(1)), "interval '0.000001 seconds'");
        assert_eq!(interval(Duration::from_millis(1500)), "interval '1.500000 seconds'");
        assert_eq!(interval(Duration::MAX), "interval '946080000.000000 seconds'");
    }
}
