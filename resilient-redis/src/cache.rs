//! The values of distributed caches: one string for each value, at the key `PREFIX:cache:{..}`.

use std::time::Duration;

use resilient_runtime::fallback::{CacheEntry, CacheStore};
use resilient_runtime::store::{Answer, StoreError};

use crate::script::CACHE;
use crate::session::{Operation, Reply, Session};
use crate::store::{LONGEST, RedisStore};

/// The largest value of a distributed cache that a [`RedisStore`] stores: 16 MiB.
///
/// The setting `max_bytes` of the level applies first. Its default is 64 KiB.
///
/// ```
/// assert_eq!(resilient_redis::LARGEST_VALUE, 16 * 1024 * 1024);
/// ```
pub const LARGEST_VALUE: usize = 16 << 20;

impl RedisStore {
    fn cached(&self, key: &str, arguments: Vec<Vec<u8>>) -> Operation {
        Operation::new(&CACHE, self.cache_key(key), arguments).repeatable()
    }

    fn remove_cached(&self, key: &str) -> Answer<'_, bool> {
        self.session().perform(self.cached(key, vec![b"remove".to_vec()]), |session, reply| {
            match &*reply.status {
                "removed" => Ok(true),
                "absent" => Ok(false),
                _ => Err(unusable(session, &reply)),
            }
        })
    }
}

impl CacheStore for RedisStore {
    fn get<'a>(&'a self, key: &'a str) -> Answer<'a, Option<CacheEntry>> {
        self.session().perform(self.cached(key, vec![b"get".to_vec()]), |session, reply| {
            match &*reply.status {
                "found" => entry(&reply.detail).map(Some).ok_or_else(|| unusable(session, &reply)),
                "absent" => Ok(None),
                _ => Err(unusable(session, &reply)),
            }
        })
    }

    fn put<'a>(&'a self, key: &'a str, entry: CacheEntry, ttl: Duration) -> Answer<'a, ()> {
        if ttl.is_zero() {
            let removed = self.remove_cached(key);
            return Box::pin(async move { removed.await.map(drop) });
        }
        let CacheEntry { value, age, .. } = entry;
        let bytes = value.len();
        if bytes > LARGEST_VALUE {
            let problem = format!("the value has {bytes} bytes, more than {LARGEST_VALUE}");
            return Box::pin(async move { Err(StoreError::Refused(problem)) });
        }
        let span = ttl.min(LONGEST).as_nanos().div_ceil(1_000_000).to_string().into_bytes();
        // The age counts from the deadline, so that a request that is sent again does not make the value newer.
        let age = age.min(LONGEST) + self.session().timeout();
        let age = age.as_micros().to_string().into_bytes();
        let operation = self.cached(key, vec![b"put".to_vec(), span, age, value]).with_deadline();
        self.session().perform(operation, |session, reply| match &*reply.status {
            "stored" => Ok(()),
            _ => Err(unusable(session, &reply)),
        })
    }

    fn remove<'a>(&'a self, key: &'a str) -> Answer<'a, bool> {
        self.remove_cached(key)
    }
}

/// Reads the age in microseconds, a space, and the value.
fn entry(detail: &[u8]) -> Option<CacheEntry> {
    let end = detail.iter().position(|byte| *byte == b' ')?;
    let age = std::str::from_utf8(&detail[..end]).ok()?.parse().ok()?;
    Some(CacheEntry::new(detail[end + 1..].to_vec(), Duration::from_micros(age)))
}

/// The error of a value that cannot be used. Only a wrong response is a failure of the store.
fn unusable(session: &Session, reply: &Reply) -> StoreError {
    let address = session.address();
    match &*reply.status {
        "foreign" => StoreError::Refused(format!(
            "redis store {address}: another program has written to the key of this value: use a prefix of its own for \
             each program, `{}` is not",
            session.prefix()
        )),
        "format" => StoreError::Refused(format!(
            "redis store {address}: a later version of resilient-redis wrote this value: update all instances"
        )),
        "late" => session.error(&format!(
            "the value reached the server later than {:?} and was not stored: check the network and the server",
            session.timeout()
        )),
        _ => session
            .error("the response is not valid: check that the address belongs to a Redis server"),
    }
}
