//! The names of all metrics, in one place.

use std::collections::BTreeMap;

use resilient_runtime::circuit_breaker::State;
use resilient_runtime::fallback::Level;
use resilient_runtime::health::Status;
use resilient_runtime::registry::Stats;

use super::sink::Sink;
use super::sink::Type::{Counter, Gauge, Histogram};

/// Names of one kind that are told.
const NAMES: usize = 1024;

/// Those of a kind that are told.
fn told<T>(all: &BTreeMap<String, T>) -> impl Iterator<Item = (&str, &T)> {
    all.iter().take(NAMES).map(|(name, stats)| (name.as_str(), stats))
}

/// Tells families of one kind: for each its name, type and help, then its samples for each component.
macro_rules! families {
    ($sink:ident, $all:expr, $label:literal, $(
        $name:literal $kind:ident $help:literal: |$stats:ident| [$($($extra:literal = $value:expr),* => $sample:expr;)*]
    )*) => {
        $({
            $sink.family($name, $kind, $help);
            for (name, $stats) in told($all) {
                $($sink.sample(&[($label, name) $(, ($extra, $value))*], ($sample).into());)*
            }
        })*
    };
}

pub(super) fn tell(stats: &Stats, sink: &mut dyn Sink) {
    operations(stats, sink);
    circuit_breakers(stats, sink);
    retries(stats, sink);
    limits(stats, sink);
    fallbacks(stats, sink);
    others(stats, sink);
    left_out(stats, sink);
}

fn operations(stats: &Stats, sink: &mut dyn Sink) {
    families! { sink, &stats.operations, "operation",
        "resilient_calls_total" Counter "Calls by how they ended.": |op| [
            "outcome" = "success" => op.succeeded;
            "outcome" = "error" => op.failed;
            "outcome" = "ignored" => op.ignored;
            "outcome" = "rejected" => op.rejected;
            "outcome" = "timeout" => op.timed_out;
            "outcome" = "fallback" => op.fell_back;
            "outcome" = "cancelled" => op.cancelled;
            "outcome" = "panic" => op.panicked;
        ]
        "resilient_calls_in_flight" Gauge "Calls that have begun and not ended.": |op| [ => op.in_flight;]
        "resilient_saturation" Gauge "How much of the scarcest thing that the operation needs is in use, from 0 to 1.": |op| [
            => op.saturation.get();
        ]
    }
    let help = "How long calls took, of those whose time was taken: all, or the first thousand and then one in eight.";
    sink.family("resilient_call_duration_seconds", Histogram, help);
    for (name, op) in told(&stats.operations) {
        sink.histogram(&[("operation", name), ("outcome", "success")], &op.durations);
        sink.histogram(&[("operation", name), ("outcome", "error")], &op.error_durations);
    }
}

fn circuit_breakers(stats: &Stats, sink: &mut dyn Sink) {
    sink.family("resilient_circuit_breaker_state", Gauge, "1 for the state it is in, 0 for the others.");
    for (name, breaker) in told(&stats.circuit_breaker) {
        for state in State::ALL {
            sink.sample(&[("name", name), ("state", state.as_str())], (state == breaker.state).into());
        }
    }
    families! { sink, &stats.circuit_breaker, "name",
        "resilient_circuit_breaker_calls_total" Counter "Calls that were judged, by what they were.": |breaker| [
            "kind" = "successful" => breaker.successful;
            "kind" = "failed" => breaker.failed;
            "kind" = "ignored" => breaker.ignored;
            "kind" = "late" => breaker.late;
        ]
        "resilient_circuit_breaker_slow_calls_total" Counter "Calls that were slow.": |breaker| [ => breaker.slow;]
        "resilient_circuit_breaker_rejected_total" Counter "Calls that were refused.": |breaker| [ => breaker.rejected;]
        "resilient_circuit_breaker_window_calls" Gauge "Calls in the window.": |breaker| [
            "kind" = "all" => breaker.window.calls;
            "kind" = "failed" => breaker.window.failed;
            "kind" = "slow" => breaker.window.slow;
        ]
        "resilient_circuit_breaker_failure_rate" Gauge "The share of failed calls in the window, from 0 to 1.": |breaker| [
            => breaker.window.failure_rate.get();
        ]
        "resilient_circuit_breaker_slow_call_rate" Gauge "The share of slow calls in the window, from 0 to 1.": |breaker| [
            => breaker.window.slow_rate.get();
        ]
    }
    let help = "Changes of state, by the state entered.";
    sink.family("resilient_circuit_breaker_transitions_total", Counter, help);
    for (name, breaker) in told(&stats.circuit_breaker) {
        for (state, &entered) in &breaker.entered {
            sink.sample(&[("name", name), ("to", state.as_str())], entered.into());
        }
    }
}

