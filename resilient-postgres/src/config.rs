//! Settings of a store.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use sqlx::ConnectOptions;
use sqlx::postgres::{PgConnectOptions, PgPool};

use crate::migration;
use crate::names::{self, Names};

/// Default time limit of an operation.
const TIMEOUT: Duration = Duration::from_secs(1);
/// Allowed time limits.
const TIMEOUTS: RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_mins(1);
/// Default number of connections.
const CONNECTIONS: u32 = 4;
/// Allowed numbers of connections.
const MOST_CONNECTIONS: RangeInclusive<u32> = 1..=100;
/// Default interval between two deletions of expired records.
const EXPIRY: Duration = Duration::from_mins(1);
/// Allowed intervals.
const EXPIRIES: RangeInclusive<Duration> = Duration::from_secs(1)..=Duration::from_hours(24);

/// Settings of a [`PostgresStore`](crate::PostgresStore).
///
/// `Debug` does not show the user or the password in the address.
///
/// ```
/// use std::time::Duration;
/// use resilient_postgres::{Config, PostgresStore};
///
/// let config = Config::new("postgres://shop:secret@db.internal/shop").table("shop_records").timeout(Duration::from_millis(500));
/// assert!(!format!("{config:?}").contains("secret"));
/// let store = PostgresStore::new(config)?;
/// # Ok::<_, resilient_postgres::InvalidConfig>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Config {
    options: Option<PgConnectOptions>,
    schema: String,
    table: String,
    pub(crate) timeout: Duration,
    pub(crate) connections: u32,
    pub(crate) expire_every: Option<Duration>,
}

impl Config {
    /// Creates the default settings for the database at `url`.
    ///
    /// The forms are `postgres://[user][:password@]host[:port][/database]`, with `?sslmode=verify-full` for TLS (feature
    /// `tls`), and `postgres:///database?host=/path/to/directory` for a Unix socket. The default port is 5432. Special
    /// characters in the password must be percent-encoded.
    ///
    /// Read the password from the environment or a file, not from the source code.
    ///
    /// ```
    /// use resilient_postgres::{Config, PostgresStore};
    ///
    /// let url = std::env::var("DATABASE_URL").unwrap_or("postgres://localhost/shop".to_owned());
    /// let store = PostgresStore::new(Config::new(url))?;
    /// # Ok::<_, resilient_postgres::InvalidConfig>(())
    /// ```
    pub fn new(url: impl AsRef<str>) -> Self {
        let url = url.as_ref();
        let has_scheme = url.starts_with("postgres://") || url.starts_with("postgresql://");
        Self::of(has_scheme.then(|| PgConnectOptions::from_str(url).ok()).flatten())
    }

    /// Creates the default settings for the database of a pool.
    ///
    /// The store uses the address, the login and the TLS settings of the pool, and opens connections of its own: it works
    /// in every runtime, and does not wait for connections that the calls use. Hooks of the pool, such as
    /// `after_connect`, are not used. [`claim_in`](crate::PostgresStore::claim_in) uses only the connection of the
    /// caller.
    ///
    /// ```
    /// use resilient_postgres::{Config, PostgresStore};
    /// use sqlx::PgPool;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let pool = PgPool::connect_lazy("postgres://localhost/shop")?;
    /// let store = PostgresStore::new(Config::of_pool(&pool))?;
    /// # Ok(()) }
    /// ```
    pub fn of_pool(pool: &PgPool) -> Self {
        Self::of(Some(PgConnectOptions::clone(&pool.connect_options())))
    }

    fn of(options: Option<PgConnectOptions>) -> Self {
        Self {
            options,
            schema: "public".to_owned(),
            table: "resilient_idempotency".to_owned(),
            timeout: TIMEOUT,
            connections: CONNECTIONS,
            expire_every: Some(EXPIRY),
        }
    }

