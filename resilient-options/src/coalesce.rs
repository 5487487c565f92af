//! Settings of coalescing: concurrent calls with equal keys share one call.

table! {
    coalesce: "coalesce";

    /// Key of the call: concurrent calls with equal keys share one call. A key of type `Option` can be `None`; that
    /// call is not shared.
    key: code, "key = id" [by id]
    /// Whether waiting calls receive the leader's error. If not, the next waiting call runs the function itself.
    share_errors: flag = true, "share_errors = false"
    /// Maximum time a call waits for the leader's result. If not set: until the call's own deadline, or 60 s without a
    /// deadline.
    max_wait: span("24h") = none, "max_wait = \"1s\"" [wait timeout max_wait_duration]
    /// Maximum number of keys in flight. Calls with further keys are not shared.
    max_flights: count(1, 1_000_000, "keys") = 10_000, "max_flights = 10_000"
    /// Whether calls are shared.
    enabled: switch = true, ""
}
