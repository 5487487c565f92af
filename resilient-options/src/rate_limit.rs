//! Settings of a rate limiter, which limits how often calls start.

table! {
    rate_limit: "rate_limit";

    /// Number of calls per unit of time. If not set: no limit.
    rate: rate = none, "rate = \"100/s\""
        [limit per_second limit_for_period limit_refresh_period quota requests_per_second permit_limit tokens_per_period
         replenishment_period period per window requests calls]
    /// Maximum burst of a `token_bucket`. If not set: the number of calls in `rate`.
    burst: count(1, 1_000_000, "calls") = none, "burst = 20"
        [max_burst burst_size allow_burst token_limit capacity bucket_size]
    /// How calls are counted. Changing the algorithm resets the count.
    algorithm: word("token_bucket", "sliding_window", "sliding_log", "leaky_bucket") = "token_bucket",
        "algorithm = token_bucket"
    /// Maximum time a call waits until the limit admits it. If not set: it does not wait.
    max_wait: span("24h") = none, "max_wait = \"50ms\""
        [wait timeout_duration timeout max_wait_duration acquire_timeout]
    /// Maximum number of waiting calls, over all keys.
    max_queue: count(1, 1_000_000, "calls") = 1_000, "max_queue = 1000" [queue queue_limit]
    /// Maximum number of keys with separate limits; beyond that, some keys share one. Fixed when the first key is used.
    max_keys: count(16, 10_000_000, "keys") = 100_000, "max_keys = 100_000"
    /// Key of the call: each key has a separate limit.
    key: code, "key = user.id" [by id per_key key_by partition_key]
    /// Number of calls that this call counts as.
    weight: code, "weight = items.len()" [cost tokens permits]
    /// Name of a store that shares the limit between all instances of the service. If not set: each process has its own
    /// limit.
    store: name = none, "store = \"shared\"" [distributed shared backend redis]
    /// How a shared limit decides: `exact` asks the store for each call, `lease` takes tokens in advance, `observe`
    /// counts and rejects no call. Calls with a `key` use `exact` instead of `lease`. If not set: `lease` for more than 200
    /// calls per second, otherwise `exact`.
    mode: word("exact", "lease", "observe") = none, "mode = lease"
    /// Handling of a call if the store of a shared limit does not respond: `local` limits it in this process, to the rate
    /// divided by the number of instances; `open` admits it; `closed` rejects it.
    on_store_failure: word("local", "open", "closed") = "local", "on_store_failure = local" [fail_open fail_mode]
    /// Whether calls are limited.
    enabled: switch = true, ""
}
