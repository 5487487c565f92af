//! Opens stores by the URLs in the settings file.

use std::sync::Arc;

use resilient_runtime::Registry;
use resilient_runtime::idempotency::IdempotencyStore;
use resilient_runtime::store::{self, Backend, Connector, ReplicaStore};

use crate::config::Config;
use crate::store::PostgresStore;

/// Registers the [`PostgresConnector`], so that `url` in the settings of a store can name a `PostgreSQL` server.
///
/// Call it at the start of `main`, before the settings are loaded. The tables must exist: see
/// [`Config::migrations`](crate::Config::migrations).
///
/// ```
/// use resilient_runtime::{Component, Registry, store::Config};
///
/// let registry = Registry::new();
/// resilient_postgres::register(&registry);
/// // In the settings file: [store.orders] url = "postgres://shop:secret@db.internal/shop"
/// let store = registry.store("orders");
/// store.reconfigure(Config::default().url("postgres://shop:secret@db.internal/shop")).unwrap();
/// assert!(!store.stats().address.unwrap().contains("secret"));
/// ```
pub fn register(registry: &Registry) {
    registry.add_store_connector(PostgresConnector);
}

/// Opens a [`PostgresStore`] for a URL in the settings of a store. [`register`] adds it to a registry.
///
/// With `prefix = "shop"`, the table is `shop_idempotency`; otherwise `resilient_idempotency`.
///
/// ```
/// use resilient_postgres::PostgresConnector;
/// use resilient_runtime::store::{Config, Connector};
///
/// assert!(PostgresConnector.connect("postgres://db.internal/shop", &Config::default()).is_ok());
/// let refused = PostgresConnector.connect("postgres://:secret@db:99999", &Config::default()).unwrap_err();
/// assert!(!refused.contains("secret"), "{refused}");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PostgresConnector;

impl Connector for PostgresConnector {
    fn schemes(&self) -> &[&str] {
        &["postgres", "postgresql"]
    }

    fn connect(&self, url: &str, settings: &store::Config) -> Result<Arc<dyn Backend>, String> {
        let mut config = Config::new(url).timeout(settings.timeout);
        if let Some(prefix) = &settings.prefix {
            config = config.table(format!("{prefix}_idempotency"));
        }
        let store = PostgresStore::new(config).map_err(|invalid| invalid.to_string())?;
        Ok(Arc::new(store))
    }
}

impl Backend for PostgresStore {
    fn address(&self) -> String {
        self.session.address().to_owned()
    }

    fn idempotency(&self) -> Option<&dyn IdempotencyStore> {
        Some(self)
    }

    fn replica(&self) -> Option<&dyn ReplicaStore> {
        Some(self)
    }
}