    /// Sets the schema of the tables. Default: `public`.
    ///
    /// 1 to 50 lower-case letters, digits and `_`.
    ///
    /// ```
    /// use resilient_postgres::Config;
    ///
    /// let config = Config::new("postgres://localhost/shop").schema("shop");
    /// assert!(config.migrations().unwrap().contains("CREATE TABLE \"shop\".\"resilient_idempotency\""));
    /// ```
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// Sets the name of the table with the records. Default: `resilient_idempotency`.
    ///
    /// 1 to 50 lower-case letters, digits and `_`. Two more tables have the same name with `_version` and
    /// `_replica` at the end.
    ///
    /// ```
    /// use resilient_postgres::{Config, PostgresStore};
    ///
    /// let refused = PostgresStore::new(Config::new("postgres://localhost").table("my records")).unwrap_err();
    /// assert!(refused.to_string().contains("table contains ' '"), "{refused}");
    /// ```
    pub fn table(mut self, table: impl Into<String>) -> Self {
        self.table = table.into();
        self
    }

    /// Sets how long an operation may take, including the time to connect. Default: 1 s, range 1 ms to 60 s.
    ///
    /// The setting `store_timeout` of the component that uses the store applies too, and should not be shorter. It does
    /// not apply to [`claim_in`](crate::PostgresStore::claim_in), which has [`max_wait`](crate::ClaimIn::max_wait), and to
    /// [`migrate`](crate::PostgresStore::migrate).
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_postgres::{Config, PostgresStore};
    ///
    /// let refused = PostgresStore::new(Config::new("postgres://localhost").timeout(Duration::ZERO)).unwrap_err();
    /// assert_eq!(refused.to_string(), "invalid settings of a postgres store: timeout is 0ns, allowed are 1ms to 60s");
    /// ```
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the largest number of connections that the store opens. Default: 4, range 1 to 100.
    ///
    /// ```
    /// use resilient_postgres::{Config, PostgresStore};
    ///
    /// assert!(PostgresStore::new(Config::new("postgres://localhost").connections(10)).is_ok());
    /// assert!(PostgresStore::new(Config::new("postgres://localhost").connections(0)).is_err());
    /// ```
    pub fn connections(mut self, connections: u32) -> Self {
        self.connections = connections;
        self
    }

    /// Sets how often the store deletes expired records while it is used. Default: 1 minute, range 1 s to 24 h.
    ///
    /// `None`: never. Call [`expire`](crate::PostgresStore::expire) then, for example from a scheduled job. An expired
    /// record counts as missing in any case.
    ///
    /// ```
    /// use resilient_postgres::{Config, PostgresStore};
    ///
    /// let by_a_job = Config::new("postgres://localhost").expire_every(None);
    /// assert!(PostgresStore::new(by_a_job).is_ok());
    /// ```
    pub fn expire_every(mut self, interval: impl Into<Option<Duration>>) -> Self {
        self.expire_every = interval.into();
        self
    }

    /// Returns the SQL that creates the tables, to run it by hand or with another migration tool.
    ///
    /// It is the text of the files in `migrations/` with the names of these settings. Run it in one transaction.
    ///
    /// ```
    /// use resilient_postgres::Config;
    ///
    /// let sql = Config::new("postgres://localhost").migrations()?;
    /// assert!(sql.contains("CREATE TABLE \"public\".\"resilient_idempotency\""));
    /// # Ok::<_, resilient_postgres::InvalidConfig>(())
    /// ```
    ///
    /// # Errors
    /// Returns all settings that are not valid.
    pub fn migrations(&self) -> Result<String, InvalidConfig> {
        let (_, names) = self.checked()?;
        Ok(migration::all(&names))
    }

