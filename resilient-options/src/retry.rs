//! Settings of a retry, which repeats failed calls.

table! {
    retry: "retry";

    /// Maximum number of retries after the first attempt: 3 retries make four attempts.
    max: count(0, 1_000, "retries") = 3, "max = 3"
        [maximum max_retries max_retry max_retry_attempts retries retry_count num_retries times max_times count limit]
    /// Maximum number of attempts, including the first one; replaces `max`.
    attempts as max: count(2, 1_001, "attempts"), "attempts = 4"
        [max_attempts max_attempt max_tries tries stop_after_attempt total_attempts attempt]
    /// How the delay between attempts grows.
    backoff: word("exponential", "constant", "linear", "fibonacci", "decorrelated") = "exponential", "backoff = exponential"
        [backoff_type strategy delay_type enable_exponential_backoff exponential_backoff exponential interval_function]
    /// Delay before the first retry, without jitter.
    base: time("0s", "24h") = "100ms", "base = \"100ms\""
        [delay initial initial_delay initial_interval initial_backoff base_delay min_delay wait wait_duration interval
         backoff_delay median_first_retry_delay]
    /// Growth factor of an exponential delay.
    factor: number(1.0, 100.0) = 2.0, "factor = 2"
        [multiplier exponential_backoff_multiplier exponent exponential_base backoff_factor backoff_multiplier
         delay_factor]
    /// Longest delay; at least `base`. If not set: 5 s, or `base` if that is longer.
    max_delay: time("0s", "24h") = none, "max_delay = \"5s\""
        [cap max_backoff max_interval max_wait max_wait_duration exponential_max_wait_duration max_backoff_interval]
    /// Jitter as a fraction of the delay, applied in both directions.
    jitter: share = 0.5, "jitter = 0.5"
        [randomized_wait_factor randomization_factor use_jitter enable_randomized_wait jitter_factor jitter_delay]
    /// Time after the start of the call beyond which no attempt starts, including time in the queue of a bulkhead or
    /// rate limiter.
    max_elapsed: span("365d") = none, "max_elapsed = \"30s\""
        [max_duration timeout deadline total_timeout max_elapsed_time total_delay stop_after_delay max_total]
    /// Longest delay requested by the server (`Retry-After`) that is honored. A longer one ends the call.
    max_retry_after: time("0s", "24h") = "1m", "max_retry_after = \"1m\""
    /// Predicate over the error that returns whether to retry.
    when: code, "when = is_transient" [if retry_if retry_when predicate condition should_retry filter]
    /// Shared retry budget; chosen when the retry is created. `off`: retries are not limited by a budget. If not set:
    /// the retry has a separate budget.
    budget: name = none, "budget = \"name\" or off, or budget(ratio = 0.1, reserve = 3, free = 1000)"
        [retry_budget token_bucket tokens]
    {
        /// Fraction of a token that each call adds to the retry's own budget.
        ratio as budget_ratio: share = 0.1, "ratio = 0.1" [percent percentage rate share retry_percent]
        /// Tokens added to the retry's own budget per second.
        reserve as budget_reserve: number(0.0, 1_000_000.0, "tokens per second") = 3.0, "reserve = 3"
            [min_per_second min_retries_per_second minimum min]
        /// Number of retries per ten seconds that need no token at low traffic. See `budget::Config::free`.
        free as budget_free: count(0, 1_000_000, "retries") = 1_000, "free = 1000"
    }
    /// Whether failed calls are retried.
    enabled: switch = true, ""

    remedies {
        "" [retry_on retry_for retry_exceptions retry_on_exception retry_on_result retry_exception_predicate
            retry_on_result_predicate should_handle handle abort_on abort_if ignore_exceptions no_retry_for fail_on skip_on
            retryable]
            "write `when = |error| ..`, which returns true for the errors to retry";
        "" [fail_after_max_attempts reraise rethrow]
            "the last error is always returned unchanged";
        "budget" [enabled enable disabled disable active]
            "a listed budget is always enabled; remove it, or write `budget = off`";
    }
}
