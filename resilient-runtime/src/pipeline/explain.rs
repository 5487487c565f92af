//! Describes a pipeline for people and for JSON.

use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::{OutcomeExplanation, Pipeline};
use crate::component::{Component, Create, Kind};
use crate::kind::table::components;
use crate::level::Level;
use crate::rejection::RejectionKind;
use crate::seconds::optional_seconds;
use crate::settings::{Effective, Value};

/// The stages of a pipeline from outer to inner, with their effective settings.
///
/// Each setting has its origin. [`outcomes`](Self::outcomes) describes how each kind of failure is handled.
///
/// ```
/// let order = resilient_runtime::Registry::new().pipeline("order").retry("db").build().explain();
/// assert!(order.to_string().starts_with("order, outer to inner:\n  retry `db`\n    max = 3  (default)"));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Explanation {
    /// The name of the operation.
    pub operation: String,
    /// Whether it is idempotent: running it twice has the same effect as running it once.
    pub idempotent: bool,
    /// The stages, from outer to inner.
    pub stages: Vec<StageExplanation>,
    /// How each kind of failure is handled.
    pub outcomes: Vec<OutcomeExplanation>,
    /// The calls that support all stages. `None` for an annotated function.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub called_by: Option<Vec<String>>,
}

/// One stage of a pipeline.
///
/// ```
/// use resilient_runtime::{Kind, Registry};
///
/// let order = Registry::new().pipeline("order").timeout("db").build().explain();
/// let stage = &order.stages[0];
/// assert_eq!((stage.kind, stage.component.as_str(), stage.settings[0].field), (Kind::Timeout, "db", "total"));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct StageExplanation {
    /// The kind of its component.
    pub kind: Kind,
    /// The name of its component.
    pub component: String,
    /// The effective settings.
    pub settings: Vec<Effective>,
    /// Further notes, such as the number of calls that a retry budget did not retry. One line each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The levels of a fallback, in order.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub levels: Vec<LevelExplanation>,
}

/// A level of a fallback.
///
/// ```
/// use resilient_runtime::{Level, resilient};
///
/// #[resilient(fallback(default = Some(1.0)), name = "rate of the day")]
/// fn rate() -> Option<f64> {
///     None
/// }
/// assert_eq!(rate(), Some(1.0));
/// let explained = resilient_runtime::registry().explain("rate of the day").unwrap();
/// let level = &explained.stages[0].levels[0];
/// assert_eq!((level.level, level.timeout), (Level::Default, None));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct LevelExplanation {
    /// The kind of level.
    pub level: Level,
    /// Its own time limit. The deadline of the call applies too.
    ///
    /// Serialized in seconds. `None` for the built-in local cache, a default and synchronous code.
    #[serde(serialize_with = "optional_seconds")]
    pub timeout: Option<Duration>,
    /// The maximum age of a value that it serves, serialized in seconds. Only for the built-in caches.
    #[serde(serialize_with = "optional_seconds")]
    pub max_age: Option<Duration>,
}

impl Pipeline {
    /// Describes the stages from outer to inner, with their effective settings and the origin of each.
    ///
    /// ```
    /// let pipeline = resilient_runtime::Pipeline::builder("checkout").retry("gateway").timeout("gateway").build();
    /// println!("{}", pipeline.explain());
    /// # let kinds: Vec<_> = pipeline.explain().stages.iter().map(|stage| stage.kind.as_str()).collect();
    /// # assert_eq!(kinds, ["timeout", "retry"]);
    /// ```
    pub fn explain(&self) -> Explanation {
        Explanation {
            operation: self.name().to_owned(),
            idempotent: self.idempotent,
            stages: self.explain_stages(),
            outcomes: self.explain_outcomes(),
            called_by: self.called_by(),
        }
    }

    fn explain_levels(&self) -> Vec<LevelExplanation> {
        let Some(config) = self.stages.fallback.as_ref().map(|fallback| fallback.config()) else {
            return Vec::new();
        };
        let explain = |level: &Level| {
            let is_kept = *level == Level::LocalCache && self.keeps;
            // A read of the store ends in time in a synchronous call too.
            let is_distributed =
                *level == Level::DistributedCache && config.distributed_cache_store.is_some();
            let is_limited = is_distributed || self.asynchronous && !is_kept;
            let timeout = config.timeout_of(*level).filter(|_| is_limited);
            let max_age = is_kept
                .then_some(config.cache_max_age)
                .or(is_distributed.then_some(config.distributed_cache_max_age));
            LevelExplanation { level: *level, timeout, max_age }
        };
        self.levels.iter().map(explain).collect()
    }

    fn explain_stage<C: Create>(&self, component: &C) -> StageExplanation {
        StageExplanation {
            kind: C::KIND,
            component: component.name().to_owned(),
            settings: component.effective(),
            notes: component.notes(),
            levels: if C::KIND == Kind::Fallback { self.explain_levels() } else { Vec::new() },
        }
    }
}

macro_rules! explained {
    ($($kind:ident $name:ident $accessor:ident $module:ident::{$type:ident, $stats:ident} $make:ident;)*) => {
        impl Pipeline {
            fn explain_stages(&self) -> Vec<StageExplanation> {
                let stages = [$(self.stages.$name.as_deref().map(|component| self.explain_stage(component)),)*];
                stages.into_iter().flatten().collect()
            }

            /// The kinds of rejection and timeout that its stages can return.
            pub(super) fn refusals(&self) -> Vec<RejectionKind> {
                fn of<C: Create>(_: &C) -> &'static [RejectionKind] {
                    C::REFUSALS
                }
                let refusals = [$(self.stages.$name.as_deref().map(of).unwrap_or_default(),)*].concat();
                // Each kind is listed once. A call without the attribute can lack an option that a stage needs.
                let is_given = |kind: &RejectionKind| {
                    refusals.contains(kind) || *kind == RejectionKind::Unsupported && self.is_by_hand
                };
                RejectionKind::ALL.iter().copied().filter(is_given).collect()
            }
        }
    };
}

components!(stages explained);

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let idempotent = if self.idempotent { " (idempotent)" } else { "" };
        writeln!(f, "{}{idempotent}, outer to inner:", self.operation)?;
        for StageExplanation { kind, component, settings, notes, levels } in &self.stages {
            writeln!(f, "  {kind} `{component}`")?;
            for Effective { field, value, origin } in settings.iter().filter(|set| set.value != Value::Unset)
            {
                writeln!(f, "    {field} = {value}  ({origin})")?;
            }
            for note in notes {
                writeln!(f, "    {note}")?;
            }
            for (index, LevelExplanation { level, timeout, max_age }) in levels.iter().enumerate() {
                write!(f, "    {}. {level}", index + 1)?;
                if let Some(span) = timeout {
                    write!(f, ", timeout {span:?}")?;
                }
                if let Some(span) = max_age {
                    write!(f, ", max age {span:?}")?;
                }
                writeln!(f)?;
            }
        }
        writeln!(f, "  body\noutcomes:")?;
        for (index, OutcomeExplanation { outcome, treatment }) in self.outcomes.iter().enumerate() {
            let end = if index + 1 < self.outcomes.len() { "\n" } else { "" };
            write!(f, "  {outcome}: {treatment}{end}")?;
        }
        match self.called_by.as_deref() {
            None => Ok(()),
            Some([]) => write!(f, "\nno call method supports all of these stages; nest two pipelines"),
            Some(calls) => write!(f, "\nsupported calls: {}", calls.join(", ")),
        }
    }
}
