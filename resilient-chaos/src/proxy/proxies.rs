//! A set of named proxies, as the HTTP API controls it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use serde::Deserialize;
use tokio::sync::Semaphore;

use super::api::Token;
use super::proxy::Change;
use super::toxic::check_name;
use super::{Proxy, ProxyError};

/// Maximum number of proxies.
const MOST: usize = 256;
/// Maximum number of open connections of all proxies.
const CONNECTIONS: usize = 8192;
/// Where a proxy without `listen` listens.
const ANY_PORT: &str = "127.0.0.1:0";

/// Named proxies with an HTTP API.
///
/// Clones share the same proxies. The proxies stop when the last clone is dropped.
///
/// ```
/// use resilient_chaos::proxy::{Proxies, ProxySpec};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), resilient_chaos::proxy::ProxyError> {
/// let proxies = Proxies::new();
/// let redis = proxies.create(ProxySpec::new("redis", "127.0.0.1:0", "127.0.0.1:6379")).await?;
/// assert!(redis.is_enabled());
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Proxies {
    table: Arc<Mutex<BTreeMap<String, Arc<Proxy>>>>,
    /// Held while proxies are created or replaced, because this needs time between the check and the change.
    changing: Arc<tokio::sync::Mutex<()>>,
    slots: Arc<Semaphore>,
    token: Option<Arc<Token>>,
    seed: Option<u64>,
}

/// A proxy to create: the JSON of the HTTP API, and of a configuration file of Toxiproxy.
///
/// ```
/// use resilient_chaos::proxy::ProxySpec;
///
/// let file = r#"[{ "name": "redis", "listen": "127.0.0.1:26379", "upstream": "127.0.0.1:6379" }]"#;
/// let specs: Vec<ProxySpec> = serde_json::from_str(file)?;
/// assert_eq!(specs[0], ProxySpec::new("redis", "127.0.0.1:26379", "127.0.0.1:6379"));
/// # Ok::<_, serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(from = "SpecJson")]
#[non_exhaustive]
pub struct ProxySpec {
    /// The name, 1 to 100 bytes.
    pub name: String,
    /// The address of the proxy as `host:port`. If it is empty, the proxy listens on a free port of 127.0.0.1.
    pub listen: String,
    /// The address of the server as `host:port`.
    pub upstream: String,
    /// Whether the proxy accepts connections. The default is true.
    pub enabled: bool,
}

impl ProxySpec {
    /// Creates the specification of a proxy that is enabled.
    ///
    /// ```
    /// use resilient_chaos::proxy::ProxySpec;
    ///
    /// assert!(ProxySpec::new("redis", "127.0.0.1:0", "127.0.0.1:6379").enabled);
    /// ```
    pub fn new(name: impl Into<String>, listen: impl Into<String>, upstream: impl Into<String>) -> Self {
        Self { name: name.into(), listen: listen.into(), upstream: upstream.into(), enabled: true }
    }

    fn listen(&self) -> &str {
        if self.listen.is_empty() { ANY_PORT } else { &self.listen }
    }

    /// Checks that the required fields are not empty. `place` tells the position in a list.
    fn check(&self, place: &str) -> Result<(), ProxyError> {
        for (field, value) in [("name", &self.name), ("upstream", &self.upstream)] {
            if value.is_empty() {
                return Err(ProxyError::MissingField { field: format!("{field}{place}") });
            }
        }
        check_name("proxy", &self.name)
    }
}

/// All fields are optional, so that a missing one gets the same error as an empty one, and `null` counts as missing.
#[derive(Deserialize)]
struct SpecJson {
    name: Option<String>,
    listen: Option<String>,
    upstream: Option<String>,
    enabled: Option<bool>,
}

impl From<SpecJson> for ProxySpec {
    fn from(json: SpecJson) -> Self {
        Self {
            name: json.name.unwrap_or_default(),
            listen: json.listen.unwrap_or_default(),
            upstream: json.upstream.unwrap_or_default(),
            enabled: json.enabled.unwrap_or(true),
        }
    }
}

impl Default for Proxies {
    fn default() -> Self {
        Self::new()
    }
}

impl Proxies {
    /// Creates an empty set that uses only loopback addresses.
    ///
    /// ```
    /// use resilient_chaos::proxy::Proxies;
    ///
    /// assert!(Proxies::new().list().is_empty());
    /// ```
    pub fn new() -> Self {
        Self {
            table: Arc::default(),
            changing: Arc::default(),
            slots: Arc::new(Semaphore::new(CONNECTIONS)),
            token: None,
            seed: None,
        }
    }

