//! Limits the retries of many calls together. An attribute names it in `retry(budget = "name")`.

table! {
    retry_budget: "";

    /// The share of a token that each call deposits.
    ratio: share = 0.1, "ratio = 0.1"
    /// The tokens that each second deposits. 0: no retry is made without a token, and `free` has no effect.
    reserve: number(0.0, 1_000_000.0, "tokens per second") = 3.0, "reserve = 3"
    /// The tokens that can be saved beyond ten seconds of reserve.
    burst: count(0, 1_000_000, "tokens") = 100, "burst = 100"
    /// How many retries in ten seconds need no token while there are few calls: the n-th retry of a call needs none as long
    /// as n times the calls of the last ten seconds is at most this. 0: each retry needs a token.
    free: count(0, 1_000_000, "retries") = 1_000, "free = 1000"
    /// Whether retries need a token at all.
    enabled: switch = true, ""
}
