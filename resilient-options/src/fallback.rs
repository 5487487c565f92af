//! Settings of a fallback, which provides a result when the call has failed.

const ALWAYS_ON: &str = "this policy cannot be disabled; remove it instead";

table! {
    fallback: "fallback";

    /// Timeout of an asynchronous level that sets no timeout itself.
    level_timeout: span("24h") = "1s", "level_timeout = \"1s\"" [timeout]
    /// Another instance or region of the same service.
    replica: group, "replica = f or replica(f, timeout = \"500ms\")" {
        /// Timeout of an asynchronous replica. If not set: `level_timeout`.
        timeout as replica_timeout: span("24h") = none, "timeout = \"500ms\""
    }
    /// A cache that several machines share.
    distributed_cache: group, "distributed_cache = f or distributed_cache(f, timeout = \"500ms\")" {
        /// Timeout of an asynchronous distributed cache. If not set: `level_timeout`.
        timeout as distributed_cache_timeout: span("24h") = none, "timeout = \"500ms\""
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
