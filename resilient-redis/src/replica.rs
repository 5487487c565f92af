//! Members of replica sets: one hash for each range of a set, at `PREFIX:replica:{HASH}`.

use std::str::from_utf8;
use std::time::Duration;

use resilient_runtime::store::{
    Answer, Expected, ReplicaEntry, ReplicaKey, ReplicaPage, ReplicaRecord, ReplicaStore, ReplicaVersion,
    ReplicaWrite, StoreError, Written,
};

use crate::script::REPLICA;
use crate::session::{Operation, Performed, Reply, Session};
use crate::store::{RedisStore, hex};

/// The largest record of a replica set that a [`RedisStore`] stores: 16 MiB for its value and its key.
///
/// A replica set has a smaller limit for its values: 1 MiB.
///
/// ```
/// assert_eq!(resilient_redis::LARGEST_RECORD, 16 * 1024 * 1024);
/// ```
pub const LARGEST_RECORD: usize = 16 << 20;

/// Hexadecimal digits of a version.
const DIGITS: usize = 32;
/// Maximum number of fields that a page reads.
const MOST_FIELDS: u32 = 2000;

impl RedisStore {
    /// Returns the key in Redis of the records of a range of a replica set, to look them up with `HGETALL`.
    ///
    /// ```
    /// use resilient_redis::RedisStore;
    ///
    /// let key = RedisStore::connect_lazily("redis://127.0.0.1")?.replica_key("profiles", 29);
    /// assert!(key.starts_with("resilient:replica:{") && key.len() == 84);
    /// # Ok::<_, resilient_redis::InvalidConfig>(())
    /// ```
    pub fn replica_key(&self, set: &str, range: u16) -> String {
        self.session().key("replica", &format!("{range} {set}"))
    }

    fn replica<T: Send + 'static>(
        &self,
        operation: Operation,
        read: impl FnOnce(&Reply) -> Option<T> + Send + 'static,
    ) -> Performed<'_, T> {
        self.session()
            .perform(operation, |session, reply| read(&reply).ok_or_else(|| unusable(session, &reply)))
    }

    fn on_range(&self, set: &str, range: u16, arguments: Vec<Vec<u8>>) -> Operation {
        Operation::new(&REPLICA, self.replica_key(set, range), arguments)
    }

    fn on_key(&self, key: &ReplicaKey, operation: &str, arguments: Vec<Vec<u8>>) -> Operation {
        let first = [operation.into(), key.key().into()];
        self.on_range(key.set(), key.range(), first.into_iter().chain(arguments).collect())
    }
}

/// The error of a value that cannot be used. Only a wrong response is a failure of the store.
fn unusable(session: &Session, reply: &Reply) -> StoreError {
    match &*reply.status {
        "foreign" => session.refusal(&format!(
            "another program has written to the key of these records of a replica set: use a prefix of its own for each \
             program, `{}` is not",
            session.prefix()
        )),
        "format" => session.refusal(
            "a later version of resilient-redis wrote these records of a replica set: update all instances",
        ),
        _ => session.unusable(reply),
    }
}

fn version(digits: &[u8]) -> Option<ReplicaVersion> {
    u128::from_str_radix(from_utf8(digits).ok()?, 16).ok().map(ReplicaVersion)
}

/// Reads the version, `v` or `r`, and the value.
fn record(detail: &[u8]) -> Option<ReplicaRecord> {
    let (digits, rest) = detail.split_at_checked(DIGITS)?;
    let (kind, value) = rest.split_first()?;
    let value = match kind {
        b'v' => Some(value.to_vec()),
        b'r' => None,
        _ => return None,
    };
    Some(ReplicaRecord { version: version(digits)?, value })
}

