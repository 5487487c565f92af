//! The arguments of the attribute.

use crate::Remedy;

/// An argument of the attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Argument {
    /// Its name.
    pub name: &'static str,
    /// How the attribute writes it.
    pub form: &'static str,
    /// What it does.
    pub about: &'static str,
    /// Other names for it, for "did you mean".
    pub aliases: &'static [&'static str],
}

macro_rules! arguments {
    (
        $($(#[doc = $about:literal])+ $name:ident: $form:literal $([$($alias:ident)*])?)*
        // A keyword, which cannot be the name of a module.
        --- $($(#[doc = $hidden_about:literal])+ $hidden:ident: $hidden_form:literal)*
    ) => {
        /// All of them.
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

        /// What an editor completes.
        pub mod complete {
            $(
                #[doc = concat!("`", $form, "`:", $($about),+)]
                pub mod $name {}
            )*
        }
    };
}

arguments! {
    /// Stops calls to a dependency that fails or is slow. An open circuit lets probes through after a while.
    circuit_breaker: "circuit_breaker = \"payment\""
        [breaker circuit cb circuit_breaker_policy fuse circuitbreaker]
    /// Repeats calls that failed, within a budget that all calls share.
    retry: "retry(max = 3)" [retries retry_policy retryable retry_strategy]
    /// Limits how many calls run at once.
    bulkhead: "bulkhead = \"gateway\""
        [semaphore concurrency concurrency_limit concurrency_limiter thread_pool_bulkhead]
    /// Limits the time of a call and of each attempt. Asynchronous functions, and those on `threads` of a bulkhead.
    timeout: "timeout = \"2s\"" [deadline time_limiter time_limit timeout_duration max_duration timelimit]
    /// Limits how often calls start. Each attempt pays.
    rate_limit: "rate_limit(\"api\", rate = \"100/s\")"
        [throttle limit ratelimit rate_limiter limiter token_bucket quota]
    /// Sends another attempt where one is slow or fails, and takes the first answer. Asynchronous functions that are
    /// `idempotent`, or have a key and `on_unknown = reexecute`.
    hedge: "hedge(after = \"50ms\")" [speculative hedging hedged]
    /// Calls with equal keys at the same time share one call. The function returns a value that is `Clone`.
    coalesce: "coalesce(key = id)" [dedupe dedup singleflight single_flight collapse request_collapser batch]
    /// Answers when everything else has failed: an expression, a function or closure that is given the failure, or levels
    /// that are asked in a fixed order.
    fallback: "fallback = |failure| .."
        [default fallback_method fallback_fn fallback_to fallback_handler or_else recover on_error]
    /// Refuses the least important calls under overload, so that the others are served in time.
    load_shed: "load_shed(\"api\", target_delay = \"20ms\")"
        [shed load_shedder load_shedding shedding admission overload adaptive_limiter adaptive_throttler]
    /// The word alone: running the function twice has the effect of once, so it is repeated even where an attempt may have
    /// had its effect. With a key: it runs once for each key, and a repeated call gets the first answer. What the function
    /// returns in `Ok` is `Serialize` and `DeserializeOwned`.
    idempotent: "idempotent(key = order.id)" [idempotency idempotency_key once exactly_once]
    /// The importance of the call: `critical`, `high`, `normal`, `low`, or an expression of type `Priority` that may use the
    /// arguments.
    priority: "priority = high"
    /// A predicate over the returned value: whether it counts as failed though it is `Ok`.
    failure: "failure = |output| .."
    /// The arguments that the body moves. They are copied for each attempt.
    clone: "clone(a, b)"
    /// The error for a rejected call, for error types without `From<Rejection>`.
    map_err: "map_err = |rejection| .." [map_error on_rejection on_rejected]
    /// The name of the operation.
    name: "name = \"charge\"" [operation operation_name id]
    /// Another registry than the one of the process.
    registry: "registry = self.registry"
    ---
    /// The path under which the crate is found.
    crate: "crate = ::resilient_runtime"
}

const ON: &[&str] = &["enabled", "enable", "disabled", "disable", "active"];

/// What to write instead of a switch, in the parentheses of an argument that has no remedy of its own.
pub const SWITCH: Remedy = Remedy {
    group: "",
    words: ON,
    text: "a policy is on where it is written: leave it out, or write `enabled = false` in its table of the settings file",
};

macro_rules! remedies {
    ($([$($word:ident)*] $text:literal;)*) => {
        /// What to write instead of words that are no argument.
        pub const ARGUMENT_REMEDIES: &[Remedy] =
            &[$(Remedy { group: "", words: &[$(stringify!($word)),*], text: $text },)*];
    };
}

remedies! {
    [max max_retries max_retry retry_count max_retry_attempts times retry_max]
        "write `retry(max = 3)`";
    [attempts max_attempts max_tries tries stop_after_attempt stop]
        "write `retry(attempts = 3)`, which counts the first one too";
    [retry_on retry_if retry_when when retry_exceptions abort_on abort_if should_retry]
        "write `retry(max = 3, when = |error| ..)`, which is true for the errors to try again";
    [fail_on skip_on record_exceptions ignore_exceptions should_handle handle is_failure is_successful]
        "write `circuit_breaker(\"name\", when = |error| ..)` to say which errors count as failures, `retry(max \
         = 3, when = |error| ..)` to say which errors to try again, or `failure = |output| ..` to count a \
         returned value as a failure";
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
        "no policy answers before the call; `fallback(local_cache(max_age = \"10m\", key = id))` gives the last \
         good answer when the call fails, and `coalesce(key = id)` shares one call";
    [key]
        "write it in its policy, as in `idempotent(key = id)`, `coalesce(key = id)` or `rate_limit(\"name\", \
         rate = \"100/s\", key = id)`";
    [enabled enable disabled disable active]
        "a policy is on where it is written: leave it out, or switch off all of them by `enabled = false` at the \
         top of the settings file";
}
