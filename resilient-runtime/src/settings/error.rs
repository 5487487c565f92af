//! Errors of settings.

use std::borrow::Cow;
use std::fmt;

use super::{Parameter, Value};

/// An invalid setting.
///
/// ```
/// use resilient_runtime::{hedge::Config, settings::{Settings, Value}};
///
/// let error = Config::default().percentile(101.0).validate().unwrap_err();
/// let problem = &error.problems()[0];
/// assert_eq!((problem.field, &problem.value), ("percentile", &Value::Number(101.0)));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct SettingProblem {
    /// The name of the field.
    pub field: &'static str,
    /// The invalid value.
    pub value: Value,
    /// The requirement for the value, or the reason why it is invalid.
    pub allowed: Cow<'static, str>,
}

/// The error for invalid settings, with all problems.
///
/// None of the settings has been applied.
///
/// ```
/// use resilient_runtime::{Component, Registry, bulkhead::Config};
///
/// let error = Registry::new().bulkhead("gateway").reconfigure(Config::default().max_concurrent(0));
/// let message = error.unwrap_err().to_string();
/// assert_eq!(message, "`max_concurrent` = 0 is invalid: must be from 1 to 1000000 calls");
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ConfigError {
    pub(super) problems: Vec<SettingProblem>,
}

impl ConfigError {
    /// Returns the problems, in the order of the fields.
    ///
    /// ```
    /// use resilient_runtime::{bulkhead::Config, settings::Settings};
    ///
    /// let error = Config::default().max_concurrent(0).max_queue(9).validate().unwrap_err();
    /// assert!(error.problems().len() >= 2, "all problems: {error}");
    /// ```
    pub fn problems(&self) -> &[SettingProblem] {
        &self.problems
    }

    /// Adds a problem unless `holds`.
    #[allow(clippy::needless_pass_by_value)] // every caller reads better without an `&`
    pub(crate) fn require(
        &mut self,
        holds: bool,
        field: &'static str,
        value: impl Parameter,
        allowed: impl Into<Cow<'static, str>>,
    ) {
        if !holds {
            self.problems.push(SettingProblem { field, value: value.to_value(), allowed: allowed.into() });
        }
    }

    /// Removes the problems that `other` also has.
    pub(crate) fn without(mut self, other: &Self) -> Self {
        self.problems.retain(|problem| !other.problems.contains(problem));
        self
    }

    /// Sorts the problems in the order of the fields.
    pub(crate) fn in_order(mut self, fields: &[&str]) -> Self {
        self.problems.sort_by_key(|problem| fields.iter().position(|field| *field == problem.field));
        self
    }

    /// Returns `Ok` if there are no problems.
    pub(crate) fn finish(self) -> Result<(), Self> {
        if self.problems.is_empty() { Ok(()) } else { Err(self) }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            let SettingProblem { field, value, allowed } = problem;
            write!(f, "{separator}`{field}` = {value} is invalid: {allowed}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}
