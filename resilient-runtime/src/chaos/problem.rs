//! The error of a fault that cannot be armed.

use std::fmt;

/// A fault that was refused, with all of its problems. Nothing was armed.
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::{Class, Registry, chaos::Fault};
///
/// let endless = Fault::error(Class::TRANSIENT).ttl(Duration::ZERO);
/// let error = Registry::new().chaos().inject(endless).unwrap_err();
/// assert_eq!(error.problems().len(), 2, "{error}");
/// assert!(error.to_string().contains("the time to live 0s is not from 1ms to 24h"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidFault(Vec<String>);

impl InvalidFault {
    pub(super) fn of(problem: impl Into<String>) -> Self {
        Self(vec![problem.into()])
    }

    /// Returns the problems, one sentence each.
    ///
    /// ```
    /// use resilient_runtime::{Class, Registry, chaos::Fault};
    ///
    /// let error = Registry::new().chaos().inject(Fault::error(Class::TRANSIENT)).unwrap_err();
    /// assert!(error.problems()[0].starts_with("the fault has no target"));
    /// ```
    pub fn problems(&self) -> &[String] {
        &self.0
    }
}

impl fmt::Display for InvalidFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the fault is refused: {}", self.0.join("; "))
    }
}

impl std::error::Error for InvalidFault {}

/// Collects the problems of a fault.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<String>);

impl Problems {
    /// Adds a problem unless `holds`.
    pub(super) fn require(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.0.push(problem());
        }
    }

    pub(super) fn extend(&mut self, error: InvalidFault) {
        self.0.extend(error.0);
    }

    pub(super) fn finish(self) -> Result<(), InvalidFault> {
        if self.0.is_empty() { Ok(()) } else { Err(InvalidFault(self.0)) }
    }
}
