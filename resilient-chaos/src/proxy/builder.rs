//! Options of a proxy.

use std::sync::Arc;

use tokio::sync::Semaphore;

use super::connection::{Counts, Shared};
use super::log_limit::LogLimit;
use super::proxy::Change;
use super::random::Random;
use super::toxic::check_name;
use super::toxic_list::ToxicList;
use super::{Proxy, ProxyError};

/// Maximum number of open connections of a proxy.
const CONNECTIONS: usize = 4096;

/// Options of a [`Proxy`].
///
/// ```
/// use resilient_chaos::proxy::Proxy;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), resilient_chaos::proxy::ProxyError> {
/// let proxy = Proxy::builder().name("db").connections(10).start("127.0.0.1:0", "127.0.0.1:5432").await?;
/// assert_eq!(proxy.name(), "db");
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ProxyBuilder {
    name: String,
    seed: Option<u64>,
    slots: Arc<Semaphore>,
    allow_remote: bool,
}

impl ProxyBuilder {
    pub(super) fn new() -> Self {
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        Self { name: "proxy".to_owned(), seed: None, slots, allow_remote: false }
    }

    /// Sets the name for logs and the HTTP API, 1 to 100 bytes.
    ///
    /// ```
    /// let builder = resilient_chaos::proxy::Proxy::builder().name("redis");
    /// # let _ = builder;
    /// ```
    pub fn name(self, name: impl Into<String>) -> Self {
        Self { name: name.into(), ..self }
    }

    /// Sets the seed of all random decisions. The default differs in each run.
    ///
    /// With the same seed, the same toxics, added in the same order, affect the connections with the same numbers.
    ///
    /// ```
    /// let builder = resilient_chaos::proxy::Proxy::builder().seed(42);
    /// # let _ = builder;
    /// ```
    pub fn seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    /// Sets the maximum number of open connections, at least 1. The default is 4096.
    ///
    /// Each connection uses two file descriptors. Connections above the limit are closed at once.
    ///
    /// ```
    /// let builder = resilient_chaos::proxy::Proxy::builder().connections(100);
    /// # let _ = builder;
    /// ```
    pub fn connections(self, most: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS))), ..self }
    }

    /// Shares the limit of open connections with other proxies.
    pub(super) fn slots(self, slots: Arc<Semaphore>) -> Self {
        Self { slots, ..self }
    }

    /// Allows to listen on an address that other machines can reach.
    ///
    /// The proxy has no access control: everyone who reaches it reaches the upstream.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), resilient_chaos::proxy::ProxyError> {
    /// # use resilient_chaos::proxy::Proxy;
    /// let proxy = Proxy::builder().allow_remote().start("0.0.0.0:0", "127.0.0.1:6379").await?;
    /// assert!(proxy.address().ip().is_unspecified());
    /// # Ok(()) }
    /// ```
    pub fn allow_remote(self) -> Self {
        Self { allow_remote: true, ..self }
    }

    /// Starts the proxy. See [`Proxy::start`].
    ///
    /// # Errors
    /// See [`Proxy::start`].
    ///
    /// # Cancel safety
    /// If the future is dropped, no proxy was started.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), resilient_chaos::proxy::ProxyError> {
    /// # use resilient_chaos::proxy::Proxy;
    /// let proxy = Proxy::builder().start("127.0.0.1:0", "127.0.0.1:6379").await?;
    /// # Ok(()) }
    /// ```
    pub async fn start(self, listen: &str, upstream: &str) -> Result<Proxy, ProxyError> {
        let proxy = self.create(listen, upstream).await?;
        proxy.change(Change { enabled: Some(true), ..Change::default() }).await?;
        Ok(proxy)
    }

    /// Creates the proxy without enabling it.
    pub(super) async fn create(self, listen: &str, upstream: &str) -> Result<Proxy, ProxyError> {
        check_name("proxy", &self.name)?;
        let shared = Shared {
            name: self.name,
            toxics: ToxicList::new(),
            random: Random::new(self.seed.unwrap_or_else(Random::seed)),
            counts: Counts::default(),
            no_upstream: LogLimit::default(),
            no_room: LogLimit::default(),
        };
        Proxy::create(shared, self.slots, self.allow_remote, listen, upstream).await
    }
}