    /// Checks all settings. Returns how to connect and the names of the tables, or all problems.
    pub(crate) fn checked(&self) -> Result<(PgConnectOptions, Names), InvalidConfig> {
        let mut problems = Vec::new();
        if !TIMEOUTS.contains(&self.timeout) {
            let (least, most) = (TIMEOUTS.start(), TIMEOUTS.end());
            problems.push(format!("timeout is {:?}, allowed are {least:?} to {most:?}", self.timeout));
        }
        if !MOST_CONNECTIONS.contains(&self.connections) {
            let (least, most) = (MOST_CONNECTIONS.start(), MOST_CONNECTIONS.end());
            problems.push(format!("connections is {}, allowed are {least} to {most}", self.connections));
        }
        if let Some(interval) = self.expire_every.filter(|interval| !EXPIRIES.contains(interval)) {
            problems.push(format!("expire_every is {interval:?}, allowed are 1s to 24h"));
        }
        problems.extend(names::problem("schema", &self.schema));
        problems.extend(names::problem("table", &self.table));
        match &self.options {
            Some(options) if problems.is_empty() => {
                return Ok((own(options.clone()), Names::new(&self.schema, &self.table)));
            }
            Some(_) => {}
            // The text does not contain the URL, because it can contain a password.
            None => problems.push(
                "url is not valid: use `postgres://[user][:password@]host[:port][/database]`, with special characters \
                 percent-encoded"
                    .to_owned(),
            ),
        }
        Err(InvalidConfig { problems })
    }
}

/// The options of the connections of a store.
fn own(options: PgConnectOptions) -> PgConnectOptions {
    let options = match options.get_application_name() {
        Some(_) => options,
        None => options.application_name("resilient-postgres"),
    };
    // The text of a statement can contain a result. The statements are not prepared, and pgbouncer refuses unknown
    // parameters at the start of a connection.
    options.disable_statement_logging().statement_cache_capacity(0).extra_float_digits(None)
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("address", &self.options.as_ref().map_or_else(|| "invalid".to_owned(), shown))
            .field("schema", &self.schema)
            .field("table", &self.table)
            .field("timeout", &self.timeout)
            .field("connections", &self.connections)
            .field("expire_every", &self.expire_every)
            .finish()
    }
}

/// The address without user and password.
pub(crate) fn shown(options: &PgConnectOptions) -> String {
    let database = options.get_database().unwrap_or_default();
    match options.get_socket() {
        Some(socket) => format!("unix:{}:{}/{database}", socket.display(), options.get_port()),
        None => format!("postgres://{}:{}/{database}", options.get_host(), options.get_port()),
    }
}

/// The settings of a store are not valid. The message lists every problem.
///
/// ```
/// use resilient_postgres::PostgresStore;
///
/// let refused = PostgresStore::connect_lazily("mysql://root:secret@localhost").unwrap_err();
/// assert!(refused.to_string().contains("postgres://[user][:password@]host"), "{refused}");
/// assert!(!refused.to_string().contains("secret"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("invalid settings of a postgres store: {}", problems.join("; "))]
pub struct InvalidConfig {
    problems: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_settings_out_of_range_are_reported_together_and_no_password_is_shown() {
        let config = Config::new("postgres://user:s3cret@host:99999/x").table("X").schema("");
        let config = config.timeout(Duration::MAX).connections(1000).expire_every(Duration::ZERO);
        let problem = config.checked().unwrap_err().to_string();
        for part in [
            "timeout is",
            "connections is 1000, allowed are 1 to 100",
            "expire_every is 0ns, allowed are 1s to 24h",
            "schema has 0 bytes",
            "table contains 'X'",
            "url is not valid",
        ] {
            assert!(problem.contains(part), "{problem}");
        }
        assert!(!problem.contains("s3cret") && !format!("{config:?}").contains("s3cret"));
    }

    #[test]
    fn the_address_is_shown_without_the_login() {
        for (url, address) in [
            ("postgres://user:s3cret@db.internal/shop", "postgres://db.internal:5432/shop"),
            ("postgresql://user:s3cret@[::1]:7000/shop", "postgres://[::1]:7000/shop"),
            (
                "postgres:///shop?host=/run/postgresql&user=u&password=s3cret",
                "unix:/run/postgresql:5432/shop",
            ),
        ] {
            let config = Config::new(url);
            assert_eq!(shown(&config.checked().unwrap().0), address);
            assert!(!format!("{config:?}").contains("s3cret"));
        }
    }
}
