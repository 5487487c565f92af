//! Settings of a store.

use std::fmt;
use std::time::Duration;

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
/// `Debug` does not show the user or the password in the address.
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
    pub(crate) url: String,
    pub(crate) prefix: String,
    pub(crate) timeout: Duration,
}

impl Config {
    /// Creates the default settings for the server at `url`.
    ///
    /// The forms are `redis://[user][:password@]host[:port][/database]`, `rediss://..` for TLS (feature `tls`), and
    /// `unix:///path/to/socket`. The default port is 6379. Special characters in the password must be percent-encoded.
    ///
    /// Read the password from the environment or a file, not from the source code.
    ///
    /// ```
    /// use resilient_redis::{Config, RedisStore};
    ///
    /// let url = std::env::var("REDIS_URL").unwrap_or("redis://127.0.0.1".to_owned());
    /// let store = RedisStore::new(Config::new(url))?;
    /// # Ok::<_, resilient_redis::InvalidConfig>(())
    /// ```
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: url.into(), prefix: PREFIX.to_owned(), timeout: TIMEOUT }
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

    /// Checks all settings. Returns the client, or all problems.
    pub(crate) fn client(&self) -> Result<redis::Client, InvalidConfig> {
        let mut problems = Vec::new();
        if !TIMEOUTS.contains(&self.timeout) {
            let (least, most) = (TIMEOUTS.start(), TIMEOUTS.end());
            problems.push(format!("timeout is {:?}, allowed are {least:?} to {most:?}", self.timeout));
        }
        problems.extend(self.prefix_problem());
        match open(&self.url) {
            Ok(client) if problems.is_empty() => return Ok(client),
            Ok(_) => {}
            Err(problem) => problems.push(problem),
        }
        Err(InvalidConfig { problems })
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

/// The messages do not contain the URL, because it can contain a password.
fn open(url: &str) -> Result<redis::Client, String> {
    if url.starts_with("rediss:") || url.starts_with("valkeys:") {
        if !cfg!(feature = "tls") {
            return Err("url needs TLS: enable the feature `tls` of resilient-redis".to_owned());
        }
        #[cfg(feature = "tls")]
        crate::tls::install_provider();
    }
    redis::Client::open(url).map_err(|_| {
        "url is not valid: use `redis://[user][:password@]host[:port][/database]`, with special characters \
         percent-encoded"
            .to_owned()
    })
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = open(&self.url).map_or_else(|_| "invalid".to_owned(), |client| shown(&client));
        f.debug_struct("Config")
            .field("address", &address)
            .field("prefix", &self.prefix)
            .field("timeout", &self.timeout)
            .finish()
    }
}

/// The address without user and password.
pub(crate) fn shown(client: &redis::Client) -> String {
    let info = client.get_connection_info();
    let (address, database) = (info.addr(), info.redis_settings().db());
    match address {
        redis::ConnectionAddr::Unix(_) => format!("unix://{address}"),
        redis::ConnectionAddr::TcpTls { .. } => format!("rediss://{address}/{database}"),
        _ => format!("redis://{address}/{database}"),
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
        let config = Config::new(url).prefix("x".repeat(10_000)).timeout(Duration::MAX);
        let problem = config.client().unwrap_err().to_string();
        for part in ["prefix has 10000 bytes, allowed are 1 to 64", "timeout is", "url is not valid"] {
            assert!(problem.contains(part), "{problem}");
        }
        assert!(!problem.contains("s3cret") && !format!("{config:?}").contains("s3cret"));
        for (prefix, part) in
            [("", "has 0 bytes"), ("a b", "contains ' '"), ("{a}", "contains '{'"), ("\u{e9}", "")]
        {
            let problem = Config::new("redis://h").prefix(prefix).client().unwrap_err().to_string();
            assert!(problem.contains(part), "{problem}");
        }
    }

    #[test]
    fn the_address_is_shown_without_the_login() {
        for (url, address) in [
            ("redis://user:s3cret@db.internal", "redis://db.internal:6379/0"),
            ("redis://:s3cret@[::1]:7000/3", "redis://::1:7000/3"),
            ("valkey://host", "redis://host:6379/0"),
            ("unix:///run/redis.sock?pass=s3cret", "unix:///run/redis.sock"),
        ] {
            assert_eq!(shown(&Config::new(url).client().unwrap()), address);
        }
        let tls = Config::new("rediss://:s3cret@host").client();
        if cfg!(feature = "tls") {
            assert_eq!(shown(&tls.unwrap()), "rediss://host:6379/0");
        } else {
            assert!(tls.unwrap_err().to_string().contains("enable the feature `tls`"));
        }
    }
}