fn retries(stats: &Stats, sink: &mut dyn Sink) {
    families! { sink, &stats.retry, "name",
        "resilient_retry_total" Counter "Retries, and what became of the calls that failed.": |retry| [
            "kind" = "retried" => retry.retries;
            "kind" = "recovered" => retry.recovered;
            "kind" = "exhausted" => retry.exhausted;
            "kind" = "not_retryable" => retry.not_retryable;
            "kind" = "may_have_run" => retry.may_have_run;
            "kind" = "nested" => retry.nested;
            "kind" = "out_of_time" => retry.out_of_time;
            "kind" = "hint_too_long" => retry.hint_too_long;
            "kind" = "circuit_open" => retry.circuit_open;
            "kind" = "budget" => retry.denied_by_budget;
        ]
        "resilient_retry_budget_tokens" Gauge "Retries that the budget has left.": |retry| [ => retry.budget.tokens;]
        "resilient_retry_budget_exhausted_total" Counter "Retries that the budget denied.": |retry| [ => retry.budget.denied;]
    }
    families! { sink, &stats.hedge, "name",
        "resilient_hedge_total" Counter "Attempts besides the first.": |hedge| [
            "kind" = "sent" => hedge.sent;
            "kind" = "won" => hedge.won;
            "kind" = "budget" => hedge.denied_by_budget;
        ]
    }
}

fn limits(stats: &Stats, sink: &mut dyn Sink) {
    families! { sink, &stats.bulkhead, "name",
        "resilient_bulkhead_in_flight" Gauge "Calls that hold a permit.": |bulkhead| [ => bulkhead.in_use;]
        "resilient_bulkhead_limit" Gauge "Calls that may hold one.": |bulkhead| [ => bulkhead.limit;]
        "resilient_bulkhead_queued" Gauge "Calls that wait for a permit.": |bulkhead| [ => bulkhead.queued;]
        "resilient_bulkhead_queue_limit" Gauge "Calls that may wait.": |bulkhead| [ => bulkhead.max_queue;]
        "resilient_bulkhead_rejected_total" Counter "Calls that were refused.": |bulkhead| [ => bulkhead.rejected;]
        "resilient_bulkhead_waited_total" Counter "Calls that waited.": |bulkhead| [ => bulkhead.waited;]
    }
    families! { sink, &stats.bulkhead, "name",
        "resilient_bulkhead_threads_running" Gauge "Bodies that run on threads of the bulkhead.": |bulkhead| [
            => bulkhead.pool.map_or(0, |pool| pool.running);
        ]
        "resilient_bulkhead_threads_abandoned" Gauge "Of them, those that nobody waits for any more.": |bulkhead| [
            => bulkhead.pool.map_or(0, |pool| pool.abandoned);
        ]
    }
    families! { sink, &stats.load_shed, "name",
        "resilient_load_shed_in_flight" Gauge "Calls in flight.": |shed| [ => shed.in_flight;]
        "resilient_load_shed_limit" Gauge "Calls that may be; 0 where there is no limit.": |shed| [ => shed.limit.unwrap_or(0);]
        "resilient_load_shed_admitted_total" Counter "Calls that were admitted, by their priority.": |shed| [
            "priority" = "low" => shed.classes.low.admitted;
            "priority" = "normal" => shed.classes.normal.admitted;
            "priority" = "high" => shed.classes.high.admitted;
            "priority" = "critical" => shed.classes.critical.admitted;
        ]
        "resilient_shed_total" Counter "Calls that were shed, by their priority.": |shed| [
            "priority" = "low" => shed.classes.low.shed;
            "priority" = "normal" => shed.classes.normal.shed;
            "priority" = "high" => shed.classes.high.shed;
            "priority" = "critical" => shed.classes.critical.shed;
        ]
    }
    families! { sink, &stats.rate_limit, "name",
        "resilient_rate_limit_remaining" Gauge "Calls that may begin now; not of a limit by key.": |limit| [ => limit.remaining;]
        "resilient_rate_limit_queued" Gauge "Calls that wait for their turn.": |limit| [ => limit.queued;]
        "resilient_rate_limit_keys" Gauge "Keys with a limit of their own.": |limit| [ => limit.keys;]
        "resilient_rate_limit_decisions_total" Counter "Calls that did not just pass.": |limit| [
            "decision" = "waited" => limit.waited;
            "decision" = "rejected" => limit.rejected;
        ]
        "resilient_rate_limit_overflows_total" Counter "Keys that had to share a limit with others.": |limit| [ => limit.overflows;]
    }
    families! { sink, &stats.timeout, "name",
        "resilient_timeout_total" Counter "Calls and attempts that ran out of their time.": |timeout| [
            "kind" = "total" => timeout.total_timeouts;
            "kind" = "attempt" => timeout.attempt_timeouts;
            "kind" = "queue" => timeout.queue_timeouts;
            "kind" = "connect" => timeout.connect_timeouts;
            "kind" = "read" => timeout.read_timeouts;
        ]
        "resilient_timeout_current_seconds" Gauge "How long is given now; 0 where there is no limit.": |timeout| [
            "kind" = "total" => timeout.total.unwrap_or_default();
            "kind" = "attempt" => timeout.attempt.unwrap_or_default();
            "kind" = "connect" => timeout.connect.unwrap_or_default();
            "kind" = "read" => timeout.read.unwrap_or_default();
        ]
    }
}

