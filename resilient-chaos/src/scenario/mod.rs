//! Scenarios: what an experiment injects, what must hold, and what is expected.
//!
//! A scenario is a TOML file. `docs/scenario-reference.md` lists every field. All problems of a file are reported at
//! once, with line and column:
//!
//! ```
//! let error = resilient_chaos::Scenario::parse("[scenario]\nowner = \"team-pay\"\nmax_duratoin = \"5m\"\n").unwrap_err();
//! assert!(error.to_string().contains("scenario:3:1: unknown field `max_duratoin`; did you mean `max_duration`?"), "{error}");
//! ```

mod build;
pub(crate) mod fields;
pub(crate) mod problem;
pub(crate) mod read;
mod reference;
mod scale;
mod schema;
mod shipped;
mod steps;
pub(crate) mod table;

use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

pub use problem::{InvalidScenario, Problem};
pub use reference::reference;
pub use schema::schema;
pub use shipped::{Shipped, shipped};

use crate::probe::ProbeSpec;

/// An experiment, as read from a file. All of its values are valid.
///
/// ```
/// let scenario = resilient_chaos::scenario::shipped("dependency-down").unwrap().scenario();
/// assert_eq!(scenario.name, "dependency-down");
/// assert!(scenario.steps.iter().all(|step| !step.duration.is_zero()), "every fault ends");
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Scenario {
    /// The name, which is also used for the names of reports.
    pub name: String,
    /// The statement that the experiment shall confirm.
    pub hypothesis: String,
    /// The team or person to ask about it.
    pub owner: String,
    /// Environments in which it may run, with `*` for any characters. Never empty.
    pub environment: Vec<String>,
    /// Decides which calls are hit.
    pub seed: u64,
    /// The longest duration of all steps and expectations together.
    pub max_duration: Duration,
    /// Time between two checks.
    pub interval: Duration,
    /// Time for which the steady state is observed before the first fault.
    pub observe_before: Duration,
    /// The reaction if the steady state or an expectation fails.
    pub on_deviation: OnDeviation,
    /// The conditions that must hold.
    pub steady_state: Vec<SteadyState>,
    /// The rules that abort the experiment.
    pub abort_when: Vec<AbortRule>,
    /// The limits of all steps together.
    pub blast_radius: BlastRadius,
    /// The faults, in the order of the file.
    pub steps: Vec<Step>,
    /// The requirements for the resilience.
    pub expectations: Vec<Expectation>,
    /// How fast the steady state must return.
    pub recovery: Recovery,
}

/// The reaction if the steady state or an expectation fails during the steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDeviation {
    /// All faults are removed.
    #[default]
    Stop,
    /// The deviation is recorded, and the experiment continues.
    Continue,
}

/// A probe that must hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SteadyState {
    /// The measurement.
    pub probe: ProbeSpec,
    /// Whether it must hold before and after the steps.
    pub at_edges: bool,
    /// Whether it must hold during the steps.
    pub during: bool,
    /// How long it must fail during the steps before it counts.
    pub debounce: Duration,
    /// Its weight in the score.
    pub weight: u64,
}

/// A probe that aborts the experiment if it does not hold.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct AbortRule {
    /// The measurement.
    pub probe: ProbeSpec,
    /// How long it must fail.
    pub debounce: Duration,
}

/// The limits of all steps together.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct BlastRadius {
    /// The largest share of the calls of one target, from 0 to 1.
    pub max_share: f64,
    /// The largest number of calls that one fault may hold at the same time.
    pub max_active: Option<u32>,
    /// Operations that no step may target, with `*` for any characters.
    pub exclude: Vec<String>,
}

/// A fault that is injected for a time.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Step {
    /// Identifies the step.
    pub id: String,
    /// The start, from the start of the first step.
    pub start: Duration,
    /// How long it runs.
    pub duration: Duration,
    /// The fault, as its specification in JSON.
    pub fault: serde_json::Value,
    /// The share of calls that are hit.
    pub rate: Rate,
}

impl Step {
    /// Returns the end, from the start of the first step.
    pub fn end(&self) -> Duration {
        self.start + self.duration
    }

    /// Returns the operations or patterns that the fault targets. Empty if it does not target operations by name.
    pub fn targets(&self) -> Vec<&str> {
        crate::faults::targets(&self.fault)
    }
}

/// The share of calls that are hit, over time.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Rate {
    /// The same share all the time.
    Fixed(f64),
    /// An even change.
    Ramp {
        /// The share at the start.
        from: f64,
        /// The share at the end of the ramp.
        to: f64,
        /// The duration of the ramp.
        over: Duration,
    },
}

