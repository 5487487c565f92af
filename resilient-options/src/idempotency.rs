//! Calls with the same key run once.

table! {
    idempotency: "idempotent";

    /// Calls with the same key run once: anything that is `Display`, or an `Option` of it; with `None` the call has no key.
    key: code, "key = order.id" [by id]
    /// What calls with the same key must agree in; `none` for nothing. By default all arguments but `self`.
    fingerprint: code, "fingerprint = (cents, &account)" [payload hash]
    /// How long an answer is kept, and a key is taken. Within it a repeat gets the first answer.
    // Not 0: a key that is free once its call has ended protects nobody (T112).
    ttl: time("1s", "31d") = "1h", "ttl = \"1h\"" [expires expiry expire_after max_age]
    /// How long a call that does not show any more holds its key. Renewed each third of it while an asynchronous call runs,
    /// not while a synchronous one does. Not shorter than the total timeout of the call, or `Registry::validate` says so.
    lease: time("10ms", "24h") = "1m", "lease = \"1m\""
    /// What becomes of a call whose predecessor was lost while it ran: refused, or run again.
    on_unknown: word("reject", "reexecute") = "reject", "on_unknown = reject"
    /// How long a call waits for one with the same key that runs, and until its own deadline. 0: it does not.
    max_wait: time("0s", "24h") = "10s", "max_wait = \"10s\"" [wait timeout]
    /// Whether an error that another attempt would meet again (of class `Permanent` or `Ignored`) is kept and given again like
    /// an answer, where its type is `Serialize` and `DeserializeOwned`; else it frees the key.
    keep_errors: flag = false, "keep_errors = true"
    /// The name under which `Registry::set_idempotency_store` was given the store. None: the store that the component was
    /// given, or memory.
    store: name = none, "store = \"orders\""
    /// What becomes of a call when the store does not answer, or is full: refused, or run without a record.
    on_store_failure: word("closed", "open") = "closed", "on_store_failure = closed"
    /// How long the store may take for each request.
    store_timeout: span("1h") = "1s", "store_timeout = \"1s\""
    /// The largest answer that is kept, in bytes of its stored form. A call with a larger one is recorded as lost, and its
    /// caller can see it (`unsaved`).
    max_value: count(1, 4_294_967_295, "byte") = 65_536, "max_value = 65_536"

    remedies {
        "" [enabled enable disabled disable active] "this cannot be switched off: leave it out";
    }
}
