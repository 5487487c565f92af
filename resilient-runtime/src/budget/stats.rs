//! The statistics of a retry budget.

use std::fmt;

use serde::Serialize;

use crate::observe::Describe;

/// A snapshot of a [`RetryBudget`](crate::RetryBudget).
///
/// ```
/// use resilient_runtime::{Component, Registry};
///
/// let backend = Registry::new().retry_budget("backend");
/// assert!(backend.try_withdraw());
/// let stats = backend.stats();
/// assert_eq!((stats.withdrawn, stats.denied), (1, 0));
/// assert!(stats.tokens <= stats.capacity);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// The tokens in the bucket; 0 while there is a debt.
    pub tokens: f64,
    /// The maximum number of tokens.
    pub capacity: f64,
    /// The number of calls that made a deposit.
    pub calls: u64,
    /// The number of granted retries.
    pub withdrawn: u64,
    /// The number of retries granted without a token because calls were few or the budget is disabled.
    pub free: u64,
    /// The number of denied retries.
    pub denied: u64,
}

impl Describe for Stats {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} of {:.0}, {} denied", self.tokens, self.capacity, self.denied)
    }
}
