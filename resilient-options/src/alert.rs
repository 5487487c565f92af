//! Settings of an alert on collected statistics.

table! {
    alert: "";

    /// Operation to watch. While no such operation exists, the alert has no value. If not set: all operations combined.
    operation: name = none, "operation = \"charge\""
    /// Signal to watch.
    signal: word(
        "error_rate", "degraded_rate", "latency_p50", "latency_p95", "latency_p99", "traffic", "saturation", "burn_rate"
    ) = "error_rate", "signal = \"error_rate\""
    /// Value above which the alert is a warning (below which, with `below`). If not set: no warning. Not used for
    /// `burn_rate`, which has its own limits.
    warning: number(0.0) = none, "warning = 0.01"
    /// Value above which the alert is critical (below which, with `below`). At least `warning`; with `below`, at most
    /// `warning`. If not set: never critical.
    critical: number(0.0) = none, "critical = 0.05"
    /// Whether the alert fires on values below the limits instead of above them, for example on too little traffic.
    below: flag = false, "below = true"
    /// How long the value must stay beyond the limit before the alert fires.
    hold: time("0s", "24h") = "30s", "hold = \"30s\""
    /// Time window over which rates are computed.
    window: time("1s", "24h") = "1m", "window = \"1m\""
    /// Minimum number of calls in the window. With fewer, the alert does not fire, and a firing alert ends. Not used
    /// for `traffic` and `saturation`.
    min_samples: count(0, 4_294_967_295, "calls") = 20, "min_samples = 20"
    /// Fraction of the limit that the signal must fall below before a firing alert ends. With `below`, the signal must
    /// rise above the limit divided by this value.
    hysteresis: share = 0.9, "hysteresis = 0.9"
    /// For `burn_rate`: fraction of calls that must succeed; less than 1.
    objective: some = none, "objective = 0.999"
    /// Whether calls that injected faults affected are left out of error rates, latencies, degraded rates and burn rates.
    exclude_injected: flag = false, "exclude_injected = true"
    /// Whether the alert is evaluated. A disabled alert keeps its state.
    enabled: switch = true, ""
}
