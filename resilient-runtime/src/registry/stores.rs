//! Registers stores.

use std::fmt;
use std::sync::{Arc, Weak};

use super::{Inner, Registry};
use crate::kind::Kind;
use crate::store::{Backend, Connector, Finder, Store};

/// Creates a store that is only in the settings of the environment, when a component asks for it.
pub(super) struct StoreFinder(pub(super) Weak<Inner>);

impl fmt::Debug for StoreFinder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreFinder")
    }
}

impl Finder for StoreFinder {
    fn find(&self, name: &str) {
        let Some(inner) = self.0.upgrade() else { return };
        let settings = inner.overrides.lock().of(Kind::Store, name);
        if settings.keys().any(|(field, _)| ["url", "url_file"].contains(field)) {
            Registry(inner).store(name);
        }
    }
}

impl Registry {
    /// Registers the store for components with the setting `store = "name"`.
    ///
    /// Call it at the start of `main`. It replaces the store registered under the same name before. A `url` in the
    /// settings of the store has precedence.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use resilient_runtime::{Component, Registry, idempotency::{Config, Fingerprint, MemoryStore}};
    ///
    /// let registry = Registry::new();
    /// let store = Arc::new(MemoryStore::new(registry.clock().clone(), 1000));
    /// registry.use_store("shared", store.clone());
    /// let once = registry.idempotency("charge");
    /// once.reconfigure(Config::default().store("shared")).unwrap();
    /// once.call("order 7", Fingerprint::NONE, || Some(995));
    /// assert_eq!(store.len(), 1);
    /// ```
    pub fn use_store(&self, name: &str, store: impl Backend) -> Arc<Store> {
        let named = self.store(name);
        named.give(Arc::new(store));
        named
    }

    /// Registers a connector for the URLs of stores in the settings.
    ///
    /// Call it at the start of `main`. The crate of a store has a function that calls it.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use resilient_runtime::{clock::Clock, idempotency::MemoryStore};
    /// # use resilient_runtime::store::{Backend, Config, Connector};
    /// # #[derive(Debug)]
    /// # struct InMemory;
    /// # impl Connector for InMemory {
    /// #     fn schemes(&self) -> &[&str] { &["memory"] }
    /// #     fn connect(&self, _: &str, _: &Config) -> Result<Arc<dyn Backend>, String> {
    /// #         Ok(Arc::new(MemoryStore::new(Clock::system(), 100)))
    /// #     }
    /// # }
    /// use resilient_runtime::{Component, Kind, Registry, config::Tables, settings::Raw};
    ///
    /// let registry = Registry::new();
    /// registry.add_store_connector(InMemory);
    /// let mut settings = Tables::default();
    /// settings.set(Kind::Store, Some("shared"), "url", &Raw::Text("memory://".into())).unwrap();
    /// registry.apply("mine", &settings).unwrap();
    /// assert_eq!(registry.store("shared").stats().address.as_deref(), Some("memory://"));
    /// ```
    pub fn add_store_connector(&self, connector: impl Connector) {
        self.0.connectors.add(Arc::new(connector));
    }

    /// Returns the tokens that shared rate limits have taken from their stores in advance, so that other instances can use
    /// them.
    ///
    /// Call it before the program ends. See [`RateLimiter::return_lease`](crate::RateLimiter::return_lease).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// resilient_runtime::registry().return_leases().await;
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future can lose tokens. Then fewer calls are admitted, and never more.
    pub async fn return_leases(&self) {
        for (_, limiter) in self.0.shelves.rate_limit.all() {
            limiter.return_lease().await;
        }
    }

    /// Returns the stores that cannot be used.
    pub(super) fn unusable_stores(&self) -> Vec<String> {
        let all = self.0.shelves.store.all().into_iter();
        all.filter_map(|(_, store)| store.problem()).collect()
    }
}