impl Rate {
    /// Returns the rate after a time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_chaos::scenario::Rate;
    ///
    /// let ramp = Rate::Ramp { from: 0.0, to: 0.2, over: Duration::from_secs(10) };
    /// assert_eq!(ramp.at(Duration::from_secs(5)), 0.1);
    /// assert_eq!(ramp.at(Duration::from_hours(1)), 0.2);
    /// ```
    pub fn at(self, elapsed: Duration) -> f64 {
        match self {
            Self::Fixed(rate) => rate,
            Self::Ramp { to, over, .. } if over.is_zero() || elapsed >= over => to,
            Self::Ramp { from, to, over } => {
                from + (to - from) * (elapsed.as_secs_f64() / over.as_secs_f64())
            }
        }
    }

    /// Returns the smallest rate.
    pub(crate) fn least(self) -> f64 {
        match self {
            Self::Fixed(rate) => rate,
            Self::Ramp { from, to, .. } => from.min(to),
        }
    }

    /// Returns the largest rate.
    pub fn peak(self) -> f64 {
        match self {
            Self::Fixed(rate) => rate,
            Self::Ramp { from, to, .. } => from.max(to),
        }
    }
}

/// A requirement for the resilience of the program while a step runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Expectation {
    /// The name in the report.
    pub id: String,
    /// The id of the step.
    pub of: String,
    /// Its weight in the score.
    pub weight: u64,
    /// The requirement.
    pub what: Expected,
}

/// The requirement of an expectation.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "expect")]
#[non_exhaustive]
pub enum Expected {
    /// A circuit breaker reaches a state.
    Breaker {
        /// Its name.
        breaker: String,
        /// The state.
        state: String,
        /// The latest time, from the start of the step.
        within: Duration,
    },
    /// No call is served by a farther fallback level.
    Fallback {
        /// The name of the fallback.
        fallback: String,
        /// The farthest level that is accepted.
        at_most: String,
    },
    /// Callers see at most this share of errors.
    NoErrors {
        /// The name of the operation.
        operation: String,
        /// The largest accepted share.
        at_most: f64,
    },
    /// There are at most so many retries per call.
    Retries {
        /// The name of the retry.
        retry: String,
        /// The operation whose calls are counted.
        operation: String,
        /// The largest accepted number of retries per call.
        at_most: f64,
    },
    /// An alert fires.
    Alert {
        /// Its name.
        alert: String,
        /// Whether only the severity `critical` counts.
        critical: bool,
        /// The latest time, from the start of the step.
        within: Duration,
    },
}

impl Expected {
    /// Returns the latest time, from the start of the step, if there is one.
    pub fn within(&self) -> Option<Duration> {
        match self {
            Self::Breaker { within, .. } | Self::Alert { within, .. } => Some(*within),
            _ => None,
        }
    }
}

/// How fast the steady state must return.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Recovery {
    /// The longest accepted time after the last fault.
    pub within: Duration,
    /// How long the steady state must hold without a break.
    pub hold: Duration,
    /// Its weight in the score.
    pub weight: u64,
}

impl Scenario {
    /// Reads a scenario from a text.
    ///
    /// ```
    /// use resilient_chaos::{Scenario, scenario::shipped};
    ///
    /// let scenario = Scenario::parse(shipped("dependency-slow").unwrap().text).unwrap();
    /// assert_eq!(scenario.owner, "team-payments");
    /// ```
    ///
    /// # Errors
    /// Returns all problems of the text, each with its place and the remedy.
    pub fn parse(text: &str) -> Result<Self, InvalidScenario> {
        Self::parse_as(text, "")
    }

    /// Reads a scenario from a file.
    ///
    /// ```
    /// let error = resilient_chaos::Scenario::load("/no/such/file.toml").unwrap_err();
    /// assert!(error.to_string().starts_with("/no/such/file.toml: cannot be read"));
    /// ```
    ///
    /// # Errors
    /// Returns why the file cannot be read, or all of its problems.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, InvalidScenario> {
        let path = path.as_ref();
        let shown = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse_as(&text, &shown),
            Err(error) => Err(InvalidScenario::whole(&shown, format!("cannot be read: {error}"))),
        }
    }

    fn parse_as(text: &str, path: &str) -> Result<Self, InvalidScenario> {
        build::build(text).map_err(|problems| InvalidScenario::new(path, problems))
    }

    /// Returns the end of the last step, from the start of the first.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let scenario = resilient_chaos::scenario::shipped("dependency-down").unwrap().scenario();
    /// assert!(scenario.end_of_steps() <= scenario.max_duration);
    /// ```
    pub fn end_of_steps(&self) -> Duration {
        self.steps.iter().map(Step::end).max().unwrap_or_default()
    }

    /// Returns the step with this id.
    ///
    /// ```
    /// let scenario = resilient_chaos::scenario::shipped("dependency-down").unwrap().scenario();
    /// assert!(scenario.step("no-such-step").is_none());
    /// ```
    pub fn step(&self, id: &str) -> Option<&Step> {
        self.steps.iter().find(|step| step.id == id)
    }
}

#[cfg(test)]
mod tests;