    /// Requires this bearer token for each request, and allows addresses that other machines can reach.
    ///
    /// # Errors
    /// Returns [`ProxyError::ShortToken`] if the token has less than 16 bytes.
    ///
    /// ```
    /// use resilient_chaos::proxy::Proxies;
    ///
    /// let proxies = Proxies::new().token("0123456789abcdef")?;
    /// assert!(Proxies::new().token("secret").is_err());
    /// # Ok::<_, resilient_chaos::proxy::ProxyError>(())
    /// ```
    pub fn token(self, token: &str) -> Result<Self, ProxyError> {
        Ok(Self { token: Some(Arc::new(Token::new(token)?)), ..self })
    }

    /// Sets the maximum number of open connections of all proxies together, at least 1. The default is 8192.
    ///
    /// Call it before the first proxy is created. Each connection uses two file descriptors.
    ///
    /// ```
    /// let proxies = resilient_chaos::proxy::Proxies::new().connections(100);
    /// # let _ = proxies;
    /// ```
    #[must_use]
    pub fn connections(self, most: usize) -> Self {
        Self { slots: Arc::new(Semaphore::new(most.clamp(1, Semaphore::MAX_PERMITS))), ..self }
    }

    /// Sets the seed of all random decisions of new proxies. The default differs in each run.
    ///
    /// ```
    /// let proxies = resilient_chaos::proxy::Proxies::new().seed(42);
    /// # let _ = proxies;
    /// ```
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }

    pub(super) fn access(&self) -> Option<&Arc<Token>> {
        self.token.as_ref()
    }

    fn with_table<T>(&self, action: impl FnOnce(&mut BTreeMap<String, Arc<Proxy>>) -> T) -> T {
        action(&mut self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Returns all proxies, by name.
    ///
    /// ```
    /// assert_eq!(resilient_chaos::proxy::Proxies::new().list().len(), 0);
    /// ```
    pub fn list(&self) -> Vec<Arc<Proxy>> {
        self.with_table(|table| table.values().cloned().collect())
    }

    /// Returns a proxy.
    ///
    /// # Errors
    /// Returns [`ProxyError::ProxyNotFound`].
    ///
    /// ```
    /// assert!(resilient_chaos::proxy::Proxies::new().get("redis").is_err());
    /// ```
    pub fn get(&self, name: &str) -> Result<Arc<Proxy>, ProxyError> {
        self.with_table(|table| table.get(name).cloned())
            .ok_or_else(|| ProxyError::ProxyNotFound { name: name.to_owned() })
    }

    /// Creates a proxy.
    ///
    /// # Errors
    /// Returns an error if a field is invalid, if the name is in use, if there are 256 proxies, or if the listener cannot
    /// be created.
    ///
    /// # Cancel safety
    /// If the future is dropped, no proxy was created.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), resilient_chaos::proxy::ProxyError> {
    /// use resilient_chaos::proxy::{Proxies, ProxySpec};
    ///
    /// let proxies = Proxies::new();
    /// let redis = ProxySpec::new("redis", "127.0.0.1:0", "127.0.0.1:6379");
    /// proxies.create(redis.clone()).await?;
    /// assert!(proxies.create(redis).await.is_err(), "the name is in use");
    /// # Ok(()) }
    /// ```
    pub async fn create(&self, spec: ProxySpec) -> Result<Arc<Proxy>, ProxyError> {
        spec.check("")?;
        let _changing = self.changing.lock().await;
        if self.get(&spec.name).is_ok() {
            return Err(ProxyError::ProxyExists { name: spec.name });
        }
        self.insert(spec).await
    }

    /// Creates proxies. A proxy with the same name, `listen` and `upstream` stays unchanged, another one with the same
    /// name is replaced.
    ///
    /// # Errors
    /// Returns the proxies that exist, and the first error. If a field is missing, no proxy was created.
    ///
    /// # Cancel safety
    /// If the future is dropped, the first of the proxies exist.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_chaos::proxy::{Proxies, ProxySpec};
    ///
    /// let proxies = Proxies::new();
    /// let specs = vec![ProxySpec::new("redis", "127.0.0.1:0", "127.0.0.1:6379")];
    /// let (created, error) = proxies.populate(specs).await;
    /// assert!(created.len() == 1 && error.is_none());
    /// # }
    /// ```
    pub async fn populate(&self, specs: Vec<ProxySpec>) -> (Vec<Arc<Proxy>>, Option<ProxyError>) {
        let check = |(index, spec): (usize, &ProxySpec)| spec.check(&format!(" at proxy {}", index + 1));
        if let Err(error) = specs.iter().enumerate().try_for_each(check) {
            return (Vec::new(), Some(error));
        }
        let _changing = self.changing.lock().await;
        let mut proxies = Vec::new();
        for spec in specs {
            match self.create_or_replace(spec).await {
                Ok(proxy) => proxies.push(proxy),
                Err(error) => return (proxies, Some(error)),
            }
        }
        (proxies, None)
    }

    async fn create_or_replace(&self, spec: ProxySpec) -> Result<Arc<Proxy>, ProxyError> {
        if let Ok(old) = self.get(&spec.name) {
            if old.is_at(spec.listen(), &spec.upstream).await? {
                return Ok(old);
            }
            self.remove(&spec.name).await?;
        }
        self.insert(spec).await
    }

    async fn insert(&self, spec: ProxySpec) -> Result<Arc<Proxy>, ProxyError> {
        if self.with_table(|table| table.len()) >= MOST {
            return Err(ProxyError::TooMany { what: "proxies", limit: MOST });
        }
        let mut builder = Proxy::builder().name(spec.name.clone()).slots(Arc::clone(&self.slots));
        if let Some(seed) = self.seed {
            builder = builder.seed(seed);
        }
        if self.token.is_some() {
            builder = builder.allow_remote();
        }
        let proxy = builder.create(spec.listen(), &spec.upstream).await?;
        if spec.enabled {
            let enabled = Change { enabled: Some(true), ..Change::default() };
            proxy.change(enabled).await.map_err(|error| self.explained(error))?;
        }
        let proxy = Arc::new(proxy);
        self.with_table(|table| table.insert(spec.name, Arc::clone(&proxy)));
        Ok(proxy)
    }

    /// Changes a proxy.
    pub(super) async fn change(&self, name: &str, change: Change<'_>) -> Result<Arc<Proxy>, ProxyError> {
        let proxy = self.get(name)?;
        proxy.change(change).await.map_err(|error| self.explained(error))?;
        Ok(proxy)
    }

    /// Names the proxy that uses an address, if it is one of this set.
    fn explained(&self, error: ProxyError) -> ProxyError {
        let ProxyError::Listen { address, source, explanation } = error else { return error };
        let user = (source.kind() == std::io::ErrorKind::AddrInUse)
            .then(|| self.list().into_iter().find(|it| it.is_enabled() && overlaps(it.address(), address)));
        let explanation = match user.flatten() {
            Some(proxy) => format!("address already in use by the proxy `{}`", proxy.name()),
            None => explanation,
        };
        ProxyError::Listen { address, source, explanation }
    }

    /// Removes a proxy and closes its connections.
    ///
    /// # Errors
    /// Returns [`ProxyError::ProxyNotFound`].
    ///
    /// # Cancel safety
    /// If the future is dropped, the proxy is removed all the same.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// assert!(resilient_chaos::proxy::Proxies::new().remove("redis").await.is_err());
    /// # }
    /// ```
    pub async fn remove(&self, name: &str) -> Result<(), ProxyError> {
        let removed = self.with_table(|table| table.remove(name));
        let proxy = removed.ok_or_else(|| ProxyError::ProxyNotFound { name: name.to_owned() })?;
        proxy.disable().await;
        Ok(())
    }

    /// Enables all proxies and removes all toxics.
    ///
    /// # Errors
    /// Returns the first error of a proxy that cannot be enabled. The toxics of all proxies are removed in any case.
    ///
    /// # Cancel safety
    /// If the future is dropped, all toxics are removed, and some proxies may still be disabled.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), resilient_chaos::proxy::ProxyError> {
    /// resilient_chaos::proxy::Proxies::new().reset().await?;
    /// # Ok(()) }
    /// ```
    pub async fn reset(&self) -> Result<(), ProxyError> {
        let proxies = self.list();
        proxies.iter().for_each(|proxy| proxy.clear());
        let mut result = Ok(());
        for proxy in proxies {
            let enabled = proxy.enable().await.map_err(|error| self.explained(error));
            result = result.and(enabled);
        }
        result
    }
}

/// Whether two listeners exclude each other.
fn overlaps(one: std::net::SocketAddr, other: std::net::SocketAddr) -> bool {
    let is_any = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() == other.port() && (is_any || one.ip() == other.ip())
}
