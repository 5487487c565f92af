//! Limits the time of a call and of its attempts.

table! {
    timeout: "timeout";

    /// The time of a whole call with all its attempts and waiting.
    total: limit("24h") = "60s", "total = \"60s\""
        [timeout_duration duration value limit after timeout deadline max_duration overall]
    /// The time of one attempt; at most `total`. None: no limit of its own.
    attempt: span("24h") = none, "attempt = \"500ms\"" [per_attempt attempt_timeout per_try per_try_timeout]
    /// The time of what the body gives to `deadline::connect`. Never more than what is left of the call.
    connect: limit("24h") = "3s", "connect = \"3s\"" [connect_timeout]
    /// The time of what the body gives to `deadline::read`. Never more than what is left of the call.
    read: limit("24h") = "30s", "read = \"30s\"" [read_timeout idle idle_timeout]
    /// Whether the time of an attempt follows how long attempts take: `percentile` of them times `factor`, from `min` to
    /// `max`. Until enough were seen it is `attempt`, or else `max`.
    adaptive: flag = false,
        "adaptive or adaptive(percentile = 95, factor = 1.5, min = \"50ms\", max = \"30s\", window = \"1m\", min_samples = 100)"
    {
        /// The share of attempts, in per cent, that take no longer.
        percentile: number(1.0, 99.9, "per cent") = 95.0, "percentile = 95" [quantile]
        /// The factor on that percentile.
        factor: number(1.0, 100.0) = 1.5, "factor = 1.5" [multiplier safety_factor]
        /// The shortest time of an attempt; at most `max` and `total`.
        min: span("24h") = "50ms", "min = \"50ms\"" [floor minimum]
        /// The longest time of an attempt. `total` ends it earlier.
        max: span("24h") = "30s", "max = \"30s\"" [ceiling maximum]
        /// The time whose attempts are measured; at least twice `max`, or an attempt could be forgotten before it has ended.
        /// None: a minute, or twice `max`.
        window: time("1s", "7d") = none, "window = \"1m\""
        /// Fewer attempts say nothing. Never fewer than `percentile` needs.
        min_samples: count(10, 1_000_000, "attempts") = 100, "min_samples = 100" [min_calls]
    }
    /// Whether time is limited at all. A deadline around the call stays in force.
    enabled: switch = true, ""

    remedies {
        "" [cancel_running_future] "a call whose time is over is always cancelled";
        "" [initial percentile factor min max window min_samples quantile multiplier]
            "write it in `adaptive(..)`, as in `timeout(attempt = \"500ms\", adaptive(percentile = 95, factor = 1.5))`";
        "adaptive" [initial attempt start]
            "the time it begins with stands beside it, as in `timeout(attempt = \"500ms\", adaptive(percentile = 95))`";
    }
}
