//! Settings of a connection.

use std::fmt;
use std::time::Duration;

use crate::address::Place;

/// Default time limit of an operation.
const TIMEOUT: Duration = Duration::from_millis(250);
/// Allowed time limits.
const TIMEOUTS: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_mins(1);
/// Default prefix of all keys in Redis.
const PREFIX: &str = "resilient";
/// Maximum length of a prefix, in bytes.
const LONGEST_PREFIX: usize = 64;

/// Settings of a [`RedisStore`](crate::RedisStore).
///
/// The servers are given by a URL ([`new`](Self::new)) or by their addresses ([`sentinel`](Self::sentinel),
/// [`cluster`](Self::cluster)). `Debug` does not show users and passwords.
///
/// ```
/// use std::time::Duration;
/// use resilient_redis::{Config, RedisStore};
///
/// let config = Config::new("redis://:secret@cache.internal:6379/2")
///     .prefix("shop:production")
///     .timeout(Duration::from_millis(100));
/// assert!(!format!("{config:?}").contains("secret"));
/// let store = RedisStore::new(config)?;
/// # Ok::<_, resilient_redis::InvalidConfig>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
#[must_use]
pub struct Config {
    source: Source,
    login: Option<Login>,
    sentinel_login: Option<Login>,
    pub(crate) prefix: String,
    pub(crate) timeout: Duration,
    pub(crate) wait: Option<Wait>,
}

/// The setting that says where the server is.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Url(String),
    Sentinel { master: String, addresses: Vec<String> },
    Cluster { addresses: Vec<String> },
}

/// A user, which is the default one if empty, and its password.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Login {
    pub(crate) user: String,
    pub(crate) password: String,
}

/// How many replicas must confirm a change, and how long that may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Wait {
    pub(crate) replicas: u32,
    pub(crate) timeout: Duration,
}

impl Config {
    /// Creates the default settings for the servers at `url`.
    ///
    /// | form | servers |
    /// |---|---|
    /// | `redis://[user][:password@]host[:port][/database]` | one server |
    /// | `unix:///path/to/socket` | one server on this machine |
    /// | `redis+sentinel://[user:password@]host[:port],host[:port]/master[/database]` | the primary that Sentinel names |
    /// | `redis+cluster://[user:password@]host[:port],host[:port]` | the nodes of a Redis Cluster |
    ///
    /// `rediss` in place of `redis` encrypts all connections (feature `tls`), and `valkey` and `valkeys` mean the same.
    /// The default port is 6379, and 26379 for sentinels. Special characters in the password must be percent-encoded. If
    /// the sentinels need a login, add `?sentinel_user=..&sentinel_password=..`.
    ///
    /// Read the password from the environment or a file, not from the source code.
    ///
    /// ```
    /// use resilient_redis::{Config, RedisStore};
    ///
    /// let url = std::env::var("REDIS_URL").unwrap_or("redis+sentinel://s1,s2,s3/mymaster".to_owned());
    /// let store = RedisStore::new(Config::new(url))?;
    /// # Ok::<_, resilient_redis::InvalidConfig>(())
    /// ```
    pub fn new(url: impl Into<String>) -> Self {
        Self::at(Source::Url(url.into()))
    }

    /// Creates the default settings for the primary that the sentinels at `addresses` name.
    ///
    /// List all sentinels as `host[:port]`; the default port is 26379. They are asked for the primary when a connection is
    /// opened, and again when it is lost, does not respond, or belongs to a server that has become a replica.
    ///
    /// ```
    /// use resilient_redis::{Config, RedisStore};
    ///
    /// let config = Config::sentinel("mymaster", ["s1.internal", "s2.internal", "s3.internal:26380"]);
    /// let store = RedisStore::new(config.login("shop", std::env::var("REDIS_PASSWORD").unwrap_or_default()))?;
    /// # Ok::<_, resilient_redis::InvalidConfig>(())
    /// ```
    pub fn sentinel<A: Into<String>>(
        master: impl Into<String>,
        addresses: impl IntoIterator<Item = A>,
    ) -> Self {
        let addresses = addresses.into_iter().map(Into::into).collect();
        Self::at(Source::Sentinel { master: master.into(), addresses })
    }

