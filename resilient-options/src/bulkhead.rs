//! Settings of a bulkhead, which limits how many calls run at once.

table! {
    bulkhead: "bulkhead";

    /// Maximum number of calls that run at once. No effect with `adaptive` or `threads`.
    max_concurrent: count(1, 1_000_000, "calls") = 64, "max_concurrent = 64"
        [permits max_concurrency max_concurrent_calls max_parallelization permit_limit concurrency limit size max]
    /// Maximum number of calls that wait for a permit. Requires `max_wait`, unless `threads` is set.
    max_queue: count(0, 1_000_000, "calls") = 0, "max_queue = 100"
        [queue waiting_task_queue queue_capacity queue_size queue_limit max_queuing_actions]
    /// Maximum time a call waits for a permit.
    max_wait: span("24h") = none, "max_wait = \"50ms\""
        [wait max_wait_duration max_wait_time timeout queue_timeout acquire_timeout]
    /// Number of dedicated threads on which the calls run. The bulkhead admits up to `threads` + `max_queue` calls;
    /// calls without a thread wait in order of priority. `max_concurrent` then has no effect. If not set: calls run in
    /// their caller.
    threads: count(1, 1_024, "threads") = none, "threads = 8"
        [workers thread_pool core_thread_pool_size max_thread_pool_size pool_size]
    /// Permits that calls of lower priority cannot take. The sum must be less than `max_concurrent`.
    reserve: group, "reserve(critical = 4, high = 8)" {
        /// Permits reserved for critical calls; less than `max_concurrent`.
        critical as reserve_critical: count(0, 4_294_967_295, "calls") = 0, "critical = 4"
        /// Permits reserved for high and critical calls, in addition to those reserved for critical calls.
        high as reserve_high: count(0, 4_294_967_295, "calls") = 0, "high = 8"
    }
    /// Whether the concurrency limit adapts to the measured latency of the calls. `max_concurrent` then has no effect.
    adaptive: flag = false, "adaptive or adaptive(min = 1, max = 200, initial = 20)" {
        /// Lowest limit; must be greater than the sum of the reserves.
        min as adaptive_min: count(1, 1_000_000, "calls") = 1, "min = 1" [floor minimum]
        /// Highest limit; at least `min`.
        max as adaptive_max: count(1, 1_000_000, "calls") = 200, "max = 200" [ceiling maximum]
        /// Initial limit, from `min` to `max`. If not set: 20, clamped to that range.
        initial as adaptive_initial: count(1, 1_000_000, "calls") = none, "initial = 20" [start]
    }
    /// Whether calls are limited. A bulkhead with `threads` cannot be disabled, because its calls run on those threads.
    enabled: switch = true, ""
}
