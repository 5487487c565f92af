//! Settings of a circuit breaker, which stops calls to a dependency that fails or is slow.

const COUNTS: &str = "write `when = |error| ..`, which returns true for the errors that count as failures";

table! {
    circuit_breaker: "circuit_breaker";

    /// Calls that are evaluated: a duration, or a number of most recent calls.
    window: window = "30s", "window = \"30s\" or 100"
        [sliding_window_size sliding_window sliding_window_type window_size window_duration sampling_duration
         sampling_window rolling_window rolling_duration interval period stat_interval]
    /// Fraction of failed calls in the window that opens the circuit. If not set: 50 %, or no such rule if
    /// `failure_threshold` is set.
    failure_rate: some = none, "failure_rate = 0.5"
        [failure_rate_threshold failure_ratio failure_percentage failure_percent error_rate error_ratio
         error_threshold_percentage error_percent_threshold error_threshold failure_rate_percentage]
    /// Minimum number of calls in the window before its rates are evaluated. If not set: 20, or the size of a smaller
    /// window.
    min_calls: count(1, 1_000_000, "calls") = none, "min_calls = 20"
        [minimum_number_of_calls minimum_throughput min_throughput request_volume_threshold volume_threshold
         min_requests minimum_requests minimum_calls min_request_amount min_samples]
    /// Number of consecutive failures that opens the circuit while the window holds fewer than `min_calls` calls; 0
    /// disables the rule. No effect if `failure_threshold` is set and `failure_rate` is not.
    low_volume_failures: count(0, 1_000_000, "failures") = 5, "low_volume_failures = 5"
    /// Number of consecutive failures that opens the circuit, regardless of the window.
    failure_threshold: count(1, 1_000_000, "failures") = none, "failure_threshold = 5"
        [threshold consecutive_failures failures max_failures fail_max failure_count failure_limit
         exceptions_allowed_before_breaking handled_events_allowed_before_breaking trip_after]
    /// A call that takes at least this long counts as slow.
    slow_call: span("24h") = none, "slow_call = \"2s\""
        [slow_call_duration_threshold slow_call_duration slow_threshold slow_after latency_threshold]
    /// Fraction of slow calls in the window that opens the circuit. If not set: a slow call counts as a failure.
    slow_rate: some = none, "slow_rate = 0.8" [slow_call_rate_threshold slow_call_rate slow_ratio]
    /// Whether to count calls that are still running but already slow. Adds a lock to each call.
    slow_in_flight: flag = false, "slow_in_flight = true"
    /// First open period, before jitter. It doubles each time the probes fail.
    open_for: span("24h") = "5s", "open_for = \"5s\""
        [timeout reset_timeout recovery_timeout open_timeout wait_duration_in_open_state wait_duration open_duration
         break_duration duration_of_break sleep_window cooldown half_open_after delay]
    /// Longest open period; at least `open_for`. If not set: 60 s, or `open_for` if that is longer.
    open_max: span("24h") = none, "open_max = \"60s\""
        [max_open max_open_for open_for_max max_break_duration max_backoff max_delay]
    /// Fraction of the open period that is random, so that instances do not probe at the same time.
    open_jitter: share = 0.5, "open_jitter = 0.5"
    /// Maximum duration of a probe. After that its permit is released and another probe can run.
    probe_lease: span("24h") = "1m", "probe_lease = \"1m\""
    /// Maximum number of concurrent probes while the circuit is half-open. Without `success_threshold`, also the number
    /// of probes that are evaluated.
    half_open_calls: count(1, 1_000, "probes") = 3, "half_open_calls = 3"
        [permitted_number_of_calls_in_half_open_state half_open_max_calls half_open_requests half_open_max_requests
         half_open_permits max_requests probes max_probes]
    /// Number of successful probes that closes the circuit; one failed probe opens it again. If not set:
    /// `half_open_calls` probes are evaluated by `failure_rate`.
    success_threshold: count(1, 1_000_000, "successes") = none, "success_threshold = 2"
        [successes consecutive_successes success_count]
    /// Name of a store registered with `Registry::use_store` or in the settings file, which shares the circuit with the
    /// other instances of the service.
    store: name = none, "store = \"shared\""
    /// Effect of the shared circuit: `observe` only shows it; `advise` opens the circuit of this instance at its first
    /// failure while the shared circuit is open; `enforce` opens it at once.
    coordinate: word("observe", "advise", "enforce") = "advise", "coordinate = advise"
    /// Number of instances with an open circuit that opens the shared circuit. If not set: at least 2, and at least
    /// `quorum_share`.
    quorum: count(1, 10_000, "instances") = none, "quorum = 3"
    /// Fraction of the instances that opens the shared circuit, at least 2 instances. If not set: 30 %, or no such rule
    /// if `quorum` is set.
    quorum_share: some = none, "quorum_share = 0.3"
    /// Label of the instances that share the circuit, such as a zone. Instances with other labels do not affect it.
    scope: name = none, "scope = \"zone-a\""
    /// Longest time that the shared circuit stays open or half-open without renewal by its voters.
    max_shared_open: time("1s", "1h") = "1m", "max_shared_open = \"1m\""
    /// Interval at which the state is exchanged with the store. Changes are also reported by the store, if it can.
    poll: time("100ms", "24h") = "1s", "poll = \"1s\""
    /// Predicate over the error that returns whether it counts as a failure. Other errors are not counted.
    when: code, "when = is_outage"
        [record_exception_predicate record_failure_predicate failure_predicate is_failure failure_when failure_if
         predicate condition filter if]
    /// Whether the circuit breaker is active. If disabled, every call passes and no call is counted.
    enabled: switch = true, ""

    remedies {
        "" [automatic_transition_from_open_to_half_open_enabled max_wait_duration_in_half_open_state]
            "an open circuit always admits probes after `open_for`";
        "" [record_exceptions record_exception ignore_exceptions ignore_exception ignore_exception_predicate fail_on skip_on
            should_handle handle handle_errors is_successful is_excluded]
            COUNTS;
        "" [record_result_predicate handle_result failure]
            "use the separate argument `failure = |output| ..`, which returns true for the returned values that count as failures";
    }
}
