//! An alert on the statistics.

table! {
    alert: "";

    /// The operation it watches. While the operation does not exist, there is no value. None: all together.
    operation: name = none, "operation = \"charge\""
    /// What it watches.
    signal: word(
        "error_rate", "degraded_rate", "latency_p50", "latency_p95", "latency_p99", "traffic", "saturation", "burn_rate"
    ) = "error_rate", "signal = \"error_rate\""
    /// The value from which it warns. None: it does not. A burn rate has limits of its own.
    warning: number(0.0) = none, "warning = 0.01"
    /// The value from which it is critical; at least `warning` (with `below`, at most). None: never.
    critical: number(0.0) = none, "critical = 0.05"
    /// Whether too little is what is wrong, as with traffic.
    below: flag = false, "below = true"
    /// How long the value must stay there before the alert fires.
    hold: time("0s", "24h") = "30s", "hold = \"30s\""
    /// The time over which rates are taken.
    window: time("1s", "24h") = "1m", "window = \"1m\""
    /// With fewer calls in the window the alert does not fire, and one that fires ends, unless too little is what is wrong.
    min_samples: count(0, 4_294_967_295, "calls") = 20, "min_samples = 20"
    /// The share of a limit that the signal must fall below for the alert to end.
    hysteresis: share = 0.9, "hysteresis = 0.9"
    /// For a burn rate: the share of calls that must succeed; below 1.
    objective: some = none, "objective = 0.999"
    /// Whether it watches at all. Switched off, it stays as it is.
    enabled: switch = true, ""
}
