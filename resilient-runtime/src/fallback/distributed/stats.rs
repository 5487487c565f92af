//! Counters of the distributed cache.

use serde::Serialize;

use crate::observe::Counter;

/// Statistics of the built-in distributed cache.
///
/// ```
/// use resilient_runtime::{Component, Registry, fallback::{Config, MemoryCache}};
///
/// let registry = Registry::new();
/// registry.use_store("shared", MemoryCache::new(registry.clock().clone(), 1000));
/// let fallback = registry.fallback("rates");
/// fallback.reconfigure(Config::default().distributed_cache_store("shared")).unwrap();
/// fallback.distribute("EUR", &1.1);
/// assert_eq!(fallback.stats().distributed_cache.unwrap().in_memory, 1);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct DistributedCacheStats {
    /// Calls for which the store had a value.
    pub hits: u64,
    /// Calls that received a value from the memory of this process.
    pub near_hits: u64,
    /// Calls for which the store had no value, or only a value that is too old.
    pub misses: u64,
    /// Calls that did not read the store because it had no value shortly before.
    pub absent_hits: u64,
    /// Calls whose value has another type or form or cannot be read.
    pub unreadable: u64,
    /// Calls whose read of the store failed.
    pub failed_reads: u64,
    /// Reads of the store.
    pub reads: u64,
    /// Calls that waited for the read of another call.
    pub joined_reads: u64,
    /// Values written to the store.
    pub written: u64,
    /// Values that a newer one replaced before they were written.
    pub replaced_writes: u64,
    /// Values that were not written because too many were waiting, or because they waited longer than `max_age`.
    pub dropped_writes: u64,
    /// Values whose write failed.
    pub failed_writes: u64,
    /// Values that cannot be stored: too large, with a key that is too long, or of a type that does not read back.
    pub not_stored: u64,
    /// Values that wait for the store or are being written.
    pub queued_writes: u64,
    /// Entries in the memory of this process.
    pub in_memory: u64,
}

macro_rules! counters {
    ($($name:ident)*) => {
        #[derive(Debug, Default)]
        pub(super) struct Counters {
            $(pub(super) $name: Counter,)*
        }

        impl Counters {
            pub(super) fn snapshot(&self, in_memory: u64, queued_writes: u64) -> DistributedCacheStats {
                DistributedCacheStats { $($name: self.$name.get(),)* in_memory, queued_writes }
            }

            pub(super) fn reset(&self) {
                $(self.$name.reset();)*
            }
        }
    };
}

counters! {
    hits near_hits misses absent_hits unreadable failed_reads reads joined_reads
    written replaced_writes dropped_writes failed_writes not_stored
}
