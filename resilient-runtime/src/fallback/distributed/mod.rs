//! The built-in distributed cache: the last good value of each key in a store that several processes share.
//!
//! - A successful call encodes its value, puts it into the memory of the process, and leaves the write to the store to
//!   the background. [`writes`] has the queue: it is bounded, and only the newest value of a key waits.
//! - A call that fails reads the store, within the time limits of the level and the store. [`reads`] makes one read of
//!   all concurrent calls for a key.
//! - The values in memory ([`near`]) answer for a short time without a read, and until `max_age` if the store fails.
//! - A value has the form of a stored idempotency result, with the version of the form, the type, and the names and
//!   shapes in it. A value that does not fit is treated as missing.

mod key;
mod lookup;
mod near;
mod reads;
mod stats;
mod writes;

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Config;
use crate::component::Environment;
use crate::observe::{LogLimit, log_limited};
use crate::store::wait::within;
use crate::store::{Backend, CacheStore, Guard, NamedStores, StoreError};
use crate::stored;
use near::Near;
use reads::Reads;
use stats::Counters;
use writes::Writes;

pub(crate) use key::DistributedKey;
pub(crate) use lookup::{Lookup, Step};
pub use stats::DistributedCacheStats;

/// A value that the distributed cache can store.
///
/// ```
/// use resilient_runtime::fallback::Storable;
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Serialize, Deserialize)]
/// struct Price { cents: u32 }
/// fn can_be_stored<T: Storable>() {}
/// can_be_stored::<Price>();
/// ```
#[diagnostic::on_unimplemented(
    message = "`distributed_cache` cannot store a `{Self}`",
    label = "the value must be `serde::Serialize` and `serde::de::DeserializeOwned`",
    note = "derive `Serialize` and `Deserialize`, or write a level of your own: `distributed_cache = function`"
)]
pub trait Storable: Serialize + DeserializeOwned {}

#[diagnostic::do_not_recommend]
impl<T: Serialize + DeserializeOwned> Storable for T {}

/// The distributed cache of a fallback.
#[derive(Debug)]
pub(super) struct Distributed {
    name: &'static str,
    environment: Environment,
    stores: Arc<NamedStores>,
    near: Near,
    reads: Reads,
    writes: Writes,
    counters: Counters,
    logs: Logs,
}

/// Log limits, one for each problem.
#[derive(Debug, Default)]
struct Logs {
    no_store: LogLimit,
    failed_read: LogLimit,
    failed_write: LogLimit,
    dropped: LogLimit,
    unreadable: LogLimit,
    not_stored: LogLimit,
}

const TARGET: &str = "resilient_runtime::fallback";

impl Distributed {
    pub(super) fn new(
        name: &'static str,
        environment: Environment,
        stores: Arc<NamedStores>,
        config: &Config,
    ) -> Self {
        let cache = Self {
            name,
            environment,
            stores,
            near: Near::new(),
            reads: Reads::default(),
            writes: Writes::default(),
            counters: Counters::default(),
            logs: Logs::default(),
        };
        cache.apply(config);
        cache
    }

    pub(super) fn apply(&self, config: &Config) {
        self.near.resize(config.distributed_cache_max_entries);
    }

    /// The store in the settings. If there is none, the level is skipped.
    fn store(&self, config: &Config) -> Option<Arc<Guard>> {
        let Some(name) = &config.distributed_cache_store else {
            self.skipped("`store` is not set");
            return None;
        };
        self.stores.get(name).map_err(|problem| self.skipped(&problem)).ok()
    }

    #[cold]
    fn skipped(&self, problem: &str) {
        log_limited!(
            self.logs.no_store, &self.environment.clock, ERROR, target: TARGET,
            fallback = %self.name, problem, "the distributed cache is skipped"
        );
    }

    /// The problem with the store in the settings.
    pub(super) fn problem(stores: &NamedStores, config: &Config) -> Option<String> {
        let name = config.distributed_cache_store.as_deref()?;
        let guard = match stores.get(name) {
            Ok(guard) => guard,
            Err(problem) => return Some(problem),
        };
        // A store that cannot be used is a problem of its own.
        let backend = guard.backend().ok()?;
        role(&*backend).err().map(|error| error.to_string())
    }

    /// Stores a good value in memory, and starts to write it to the store.
    pub(super) fn write<V: Storable>(self: &Arc<Self>, config: &Config, key: &DistributedKey, value: &V) {
        let Some(guard) = self.store(config) else { return };
        let bytes: Arc<[u8]> = match stored::write(value) {
            Ok(bytes) => bytes.into(),
            Err(problem) => return self.not_stored(&problem),
        };
        let max = config.distributed_cache_max_bytes as usize;
        if bytes.len() > max {
            let bytes = bytes.len();
            return self.not_stored(&format!("the value has {bytes} bytes, more than `max_bytes = {max}`"));
        }
        let added = self.environment.clock.now();
        // First the queue: a read that finds the value in memory and not in the store must know that it waits.
        self.enqueue(writes::Write {
            key: Arc::clone(key.text()),
            bytes: Arc::clone(&bytes),
            added,
            ttl: config.distributed_cache_max_age,
            guard,
            check: |bytes| stored::read::<V>(bytes).map(drop),
        });
        self.near.keep(key.hash(), &bytes, added);
    }

    #[cold]
    fn not_stored(&self, problem: &str) {
        self.counters.not_stored.count();
        let problem = self.environment.texts().clean(problem).unwrap_or_default();
        log_limited!(
            self.logs.not_stored, &self.environment.clock, WARN, target: TARGET,
            fallback = %self.name, problem, "a result was not stored in the distributed cache"
        );
    }

    /// Removes a value from memory and from the store, after a write of this process that is in progress.
    pub(super) async fn remove(&self, config: &Config, key: &DistributedKey) -> Result<bool, StoreError> {
        let _removal = Removal::new(&self.near, key.hash());
        let current = self.writes.forget(key.text());
        let name = config.distributed_cache_store.as_deref().unwrap_or_default();
        let guard = self.stores.get(name).map_err(StoreError::Unavailable)?;
        let remove = |backend: Arc<dyn Backend>| async move { role(&*backend)?.remove(key.text()).await };
        let clock = &self.environment.clock;
        within(clock, clock.now().after(guard.timeout()), async {
            if let Some(number) = current {
                self.writes.end_of(key.text(), number).await;
            }
            guard.request(crate::store::Need::Optional, remove).await
        })
        .await
    }

    pub(super) fn stats(&self) -> DistributedCacheStats {
        self.counters.snapshot(self.near.len(), self.writes.len())
    }

    /// Resets the counters and forgets the values in memory. The content of the store stays.
    pub(super) fn reset(&self) {
        self.counters.reset();
        self.near.clear();
    }
}

/// A removal in progress. It removes the value from memory at its start, and again at its end, because a call may have
/// read the value from the store during this time.
struct Removal<'a> {
    near: &'a Near,
    key: u128,
}

impl<'a> Removal<'a> {
    fn new(near: &'a Near, key: u128) -> Self {
        near.remove(key);
        Self { near, key }
    }
}

impl Drop for Removal<'_> {
    fn drop(&mut self) {
        self.near.remove(self.key);
    }
}

fn role(backend: &dyn Backend) -> Result<&dyn CacheStore, StoreError> {
    let problem = || format!("the store at {} has no cache: use another store", backend.address());
    backend.cache().ok_or_else(|| StoreError::Refused(problem()))
}
