//! The store as a member of replica sets.

mod sql;

use std::time::Duration;

use resilient_runtime::store::{
    Answer, Expected, Need, ReplicaEntry, ReplicaKey, ReplicaPage, ReplicaRecord, ReplicaStore,
    ReplicaVersion, ReplicaWrite, StoreError, Written,
};
use sqlx::{Error, Row as _};
use tokio::time::Instant;

use crate::names::Names;
use crate::operation::{Outcome, Reply, Session};
use crate::problem::OLD_SERVER;
use crate::sql::{hash, unhex};
use crate::store::PostgresStore;

/// The largest record of a replica set that a [`PostgresStore`] stores: 16 MiB for the value, the key and the name of the set.
///
/// A replica set has a smaller limit for its values: 1 MiB.
///
/// ```
/// assert_eq!(resilient_postgres::LARGEST_RECORD, 16 * 1024 * 1024);
/// ```
pub const LARGEST_RECORD: usize = 16 << 20;

/// The first version of the server that has `bit_xor`.
pub(crate) const OLDEST_SERVER: i32 = 140_000;
/// Maximum number of records in a page.
const MOST_ENTRIES: u32 = 1000;
/// A page ends with the record whose key exceeds this size of all keys.
const MOST_KEY_BYTES: u32 = 1 << 20;

impl ReplicaStore for PostgresStore {
    fn read(&self, key: ReplicaKey) -> Answer<'_, Option<ReplicaRecord>> {
        self.replicate(
            move |names| sql::read(names, &key),
            |_, reply, _| Ok(Outcome::Ended(Found::of(reply)?.record)),
        )
    }

    fn write(&self, write: ReplicaWrite) -> Answer<'_, Written> {
        let bytes =
            write.record.value.as_ref().map_or(0, Vec::len) + write.key.key().len() + write.key.set().len();
        if bytes > LARGEST_RECORD {
            let problem = format!("the record has {bytes} bytes, more than {LARGEST_RECORD}");
            return self.refused(&problem);
        }
        let condition =
            Condition { version: write.record.version, expected: write.expected, max_ahead: write.max_ahead };
        self.replicate(
            move |names| sql::write(names, &write),
            move |session, reply, was_sent| {
                if reply.changed > 0 {
                    return Ok(Outcome::Ended(Written::Applied));
                }
                Ok(condition.answer(session, Found::of(reply)?, was_sent))
            },
        )
    }

    fn forget(&self, key: ReplicaKey, version: ReplicaVersion) -> Answer<'_, bool> {
        self.replicate(
            move |names| sql::forget(names, &key, version),
            |_, reply, was_sent| {
                // The first copy of the statements may have deleted it.
                let was_deleted = was_sent && Found::of(reply)?.record.is_none();
                Ok(Outcome::Ended(reply.changed > 0 || was_deleted))
            },
        )
    }

    fn digest(&self, set: &str, range: u16) -> Answer<'_, u64> {
        let set = set.to_owned();
        self.replicate(
            move |names| sql::digest(names, &set, range),
            |_, reply, _| Ok(Outcome::Ended(reply.row.try_get::<i64, _>("digest")?.cast_unsigned())),
        )
    }

    fn list(&self, set: &str, range: u16, from: Option<String>, limit: u32) -> Answer<'_, ReplicaPage> {
        let after = match &from {
            None => Some(Vec::new()),
            Some(from) => unhex(from).filter(|hash| hash.len() == 32),
        };
        let Some(after) = after else {
            return self.refused("`from` is not the `next` of a page of this store");
        };
        let (set, limit) = (set.to_owned(), limit.clamp(1, MOST_ENTRIES));
        self.replicate(
            move |names| sql::list(names, &set, range, &after, limit),
            |_, reply, _| Ok(Outcome::Ended(page(reply)?)),
        )
    }
}

