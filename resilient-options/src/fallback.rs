//! Answers when everything else has failed.

const ALWAYS_ON: &str = "this cannot be switched off: leave it out";

table! {
    fallback: "fallback";

    /// How long an asynchronous level may take that has no time of its own.
    level_timeout: span("24h") = "1s", "level_timeout = \"1s\"" [timeout]
    /// Another instance or region of the same thing.
    replica: group, "replica = f or replica(f, timeout = \"500ms\")" {
        /// How long an asynchronous replica may take. None: `level_timeout`.
        timeout as replica_timeout: span("24h") = none, "timeout = \"500ms\""
    }
    /// A cache shared by several machines.
    distributed_cache: group, "distributed_cache = f or distributed_cache(f, timeout = \"500ms\")" {
        /// How long an asynchronous distributed cache may take. None: `level_timeout`.
        timeout as distributed_cache_timeout: span("24h") = none, "timeout = \"500ms\""
    }
    /// The last good answer of this key, or a function.
    local_cache: group,
        "local_cache = \"10m\", or local_cache(max_age = \"10m\", key = id, max_entries = 1000), or local_cache = f" [cache]
    {
        /// How long an asynchronous local cache of your own may take. None: `level_timeout`.
        timeout as local_cache_timeout: span("24h") = none, "timeout = \"500ms\""
        /// How old an answer of the built-in local cache may be.
        max_age as cache_max_age: span("30d") = "10m", "max_age = \"10m\"" [ttl expiry expire_after]
        /// Everything that the answer depends on.
        key: code, "key = id" [by id]
        /// Answers that the built-in local cache keeps.
        max_entries as cache_max_entries: count(16, 1_000_000, "answers") = 1_000, "max_entries = 1000"
            [capacity size max_size max_capacity]
    }
    /// Another way to the same end.
    backup: group, "backup = f or backup(f, timeout = \"2s\")" [secondary] {
        /// How long an asynchronous backup may take. None: `level_timeout`.
        timeout as backup_timeout: span("24h") = none, "timeout = \"2s\""
    }
    /// A stand-in that always answers, and at once.
    default: group, "default = expression" [else otherwise value]
    /// What the levels may still take together when the total time of the call is over. With 0 a call that is late gets what
    /// answers at once: a local cache, or a default.
    grace: time("0s", "1m") = "0s", "grace = \"0ms\""
    /// Replicas, caches of your own and backups that may be asked at once. Beyond that the next level is asked.
    max_concurrent: count(1, 1_000_000, "levels at once") = 64, "max_concurrent = 64" [concurrency]

    remedies {
        "" [enabled enable disabled disable active] ALWAYS_ON;
        "local_cache" [enabled enable disabled disable active] ALWAYS_ON;
    }
}
