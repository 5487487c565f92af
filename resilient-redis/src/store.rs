//! The store of idempotency records.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use resilient_runtime::idempotency::{Answer, Claim, Claimed, IdempotencyStore, Owner, StoreError};

use crate::circuits::Pushes;
use crate::config::{Config, InvalidConfig};
use crate::rate::Groups;
use crate::script::{CHANGE, CLAIM};
use crate::session::{Operation, Reply, Session};

/// The largest result that a [`RedisStore`] stores: 16 MiB.
///
/// The setting `max_value` of the component applies first. Its default is 64 KiB.
///
/// ```
/// assert_eq!(resilient_redis::LARGEST_RESULT, 16 * 1024 * 1024);
/// ```
pub const LARGEST_RESULT: usize = 16 << 20;

/// Part of the keys in Redis.
const ROLE: &str = "idempotency";

/// Durations are limited to this, so that times are exact as Lua numbers.
pub(crate) const LONGEST: Duration = Duration::from_hours(30 * 365 * 24);

/// Stores idempotency records in a Redis or Valkey server, shared by all processes that use it.
///
/// It needs Redis 6.2, Valkey 7.2 or later: one server, a primary that Sentinel names, or a Redis Cluster. See
/// [`Config::new`] for the addresses.
///
/// - The connection is opened by the first operation, and opened again when it is lost. The program starts without the
///   server. An operation whose connection is lost is sent a second time, which does not repeat its effect.
/// - An operation ends within [`Config::timeout`], whatever the server does. It is then unknown whether the change was
///   made. A claim that reaches the server later than that is not made.
/// - With Sentinel and in a cluster, the store follows a failover. Until another server is promoted, operations fail.
/// - A record is one hash at the key [`record_key`](Self::record_key), changed by one Lua script at a time and removed by
///   Redis when it expires. All times are measured by the clock of the server that has the record.
/// - The caller's keys are hashed (SHA-256) and not stored. Results are not encrypted.
/// - The memory of the server is the limit. Without free memory, the server refuses new records, and calls that run can
///   still store their results. Clients have no shares as in
///   [`MemoryStore`](resilient_runtime::idempotency::MemoryStore).
/// - The first operation starts a thread, which ends after the store is dropped.
///
/// # Lost records
/// Redis acknowledges a change before it is on disk and on a replica. A crash of the server can lose the changes of the
/// last second (`appendfsync everysec`), and a failover those that the replica had not received; [`Config::wait`] makes
/// that less likely. A call whose record is lost can be executed a second time. Set `maxmemory-policy noeviction`: a policy that evicts records is logged as a
/// warning after the first connection.
///
/// # Rights
/// With ACLs, the user needs `~PREFIX:* +eval +evalsha +time +exists +hmget +hexists +hset +hdel +del +pexpireat`
/// for idempotency records, `+get +set` for rate limits and failed logins, `+zadd +zrem +zcard +zrange +zremrangebyscore` to
/// count instances, `+get +getrange +set` for a distributed cache, `+hget +hset +hdel +hlen +hscan +del` for replica sets,
/// `+hgetall` and `&PREFIX:* +publish +subscribe` for shared circuits, and `+info` for the check of `maxmemory-policy`. With
/// Sentinel add `+role`, in a cluster `+cluster|slots +asking`, and for [`Config::wait`] `+wait`. A user of the sentinels
/// needs `+sentinel|get-master-addr-by-name`.
///
/// ```no_run
/// use std::sync::Arc;
/// use resilient_redis::RedisStore;
///
/// let store = RedisStore::connect_lazily("redis://127.0.0.1:6379")?;
/// resilient_runtime::registry().use_store("shared", store);
/// // Then use it: #[resilient(idempotent(key = &order.id, store = "shared"))]
/// # Ok::<_, resilient_redis::InvalidConfig>(())
/// ```
pub struct RedisStore {
    session: Session,
    pushes: Pushes,
    groups: Groups,
}

