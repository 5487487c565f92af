//! Repeats calls that failed.

table! {
    retry: "retry";

    /// Retries after the first attempt: 3 makes four attempts in all.
    max: count(0, 1_000, "retries") = 3, "max = 3"
        [maximum max_retries max_retry max_retry_attempts retries retry_count num_retries times max_times count limit]
    /// All attempts, the first one too; instead of `max`.
    attempts as max: count(2, 1_001, "attempts"), "attempts = 4"
        [max_attempts max_attempt max_tries tries stop_after_attempt total_attempts attempt]
    /// How the delay grows.
    backoff: word("exponential", "constant", "linear", "fibonacci", "decorrelated") = "exponential", "backoff = exponential"
        [backoff_type strategy delay_type enable_exponential_backoff exponential_backoff exponential interval_function]
    /// The delay before the first retry, before jitter.
    base: time("0s", "24h") = "100ms", "base = \"100ms\""
        [delay initial initial_delay initial_interval initial_backoff base_delay min_delay wait wait_duration interval
         backoff_delay median_first_retry_delay]
    /// The factor by which an exponential delay grows.
    factor: number(1.0, 100.0) = 2.0, "factor = 2"
        [multiplier exponential_backoff_multiplier exponent exponential_base backoff_factor backoff_multiplier
         delay_factor]
    /// The longest delay; at least `base`. None: 5 s, or `base` if that is longer.
    max_delay: time("0s", "24h") = none, "max_delay = \"5s\""
        [cap max_backoff max_interval max_wait max_wait_duration exponential_max_wait_duration max_backoff_interval]
    /// How far a delay is spread to both sides, as a share of it.
    jitter: share = 0.5, "jitter = 0.5"
        [randomized_wait_factor randomization_factor use_jitter enable_randomized_wait jitter_factor jitter_delay]
    /// No attempt begins later than this after the call began, however long the call waits in the queue of a bulkhead or
    /// rate limit.
    max_elapsed: span("365d") = none, "max_elapsed = \"30s\""
        [max_duration timeout deadline total_timeout max_elapsed_time total_delay stop_after_delay max_total]
    /// A server that asks to wait longer than this ends the call.
    max_retry_after: time("0s", "24h") = "1m", "max_retry_after = \"1m\""
    /// A predicate over the error: whether to try again.
    when: code, "when = is_transient" [if retry_if retry_when predicate condition should_retry filter]
    /// The shared budget to draw on; it is chosen when the retry is created. `off`: retries need no budget. None: the retry
    /// has its own.
    budget: name = none, "budget = \"name\" or off, or budget(ratio = 0.1, reserve = 3, free = 1000)"
        [retry_budget token_bucket tokens]
    {
        /// The share of a token that each call deposits in the retry's own budget.
        ratio as budget_ratio: share = 0.1, "ratio = 0.1" [percent percentage rate share retry_percent]
        /// The tokens that each second deposits in the retry's own budget.
        reserve as budget_reserve: number(0.0, 1_000_000.0, "tokens per second") = 3.0, "reserve = 3"
            [min_per_second min_retries_per_second minimum min]
        /// How many retries in ten seconds need no token while there are few calls. See `budget::Config::free`.
        free as budget_free: count(0, 1_000_000, "retries") = 1_000, "free = 1000"
    }
    /// Whether failed calls are repeated at all.
    enabled: switch = true, ""

    remedies {
        "" [retry_on retry_for retry_exceptions retry_on_exception retry_on_result retry_exception_predicate
            retry_on_result_predicate should_handle handle abort_on abort_if ignore_exceptions no_retry_for fail_on skip_on
            retryable]
            "write `when = |error| ..`, which is true for the errors to try again";
        "" [fail_after_max_attempts reraise rethrow]
            "the last error is always returned, unchanged";
        "budget" [enabled enable disabled disable active]
            "a budget is on where it is written: leave it out, or write `budget = off`";
    }
}
