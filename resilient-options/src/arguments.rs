//! The arguments of the attribute.

use crate::Remedy;

/// One argument of the attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Name of the argument.
    pub name: &'static str,
    /// Example, as written in the attribute.
    pub form: &'static str,
    /// Description in one or a few sentences.
    pub about: &'static str,
    /// Names that other libraries use for it, for "did you mean".
    pub aliases: &'static [&'static str],
}

macro_rules! arguments {
    (
        $($(#[doc = $about:literal])+ $name:ident: $form:literal $([$($alias:ident)*])?)*
        // `crate` is a keyword and cannot be the name of a module.
        --- $($(#[doc = $hidden_about:literal])+ $hidden:ident: $hidden_form:literal)*
    ) => {
        /// All arguments of the attribute.
        pub const ARGUMENTS: &[Argument] = &[
            $(Argument {
                name: stringify!($name),
                form: $form,
                about: concat!($($about),+).trim_ascii_start(),
                aliases: &[$($(stringify!($alias)),*)?],
            },)*
            $(Argument {
                name: stringify!($hidden),
                form: $hidden_form,
                about: concat!($($hidden_about),+).trim_ascii_start(),
                aliases: &[],
            },)*
        ];

        /// Modules that an editor completes inside the attribute.
        pub mod complete {
            $(
                #[doc = concat!("`", $form, "`:", $($about),+)]
                pub mod $name {}
            )*
        }
    };
}

arguments! {
    /// Stops calls to a dependency that fails or is slow. An open circuit admits probes after a delay.
    circuit_breaker: "circuit_breaker = \"payment\""
        [breaker circuit cb circuit_breaker_policy fuse circuitbreaker]
    /// Repeats failed calls, limited by a budget that all calls share.
    retry: "retry(max = 3)" [retries retry_policy retryable retry_strategy]
    /// Limits how many calls run at once.
    bulkhead: "bulkhead = \"gateway\""
        [semaphore concurrency concurrency_limit concurrency_limiter thread_pool_bulkhead]
    /// Limits the duration of a call and of each attempt. Requires an `async fn` or a bulkhead with `threads`.
    timeout: "timeout = \"2s\"" [deadline time_limiter time_limit timeout_duration max_duration timelimit]
    /// Limits how often calls start. Each attempt counts against the limit.
    rate_limit: "rate_limit(\"api\", rate = \"100/s\")"
        [throttle limit ratelimit rate_limiter limiter token_bucket quota]
    /// Starts another attempt when one is slow or fails, and returns the first result. Requires an `async fn` that is
    /// `idempotent`, or `idempotent(key = .., on_unknown = reexecute)`.
    hedge: "hedge(after = \"50ms\")" [speculative hedging hedged]
    /// Lets concurrent calls with equal keys share one call. The returned type must be `Clone`.
    coalesce: "coalesce(key = id)" [dedupe dedup singleflight single_flight collapse request_collapser batch]
    /// Provides a result when the call has failed: an expression, a function or closure that receives the failure, or
    /// levels that are tried in a fixed order.
    fallback: "fallback = |failure| .."
        [default fallback_method fallback_fn fallback_to fallback_handler or_else recover on_error]
    /// Rejects the least important calls under overload, so that the others are served in time.
    load_shed: "load_shed(\"api\", target_delay = \"20ms\")"
        [shed load_shedder load_shedding shedding admission overload adaptive_limiter adaptive_throttler]
    /// Without options: declares that running the function twice has the same effect as running it once, so it is
    /// retried even if an attempt may have taken effect. With a key: runs the function once for each key; repeated
    /// calls return the stored result. The `Ok` type must be `Serialize` and `DeserializeOwned`.
    idempotent: "idempotent(key = order.id)" [idempotency idempotency_key once exactly_once]
    /// Priority of the call: `critical`, `high`, `normal`, `low`, or an expression of type `Priority` that can use the
    /// arguments.
    priority: "priority = high"
    /// Predicate over the returned value that returns whether an `Ok` value counts as a failure.
    failure: "failure = |output| .."
    /// Arguments that the body moves. They are cloned for each attempt.
    clone: "clone(a, b)"
    /// Converts a rejection into the error type, for error types without `From<Rejection>`.
    map_err: "map_err = |rejection| .." [map_error on_rejection on_rejected]
    /// Name of the operation in metrics, logs and events.
    name: "name = \"charge\"" [operation operation_name id]
    /// Registry to use instead of the global registry.
    registry: "registry = self.registry"
    /// Fault injection, with the feature `chaos` of `resilient-runtime`: `off` exempts the function, a name adds it to a
    /// group, and `chaos("group", error = || ..)` sets the error of the fault `typed_error`.
    chaos: "chaos = \"payments\"" [fault fault_injection inject]
    ---
    /// Path of the `resilient-runtime` crate, if it is renamed or reexported.
    crate: "crate = ::resilient_runtime"
}

const ON: &[&str] = &["enabled", "enable", "disabled", "disable", "active"];

/// The remedy for `enabled` and its synonyms in the parentheses of an argument without its own remedy for them.
pub const SWITCH: Remedy = Remedy {
    group: "",
    words: ON,
    text: "a listed policy is always enabled; remove the policy, or set `enabled = false` in its table of the settings file",
};

macro_rules! remedies {
    ($([$($word:ident)*] $text:literal;)*) => {
        /// Remedies for words that are not arguments.
        pub const ARGUMENT_REMEDIES: &[Remedy] =
            &[$(Remedy { group: "", words: &[$(stringify!($word)),*], text: $text },)*];
    };
}

remedies! {
    [max max_retries max_retry retry_count max_retry_attempts times retry_max]
        "write `retry(max = 3)`";
    [attempts max_attempts max_tries tries stop_after_attempt stop]
        "write `retry(attempts = 3)`, which includes the first attempt";
    [retry_on retry_if retry_when when retry_exceptions abort_on abort_if should_retry]
        "write `retry(max = 3, when = |error| ..)`, which returns true for the errors to retry";
    [fail_on skip_on record_exceptions ignore_exceptions should_handle handle is_failure is_successful]
        "write `circuit_breaker(\"name\", when = |error| ..)` to select the errors that count as failures, `retry(max \
         = 3, when = |error| ..)` to select the errors to retry, or `failure = |output| ..` to count a returned value as \
         a failure";
    [backoff delay base base_delay wait_duration wait exponential_backoff jitter use_jitter max_delay]
        "write `retry(max = 3, backoff = exponential, base = \"100ms\", jitter = 0.5)`";
    [retry_budget budget]
        "write `retry(max = 3, budget(ratio = 0.1, reserve = 3))`, or `retry(max = 3, budget = \"name\")`";
    [rate limit_for_period limit_refresh_period requests_per_second per_second rps burst]
        "write `rate_limit(\"name\", rate = \"100/s\")`";
    [failure_rate failure_rate_threshold failure_ratio failure_threshold threshold open_for request_volume_threshold
     break_duration wait_duration_in_open_state sliding_window_size minimum_throughput sampling_duration]
        "write `circuit_breaker(\"name\", failure_rate = 0.5, window = \"30s\", min_calls = 20, open_for = \
         \"5s\")`";
    [max_concurrent max_concurrent_calls max_parallelization permits max_concurrency]
        "write `bulkhead(\"name\", max_concurrent = 64)`";
    [max_in_flight max_inflight]
        "write `load_shed(\"name\", max_in_flight = 100)`, or `bulkhead(\"name\", max_concurrent = 100)`";
    [cache cached cacheable memoize cache_key ttl stale_if_error]
        "no policy returns a cached result instead of making the call; `fallback(local_cache(max_age = \"10m\", key = \
         id))` returns the last successful result when the call fails, and `coalesce(key = id)` shares one call among \
         concurrent callers";
    [key]
        "write it inside a policy, as in `idempotent(key = id)`, `coalesce(key = id)` or `rate_limit(\"name\", \
         rate = \"100/s\", key = id)`";
    [enabled enable disabled disable active]
        "a listed policy is always enabled; remove the policy, or disable all policies with `enabled = false` at the top of \
         the settings file";
}