impl RedisStore {
    /// Creates a store at `url` with default settings. Connects when the first operation needs it.
    ///
    /// ```
    /// use resilient_redis::RedisStore;
    ///
    /// let store = RedisStore::connect_lazily("redis://:secret@127.0.0.1:6379")?;
    /// assert!(!format!("{store:?}").contains("secret"));
    /// # Ok::<_, resilient_redis::InvalidConfig>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error if the URL is not valid: see [`Config::new`].
    pub fn connect_lazily(url: impl Into<String>) -> Result<Self, InvalidConfig> {
        Self::new(Config::new(url))
    }

    /// Creates a store. Connects when the first operation needs it.
    ///
    /// ```
    /// use resilient_redis::{Config, RedisStore};
    ///
    /// assert!(RedisStore::new(Config::new("redis://127.0.0.1").prefix("shop")).is_ok());
    /// assert!(RedisStore::new(Config::new("redis://127.0.0.1").prefix("x".repeat(10_000))).is_err());
    /// ```
    ///
    /// # Errors
    /// Returns all settings that are not valid.
    pub fn new(config: Config) -> Result<Self, InvalidConfig> {
        Session::new(config).map(|session| Self {
            session,
            pushes: Pushes::default(),
            groups: Groups::default(),
        })
    }

    /// Returns the key in Redis of the record with `key`, to look it up with `HGETALL`.
    ///
    /// `key` is the name of the component, a zero byte, and the caller's key.
    ///
    /// ```
    /// use resilient_redis::RedisStore;
    ///
    /// let key = RedisStore::connect_lazily("redis://127.0.0.1")?.record_key("charge\0order 7");
    /// assert!(key.starts_with("resilient:idempotency:{") && key.len() == 88);
    /// # Ok::<_, resilient_redis::InvalidConfig>(())
    /// ```
    pub fn record_key(&self, key: &str) -> String {
        self.session.key(ROLE, key)
    }

    /// Returns the key in Redis of a value of a distributed cache.
    ///
    /// ```
    /// use resilient_redis::RedisStore;
    ///
    /// let key = RedisStore::connect_lazily("redis://127.0.0.1")?.cache_key("EUR");
    /// assert!(key.starts_with("resilient:cache:{") && key.len() == 82);
    /// # Ok::<_, resilient_redis::InvalidConfig>(())
    /// ```
    pub fn cache_key(&self, key: &str) -> String {
        self.session.key("cache", key)
    }

    /// The key in Redis with this name.
    pub(crate) fn key(&self, name: &str) -> String {
        format!("{}:{name}", self.session.prefix())
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    pub(crate) fn pushes(&self) -> &Pushes {
        &self.pushes
    }

    pub(crate) fn groups(&self) -> &Groups {
        &self.groups
    }

    fn change(
        &self,
        (key, owner): (&str, Owner),
        change: &str,
        span: Duration,
        answer: Vec<u8>,
    ) -> Answer<'_, bool> {
        let operation = self.changing((key, owner), change, span, answer);
        self.session.perform(operation, |session, reply| match &*reply.status {
            "changed" => Ok(true),
            "refused" => Ok(false),
            _ => Err(session.unusable(&reply)),
        })
    }

    fn changing(
        &self,
        (key, owner): (&str, Owner),
        change: &str,
        span: Duration,
        answer: Vec<u8>,
    ) -> Operation {
        let arguments = vec![change.into(), hex(owner.0), micros(span), answer];
        Operation::new(&CHANGE, self.record_key(key), arguments).repeatable().required().confirmed("changed")
    }
}

impl fmt::Debug for RedisStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisStore")
            .field("address", &self.session.address())
            .field("prefix", &self.session.prefix())
            .field("timeout", &self.session.timeout())
            .finish_non_exhaustive()
    }
}

