//! A health check.

table! {
    health: "";

    /// What it means when it fails.
    kind: word("startup", "liveness", "readiness", "deep") = "readiness", "kind = \"readiness\""
    /// How long the probe may take. By default less than the second that a client such as kubelet waits.
    timeout: span("1h") = "800ms", "timeout = \"800ms\""
    /// How long an answer is good for, so that many requests cost one probe.
    cache: time("0s", "1h") = "1s", "cache = \"1s\""
    /// How often `Registry::watch_health` probes it. An answer older than three times this is `Unknown`.
    interval: time("1s", "1h") = "10s", "interval = \"10s\""
    /// Failures in a row before the check counts as failed.
    failures: count(1, 1_000, "in a row") = 3, "failures = 3"
    /// Successes in a row before the check counts as passed again.
    successes: count(1, 1_000, "in a row") = 1, "successes = 1"
    /// How long a probe may take to count as a success; at most `timeout`. None: as long as `timeout`.
    max_response: span("1h") = none, "max_response = \"500ms\""
    /// Whether its failure degrades the whole only, and does not end it.
    degrades_only: flag = false, "degrades_only = true"
    /// The group it can be asked for with. None: it is in none.
    group: name = none, "group = \"db\""
}
