//! Stores that several instances of a service share, by name.
//!
//! A store keeps state of components outside of the process. A component uses it by name:
//!
//! ```
//! use resilient_runtime::{Component, Registry, idempotency::{Config, Fingerprint, MemoryStore}};
//!
//! let registry = Registry::new();
//! // With `resilient-redis`: registry.use_store("shared", RedisStore::connect_lazily("redis://..")?);
//! registry.use_store("shared", MemoryStore::new(registry.clock().clone(), 1000));
//!
//! let once = registry.idempotency("charge");
//! once.reconfigure(Config::default().store("shared")).unwrap();
//! assert_eq!(once.call("order 7", Fingerprint::NONE, || Some(995)), Some(995));
//! ```
//!
//! Or in the settings file, if the program registered a [`Connector`] for the scheme of the URL:
//!
//! ```toml
//! [store.shared]
//! url = "redis://shop@cache.internal"   # or in the environment: RESILIENT__STORE__SHARED__URL
//! prefix = "shop:production"
//! ```
//!
//! - The program starts without the store. The first request connects.
//! - Each request has a time limit. After several failures in a row, the store is degraded: requests fail at once, and
//!   one request in each interval tries the store again. A component has a setting for this case,
//!   such as `on_store_failure`.
//! - A request that ends something that the store has acknowledged, such as a lease, is sent in any case.
//! - The URL with its login is not shown in statistics, errors, logs or the settings of the process.

mod backend;
pub(crate) mod cache;
pub(crate) mod circuits;
mod config;
mod connector;
mod error;
#[cfg(feature = "durable")]
#[doc(hidden)]
pub mod file;
mod gate;
mod guard;
pub(crate) mod idempotency;
#[cfg(feature = "chaos")]
mod injected;
mod instances;
pub(crate) mod login;
mod named;
pub(crate) mod rate;
mod replica;
mod stats;
mod transaction;
pub(crate) mod wait;
mod worker;

use std::sync::Arc;

pub use backend::Backend;
pub use cache::CacheStore;
pub use circuits::CircuitStore;
pub use config::Config;
pub use connector::Connector;
pub(crate) use connector::Connectors;
pub(crate) use error::ready;
pub use error::{Answer, StoreError};
#[cfg(all(test, not(resilient_loom)))]
pub(crate) use gate::Always;
pub(crate) use gate::{Gate, Pass, Refused};
pub(crate) use guard::Guard;
pub use idempotency::IdempotencyStore;
pub use instances::InstanceStore;
pub use login::{LoginRule, LoginState, LoginStore, MemoryLogins};
pub(crate) use named::{Finder, NamedStores, OnReady};
pub use rate::RateStore;
pub use replica::{
    Expected, ReplicaEntry, ReplicaKey, ReplicaPage, ReplicaRecord, ReplicaStore, ReplicaVersion,
    ReplicaWrite, Written,
};
pub use stats::Stats;
pub use transaction::TransactionalStore;
pub use worker::{Need, Worker};

use crate::component::{Component, Core, Create, Kind};
use crate::observe::EventKind;

/// A named store. See the [module](self).
///
/// ```
/// use resilient_runtime::{Component, Registry, idempotency::MemoryStore};
///
/// let registry = Registry::new();
/// assert_eq!(registry.store("shared").stats().address, None, "not registered yet");
/// registry.use_store("shared", MemoryStore::new(registry.clock().clone(), 1000));
/// assert_eq!(registry.store("shared").stats().address.as_deref(), Some("memory"));
/// ```
#[derive(Debug)]
pub struct Store {
    core: Core<Config>,
    guard: Arc<Guard>,
    named: Arc<NamedStores>,
}

impl Store {
    pub(crate) fn with_gate(
        core: Core<Config>,
        gate: impl Gate,
        connectors: Arc<Connectors>,
        named: Arc<NamedStores>,
    ) -> Self {
        let guard = Arc::new(Guard::new(&core, connectors, Box::new(gate)));
        named.add(core.name, Arc::clone(&guard));
        Self { core, guard, named }
    }

    /// Sends a request of your own to the store, within its time limit, circuit breaker and bulkhead.
    ///
    /// Needs a tokio runtime with a timer.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::Registry;
    /// use resilient_runtime::idempotency::MemoryStore;
    /// use resilient_runtime::store::Need;
    ///
    /// let registry = Registry::new();
    /// let store = registry.use_store("shared", MemoryStore::new(registry.clock().clone(), 1000));
    /// let address = store.request(Need::Optional, async |backend| Ok(backend.address())).await;
    /// assert_eq!(address.as_deref(), Ok("memory"));
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns the error of `send`, [`StoreError::NotSent`] if the store is degraded and the request is optional, and
    /// [`StoreError::TimedOut`].
    ///
    /// # Cancel safety
    /// A request that was sent can take effect.
    pub async fn request<T, F>(
        &self,
        need: Need,
        send: impl FnOnce(Arc<dyn Backend>) -> F,
    ) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        self.guard.within(need, send).await
    }

    /// Replaces the store. A `url` in the settings has precedence.
    pub(crate) fn give(&self, backend: Arc<dyn Backend>) {
        self.guard.give(backend);
        self.named.are_ready();
    }

    /// The problem with the settings, if they say where the store is but it cannot be used.
    pub(crate) fn problem(&self) -> Option<String> {
        self.guard.problem()
    }

    /// The part of the store on which faults act.
    #[cfg(feature = "chaos")]
    pub(crate) fn affected(&self) -> Arc<Guard> {
        Arc::clone(&self.guard)
    }

    /// A message if the store is degraded.
    pub(crate) fn degradation(&self) -> Option<String> {
        let stats = self.guard.stats();
        let error = stats.last_error.as_deref().unwrap_or("no reason is known");
        stats.degraded.then(|| format!("the store is degraded: {error}"))
    }
}

impl Create for Store {
    const ALWAYS_ON: Option<&str> =
        Some("a store cannot be disabled: remove `store` from the components that use it");

    fn create(core: Core<Config>) -> Self {
        Self::with_gate(core, gate::Always, Arc::default(), Arc::default())
    }
}

impl Component for Store {
    const KIND: Kind = Kind::Store;
    type Config = Config;
    type Stats = Stats;

    fn core(&self) -> &Core<Config> {
        &self.core
    }

    fn apply(&self, config: &Config) {
        self.guard.apply(config);
        self.named.are_ready();
    }

    fn stats(&self) -> Stats {
        self.guard.stats()
    }

    /// Resets the counters, and sends requests again if the store was degraded. The content of the store stays.
    fn reset(&self) {
        self.guard.reset();
        self.core.publish(Self::KIND, EventKind::Reset);
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
