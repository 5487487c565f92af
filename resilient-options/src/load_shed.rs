//! Settings of load shedding, which rejects the least important calls under overload.

table! {
    load_shed: "load_shed";

    /// Maximum number of calls in flight; critical calls can use all of it. If not set: 1000 with `adaptive`, otherwise
    /// unlimited.
    max_in_flight: count(1, 1_000_000, "calls") = none, "max_in_flight = 1000"
        [limit max_concurrent max_inflight max_concurrency max_limit]
    /// Whether the limit adapts to the measured latency of the calls, up to `max_in_flight`.
    adaptive: flag = true, "adaptive = true"
    /// Lowest adaptive limit; at most `max_in_flight`.
    min_in_flight: count(1, 1_000_000, "calls") = 10, "min_in_flight = 10" [min_limit min_inflight]
    /// Adaptive limit at the start and after a reset, clamped to `min_in_flight` and `max_in_flight`.
    initial_in_flight: count(1, 1_000_000, "calls") = 100, "initial_in_flight = 100"
        [initial_limit initial_inflight initial]
    /// Fraction of the limit that each priority can use.
    share: group, "share(low = 0.5, normal = 0.8, high = 0.9)" [shares] {
        /// Fraction of the limit available to low calls; at most `normal`.
        low as share_low: some = 0.5, "low = 0.5"
        /// Fraction of the limit available to low and normal calls; at most `high`.
        normal as share_normal: some = 0.8, "normal = 0.8"
        /// Fraction of the limit available to all calls except critical ones.
        high as share_high: some = 0.9, "high = 0.9"
    }
    /// Target queueing delay. Calls are shed if the shortest queueing delay of a whole `interval` exceeds it.
    target_delay: span("1h") = "20ms", "target_delay = \"20ms\"" [delay target]
    /// Target time from admission to the end of a call. Calls are shed if the shortest such time of a whole `interval`
    /// exceeds it. If not set: only queueing delay is evaluated.
    target_latency: span("1h") = none, "target_latency = \"50ms\"" [latency]
    /// How long a delay must last before a priority is shed, and the interval at which it is readmitted in steps.
    interval: time("1ms", "1m") = "100ms", "interval = \"100ms\""
    /// Retry delay reported with a rejection. It varies by up to 50 % in both directions, so that rejected callers do
    /// not return at the same time.
    retry_after: span("1h") = "1s", "retry_after = \"1s\""
    /// Whether to throttle on the client side: calls that the backend would probably reject are rejected locally.
    throttle: flag = false, "throttle or throttle(factor = 2, window = \"2m\", floor = 0.1, min_calls = 20)"
        [accept_factor adaptive_throttler]
    {
        /// Number of calls sent per call that the backend accepts. A smaller value throttles more.
        factor as throttle_factor: number(1.0, 100.0) = 2.0, "factor = 2" [k multiplier]
        /// Time window over which calls are counted for throttling.
        window as throttle_window: time("100ms", "1h") = "2m", "window = \"2m\""
        /// Minimum fraction of calls that is always sent, so that a recovery of the backend is detected.
        floor as throttle_floor: share(0.01) = 0.1, "floor = 0.1"
        /// Minimum number of calls of a priority in the window before it is throttled.
        min_calls as throttle_min_calls: count(1, 1_000_000, "calls") = 20, "min_calls = 20"
    }
    /// When the call started to wait, as an instant of the registry's clock.
    arrived_at: code, "arrived_at = request.arrived_at" [arrived]
    /// Whether calls are rejected.
    enabled: switch = true, ""
}