/// Reads the next cursor, and for each record the version, `v` or `r`, the length of the key, `:` and the key.
fn page(detail: &[u8]) -> Option<ReplicaPage> {
    let end = detail.iter().position(|byte| *byte == b' ').unwrap_or(detail.len());
    let cursor = from_utf8(&detail[..end]).ok()?;
    let (mut rest, mut entries) = (&detail[end..], Vec::new());
    while !rest.is_empty() {
        let (digits, after) = rest.get(1..)?.split_at_checked(DIGITS)?;
        let (kind, after) = after.split_first()?;
        let colon = after.iter().position(|byte| *byte == b':')?;
        let length: usize = from_utf8(&after[..colon]).ok()?.parse().ok()?;
        let (key, after) = after[colon + 1..].split_at_checked(length)?;
        let key = from_utf8(key).ok()?.to_owned();
        entries.push(ReplicaEntry { key, version: version(digits)?, is_removed: *kind == b'r' });
        rest = after;
    }
    Some(ReplicaPage { entries, next: (cursor != "0").then(|| cursor.to_owned()) })
}

impl ReplicaStore for RedisStore {
    fn read(&self, key: ReplicaKey) -> Answer<'_, Option<ReplicaRecord>> {
        self.replica(self.on_key(&key, "read", Vec::new()).repeatable(), |reply| match &*reply.status {
            "none" => Some(None),
            "record" => record(&reply.detail).map(Some),
            _ => None,
        })
    }

    fn write(&self, write: ReplicaWrite) -> Answer<'_, Written> {
        let ReplicaWrite { key, record: new, expected, max_ahead } = write;
        let bytes = new.value.as_ref().map_or(0, Vec::len) + key.key().len();
        if bytes > LARGEST_RECORD {
            let refused = self
                .session()
                .refusal(&format!("the record has {bytes} bytes with its key, more than {LARGEST_RECORD}"));
            return Box::pin(async { Err(refused) });
        }
        let kind: &[u8] = if new.value.is_some() { b"v" } else { b"r" };
        let condition = match expected {
            Expected::Older => b"older".to_vec(),
            Expected::Exactly(None) => b"none".to_vec(),
            Expected::Exactly(Some(version)) => hex(version.0),
        };
        let mark = format!("{:016x}", new.mark(&key)).into_bytes();
        let ahead = max_ahead.as_micros().min(1 << 62).to_string().into_bytes();
        let arguments =
            vec![hex(new.version.0), mark, kind.to_vec(), new.value.unwrap_or_default(), condition, ahead];
        let operation = self.on_key(&key, "write", arguments).confirmed("applied");
        // A second copy of a conditional write could find a later record, and report a conflict although the first copy was
        // applied.
        let operation = if expected == Expected::Older { operation.repeatable() } else { operation };
        self.replica(operation, |reply| match &*reply.status {
            "applied" => Some(Written::Applied),
            "conflict" if reply.detail.is_empty() => Some(Written::Conflict(None)),
            "conflict" => record(&reply.detail).map(|found| Written::Conflict(Some(found))),
            "ahead" => number(&reply.detail).map(|micros| Written::Ahead(Duration::from_micros(micros))),
            _ => None,
        })
    }

    fn forget(&self, key: ReplicaKey, version: ReplicaVersion) -> Answer<'_, bool> {
        let operation = self.on_key(&key, "forget", vec![hex(version.0)]);
        self.replica(operation, |reply| match &*reply.status {
            "forgotten" => Some(true),
            "kept" => Some(false),
            _ => None,
        })
    }

    fn digest(&self, set: &str, range: u16) -> Answer<'_, u64> {
        let operation = self.on_range(set, range, vec![b"digest".to_vec()]).repeatable();
        self.replica(operation, |reply| match (&*reply.status, &*reply.detail) {
            ("digest", []) => Some(0),
            ("digest", digits) => u64::from_str_radix(from_utf8(digits).ok()?, 16).ok(),
            _ => None,
        })
    }

    fn list(&self, set: &str, range: u16, from: Option<String>, limit: u32) -> Answer<'_, ReplicaPage> {
        let cursor = from.unwrap_or_else(|| "0".to_owned());
        // A record has two fields.
        let fields = limit.saturating_mul(2).clamp(1, MOST_FIELDS).to_string();
        let arguments = vec![b"list".to_vec(), cursor.into_bytes(), fields.into_bytes()];
        self.replica(self.on_range(set, range, arguments).repeatable(), |reply| match &*reply.status {
            "page" => page(&reply.detail),
            _ => None,
        })
    }
}

fn number(digits: &[u8]) -> Option<u64> {
    from_utf8(digits).ok()?.parse().ok()
}
