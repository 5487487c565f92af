//! Opens stores by the URLs in the settings.

use std::fmt;
use std::sync::Arc;

use super::{Backend, Config};
use crate::sync::Mutex;

/// Opens the stores of some URL schemes. A crate such as `resilient-redis` has one.
///
/// ```
/// use std::sync::Arc;
/// use resilient_runtime::{Component, Registry, clock::Clock, idempotency::MemoryStore};
/// use resilient_runtime::store::{Backend, Config, Connector};
///
/// #[derive(Debug)]
/// struct InMemory;
/// impl Connector for InMemory {
///     fn schemes(&self) -> &[&str] { &["memory"] }
///     fn connect(&self, _: &str, _: &Config) -> Result<Arc<dyn Backend>, String> {
///         Ok(Arc::new(MemoryStore::new(Clock::system(), 100)))
///     }
/// }
/// let registry = Registry::new();
/// registry.add_store_connector(InMemory);
/// let store = registry.store("shared");
/// store.reconfigure(Config::default().url("memory://")).unwrap();
/// assert_eq!(store.stats().address.as_deref(), Some("memory://"));
/// ```
pub trait Connector: fmt::Debug + Send + Sync + 'static {
    /// Returns the schemes of the URLs, such as `redis`.
    fn schemes(&self) -> &[&str];

    /// Creates the store for a URL. It must not wait for the server: the first operation connects.
    ///
    /// `url` is the whole URL with its login. Use `prefix` and `timeout` of the settings.
    ///
    /// # Errors
    /// Returns what is wrong with the settings, and the remedy. The text must not contain the login.
    fn connect(&self, url: &str, settings: &Config) -> Result<Arc<dyn Backend>, String>;
}

/// The connectors of a registry. The program chooses them, so their number is bounded.
#[derive(Debug, Default)]
pub(crate) struct Connectors(Mutex<Vec<Arc<dyn Connector>>>);

impl Connectors {
    pub(crate) fn add(&self, connector: Arc<dyn Connector>) {
        self.0.lock().push(connector);
    }

    pub(super) fn connect(&self, url: &str, settings: &Config) -> Result<Arc<dyn Backend>, String> {
        // Other text before `://` is not shown: it can be a part of a secret, or of another file.
        let is_scheme = |scheme: &str| {
            scheme.len() <= 32
                && scheme.starts_with(|c: char| c.is_ascii_lowercase())
                && scheme.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "+.-".contains(c))
        };
        let Some((scheme, _)) = url.split_once("://").filter(|(scheme, _)| is_scheme(scheme)) else {
            return Err("its url has no scheme, such as `redis://`".to_owned());
        };
        let all = self.0.lock().clone();
        // The last one wins, so that a test can replace a connector.
        let found = all.iter().rev().find(|connector| connector.schemes().contains(&scheme));
        match found {
            Some(connector) => connector.connect(url, settings),
            None => Err(unknown_scheme(scheme, &all)),
        }
    }
}

fn unknown_scheme(scheme: &str, all: &[Arc<dyn Connector>]) -> String {
    let known: Vec<_> = all.iter().flat_map(|connector| connector.schemes()).copied().collect();
    let remedy = match scheme {
        "redis" | "rediss" | "valkey" | "valkeys" => {
            ": call `resilient_redis::register(&registry)` at the start of `main`".to_owned()
        }
        "postgres" | "postgresql" => {
            ": call `resilient_postgres::register(&registry)` at the start of `main`".to_owned()
        }
        _ if known.is_empty() => ": register one with `registry.add_store_connector(..)`".to_owned(),
        _ => format!("; known schemes: {}", known.join(", ")),
    };
    format!("no connector opens `{scheme}://`{remedy}")
}
