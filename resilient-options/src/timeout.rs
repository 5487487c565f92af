//! Settings of a timeout, which limits the duration of a call and of its attempts.

table! {
    timeout: "timeout";

    /// Timeout of the whole call, including all attempts and waiting.
    total: limit("24h") = "60s", "total = \"60s\""
        [timeout_duration duration value limit after timeout deadline max_duration overall]
    /// Timeout of one attempt; at most `total`. If not set: only `total` applies.
    attempt: span("24h") = none, "attempt = \"500ms\"" [per_attempt attempt_timeout per_try per_try_timeout]
    /// Timeout of a future passed to `deadline::connect`. Never longer than the remaining time of the call.
    connect: limit("24h") = "3s", "connect = \"3s\"" [connect_timeout]
    /// Timeout of a future passed to `deadline::read`. Never longer than the remaining time of the call.
    read: limit("24h") = "30s", "read = \"30s\"" [read_timeout idle idle_timeout]
    /// Whether the attempt timeout adapts to the measured duration of attempts: the duration at `percentile` times
    /// `factor`, clamped to `min` and `max`. Until enough attempts were measured, the timeout is `attempt`, or `max` if
    /// `attempt` is not set.
    adaptive: flag = false,
        "adaptive or adaptive(percentile = 95, factor = 1.5, min = \"50ms\", max = \"30s\", window = \"1m\", min_samples = 100)"
    {
        /// Percentile of the measured durations of attempts.
        percentile: number(1.0, 99.9, "percent") = 95.0, "percentile = 95" [quantile]
        /// Factor by which the duration at `percentile` is multiplied.
        factor: number(1.0, 100.0) = 1.5, "factor = 1.5" [multiplier safety_factor]
        /// Shortest attempt timeout; at most `max` and `total`.
        min: span("24h") = "50ms", "min = \"50ms\"" [floor minimum]
        /// Longest attempt timeout. `total` still applies.
        max: span("24h") = "30s", "max = \"30s\"" [ceiling maximum]
        /// Time window over which attempts are measured; at least twice `max`, so that an attempt ends before it leaves
        /// the window. If not set: one minute, or twice `max` if that is longer.
        window: time("1s", "7d") = none, "window = \"1m\""
        /// Minimum number of measured attempts before the timeout adapts. Raised to what `percentile` needs.
        min_samples: count(10, 1_000_000, "attempts") = 100, "min_samples = 100" [min_calls]
    }
    /// Whether the timeout is active. Deadlines of enclosing calls always apply.
    enabled: switch = true, ""

    remedies {
        "" [cancel_running_future] "a call that times out is always cancelled";
        "" [initial percentile factor min max window min_samples quantile multiplier]
            "write it in `adaptive(..)`, as in `timeout(attempt = \"500ms\", adaptive(percentile = 95, factor = 1.5))`";
        "adaptive" [initial attempt start]
            "set the initial timeout with `attempt`, as in `timeout(attempt = \"500ms\", adaptive(percentile = 95))`";
    }
}
