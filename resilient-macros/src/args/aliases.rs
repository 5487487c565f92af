//! Words of other libraries, and slips, with the word that is meant here.
//!
//! Sources: resilience4j, Polly v7 and v8, `MicroProfile` Fault Tolerance, Hystrix, `gobreaker`, `failsafe-go`, tenacity,
//! `backon`, `governor`, `tower`. A library's word is matched whatever its case: `failureRateThreshold`, `FailureRatio`.

/// Where the word stands, the words, and what is meant: a known word of that place, or a sentence that names the remedy.
type Entry = (&'static str, &'static [&'static str], &'static str);

/// Every place.
const ANYWHERE: &str = "*";
/// An argument of the attribute itself.
pub(super) const ARGUMENT: &str = "";
/// A switch.
const ON: &[&str] = &["enabled", "enable", "disabled", "disable", "active"];

const WHEN: &str = "write `when = |error| ..`, which is true for the errors to try again";
const COUNTS: &str = "write `when = |error| ..`, which is true for the errors that count as failures";
const FAILURE: &str = "write `circuit_breaker(\"name\", when = |error| ..)` to say which errors count as failures, `retry(max = 3, \
                       when = |error| ..)` to say which errors to try again, or `failure = |output| ..` to count a returned \
                       value as a failure";
const RESULT: &str = "write `failure = |output| ..` as an argument of its own, which is true for the returned values that count as \
                      failures";
const SWITCH: &str = "a policy is on where it is written: leave it out, or write `enabled = false` in its table of the settings file";
const SWITCH_ALL: &str = "a policy is on where it is written: leave it out, or switch off all of them by `enabled = false` at the \
                          top of the settings file";
const ALWAYS_ON: &str = "this cannot be switched off: leave it out";

const TABLE: &[Entry] = &[
    // Arguments.
    (
        ARGUMENT,
        &["breaker", "circuit", "cb", "circuit_breaker_policy", "fuse", "circuitbreaker"],
        "circuit_breaker",
    ),
    (ARGUMENT, &["retries", "retry_policy", "retryable", "retry_strategy"], "retry"),
    (
        ARGUMENT,
        &["deadline", "time_limiter", "time_limit", "timeout_duration", "max_duration", "timelimit"],
        "timeout",
    ),
    (
        ARGUMENT,
        &["semaphore", "concurrency", "concurrency_limit", "concurrency_limiter", "thread_pool_bulkhead"],
        "bulkhead",
    ),
    (
        ARGUMENT,
        &[
            "default",
            "fallback_method",
            "fallback_fn",
            "fallback_to",
            "fallback_handler",
            "or_else",
            "recover",
            "on_error",
        ],
        "fallback",
    ),
    (
        ARGUMENT,
        &["throttle", "limit", "ratelimit", "rate_limiter", "limiter", "token_bucket", "quota"],
        "rate_limit",
    ),
    (
        ARGUMENT,
        &["dedupe", "dedup", "singleflight", "single_flight", "collapse", "request_collapser", "batch"],
        "coalesce",
    ),
    (ARGUMENT, &["speculative", "hedging", "hedged"], "hedge"),
    (
        ARGUMENT,
        &[
            "shed",
            "load_shedder",
            "load_shedding",
            "shedding",
            "admission",
            "overload",
            "adaptive_limiter",
            "adaptive_throttler",
        ],
        "load_shed",
    ),
    (ARGUMENT, &["idempotency", "idempotency_key", "once", "exactly_once"], "idempotent"),
    (ARGUMENT, &["map_error", "on_rejection", "on_rejected"], "map_err"),
    (ARGUMENT, &["operation", "operation_name", "id"], "name"),
    (
        ARGUMENT,
        &["max", "max_retries", "max_retry", "retry_count", "max_retry_attempts", "times", "retry_max"],
        "write `retry(max = 3)`",
    ),
    (
        ARGUMENT,
        &["attempts", "max_attempts", "max_tries", "tries", "stop_after_attempt", "stop"],
        "write `retry(attempts = 3)`, which counts the first one too",
    ),
    (
        ARGUMENT,
        &[
            "retry_on",
            "retry_if",
            "retry_when",
            "when",
            "retry_exceptions",
            "abort_on",
            "abort_if",
            "should_retry",
        ],
        "write `retry(max = 3, when = |error| ..)`, which is true for the errors to try again",
    ),
    (
        ARGUMENT,
        &[
            "fail_on",
            "skip_on",
            "record_exceptions",
            "ignore_exceptions",
            "should_handle",
            "handle",
            "is_failure",
            "is_successful",
        ],
        FAILURE,
    ),
    (
        ARGUMENT,
        &[
            "backoff",
            "delay",
            "base",
            "base_delay",
            "wait_duration",
            "wait",
            "exponential_backoff",
            "jitter",
            "use_jitter",
            "max_delay",
        ],
        "write `retry(max = 3, backoff = exponential, base = \"100ms\", jitter = 0.5)`",
    ),
    (
        ARGUMENT,
        &["retry_budget", "budget"],
        "write `retry(max = 3, budget(ratio = 0.1, reserve = 3))`, or `retry(max = 3, budget = \"name\")`",
    ),
    (
        ARGUMENT,
        &[
            "rate",
            "limit_for_period",
            "limit_refresh_period",
            "requests_per_second",
            "per_second",
            "rps",
            "burst",
        ],
        "write `rate_limit(\"name\", rate = \"100/s\")`",
    ),
    (
        ARGUMENT,
        &[
            "failure_rate",
            "failure_rate_threshold",
            "failure_ratio",
            "failure_threshold",
            "threshold",
            "open_for",
            "request_volume_threshold",
            "break_duration",
            "wait_duration_in_open_state",
            "sliding_window_size",
            "minimum_throughput",
            "sampling_duration",
        ],
        "write `circuit_breaker(\"name\", failure_rate = 0.5, window = \"30s\", min_calls = 20, open_for = \"5s\")`",
    ),
    (
        ARGUMENT,
        &["max_concurrent", "max_concurrent_calls", "max_parallelization", "permits", "max_concurrency"],
        "write `bulkhead(\"name\", max_concurrent = 64)`",
    ),
    (
        ARGUMENT,
        &["max_in_flight", "max_inflight"],
        "write `load_shed(\"name\", max_in_flight = 100)`, or `bulkhead(\"name\", max_concurrent = 100)`",
    ),
    (
        ARGUMENT,
        &["cache", "cached", "cacheable", "memoize", "cache_key", "ttl", "stale_if_error"],
        "no policy answers before the call; `fallback(local_cache(max_age = \"10m\", key = id))` gives the last good \
         answer when the call fails, and `coalesce(key = id)` shares one call",
    ),
    (
        ARGUMENT,
        &["key"],
        "write it in its policy, as in `idempotent(key = id)`, `coalesce(key = id)` or `rate_limit(\"name\", rate = \
         \"100/s\", key = id)`",
    ),
    // Circuit breaker.
    (
        "circuit_breaker",
        &[
            "failure_rate_threshold",
            "failure_ratio",
            "failure_percentage",
            "failure_percent",
            "error_rate",
            "error_ratio",
            "error_threshold_percentage",
            "error_percent_threshold",
            "error_threshold",
            "failure_rate_percentage",
        ],
        "failure_rate",
    ),
    (
        "circuit_breaker",
        &[
            "sliding_window_size",
            "sliding_window",
            "sliding_window_type",
            "window_size",
            "window_duration",
            "sampling_duration",
            "sampling_window",
            "rolling_window",
            "rolling_duration",
            "interval",
            "period",
            "stat_interval",
        ],
        "window",
    ),
    (
        "circuit_breaker",
        &[
            "minimum_number_of_calls",
            "minimum_throughput",
            "min_throughput",
            "request_volume_threshold",
            "volume_threshold",
            "min_requests",
            "minimum_requests",
            "minimum_calls",
            "min_request_amount",
            "min_samples",
        ],
        "min_calls",
    ),
    (
        "circuit_breaker",
        &[
            "threshold",
            "consecutive_failures",
            "failures",
            "max_failures",
            "fail_max",
            "failure_count",
            "failure_limit",
            "exceptions_allowed_before_breaking",
            "handled_events_allowed_before_breaking",
            "trip_after",
        ],
        "failure_threshold",
    ),
    ("circuit_breaker", &["successes", "consecutive_successes", "success_count"], "success_threshold"),
    (
        "circuit_breaker",
        &[
            "timeout",
            "reset_timeout",
            "recovery_timeout",
            "open_timeout",
            "wait_duration_in_open_state",
            "wait_duration",
            "open_duration",
            "break_duration",
            "duration_of_break",
            "sleep_window",
            "cooldown",
            "half_open_after",
            "delay",
        ],
        "open_for",
    ),
    (
        "circuit_breaker",
        &["max_open", "max_open_for", "open_for_max", "max_break_duration", "max_backoff", "max_delay"],
        "open_max",
    ),
    (
        "circuit_breaker",
        &[
            "permitted_number_of_calls_in_half_open_state",
            "half_open_max_calls",
            "half_open_requests",
            "half_open_max_requests",
            "half_open_permits",
            "max_requests",
            "probes",
            "max_probes",
        ],
        "half_open_calls",
    ),
    (
        "circuit_breaker",
        &[
            "slow_call_duration_threshold",
            "slow_call_duration",
            "slow_threshold",
            "slow_after",
            "latency_threshold",
        ],
        "slow_call",
    ),
    ("circuit_breaker", &["slow_call_rate_threshold", "slow_call_rate", "slow_ratio"], "slow_rate"),
    (
        "circuit_breaker",
        &["automatic_transition_from_open_to_half_open_enabled", "max_wait_duration_in_half_open_state"],
        "an open circuit lets probes through by itself, after `open_for`",
    ),
    (
        "circuit_breaker",
        &[
            "record_exceptions",
            "record_exception",
            "ignore_exceptions",
            "ignore_exception",
            "ignore_exception_predicate",
            "fail_on",
            "skip_on",
            "should_handle",
            "handle",
            "handle_errors",
            "is_successful",
            "is_excluded",
        ],
        COUNTS,
    ),
    (
        "circuit_breaker",
        &[
            "record_exception_predicate",
            "record_failure_predicate",
            "failure_predicate",
            "is_failure",
            "failure_when",
            "failure_if",
            "predicate",
            "condition",
            "filter",
            "if",
        ],
        "when",
    ),
    ("circuit_breaker", &["record_result_predicate", "handle_result", "failure"], RESULT),
    // Retry.
    (
        "retry",
        &[
            "maximum",
            "max_retries",
            "max_retry",
            "max_retry_attempts",
            "retries",
            "retry_count",
            "num_retries",
            "times",
            "max_times",
            "count",
            "limit",
        ],
        "max",
    ),
    (
        "retry",
        &[
            "max_attempts",
            "max_attempt",
            "max_tries",
            "tries",
            "stop_after_attempt",
            "total_attempts",
            "attempt",
        ],
        "attempts",
    ),
    (
        "retry",
        &[
            "delay",
            "initial",
            "initial_delay",
            "initial_interval",
            "initial_backoff",
            "base_delay",
            "min_delay",
            "wait",
            "wait_duration",
            "interval",
            "backoff_delay",
            "median_first_retry_delay",
        ],
        "base",
    ),
    (
        "retry",
        &[
            "multiplier",
            "exponential_backoff_multiplier",
            "exponent",
            "exponential_base",
            "backoff_factor",
            "backoff_multiplier",
            "delay_factor",
        ],
        "factor",
    ),
    (
        "retry",
        &[
            "backoff_type",
            "strategy",
            "delay_type",
            "enable_exponential_backoff",
            "exponential_backoff",
            "exponential",
            "interval_function",
        ],
        "backoff",
    ),
    (
        "retry",
        &[
            "cap",
            "max_backoff",
            "max_interval",
            "max_wait",
            "max_wait_duration",
            "exponential_max_wait_duration",
            "max_backoff_interval",
        ],
        "max_delay",
    ),
    (
        "retry",
        &[
            "randomized_wait_factor",
            "randomization_factor",
            "use_jitter",
            "enable_randomized_wait",
            "jitter_factor",
            "jitter_delay",
        ],
        "jitter",
    ),
    ("retry", &["if", "retry_if", "retry_when", "predicate", "condition", "should_retry", "filter"], "when"),
    (
        "retry",
        &[
            "retry_on",
            "retry_for",
            "retry_exceptions",
            "retry_on_exception",
            "retry_on_result",
            "retry_exception_predicate",
            "retry_on_result_predicate",
            "should_handle",
            "handle",
            "abort_on",
            "abort_if",
            "ignore_exceptions",
            "no_retry_for",
            "fail_on",
            "skip_on",
            "retryable",
        ],
        WHEN,
    ),
    (
        "retry",
        &[
            "max_duration",
            "timeout",
            "deadline",
            "total_timeout",
            "max_elapsed_time",
            "total_delay",
            "stop_after_delay",
            "max_total",
        ],
        "max_elapsed",
    ),
    ("retry", &["retry_budget", "token_bucket", "tokens"], "budget"),
    (
        "retry",
        &["fail_after_max_attempts", "reraise", "rethrow"],
        "the last error is always returned, unchanged",
    ),
    ("budget", &["percent", "percentage", "rate", "share", "retry_percent"], "ratio"),
    ("budget", &["min_per_second", "min_retries_per_second", "minimum", "min"], "reserve"),
    // Bulkhead.
    (
        "bulkhead",
        &[
            "permits",
            "max_concurrency",
            "max_concurrent_calls",
            "max_parallelization",
            "permit_limit",
            "concurrency",
            "limit",
            "size",
            "max",
        ],
        "max_concurrent",
    ),
    (
        "bulkhead",
        &[
            "queue",
            "waiting_task_queue",
            "queue_capacity",
            "queue_size",
            "queue_limit",
            "max_queuing_actions",
        ],
        "max_queue",
    ),
    (
        "bulkhead",
        &["wait", "max_wait_duration", "max_wait_time", "timeout", "queue_timeout", "acquire_timeout"],
        "max_wait",
    ),
    (
        "bulkhead",
        &["workers", "thread_pool", "core_thread_pool_size", "max_thread_pool_size", "pool_size"],
        "threads",
    ),
    // Timeout.
    (
        "timeout",
        &[
            "timeout_duration",
            "duration",
            "value",
            "limit",
            "after",
            "timeout",
            "deadline",
            "max_duration",
            "overall",
        ],
        "total",
    ),
    ("timeout", &["per_attempt", "attempt_timeout", "per_try", "per_try_timeout"], "attempt"),
    ("timeout", &["connect_timeout"], "connect"),
    ("timeout", &["read_timeout", "idle", "idle_timeout"], "read"),
    ("timeout", &["cancel_running_future"], "a call whose time is over is always cancelled"),
    (
        "timeout",
        &["initial", "percentile", "factor", "min", "max", "window", "min_samples", "quantile", "multiplier"],
        "write it in `adaptive(..)`, as in `timeout(attempt = \"500ms\", adaptive(percentile = 95, factor = 1.5))`",
    ),
    // What adapts.
    ("adaptive", &["quantile"], "percentile"),
    ("adaptive", &["multiplier", "safety_factor"], "factor"),
    ("adaptive", &["floor", "minimum"], "min"),
    ("adaptive", &["ceiling", "maximum"], "max"),
    ("adaptive", &["min_calls"], "min_samples"),
    ("adaptive", &["start"], "initial"),
    (
        "adaptive",
        &["initial", "attempt", "start"],
        "the time it begins with stands beside it, as in `timeout(attempt = \"500ms\", adaptive(percentile = 95))`",
    ),
    // Rate limit.
    (
        "rate_limit",
        &[
            "limit",
            "per_second",
            "limit_for_period",
            "limit_refresh_period",
            "quota",
            "requests_per_second",
            "permit_limit",
            "tokens_per_period",
            "replenishment_period",
            "period",
            "per",
            "window",
            "requests",
            "calls",
        ],
        "rate",
    ),
    (
        "rate_limit",
        &["max_burst", "burst_size", "allow_burst", "token_limit", "capacity", "bucket_size"],
        "burst",
    ),
    (
        "rate_limit",
        &["wait", "timeout_duration", "timeout", "max_wait_duration", "acquire_timeout"],
        "max_wait",
    ),
    ("rate_limit", &["queue", "queue_limit"], "max_queue"),
    ("rate_limit", &["by", "id", "per_key", "key_by", "partition_key"], "key"),
    ("rate_limit", &["cost", "tokens", "permits"], "weight"),
    // Load shedding.
    (
        "load_shed",
        &["limit", "max_concurrent", "max_inflight", "max_concurrency", "max_limit"],
        "max_in_flight",
    ),
    ("load_shed", &["min_limit", "min_inflight"], "min_in_flight"),
    ("load_shed", &["initial_limit", "initial_inflight", "initial"], "initial_in_flight"),
    ("load_shed", &["latency"], "target_latency"),
    ("load_shed", &["delay", "target"], "target_delay"),
    ("load_shed", &["arrived"], "arrived_at"),
    ("load_shed", &["accept_factor", "adaptive_throttler"], "throttle"),
    ("load_shed", &["shares"], "share"),
    ("throttle", &["k", "multiplier"], "factor"),
    // Hedge.
    ("hedge", &["delay", "hedging_delay", "wait", "hedge_delay"], "after"),
    ("hedge", &["max_hedged_attempts", "max_hedges", "hedges", "attempts", "max_attempts"], "max"),
    ("hedge", &["quantile"], "percentile"),
    // Coalescing and idempotency.
    ("coalesce", &["by", "id"], "key"),
    ("coalesce", &["wait", "timeout", "max_wait_duration"], "max_wait"),
    ("idempotent", &["by", "id"], "key"),
    ("idempotent", &["expires", "expiry", "expire_after", "max_age"], "ttl"),
    ("idempotent", &["payload", "hash"], "fingerprint"),
    ("idempotent", &["wait", "timeout"], "max_wait"),
    // Fallback.
    ("fallback", &["cache"], "local_cache"),
    ("fallback", &["else", "otherwise", "value"], "default"),
    ("fallback", &["secondary"], "backup"),
    ("fallback", &["timeout"], "level_timeout"),
    ("fallback", &["concurrency"], "max_concurrent"),
    ("local_cache", &["ttl", "expiry", "expire_after"], "max_age"),
    ("local_cache", &["by", "id"], "key"),
    ("local_cache", &["capacity", "size", "max_size", "max_capacity"], "max_entries"),
    // Everywhere.
    (ARGUMENT, ON, SWITCH_ALL),
    ("budget", ON, "a budget is on where it is written: leave it out, or write `budget = off`"),
    ("fallback", ON, ALWAYS_ON),
    ("local_cache", ON, ALWAYS_ON),
    ("idempotent", ON, ALWAYS_ON),
    (ANYWHERE, ON, SWITCH),
];

/// What is meant by a word that is none of the known ones of a place.
pub(super) enum Meant {
    /// A known one.
    Word(&'static str),
    /// A sentence.
    Remedy(&'static str),
}

/// Of the entries for a word the first whose meaning is known at the place.
pub(super) fn meant(place: &str, word: &str, known: &[&str]) -> Option<Meant> {
    let word = folded(word);
    TABLE.iter().filter(|(at, ..)| *at == place || *at == ANYWHERE).find_map(|(_, words, meant)| {
        if !words.iter().any(|alias| folded(alias) == word) {
            return None;
        }
        if known.contains(meant) {
            return Some(Meant::Word(meant));
        }
        meant.contains(' ').then_some(Meant::Remedy(meant))
    })
}

/// `failureRateThreshold`, `FailureRateThreshold` and `failure_rate_threshold` are one word.
pub(super) fn folded(word: &str) -> String {
    word.chars().filter(|letter| *letter != '_').flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_word_of_one_place_has_two_meanings() {
        // A second entry for the same words is one that stands in where the first meaning is not known.
        for (index, (place, words, meant)) in TABLE.iter().enumerate() {
            for (other_place, other_words, other) in &TABLE[index + 1..] {
                let both: Vec<_> = words.iter().filter(|word| other_words.contains(word)).collect();
                let stands_in = other.contains(' ');
                assert!(place != other_place || both.is_empty() || stands_in, "{both:?}: {meant} or {other}");
            }
        }
    }

    #[test]
    fn a_filter_of_errors_of_another_library_leads_to_when() {
        // F2
        let words = [
            "ignoreExceptions",
            "record_exceptions",
            "fail_on",
            "skipOn",
            "ShouldHandle",
            "is_failure",
            "if",
        ];
        for word in words {
            let names_when = match meant("circuit_breaker", word, &["window", "when"]) {
                Some(Meant::Word(name)) => name == "when",
                Some(Meant::Remedy(remedy)) => remedy.contains("`when = |error| ..`"),
                None => false,
            };
            assert!(names_when, "{word}");
        }
    }

    #[test]
    fn a_switch_is_offered_only_where_there_is_one() {
        // F2
        let remedy = |place| match meant(place, "enabled", &[]) {
            Some(Meant::Remedy(remedy)) => remedy,
            _ => "",
        };
        assert!(remedy("circuit_breaker").contains("`enabled = false` in its table"));
        assert!(remedy(ARGUMENT).contains("`enabled = false` at the top"));
        assert!(remedy("budget").contains("`budget = off`"));
        assert_eq!([remedy("idempotent"), remedy("fallback")], [ALWAYS_ON; 2]);
    }
}
