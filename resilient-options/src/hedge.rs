//! Sends another attempt where one is slow or fails.

table! {
    hedge: "hedge";

    /// How long an attempt may take before another is sent. None: as long as `percentile` of them take.
    after: time("0s", "24h") = none, "after = \"50ms\" or \"p95\"" [delay hedging_delay wait hedge_delay]
    /// The share of attempts, in per cent, that is not hedged where `after` is not given.
    percentile: number(50.0, 99.9, "per cent") = 95.0, "percentile = 95" [quantile]
    /// The shortest delay by percentile.
    min_delay: span("24h") = "1ms", "min_delay = \"1ms\""
    /// Attempts sent besides the first. In a pipeline with a retry: in all its rounds together.
    max: count(1, 10, "attempts besides the first") = 1, "max = 1"
        [max_hedged_attempts max_hedges hedges attempts max_attempts]
    /// The hedge's own budget, used where the pipeline has no retry.
    budget: group, "budget(ratio = 0.1, reserve = 3)" {
        /// The share of a token that each call deposits in the hedge's own budget, used where the pipeline has no retry.
        ratio as budget_ratio: share = 0.1, "ratio = 0.1" [percent percentage rate share retry_percent]
        /// The tokens that each second deposits in the hedge's own budget.
        reserve as budget_reserve: number(0.0, 1_000_000.0, "tokens per second") = 3.0, "reserve = 3"
            [min_per_second min_retries_per_second minimum min]
    }
    /// Whether other attempts are sent at all.
    enabled: switch = true, ""

    remedies {
        "budget" [enabled enable disabled disable active] "a budget is on where it is written: leave it out";
    }
}
