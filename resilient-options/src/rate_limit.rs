//! Limits how often calls start.

table! {
    rate_limit: "rate_limit";

    /// Calls in a time. None: the limiter limits nothing.
    rate: rate = none, "rate = \"100/s\""
        [limit per_second limit_for_period limit_refresh_period quota requests_per_second permit_limit tokens_per_period
         replenishment_period period per window requests calls]
    /// Calls at once, with a token bucket. None: as many as the rate counts.
    burst: count(1, 1_000_000, "calls") = none, "burst = 20"
        [max_burst burst_size allow_burst token_limit capacity bucket_size]
    /// How calls are counted. A change of the algorithm starts with nothing counted.
    algorithm: word("token_bucket", "sliding_window", "sliding_log", "leaky_bucket") = "token_bucket",
        "algorithm = token_bucket"
    /// How long a call waits for its turn. None: it does not wait.
    max_wait: span("24h") = none, "max_wait = \"50ms\""
        [wait timeout_duration timeout max_wait_duration acquire_timeout]
    /// Calls that may wait at once, of all keys together.
    max_queue: count(1, 1_000_000, "calls") = 1_000, "max_queue = 1000" [queue queue_limit]
    /// Keys with a limit of their own; beyond that some keys share one. Fixed once the first key has come.
    max_keys: count(16, 10_000_000, "keys") = 100_000, "max_keys = 100_000"
    /// A limit of its own for each key.
    key: code, "key = user.id" [by id per_key key_by partition_key]
    /// For how many calls this one counts.
    weight: code, "weight = items.len()" [cost tokens permits]
    /// Whether anything is limited.
    enabled: switch = true, ""
}