    /// Creates the default settings for the Redis Cluster with nodes at `addresses`.
    ///
    /// List some nodes as `host[:port]`; the default port is 6379. They are asked for the others. List at least one node
    /// of each failure domain, so that the program can start while others have failed.
    ///
    /// ```
    /// use resilient_redis::{Config, RedisStore};
    ///
    /// let store = RedisStore::new(Config::cluster(["n1.internal:7000", "n2.internal:7000"]))?;
    /// # Ok::<_, resilient_redis::InvalidConfig>(())
    /// ```
    pub fn cluster<A: Into<String>>(addresses: impl IntoIterator<Item = A>) -> Self {
        Self::at(Source::Cluster { addresses: addresses.into_iter().map(Into::into).collect() })
    }

    fn at(source: Source) -> Self {
        Self {
            source,
            login: None,
            sentinel_login: None,
            prefix: PREFIX.to_owned(),
            timeout: TIMEOUT,
            wait: None,
        }
    }

    /// Sets the user and the password for the servers. An empty user is the default user.
    ///
    /// They replace those in the URL, and are not percent-encoded.
    ///
    /// ```
    /// use resilient_redis::Config;
    ///
    /// let config = Config::cluster(["n1.internal"]).login("shop", "p@ss/word");
    /// assert!(!format!("{config:?}").contains("p@ss"));
    /// ```
    pub fn login(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.login = Some(Login { user: user.into(), password: password.into() });
        self
    }

    /// Sets the user and the password for the sentinels. Default: no login.
    ///
    /// It is an error without Sentinel.
    ///
    /// ```
    /// use resilient_redis::Config;
    ///
    /// let config = Config::sentinel("mymaster", ["s1.internal"]).login("shop", "a").sentinel_login("", "b");
    /// # let _ = config;
    /// ```
    pub fn sentinel_login(mut self, user: impl Into<String>, password: impl Into<String>) -> Self {
        self.sentinel_login = Some(Login { user: user.into(), password: password.into() });
        self
    }

    /// Requires that `replicas` replicas have received a change of a record before it counts as made.
    ///
    /// After each change, `WAIT` is sent on the same connection. If fewer replicas confirm within `timeout`, the operation
    /// is an error; the change was made and can be lost in a failover. A claim is then given up again. Range of `timeout`:
    /// 1 ms to less than [`timeout`](Self::timeout). Default: no waiting.
    ///
    /// This makes the loss of a record in a failover less likely and does not exclude it: replicas confirm before the
    /// change is on their disks, and Sentinel or the cluster can promote a replica that was not among those that confirmed.
    /// Each change takes one more round trip, and the changes of one store wait for each other. The user needs the right
    /// `+wait`.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_redis::{Config, RedisStore};
    ///
    /// let config = Config::new("redis+sentinel://s1,s2,s3/mymaster").wait(1, Duration::from_millis(100));
    /// let store = RedisStore::new(config)?;
    /// # Ok::<_, resilient_redis::InvalidConfig>(())
    /// ```
    pub fn wait(mut self, replicas: u32, timeout: Duration) -> Self {
        self.wait = (replicas > 0).then_some(Wait { replicas, timeout });
        self
    }

    /// Sets the prefix of all keys in Redis. Default: `resilient`.
    ///
    /// Use one prefix for each application and environment that share a server. 1 to 64 bytes of letters, digits, `-`,
    /// `_`, `.`, `:` and `/`.
    ///
    /// ```
    /// use resilient_redis::{Config, RedisStore};
    ///
    /// let shop = RedisStore::new(Config::new("redis://127.0.0.1").prefix("shop"))?;
    /// assert!(shop.record_key("charge\0order 7").starts_with("shop:idempotency:"));
    /// # Ok::<_, resilient_redis::InvalidConfig>(())
    /// ```
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets how long an operation may take, including the time to connect. Default: 250 ms, range 1 ms to 60 s.
    ///
    /// The setting `store_timeout` of the component that uses the store applies too, and should not be shorter.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_redis::{Config, RedisStore};
    ///
    /// let refused = RedisStore::new(Config::new("redis://127.0.0.1").timeout(Duration::ZERO)).unwrap_err();
    /// assert_eq!(refused.to_string(), "invalid settings of a redis store: timeout is 0ns, allowed are 1ms to 60s");
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Checks all settings. Returns where the server is, or all problems.
    pub(crate) fn check(&self) -> Result<Place, InvalidConfig> {
        let mut problems = Vec::new();
        if !TIMEOUTS.contains(&self.timeout) {
            let (least, most) = (TIMEOUTS.start(), TIMEOUTS.end());
            problems.push(format!("timeout is {:?}, allowed are {least:?} to {most:?}", self.timeout));
        }
        if let Some(Wait { timeout, .. }) =
            self.wait.filter(|wait| wait.timeout < *TIMEOUTS.start() || wait.timeout >= self.timeout)
        {
            let (least, most) = (TIMEOUTS.start(), self.timeout);
            problems
                .push(format!("timeout of wait is {timeout:?}, allowed are {least:?} to less than {most:?}"));
        }
        problems.extend(self.prefix_problem());
        match self.place() {
            Ok(place) if problems.is_empty() => return Ok(place),
            Ok(_) => {}
            Err(problem) => problems.push(problem),
        }
        Err(InvalidConfig { problems })
    }

