//! Calls with equal keys at the same time share one call.

table! {
    coalesce: "coalesce";

    /// What makes calls equal. A key that is an `Option` may be `None`: that call shares nothing.
    key: code, "key = id" [by id]
    /// Whether those who wait get the leader's failure. Otherwise the next of them makes a call of its own.
    share_errors: flag = true, "share_errors = false"
    /// How long a call waits for another's answer. None: until its own deadline, or 60 s where it has none.
    max_wait: span("24h") = none, "max_wait = \"1s\"" [wait timeout max_wait_duration]
    /// Keys in flight at once. Calls with further keys do not share.
    max_flights: count(1, 1_000_000, "keys") = 10_000, "max_flights = 10_000"
    /// Whether calls share at all.
    enabled: switch = true, ""
}
