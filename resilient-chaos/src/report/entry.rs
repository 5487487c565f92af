//! The entries of a journal.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::probe::Unit;
use crate::scenario::Rate;

/// An entry of a journal: what happened, and when.
///
/// It is one line of JSON in the file.
///
/// ```
/// use resilient_chaos::report::{Entry, EntryKind};
///
/// let line = r#"{"seconds":1.5,"entry":"note","by":"ada","text":"the pager rang"}"#;
/// let entry: Entry = serde_json::from_str(line).unwrap();
/// assert!(matches!(&entry.what, EntryKind::Note { by, .. } if by == "ada"));
/// assert_eq!(serde_json::to_string(&entry).unwrap(), line);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// The time since the first entry, in seconds of the registry's clock.
    pub seconds: f64,
    /// The event.
    #[serde(flatten)]
    pub what: EntryKind,
}

/// The event that an entry of a journal reports.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "entry")]
#[non_exhaustive]
pub enum EntryKind {
    /// The experiment began. The first entry.
    Began(Box<Began>),
    /// The experiment was not started.
    Refused {
        /// Each reason with its remedy.
        reasons: Vec<String>,
    },
    /// A part of the experiment began.
    Phase {
        /// The part.
        phase: Phase,
    },
    /// A step started or ended.
    Step {
        /// Its id.
        step: String,
        /// Whether it runs from now on.
        runs: bool,
        /// How many calls it hit, once it ended.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        injected: Option<u64>,
    },
    /// The rate of a step changed.
    Rate {
        /// The id of the step.
        step: String,
        /// The share of calls that are hit.
        rate: f64,
    },
    /// A probe was read.
    Probe {
        /// Its id.
        probe: String,
        /// The value, if there is one.
        value: Option<f64>,
        /// Whether it holds, if there is a value.
        holds: Option<bool>,
    },
    /// A circuit breaker changed its state.
    Circuit {
        /// Its name.
        breaker: String,
        /// The new state.
        state: String,
    },
    /// An alert fires or ended.
    Alert {
        /// Its name.
        alert: String,
        /// The severity while it fires.
        severity: Option<String>,
    },
    /// A health check has another result.
    Health {
        /// Its name.
        check: String,
        /// The result.
        status: String,
    },
    /// Something else that people should know.
    Warning {
        /// A description.
        text: String,
    },
    /// A note of a person.
    Note {
        /// The author.
        by: String,
        /// The text.
        text: String,
    },
    /// The chaos monkey decided.
    Decision {
        /// The fault that it injects, if it does.
        fault: Option<String>,
        /// The reason.
        reason: String,
        /// The local date and time.
        local: String,
    },
    /// The steady state or an expectation failed.
    Deviated {
        /// A description.
        what: String,
    },
    /// The experiment was aborted.
    Aborted {
        /// The reason.
        reason: String,
    },
    /// All faults were removed.
    RolledBack {
        /// The ids of the steps whose faults were still injected, in the order of removal.
        steps: Vec<String>,
        /// How long the removal took, in seconds of the registry's clock.
        took: f64,
    },
    /// The steady state held again.
    Recovered {
        /// The recovery time in seconds.
        took: f64,
    },
    /// The result of a check.
    Check(Check),
    /// The experiment ended. The last entry.
    Ended {
        /// The result.
        outcome: Outcome,
    },
}

/// A part of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Phase {
    /// The steady state is observed before the first fault.
    Before,
    /// Faults are injected.
    Steps,
    /// The steady state is awaited after the last fault.
    Recovery,
}

/// The result of an experiment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Outcome {
    /// The hypothesis held.
    Held,
    /// The steady state, an expectation or the recovery failed.
    Deviated,
    /// An abort rule, a person or an error ended the experiment.
    Aborted,
    /// The experiment did not start.
    Refused,
}

impl Outcome {
    /// Returns the exit code of a program that runs the experiment: 0 held, 1 deviated, 2 aborted, 3 refused.
    ///
    /// ```
    /// assert_eq!(resilient_chaos::report::Outcome::Aborted.exit_code(), 2);
    /// ```
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Held => 0,
            Self::Deviated => 1,
            Self::Aborted => 2,
            Self::Refused => 3,
        }
    }

    /// Returns the name used in JSON.
    ///
    /// ```
    /// assert_eq!(resilient_chaos::report::Outcome::Held.as_str(), "held");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Held => "held",
            Self::Deviated => "deviated",
            Self::Aborted => "aborted",
            Self::Refused => "refused",
        }
    }
}

/// The result of one check, which counts in the score.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Check {
    /// The name of the check.
    pub name: String,
    /// The group of the check.
    pub kind: CheckKind,
    /// Whether it passed. `None` if the experiment ended before.
    pub passed: Option<bool>,
    /// The measured value, as a text.
    pub detail: String,
    /// Its weight in the score.
    pub weight: u64,
    /// The share of the limit that was used, if the check has a numeric limit: 1 is exactly at the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub used: Option<f64>,
}

/// The group of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum CheckKind {
    /// A probe of the steady state.
    SteadyState,
    /// An expectation.
    Expectation,
    /// The recovery time.
    Recovery,
}

/// Facts about the scenario that the report shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Began {
    /// The name.
    pub name: String,
    /// The statement that the experiment shall confirm.
    pub hypothesis: String,
    /// The owner.
    pub owner: String,
    /// The seed.
    pub seed: u64,
    /// The environment in which it ran.
    pub environment: Option<String>,
    /// The date and time of the start.
    pub started: String,
    /// Whether only the probes were read.
    pub probes_only: bool,
    /// The probes.
    pub probes: Vec<ProbeInfo>,
    /// The steps.
    pub steps: Vec<StepInfo>,
    /// The longest accepted recovery time in seconds.
    pub recovery_within: f64,
}

/// Facts about a probe that the report shows.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ProbeInfo {
    /// The name.
    pub id: String,
    /// How values are written.
    pub unit: Unit,
    /// The smallest accepted value.
    pub min: Option<f64>,
    /// The largest accepted value.
    pub max: Option<f64>,
    /// The limit as a text.
    pub limit: String,
    /// Whether it aborts the experiment instead of being part of the steady state.
    pub aborts: bool,
}

/// Facts about a step that the report shows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StepInfo {
    /// The id.
    pub id: String,
    /// The planned start, from the start of the first step.
    pub start: Duration,
    /// The planned duration.
    pub duration: Duration,
    /// The fault as a text.
    pub fault: String,
    /// The share of calls that are hit.
    pub rate: Rate,
}