fn fallbacks(stats: &Stats, sink: &mut dyn Sink) {
    sink.family("resilient_fallback_total", Counter, "Calls that a level answered.");
    for (name, fallback) in told(&stats.fallback) {
        for level in Level::ALL {
            let served = fallback.levels.get(&level).map_or(0, |level| level.served);
            sink.sample(&[("name", name), ("level", level.as_str())], served.into());
        }
    }
    families! { sink, &stats.fallback, "name",
        "resilient_fallback_failed_total" Counter "Calls that no level answered.": |fallback| [ => fallback.all_failed;]
    }
}

fn others(stats: &Stats, sink: &mut dyn Sink) {
    families! { sink, &stats.coalesce, "name",
        "resilient_coalesce_total" Counter "Calls that may share one.": |coalesce| [
            "kind" = "led" => coalesce.led;
            "kind" = "shared" => coalesce.shared;
            "kind" = "handed_over" => coalesce.handed_over;
        ]
    }
    families! { sink, &stats.idempotency, "name",
        "resilient_idempotency_total" Counter "Calls with a key.": |once| [
            "kind" = "executed" => once.executed;
            "kind" = "replayed" => once.replayed;
            "kind" = "in_progress" => once.in_progress;
            "kind" = "key_reused" => once.key_reused;
            "kind" = "outcome_unknown" => once.outcome_unknown;
            "kind" = "not_kept" => once.not_kept;
            "kind" = "full" => once.full;
        ]
        "resilient_idempotency_store_failures_total" Counter "Questions that the store did not answer.": |once| [
            => once.store_failures;
        ]
    }
    families! { sink, &stats.health, "check",
        "resilient_health_status" Gauge "1 for how the check stands, 0 for the others.": |check| [
            "kind" = check.kind.as_str(), "status" = "pass" => check.status == Status::Pass;
            "kind" = check.kind.as_str(), "status" = "warn" => check.status == Status::Warn;
            "kind" = check.kind.as_str(), "status" = "fail" => check.status == Status::Fail;
            "kind" = check.kind.as_str(), "status" = "unknown" => check.status == Status::Unknown;
        ]
    }
    families! { sink, &stats.alert, "alert",
        "resilient_alert_state" Gauge "1 where it fires.": |alert| [
            "severity" = "warning" => alert.severity.is_some_and(|severity| severity.as_str() == "warning");
            "severity" = "critical" => alert.severity.is_some_and(|severity| severity.as_str() == "critical");
        ]
    }
}

fn left_out(stats: &Stats, sink: &mut dyn Sink) {
    let counts = [
        ("operation", stats.operations.len()),
        ("circuit_breaker", stats.circuit_breaker.len()),
        ("retry", stats.retry.len()),
        ("bulkhead", stats.bulkhead.len()),
        ("rate_limit", stats.rate_limit.len()),
        ("timeout", stats.timeout.len()),
        ("fallback", stats.fallback.len()),
        ("load_shed", stats.load_shed.len()),
        ("idempotency", stats.idempotency.len()),
        ("hedge", stats.hedge.len()),
        ("coalesce", stats.coalesce.len()),
        ("health", stats.health.len()),
        ("alert", stats.alert.len()),
    ];
    sink.family("resilient_names_left_out", Gauge, "Names that are not told, because there are too many.");
    for (kind, count) in counts {
        sink.sample(&[("kind", kind)], (count.saturating_sub(NAMES) as u64).into());
    }
}
