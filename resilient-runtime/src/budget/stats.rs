//! What a retry budget counts.

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
    /// Tokens in the bucket; 0 while there is a debt.
    pub tokens: f64,
    /// Tokens it can hold.
    pub capacity: f64,
    /// Calls that have deposited.
    pub calls: u64,
    /// Retries granted.
    pub withdrawn: u64,
    /// Of them, those made without a token because calls were few, or the budget is switched off.
    pub free: u64,
    /// Retries refused.
    pub denied: u64,
}

impl Describe for Stats {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} of {:.0}, {} denied", self.tokens, self.capacity, self.denied)
    }
}
