//! Settings of a fallback, which provides a result when the call has failed.

const ALWAYS_ON: &str = "this policy cannot be disabled; remove it instead";

table! {
    fallback: "fallback";

    /// Timeout of an asynchronous level that sets no timeout itself.
    level_timeout: span("24h") = "1s", "level_timeout = \"1s\"" [timeout]
    /// Another instance or region of the same service: a function, or a `ReplicaSet` of the crate `resilient-replica`, which
    /// is read asynchronously.
    replica: group, "replica = f or replica(f, timeout = \"500ms\"), or replica(set, key = id)" {
        /// Key in the replica set.
        key: code, "key = id"
        /// Timeout of an asynchronous replica. If not set: `level_timeout`.
        timeout as replica_timeout: span("24h") = none, "timeout = \"500ms\""
    }
    /// The built-in cache of the last successful result for each key in a store that several machines share, or a
    /// function.
    distributed_cache: group,
        "distributed_cache(store = \"shared\", key = id, max_age = \"10m\"), or distributed_cache = f, or distributed_cache(f, timeout = \"500ms\")"
    {
        /// Timeout of the distributed cache: of a read of the store, or of your own asynchronous function. If not set:
        /// `level_timeout`.
        timeout as distributed_cache_timeout: span("24h") = none, "timeout = \"500ms\""
        /// Name of a store registered with `Registry::use_store` or in the settings file.
        store as distributed_cache_store: name = none, "store = \"shared\""
        /// Cache key: everything that the result depends on.
        key: code, "key = id" [by id]
        /// Maximum age of a result that the distributed cache returns, by the clock of the store.
        max_age as distributed_cache_max_age: span("30d") = "10m", "max_age = \"10m\"" [ttl expiry expire_after]
        /// How long a result is returned from memory before the store is read again. It is also returned if the store
        /// fails, until `max_age`.
        reread_after as distributed_cache_reread_after: time("0s", "1h") = "1s", "reread_after = \"1s\""
            [near near_ttl refresh_after]
        /// How long it is remembered that the store has no result for a key. 0: each call reads the store again.
        remember_absent as distributed_cache_remember_absent: time("0s", "1h") = "0s", "remember_absent = \"5s\""
            [negative_ttl]
        /// Maximum size of a result, in bytes of its stored form. A larger result is not stored.
        max_bytes as distributed_cache_max_bytes: count(1, 16_777_216, "bytes") = 65_536, "max_bytes = 65_536"
            [max_value max_size]
        /// Maximum number of results in memory.
        max_entries as distributed_cache_max_entries: count(16, 1_000_000, "entries") = 1_000, "max_entries = 1000"
            [capacity size max_capacity]
    }
    /// The built-in cache of the last successful result for each key, or a function.
    local_cache: group,
        "local_cache = \"10m\", or local_cache(max_age = \"10m\", key = id, max_entries = 1000), or local_cache = f" [cache]
    {
        /// Timeout of your own asynchronous local cache. If not set: `level_timeout`.
        timeout as local_cache_timeout: span("24h") = none, "timeout = \"500ms\""
        /// Maximum age of a result that the built-in local cache returns.
        max_age as cache_max_age: span("30d") = "10m", "max_age = \"10m\"" [ttl expiry expire_after]
        /// Cache key: everything that the result depends on.
        key: code, "key = id" [by id]
        /// Maximum number of results in the built-in local cache.
        max_entries as cache_max_entries: count(16, 1_000_000, "entries") = 1_000, "max_entries = 1000"
            [capacity size max_size max_capacity]
    }
    /// An alternative implementation.
    backup: group, "backup = f or backup(f, timeout = \"2s\")" [secondary] {
        /// Timeout of an asynchronous backup. If not set: `level_timeout`.
        timeout as backup_timeout: span("24h") = none, "timeout = \"2s\""
    }
    /// A substitute value that is always available immediately.
    default: group, "default = expression" [else otherwise value]
    /// Total time the levels may use after the call's total timeout has expired. With 0, only levels that return
    /// immediately are used then: a local cache or a default.
    grace: time("0s", "1m") = "0s", "grace = \"0ms\""
    /// Maximum number of concurrent calls to replicas, backups and your own caches. Further calls use the next
    /// level.
    max_concurrent: count(1, 1_000_000, "calls") = 64, "max_concurrent = 64" [concurrency]

    remedies {
        "" [enabled enable disabled disable active] ALWAYS_ON;
        "local_cache" [enabled enable disabled disable active] ALWAYS_ON;
    }
}