impl IdempotencyStore for RedisStore {
    fn claim(&self, claim: Claim) -> Answer<'_, Claimed> {
        let arguments = vec![
            hex(claim.fingerprint.0),
            claim.operation.into(),
            hex(claim.owner.0),
            micros(claim.lease),
            micros(claim.lost_for),
            if claim.takes_over { b"1".to_vec() } else { b"0".to_vec() },
        ];
        // A claim that replicas do not confirm is an error, so the call is not executed.
        let undo = self.changing((&claim.key, claim.owner), "abandon", Duration::ZERO, Vec::new());
        let operation = Operation::new(&CLAIM, self.record_key(&claim.key), arguments);
        let operation = operation.repeatable().with_deadline().confirmed("acquired").undone_by(undo);
        self.session.perform(operation, |session, reply| match &*reply.status {
            "acquired" => Ok(Claimed::Acquired),
            "running" => session.micros(&reply).map(|retry_after| Claimed::InProgress { retry_after }),
            "done" => Ok(Claimed::Done(reply.detail)),
            "reused" => Ok(Claimed::KeyReused),
            "other" => Ok(Claimed::OtherOperation(String::from_utf8_lossy(&reply.detail).into_owned())),
            "lost" => Ok(Claimed::Lost),
            _ => Err(session.unusable(&reply)),
        })
    }

    fn renew<'a>(&'a self, key: &'a str, owner: Owner, lease: Duration) -> Answer<'a, bool> {
        self.change((key, owner), "renew", lease, Vec::new())
    }

    fn complete<'a>(
        &'a self,
        key: &'a str,
        owner: Owner,
        answer: Vec<u8>,
        ttl: Duration,
    ) -> Answer<'a, bool> {
        let bytes = answer.len();
        if bytes <= LARGEST_RESULT {
            return self.change((key, owner), "complete", ttl, answer);
        }
        // The call was executed, so its key must not become free.
        let lost = self.lose(key, owner);
        Box::pin(async move {
            lost.await?;
            let problem = format!("the result has {bytes} bytes, more than {LARGEST_RESULT}");
            Err(self.session.refusal(&problem))
        })
    }

    fn abandon<'a>(&'a self, key: &'a str, owner: Owner) -> Answer<'a, bool> {
        self.change((key, owner), "abandon", Duration::ZERO, Vec::new())
    }

    fn lose<'a>(&'a self, key: &'a str, owner: Owner) -> Answer<'a, bool> {
        self.change((key, owner), "lose", Duration::ZERO, Vec::new())
    }
}

impl Session {
    fn micros(&self, reply: &Reply) -> Result<Duration, StoreError> {
        self.number(reply).map(Duration::from_micros)
    }

    /// The number in a response.
    pub(crate) fn number<T: FromStr>(&self, reply: &Reply) -> Result<T, StoreError> {
        let number = std::str::from_utf8(&reply.detail).ok().and_then(|number| number.parse().ok());
        number.ok_or_else(|| self.unusable(reply))
    }

    /// The error of a record that must not be used or changed.
    pub(crate) fn unusable(&self, reply: &Reply) -> StoreError {
        let prefix = self.prefix();
        let problem = match &*reply.status {
            "foreign" => format!(
                "another program has written to the key of this record: use a prefix of its own for each program, \
                 `{prefix}` is not"
            ),
            "format" => {
                "a later version of resilient-redis wrote this record: update all instances".to_owned()
            }
            "late" => {
                let limit = self.timeout();
                format!(
                    "the request reached the server later than {limit:?}: check the network and the server"
                )
            }
            _ => "the response is not valid: check that the address belongs to a Redis server".to_owned(),
        };
        match &*reply.status {
            // Only this key is affected.
            "foreign" | "format" => self.refusal(&problem),
            _ => self.error(&problem),
        }
    }
}

pub(crate) fn hex(number: u128) -> Vec<u8> {
    format!("{number:032x}").into_bytes()
}

/// Rounded up, so that only zero is zero.
pub(crate) fn micros(span: Duration) -> Vec<u8> {
    whole_micros(span).to_string().into_bytes()
}

/// Rounded up, so that only zero is zero.
pub(crate) fn whole_micros(span: Duration) -> u128 {
    span.min(LONGEST).as_nanos().div_ceil(1000)
}
