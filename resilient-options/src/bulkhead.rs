//! Limits how many calls run at once.

table! {
    bulkhead: "bulkhead";

    /// Calls that may run at once. No effect where `adaptive` is on.
    max_concurrent: count(1, 1_000_000, "calls") = 64, "max_concurrent = 64"
        [permits max_concurrency max_concurrent_calls max_parallelization permit_limit concurrency limit size max]
    /// Calls that may wait for a permit. A queue needs `max_wait`.
    max_queue: count(0, 1_000_000, "calls") = 0, "max_queue = 100"
        [queue waiting_task_queue queue_capacity queue_size queue_limit max_queuing_actions]
    /// How long a call may wait for a permit.
    max_wait: span("24h") = none, "max_wait = \"50ms\""
        [wait max_wait_duration max_wait_time timeout queue_timeout acquire_timeout]
    /// The number of the bulkhead's own threads, on which the calls run. It then admits `threads` and `max_queue` calls; those
    /// without a thread wait, by priority; `max_concurrent` has no effect. None: calls run where they are made.
    threads: count(1, 1_024, "threads") = none, "threads = 8"
        [workers thread_pool core_thread_pool_size max_thread_pool_size pool_size]
    /// Permits that calls of lower priority cannot take; all together less than `max_concurrent`.
    reserve: group, "reserve(critical = 4, high = 8)" {
        /// Permits that only critical calls may take; less than `max_concurrent`.
        critical as reserve_critical: count(0, 4_294_967_295, "calls") = 0, "critical = 4"
        /// Permits that only high and critical calls may take, besides those for critical ones alone.
        high as reserve_high: count(0, 4_294_967_295, "calls") = 0, "high = 8"
    }
    /// Whether the bulkhead finds out, from how long calls take, how many may run at once. `max_concurrent` then has no
    /// effect.
    adaptive: flag = false, "adaptive or adaptive(min = 1, max = 200, initial = 20)" {
        /// The lowest limit; more than all reserves together.
        min as adaptive_min: count(1, 1_000_000, "calls") = 1, "min = 1" [floor minimum]
        /// The highest limit; at least `min`.
        max as adaptive_max: count(1, 1_000_000, "calls") = 200, "max = 200" [ceiling maximum]
        /// The first limit. None: 20, or the nearest to that from `min` to `max`.
        initial as adaptive_initial: count(1, 1_000_000, "calls") = none, "initial = 20" [start]
    }
    /// Whether calls are limited at all. A bulkhead with `threads` cannot be switched off: calls run there.
    enabled: switch = true, ""
}
