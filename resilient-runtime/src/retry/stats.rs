//! The statistics of a retry.

use std::fmt;
use std::sync::Arc;

use serde::Serialize;

use super::Stop;
use crate::budget;
use crate::last_error::LastError;
use crate::observe::{Describe, Family};

/// A lock protects the counters, because a call that succeeds at once does not use them.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) retries: u64,
    pub(super) recovered: u64,
    exhausted: u64,
    not_retryable: u64,
    may_have_run: u64,
    nested: u64,
    out_of_time: u64,
    hint_too_long: u64,
    circuit_open: u64,
    denied_by_budget: u64,
    no_timer: u64,
}

impl Counters {
    pub(super) fn stopped(&mut self, stop: Stop) {
        *match stop {
            Stop::NotRetryable => &mut self.not_retryable,
            Stop::MayHaveRun => &mut self.may_have_run,
            Stop::Exhausted => &mut self.exhausted,
            Stop::Nested => &mut self.nested,
            Stop::OutOfTime => &mut self.out_of_time,
            Stop::HintTooLong => &mut self.hint_too_long,
            Stop::CircuitOpen => &mut self.circuit_open,
            Stop::Budget => &mut self.denied_by_budget,
            Stop::NoTimer => &mut self.no_timer,
        } += 1;
    }

    pub(super) fn denied_by_budget(&self) -> u64 {
        self.denied_by_budget
    }

    pub(super) fn snapshot(
        &self,
        budget_name: &str,
        budget: budget::Stats,
        last_error: Option<LastError>,
    ) -> Stats {
        Stats {
            retries: self.retries,
            recovered: self.recovered,
            exhausted: self.exhausted,
            not_retryable: self.not_retryable,
            may_have_run: self.may_have_run,
            nested: self.nested,
            out_of_time: self.out_of_time,
            hint_too_long: self.hint_too_long,
            circuit_open: self.circuit_open,
            denied_by_budget: self.denied_by_budget,
            no_timer: self.no_timer,
            budget_name: budget_name.into(),
            budget,
            last_error,
        }
    }
}

/// A snapshot of the statistics of a [`Retry`](crate::Retry).
///
/// ```
/// use resilient_runtime::{Component, Registry, clock::ManualClock};
///
/// let retry = Registry::with_clock(ManualClock::new().clock()).retry("stock");
/// retry.call(|| None::<u32>);
/// let stats = retry.stats();
/// assert_eq!((stats.retries, stats.exhausted, stats.recovered), (3, 1, 0));
/// assert_eq!(&*stats.budget_name, "stock");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// The number of retries made.
    pub retries: u64,
    /// Calls that succeeded after a retry.
    pub recovered: u64,
    /// Calls that failed after all their retries.
    pub exhausted: u64,
    /// Calls whose failure is not retryable.
    pub not_retryable: u64,
    /// Failures that were not retried because the attempt may have had an effect and the call is not idempotent.
    pub may_have_run: u64,
    /// Calls that were not retried because an outer call retries.
    pub nested: u64,
    /// Calls whose next attempt would exceed the deadline or `max_elapsed`.
    pub out_of_time: u64,
    /// Calls whose server requested a longer wait than `max_retry_after`.
    pub hint_too_long: u64,
    /// Calls whose next attempt an open circuit would have rejected.
    pub circuit_open: u64,
    /// Calls whose next attempt the retry budget denied.
    pub denied_by_budget: u64,
    /// Calls whose pause needed a timer, but none was available.
    pub no_timer: u64,
    /// The name of its budget. A budget that is not shared has the name of the retry.
    pub budget_name: Arc<str>,
    /// The statistics of its budget.
    pub budget: budget::Stats,
    /// The last error, if its text is known.
    pub last_error: Option<LastError>,
}

impl Describe for Stats {
    const METRICS: &[Family<Self>] = &[
        Family::counter(
            "resilient_retry_total",
            "Retries, and results of calls that failed.",
            |retry, to| {
                to.by(
                    "kind",
                    [
                        ("retried", retry.retries),
                        ("recovered", retry.recovered),
                        ("exhausted", retry.exhausted),
                        ("not_retryable", retry.not_retryable),
                        ("may_have_run", retry.may_have_run),
                        ("nested", retry.nested),
                        ("out_of_time", retry.out_of_time),
                        ("hint_too_long", retry.hint_too_long),
                        ("circuit_open", retry.circuit_open),
                        ("budget", retry.denied_by_budget),
                    ],
                );
            },
        ),
        Family::gauge("resilient_retry_budget_tokens", "Tokens left in the retry budget.", |retry, to| {
            to.add(retry.budget.tokens);
        }),
        Family::counter(
            "resilient_retry_budget_exhausted_total",
            "Retries that the retry budget denied.",
            |retry, to| {
                to.add(retry.budget.denied);
            },
        ),
    ];

    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { retries, recovered, exhausted, denied_by_budget, budget, .. } = self;
        write!(f, "{retries} retries, {recovered} calls recovered, {exhausted} exhausted")?;
        if *denied_by_budget > 0 {
            write!(f, ", {denied_by_budget} denied by the budget")?;
        }
        write!(f, "; budget {:.1} of {:.0}", budget.tokens, budget.capacity)
    }
}
