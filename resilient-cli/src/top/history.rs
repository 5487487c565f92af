//! Calls per second from snapshots of counters.

use std::collections::{HashMap, VecDeque};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::stats::{Endings, members};

/// The rates are averages over this time. One second would jump at a few calls per second.
const SPAN: Duration = Duration::from_secs(10);

/// The counters of the last seconds.
#[derive(Debug, Default)]
pub(super) struct History {
    snapshots: VecDeque<Snapshot>,
}

#[derive(Debug)]
struct Snapshot {
    at: Instant,
    total: Endings,
    operations: HashMap<String, Endings>,
}

/// The calls of an operation in the last seconds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Recent {
    pub(super) per_second: f64,
    pub(super) endings: Endings,
}

impl History {
    pub(super) fn add(&mut self, stats: &Value, at: Instant) {
        let operations =
            members(stats, "operations").map(|(name, operation)| (name.clone(), Endings::of(operation)));
        let snapshot = Snapshot { at, total: Endings::of(&stats["total"]), operations: operations.collect() };
        // The service restarted: its counters begin again.
        if self.snapshots.back().is_some_and(|last| snapshot.total.calls < last.total.calls) {
            self.snapshots.clear();
        }
        self.snapshots.push_back(snapshot);
        // Two snapshots always stay, also if the interval is longer than the span.
        while self.snapshots.len() > 2 && self.snapshots[1].at + SPAN <= at {
            self.snapshots.pop_front();
        }
    }

    /// The time between the first and the last snapshot.
    pub(super) fn span(&self) -> Duration {
        match (self.snapshots.front(), self.snapshots.back()) {
            (Some(first), Some(last)) => last.at.saturating_duration_since(first.at),
            _ => Duration::ZERO,
        }
    }

    /// The recent calls of all operations together. `None` until there are two snapshots.
    pub(super) fn total(&self) -> Option<Recent> {
        self.recent(|snapshot| Some(snapshot.total))
    }

    /// The recent calls of one operation.
    pub(super) fn operation(&self, name: &str) -> Option<Recent> {
        self.recent(|snapshot| snapshot.operations.get(name).copied())
    }

    fn recent(&self, of: impl Fn(&Snapshot) -> Option<Endings>) -> Option<Recent> {
        let span = self.span().as_secs_f64();
        if span <= 0.0 {
            return None;
        }
        let now = of(self.snapshots.back()?)?;
        // An operation that is new in the last snapshot began with no calls.
        let endings = now.since(of(self.snapshots.front()?).unwrap_or_default());
        Some(Recent { per_second: endings.calls / span, endings })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::stats::rate;

    fn stats(calls: u32) -> Value {
        let operation = json!({ "calls": calls, "succeeded": calls });
        json!({ "total": operation, "operations": { "pay": operation } })
    }

    #[test]
    fn the_rate_is_the_average_of_the_last_ten_seconds() {
        let start = Instant::now();
        let mut history = History::default();
        history.add(&stats(100), start);
        assert_eq!(history.total(), None, "one snapshot has no rate");
        for second in 1..=30 {
            history.add(
                &stats(100 + second * if second > 20 { 7 } else { 5 }),
                start + Duration::from_secs(second.into()),
            );
        }
        // From 200 calls after 20 s to 310 calls after 30 s.
        assert_eq!(rate(history.operation("pay").unwrap().per_second), "11.0");
        assert_eq!(history.operation("unknown"), None);
        assert_eq!(history.span(), SPAN);
    }

    #[test]
    fn a_restart_of_the_service_gives_no_rate_until_the_second_snapshot() {
        let start = Instant::now();
        let mut history = History::default();
        history.add(&stats(1000), start);
        history.add(&stats(1010), start + Duration::from_secs(1));
        history.add(&stats(4), start + Duration::from_secs(2));
        assert_eq!(history.total(), None);
        history.add(&stats(10), start + Duration::from_secs(3));
        assert_eq!(rate(history.total().unwrap().per_second), "6.0");
    }

    #[test]
    fn an_interval_longer_than_the_span_keeps_two_snapshots() {
        let start = Instant::now();
        let mut history = History::default();
        for minute in 0..5 {
            history.add(&stats(minute * 60), start + Duration::from_mins(minute.into()));
        }
        assert_eq!(rate(history.total().unwrap().per_second), "1.0");
    }
}
