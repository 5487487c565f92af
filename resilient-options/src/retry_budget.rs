//! Settings of a retry budget, which limits the retries of many calls together. The attribute selects one with
//! `retry(budget = "name")`.

table! {
    retry_budget: "";

    /// Fraction of a token that each call adds.
    ratio: share = 0.1, "ratio = 0.1"
    /// Tokens added per second. 0: every retry needs a token, and `free` has no effect.
    reserve: number(0.0, 1_000_000.0, "tokens per second") = 3.0, "reserve = 3"
    /// Number of tokens that can accumulate beyond ten seconds of `reserve`.
    burst: count(0, 1_000_000, "tokens") = 100, "burst = 100"
    /// Number of retries per ten seconds that need no token at low traffic: the n-th retry of a call needs no token if
    /// n times the number of calls in the last ten seconds is at most this value. 0: every retry needs a token.
    free: count(0, 1_000_000, "retries") = 1_000, "free = 1000"
    /// Whether retries need a token.
    enabled: switch = true, ""
}
