//! Opens stores by the URLs in the settings file.

use std::sync::Arc;

use resilient_runtime::Registry;
use resilient_runtime::circuit_breaker::shared::CircuitStore;
use resilient_runtime::fallback::CacheStore;
use resilient_runtime::idempotency::IdempotencyStore;
use resilient_runtime::rate_limit::RateStore;
use resilient_runtime::store::{self, Backend, Connector, InstanceStore, LoginStore, ReplicaStore};

use crate::config::Config;
use crate::store::RedisStore;

/// Registers the [`RedisConnector`], so that `url` in the settings of a store can name a Redis or Valkey server.
///
/// Call it at the start of `main`, before the settings are loaded.
///
/// ```
/// use resilient_runtime::{Component, Registry, store::Config};
///
/// let registry = Registry::new();
/// resilient_redis::register(&registry);
/// // In the settings file: [store.shared] url = "redis://:secret@cache.internal"
/// let store = registry.store("shared");
/// store.reconfigure(Config::default().url("redis://:secret@cache.internal")).unwrap();
/// assert_eq!(store.stats().address.as_deref(), Some("redis://***@cache.internal"));
/// ```
pub fn register(registry: &Registry) {
    registry.add_store_connector(RedisConnector);
}

/// Opens a [`RedisStore`] for a URL in the settings of a store. [`register`] adds it to a registry.
///
/// ```
/// use resilient_redis::RedisConnector;
/// use resilient_runtime::store::{Config, Connector};
///
/// let store = RedisConnector.connect("valkey://cache.internal", &Config::default()).unwrap();
/// assert_eq!(store.address(), "redis://cache.internal:6379/0");
/// let refused = RedisConnector.connect("redis://:secret@cache:99999", &Config::default()).unwrap_err();
/// assert!(refused.contains("url is not valid") && !refused.contains("secret"));
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RedisConnector;

impl Connector for RedisConnector {
    fn schemes(&self) -> &[&str] {
        &[
            "redis",
            "rediss",
            "valkey",
            "valkeys",
            "unix",
            "redis+sentinel",
            "rediss+sentinel",
            "redis+cluster",
            "rediss+cluster",
        ]
    }

    fn connect(&self, url: &str, settings: &store::Config) -> Result<Arc<dyn Backend>, String> {
        let mut config = Config::new(url).timeout(settings.timeout);
        if let Some(prefix) = &settings.prefix {
            config = config.prefix(&**prefix);
        }
        let store = RedisStore::new(config).map_err(|problem| problem.to_string())?;
        Ok(Arc::new(store))
    }
}

impl Backend for RedisStore {
    fn address(&self) -> String {
        self.session().address().to_owned()
    }

    fn idempotency(&self) -> Option<&dyn IdempotencyStore> {
        Some(self)
    }

    fn circuits(&self) -> Option<&dyn CircuitStore> {
        Some(self)
    }

    fn rate(&self) -> Option<&dyn RateStore> {
        Some(self)
    }

    fn logins(&self) -> Option<&dyn LoginStore> {
        Some(self)
    }

    fn cache(&self) -> Option<&dyn CacheStore> {
        Some(self)
    }

    fn replica(&self) -> Option<&dyn ReplicaStore> {
        Some(self)
    }

    fn instances(&self) -> Option<&dyn InstanceStore> {
        Some(self)
    }
}
