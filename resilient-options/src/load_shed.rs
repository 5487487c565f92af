//! Refuses the least important calls under overload.

table! {
    load_shed: "load_shed";

    /// Calls in flight up to which critical ones are admitted. None: 1000 where the limit is `adaptive`, else no limit.
    max_in_flight: count(1, 1_000_000, "calls") = none, "max_in_flight = 1000"
        [limit max_concurrent max_inflight max_concurrency max_limit]
    /// Whether a limit below that is found from how long calls take.
    adaptive: flag = true, "adaptive = true"
    /// The lowest limit that is found; at most `max_in_flight`.
    min_in_flight: count(1, 1_000_000, "calls") = 10, "min_in_flight = 10" [min_limit min_inflight]
    /// The first limit, and the one after a reset, within these bounds.
    initial_in_flight: count(1, 1_000_000, "calls") = 100, "initial_in_flight = 100"
        [initial_limit initial_inflight initial]
    /// The shares of the limit that the priorities may fill.
    share: group, "share(low = 0.5, normal = 0.8, high = 0.9)" [shares] {
        /// The share of the limit that low calls may fill; at most that of normal ones.
        low as share_low: some = 0.5, "low = 0.5"
        /// The share of the limit that low and normal calls may fill; at most that of high ones.
        normal as share_normal: some = 0.8, "normal = 0.8"
        /// The share of the limit that all but critical calls may fill.
        high as share_high: some = 0.9, "high = 0.9"
    }
    /// The longest wait in a queue that may be the shortest of a whole `interval`.
    target_delay: span("1h") = "20ms", "target_delay = \"20ms\"" [delay target]
    /// The longest time, from admission to the end, that may be the shortest of a whole `interval`. None: the time in queues
    /// alone counts.
    target_latency: span("1h") = none, "target_latency = \"50ms\"" [latency]
    /// How long a delay must last before a priority is shed, and the pace at which it comes back.
    interval: time("1ms", "1m") = "100ms", "interval = \"100ms\""
    /// Wait time that a refused call reports. It varies by up to 50 % in both directions, so that refused calls do not return together.
    retry_after: span("1h") = "1s", "retry_after = \"1s\""
    /// Whether calls that the other side would not accept are refused here.
    throttle: flag = false, "throttle or throttle(factor = 2, window = \"2m\", floor = 0.1, min_calls = 20)"
        [accept_factor adaptive_throttler]
    {
        /// Calls that are sent for each that the other side accepts. The smaller, the stricter.
        factor as throttle_factor: number(1.0, 100.0) = 2.0, "factor = 2" [k multiplier]
        /// The time whose calls count for that.
        window as throttle_window: time("100ms", "1h") = "2m", "window = \"2m\""
        /// The share of calls that is sent however few are accepted, so that recovery is seen.
        floor as throttle_floor: share(0.01) = 0.1, "floor = 0.1"
        /// Fewer calls of a priority in the window are too few to judge by.
        min_calls as throttle_min_calls: count(1, 1_000_000, "calls") = 20, "min_calls = 20"
    }
    /// Since when the call waits, on the registry's clock.
    arrived_at: code, "arrived_at = request.arrived_at" [arrived]
    /// Whether calls are refused at all.
    enabled: switch = true, ""
}
