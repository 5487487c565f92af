//! Settings of idempotency keys: calls with the same key run once.

table! {
    idempotency: "idempotent";

    /// Idempotency key: calls with the same key run once. Any `Display` type, or an `Option` of one; `None` means that
    /// the call has no key.
    key: code, "key = order.id" [by id]
    /// Values that must be equal in calls with the same key; `none` to compare nothing. By default, all arguments
    /// except `self`.
    fingerprint: code, "fingerprint = (cents, &account)" [payload hash]
    /// The argument with the transaction that the record belongs to, a `&mut sqlx::Transaction`. The record commits or rolls
    /// back with it, so the effect happens once. Needs a `store` that can join a transaction, such as `PostgresStore`. If
    /// the function returns an error, roll back. Not with `retry`, `hedge`, `coalesce` or `fallback`.
    transaction: code, "transaction = tx" [tx connection]
    /// How long a result is stored and its key stays in use. Repeated calls within this time return the stored result.
    // Not 0: a key that is released when its call ends cannot prevent a repeat (T112).
    ttl: time("1s", "31d") = "1h", "ttl = \"1h\"" [expires expiry expire_after max_age]
    /// How long a call holds its key without renewal. A running asynchronous call renews the lease every third of this
    /// time; a synchronous call does not renew it. Should be at least the call's total timeout; otherwise
    /// `Registry::validate` reports a problem.
    lease: time("10ms", "24h") = "1m", "lease = \"1m\""
    /// Handling of a call if the outcome of an earlier call with its key is unknown: `reject` rejects it, `reexecute`
    /// executes it again.
    on_unknown: word("reject", "reexecute") = "reject", "on_unknown = reject"
    /// Maximum time a call waits for a running call with the same key, limited by its own deadline. 0: it does not
    /// wait.
    max_wait: time("0s", "24h") = "10s", "max_wait = \"10s\"" [wait timeout]
    /// Whether errors of class `Permanent` or `Ignored` are stored and returned to repeated calls. The error type
    /// must be `Serialize` and `DeserializeOwned`; otherwise the error releases the key.
    keep_errors: flag = false, "keep_errors = true"
    /// Name of a store registered with `Registry::use_store` or in the settings file. If not set: the store that was
    /// passed to the component, or a store in memory.
    store: name = none, "store = \"orders\""
    /// Handling of a call if the store does not respond or is full: `closed` rejects it, `open` executes it without a
    /// record.
    on_store_failure: word("closed", "open") = "closed", "on_store_failure = closed"
    /// Timeout of each request to the store.
    store_timeout: span("1h") = "1s", "store_timeout = \"1s\""
    /// Maximum size of a stored result, in bytes of its stored form. A larger result is returned but not stored: the
    /// call is recorded as lost, and `unsaved` reports this to the caller.
    max_value: count(1, 4_294_967_295, "byte") = 65_536, "max_value = 65_536"

    remedies {
        "" [enabled enable disabled disable active] "this policy cannot be disabled; remove it instead";
    }
}
