//! Settings of hedging, which starts another attempt when one is slow or fails.

table! {
    hedge: "hedge";

    /// Delay after which another attempt starts. If not set: the latency at `percentile`.
    after: time("0s", "24h") = none, "after = \"50ms\" or \"p95\"" [delay hedging_delay wait hedge_delay]
    /// Latency percentile of the attempts that is used as the delay if `after` is not set.
    percentile: number(50.0, 99.9, "percent") = 95.0, "percentile = 95" [quantile]
    /// Minimum delay when it is derived from `percentile`.
    min_delay: span("24h") = "1ms", "min_delay = \"1ms\""
    /// Maximum number of additional attempts. In a pipeline with a retry, the limit applies to all retry attempts
    /// together.
    max: count(1, 10, "additional attempts") = 1, "max = 1"
        [max_hedged_attempts max_hedges hedges attempts max_attempts]
    /// Budget of the hedge, used if the pipeline has no retry.
    budget: group, "budget(ratio = 0.1, reserve = 3)" {
        /// Fraction of a token that each call adds to the hedge's budget, which is used if the pipeline has no retry.
        ratio as budget_ratio: share = 0.1, "ratio = 0.1" [percent percentage rate share retry_percent]
        /// Tokens added to the hedge's budget per second.
        reserve as budget_reserve: number(0.0, 1_000_000.0, "tokens per second") = 3.0, "reserve = 3"
            [min_per_second min_retries_per_second minimum min]
    }
    /// Whether additional attempts are started.
    enabled: switch = true, ""

    remedies {
        "budget" [enabled enable disabled disable active] "a listed budget is always enabled; remove it instead";
    }
}