    pub(crate) fn place(&self) -> Result<Place, String> {
        let place = Place::find(&self.source, self.login.as_ref(), self.sentinel_login.as_ref())?;
        if self.sentinel_login.is_some() && !matches!(place, Place::Sentinel { .. }) {
            return Err(
                "sentinel_login is set without Sentinel: use `redis+sentinel://..` or `login`".to_owned()
            );
        }
        Ok(place)
    }

    fn prefix_problem(&self) -> Option<String> {
        let bytes = self.prefix.len();
        if bytes == 0 || bytes > LONGEST_PREFIX {
            return Some(format!("prefix has {bytes} bytes, allowed are 1 to {LONGEST_PREFIX}"));
        }
        let is_allowed = |c: &char| c.is_ascii_alphanumeric() || "-_.:/".contains(*c);
        let wrong = self.prefix.chars().find(|c| !is_allowed(c))?;
        Some(format!("prefix contains {wrong:?}, allowed are letters, digits, `-`, `_`, `.`, `:` and `/`"))
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = self.place().map_or_else(|_| "invalid".to_owned(), |place| place.shown());
        f.debug_struct("Config")
            .field("address", &address)
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .field("wait", &self.wait)
            .finish_non_exhaustive()
    }
}

/// The settings of a store are not valid. The message lists every problem.
///
/// ```
/// use resilient_redis::RedisStore;
///
/// let refused = RedisStore::connect_lazily("http://:secret@localhost").unwrap_err();
/// assert!(refused.to_string().contains("redis://[user][:password@]host"), "{refused}");
/// assert!(!refused.to_string().contains("secret"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid settings of a redis store: {}", problems.join("; "))]
pub struct InvalidConfig {
    problems: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_settings_out_of_range_are_reported_together_and_no_password_is_shown() {
        let url = "redis://user:s3cret@host:99999/x";
        let wait = Duration::from_nanos(1);
        let config = Config::new(url).prefix("x".repeat(10_000)).timeout(Duration::MAX).wait(1, wait);
        let problem = config.check().unwrap_err().to_string();
        for part in
            ["prefix has 10000 bytes, allowed are 1 to 64", "timeout is", "url is not valid", "wait is 1ns"]
        {
            assert!(problem.contains(part), "{problem}");
        }
        assert!(!problem.contains("s3cret") && !format!("{config:?}").contains("s3cret"));
        for (prefix, part) in
            [("", "has 0 bytes"), ("a b", "contains ' '"), ("{a}", "contains '{'"), ("\u{e9}", "")]
        {
            let problem = Config::new("redis://h").prefix(prefix).check().unwrap_err().to_string();
            assert!(problem.contains(part), "{problem}");
        }
        let long = Config::new("redis://h").wait(1, TIMEOUT).check().unwrap_err().to_string();
        assert!(long.contains("timeout of wait is 250ms, allowed are 1ms to less than 250ms"), "{long}");
        let other = Config::new("redis://h").sentinel_login("", "s3cret").check().unwrap_err().to_string();
        assert!(other.contains("sentinel_login is set without Sentinel"), "{other}");
        assert!(Config::new("redis://h").wait(0, Duration::MAX).check().is_ok(), "nothing is waited for");
    }
}
