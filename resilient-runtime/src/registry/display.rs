//! A snapshot for the terminal.

use std::fmt::{self, Display, Formatter};

use super::Stats;
use crate::adaptive::AdaptiveLimitStats;
use crate::fallback::Level;
use crate::observe::LastError;

impl Display for Stats {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.enabled {
            writeln!(f, "! protection is switched off")?;
        }
        self.operations(f)?;
        self.circuit_breakers(f)?;
        self.retries(f)?;
        self.bulkheads(f)?;
        self.timeouts(f)?;
        self.load_shedders(f)?;
        self.limits(f)?;
        self.shared(f)?;
        self.fallbacks(f)?;
        self.config_sources(f)?;
        for conflict in &self.conflicts {
            writeln!(f, "! {conflict}")?;
        }
        Ok(())
    }
}

impl Stats {
    fn config_sources(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, source) in &self.config_source {
            write!(f, "config_source {name}: applied {}, refused {}", source.applied, source.refused)?;
            if let Some(digest) = &source.digest {
                write!(f, "; in force {digest}")?;
            }
            writeln!(f)?;
            for problem in source.problem.iter().flat_map(|problem| problem.lines()) {
                writeln!(f, "! {problem}")?;
            }
        }
        Ok(())
    }

    fn circuit_breakers(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, breaker) in &self.circuit_breaker {
            let (window, state) = (&breaker.window, breaker.state);
            let (calls, failed, slow) = (window.calls, window.failed, window.slow);
            write!(
                f,
                "circuit_breaker {name}: {state}, {failed} failed and {slow} slow of {calls} in the window"
            )?;
            if let Some(span) = breaker.retry_after {
                write!(f, ", again in {span:.1?}")?;
            }
            if let Some(outage) = &breaker.outage {
                write!(f, " (opened by: {outage})")?;
            } else if let Some(outage) = &breaker.last_outage {
                write!(f, " (last outage: {outage})")?;
            }
            writeln!(f, ", {} rejected", breaker.rejected)?;
        }
        Ok(())
    }

    fn bulkheads(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, bulkhead) in &self.bulkhead {
            let (in_use, limit, rejected) = (bulkhead.in_use, bulkhead.limit, bulkhead.rejected);
            write!(f, "bulkhead {name}: {in_use} of {limit} in use")?;
            if bulkhead.max_queue > 0 {
                let (queued, max_queue, waited) = (bulkhead.queued, bulkhead.max_queue, bulkhead.waited);
                write!(f, ", {queued} of {max_queue} queued, {waited} waited")?;
            }
            write!(f, ", {rejected} rejected")?;
            if let Some(AdaptiveLimitStats { reason, latency, baseline, .. }) = bulkhead.adaptive {
                write!(f, "; adaptive: {reason}")?;
                if let (Some(latency), Some(baseline)) = (latency, baseline) {
                    write!(f, ", latency {latency:.1?} against {baseline:.1?}")?;
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }

    fn operations(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, op) in &self.operations {
            writeln!(f, "operation {name}: {} calls", op.calls)?;
            let endings = [
                ("in flight", op.in_flight),
                ("succeeded", op.succeeded),
                ("failed", op.failed),
                ("ignored", op.ignored),
                ("rejected", op.rejected),
                ("timed out", op.timed_out),
                ("fell back", op.fell_back),
                ("cancelled", op.cancelled),
                ("panicked", op.panicked),
            ];
            let seen: Vec<_> = endings.iter().filter(|(_, count)| *count > 0).collect();
            for (ending, count) in seen {
                writeln!(f, "    {ending:<10} {count}")?;
            }
            let latency = op.latency;
            if op.calls > 0 {
                let (p50, p95, p99, p999) = (latency.p50, latency.p95, latency.p99, latency.p999);
                writeln!(f, "    latency    p50 {p50:.1?}  p95 {p95:.1?}  p99 {p99:.1?}  p99.9 {p999:.1?}")?;
            }
            if let Some(LastError { text, age, attempt, .. }) = &op.last_error {
                writeln!(f, "    last error {text} (attempt {attempt}, {age:.1?} ago)")?;
            }
        }
        Ok(())
    }

    fn retries(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, retry) in &self.retry {
            let (retries, recovered, exhausted) = (retry.retries, retry.recovered, retry.exhausted);
            write!(f, "retry {name}: {retries} retries, {recovered} calls recovered, {exhausted} exhausted")?;
            if retry.denied_by_budget > 0 {
                write!(f, ", {} denied by the budget", retry.denied_by_budget)?;
            }
            writeln!(f, "; budget {:.1} of {:.0}", retry.budget.tokens, retry.budget.capacity)?;
        }
        for (name, budget) in &self.retry_budget {
            let (tokens, capacity, denied) = (budget.tokens, budget.capacity, budget.denied);
            writeln!(f, "retry_budget {name}: {tokens:.1} of {capacity:.0}, {denied} denied")?;
        }
        Ok(())
    }

    fn timeouts(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, timeout) in &self.timeout {
            let shown = |span: Option<std::time::Duration>| {
                span.map_or_else(|| "-".to_owned(), |span| format!("{span:?}"))
            };
            let (total, attempt) = (shown(timeout.total), shown(timeout.attempt));
            let (totals, attempts) = (timeout.total_timeouts, timeout.attempt_timeouts);
            write!(f, "timeout {name}: total {total} fired {totals}, attempt {attempt} fired {attempts}")?;
            let others = [
                ("queue", timeout.queue_timeouts),
                ("connect", timeout.connect_timeouts),
                ("read", timeout.read_timeouts),
            ];
            for (place, fired) in others.into_iter().filter(|(_, fired)| *fired > 0) {
                write!(f, ", {place} fired {fired}")?;
            }
            if let Some(adaptive) = &timeout.adaptive {
                let (samples, censored) = (adaptive.samples, adaptive.censored);
                let at = |span: Option<std::time::Duration>| {
                    span.map_or_else(|| "-".to_owned(), |span| format!("{span:.1?}"))
                };
                let [p50, p95, p99, p999] = [adaptive.p50, adaptive.p95, adaptive.p99, adaptive.p999].map(at);
                write!(f, ", adapted to {samples} attempts, {censored} censored:")?;
                write!(f, " p50 {p50}  p95 {p95}  p99 {p99}  p99.9 {p999}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    fn load_shedders(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, shedder) in &self.load_shed {
            write!(f, "load_shed {name}: {}", shedder.in_flight)?;
            if let Some(limit) = shedder.limit {
                write!(f, " of {limit}")?;
            }
            write!(f, " in flight, {} admitted, {} shed", shedder.admitted(), shedder.shed())?;
            if let Some(class) = shedder.shedding {
                write!(f, "; sheds up to {} calls", class.as_str())?;
            }
            if let Some(delay) = shedder.delay {
                write!(f, "; delay {delay:.1?}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    fn limits(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, limit) in &self.rate_limit {
            write!(f, "rate_limit {name}: ")?;
            match limit.rate {
                Some(rate) => write!(f, "{rate}, {} at once", limit.limit)?,
                None => f.write_str("no limit")?,
            }
            if limit.keys > 0 {
                write!(f, ", {} keys", limit.keys)?;
            }
            writeln!(f, ", {} queued, {} rejected", limit.queued, limit.rejected)?;
        }
        for (name, hedge) in &self.hedge {
            let (sent, won, denied) = (hedge.sent, hedge.won, hedge.denied_by_budget);
            writeln!(f, "hedge {name}: {sent} sent, {won} won, {denied} denied by the budget")?;
        }
        Ok(())
    }

    fn shared(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, coalesce) in &self.coalesce {
            let (led, shared) = (coalesce.led, coalesce.shared);
            writeln!(f, "coalesce {name}: {led} led, {shared} shared, {} in flight", coalesce.in_flight)?;
        }
        for (name, once) in &self.idempotency {
            write!(f, "idempotency {name}: {} executed, {} replayed", once.executed, once.replayed)?;
            let others = [
                ("in progress", once.in_progress),
                ("key reused", once.key_reused),
                ("unknown", once.outcome_unknown),
                ("not kept", once.not_kept),
                ("store full", once.full),
                ("store failures", once.store_failures),
            ];
            for (what, count) in others.into_iter().filter(|(_, count)| *count > 0) {
                write!(f, ", {count} {what}")?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    fn fallbacks(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (name, fallback) in &self.fallback {
            write!(f, "fallback {name}:")?;
            for level in Level::ALL {
                let Some(stats) = fallback.levels.get(&level) else { continue };
                let missed = [
                    ("timed out", stats.timed_out),
                    ("refused", stats.refused),
                    ("skipped", stats.skipped),
                    ("panicked", stats.panicked),
                ];
                let missed: Vec<_> = missed.iter().filter(|(_, count)| *count > 0).collect();
                if stats.asked == 0 && missed.is_empty() {
                    continue;
                }
                write!(f, " {level} {} of {}", stats.served, stats.asked)?;
                for (what, count) in missed {
                    write!(f, " ({count} {what})")?;
                }
                f.write_str(",")?;
            }
            writeln!(f, " all failed {}", fallback.all_failed)?;
        }
        Ok(())
    }
}