impl PostgresStore {
    fn replicate<T: Send + 'static>(
        &self,
        sql: impl Fn(&Names) -> String + Send + Sync + 'static,
        read: impl Fn(&Session, &Reply, bool) -> Result<Outcome<T>, Error> + Send + Sync + 'static,
    ) -> Answer<'_, T> {
        let session = self.session.clone();
        let operation = self.session.clone().perform(
            Instant::now(),
            move |names, _| sql(names),
            move |reply, sending| {
                if reply.row.try_get::<i32, _>("server")? < OLDEST_SERVER {
                    return Ok(Outcome::Failed(StoreError::Refused(session.describe(OLD_SERVER))));
                }
                read(&session, reply, sending.was_sent)
            },
        );
        self.run(Need::Optional, operation)
    }

    fn refused<T: Send>(&self, problem: &str) -> Answer<'_, T> {
        let refused = StoreError::Refused(self.session.describe(problem));
        Box::pin(async { Err(refused) })
    }
}

/// The condition of a write.
struct Condition {
    version: ReplicaVersion,
    expected: Expected,
    max_ahead: Duration,
}

impl Condition {
    /// The result of a write that changed nothing. It depends only on one state of the record and one time on the server.
    fn answer(&self, session: &Session, found: Found, was_sent: bool) -> Outcome<Written> {
        let ahead = micros(self.version).saturating_sub(found.now);
        let has = found.record.as_ref().map(|found| found.version);
        let is_met = match self.expected {
            Expected::Older => has.is_none_or(|version| version < self.version),
            Expected::Exactly(expected) => has == expected,
        };
        if ahead > tolerated(self.max_ahead) {
            Outcome::Ended(Written::Ahead(Duration::from_micros(ahead)))
        } else if found.is_written {
            Outcome::Ended(Written::Applied)
        } else if is_met {
            Outcome::Again
        } else if was_sent && self.expected != Expected::Older {
            // The caller would repeat its change.
            Outcome::Failed(session.error(
                "the response to a write was lost, and the record was changed by another one: it is not known whether the \
                 write took effect before: check the network and the server",
            ))
        } else {
            Outcome::Ended(Written::Conflict(found.record))
        }
    }
}

/// The time of a version in microseconds since 1970.
fn micros(version: ReplicaVersion) -> u64 {
    u64::try_from(version.since_epoch().as_micros()).unwrap_or(u64::MAX)
}

/// The microseconds by which a version may be ahead.
fn tolerated(max_ahead: Duration) -> u64 {
    u64::try_from(max_ahead.as_micros()).unwrap_or(u64::MAX)
}

/// The record that a statement found.
struct Found {
    /// The time on the server in microseconds since 1970.
    now: u64,
    /// The record is equal to the one of the write. Its value is left out then.
    is_written: bool,
    record: Option<ReplicaRecord>,
}

impl Found {
    fn of(reply: &Reply) -> Result<Self, Error> {
        let version: Option<String> = reply.row.try_get("found")?;
        let value: Option<String> = reply.row.try_get("value")?;
        let value = value.map(|value| unhex(&value).ok_or_else(unreadable)).transpose()?;
        let version = version.map(|version| version_of(&version)).transpose()?;
        Ok(Self {
            now: u64::try_from(reply.row.try_get::<i64, _>("now")?).unwrap_or(0),
            is_written: reply.row.try_get("is_written")?,
            record: version.map(|version| ReplicaRecord { version, value }),
        })
    }
}

fn page(reply: &Reply) -> Result<ReplicaPage, Error> {
    let (count, entries): (i64, Option<String>) =
        (reply.row.try_get("count")?, reply.row.try_get("entries")?);
    let entries =
        entries.iter().flat_map(|entries| entries.split(',')).map(entry).collect::<Result<Vec<_>, _>>()?;
    let has_more = u64::try_from(count).unwrap_or(0) > entries.len() as u64;
    let next = entries.last().filter(|_| has_more).map(|last| hash(&last.key));
    Ok(ReplicaPage { entries, next })
}

/// Reads the key, the version and whether it is a tombstone.
fn entry(text: &str) -> Result<ReplicaEntry, Error> {
    let mut parts = text.split(':');
    let mut part = || parts.next().ok_or_else(unreadable);
    let key = unhex(part()?).and_then(|key| String::from_utf8(key).ok()).ok_or_else(unreadable)?;
    Ok(ReplicaEntry { key, version: version_of(part()?)?, is_removed: part()? == "1" })
}

fn version_of(digits: &str) -> Result<ReplicaVersion, Error> {
    u128::from_str_radix(digits, 16).map(ReplicaVersion).map_err(|_| unreadable())
}

fn unreadable() -> Error {
    Error::Decode("the record is not readable: another program may have written it".into())
}
