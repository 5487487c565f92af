//! Settings of a health check.

table! {
    health: "";

    /// Kind of check, which determines what its failure means.
    kind: word("startup", "liveness", "readiness", "deep") = "readiness", "kind = \"readiness\""
    /// Timeout of the probe. The default is below the 1 s that clients such as kubelet wait.
    timeout: span("1h") = "800ms", "timeout = \"800ms\""
    /// How long a result is reused, so that frequent requests do not repeat the probe.
    cache: time("0s", "1h") = "1s", "cache = \"1s\""
    /// Interval at which `Registry::watch_health` runs the probe. A result older than three intervals is reported as
    /// `Unknown`.
    interval: time("1s", "1h") = "10s", "interval = \"10s\""
    /// Number of consecutive failures after which the check fails.
    failures: count(1, 1_000, "failures") = 3, "failures = 3"
    /// Number of consecutive successes after which the check passes again.
    successes: count(1, 1_000, "successes") = 1, "successes = 1"
    /// Longest duration of a successful probe; at most `timeout`. A slower probe counts as a failure. If not set:
    /// `timeout`.
    max_response: span("1h") = none, "max_response = \"500ms\""
    /// Whether a failure of this check only degrades the overall status to `warn` instead of `fail`.
    degrades_only: flag = false, "degrades_only = true"
    /// Group of checks by which reports can be requested. If not set: no group.
    group: name = none, "group = \"db\""
}
