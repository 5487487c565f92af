//! A pipeline in words.

use std::fmt;

use serde::Serialize;

use super::Pipeline;
use crate::component::{Component, Kind};
use crate::settings::{Effective, Value};

/// The stages of a pipeline, outer to inner, with every setting in force and where it came from.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// The operation.
    pub operation: String,
    /// Whether it may run twice with the effect of once.
    pub idempotent: bool,
    /// The stages, outer to inner.
    pub stages: Vec<StageExplanation>,
}

/// One stage of a pipeline.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StageExplanation {
    /// The kind of the component.
    pub kind: Kind,
    /// Its name.
    pub component: String,
    /// Its settings.
    pub settings: Vec<Effective>,
}

impl Pipeline {
    /// The stages of this pipeline, outer to inner, with every setting in force and where it came from.
    ///
    /// ```
    /// let pipeline = resilient::Pipeline::builder("checkout").retry("gateway").timeout("gateway").build();
    /// println!("{}", pipeline.explain());
    /// # let kinds: Vec<_> = pipeline.explain().stages.iter().map(|stage| stage.kind.as_str()).collect();
    /// # assert_eq!(kinds, ["timeout", "retry"]);
    /// ```
    pub fn explain(&self) -> Explanation {
        let stages = [
            stage(self.fallback.as_deref()),
            stage(self.coalesce.as_deref()),
            stage(self.timeout.as_deref()),
            stage(self.load_shed.as_deref()),
            stage(self.retry.as_deref()),
            stage(self.hedge.as_deref()),
            stage(self.circuit_breaker.as_deref()),
            stage(self.rate_limit.as_deref()),
            stage(self.bulkhead.as_deref()),
        ];
        Explanation {
            operation: self.name().to_owned(),
            idempotent: self.idempotent,
            stages: stages.into_iter().flatten().collect(),
        }
    }
}

fn stage<C: Component>(component: Option<&C>) -> Option<StageExplanation> {
    let component = component?;
    let settings = component.effective();
    Some(StageExplanation { kind: C::KIND, component: component.name().to_owned(), settings })
}

impl fmt::Display for Explanation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let idempotent = if self.idempotent { " (idempotent)" } else { "" };
        writeln!(f, "{}{idempotent}, outer to inner:", self.operation)?;
        for StageExplanation { kind, component, settings } in &self.stages {
            writeln!(f, "  {kind} `{component}`")?;
            for Effective { field, value, origin } in settings.iter().filter(|set| set.value != Value::Unset)
            {
                writeln!(f, "    {field} = {value}  ({origin})")?;
            }
        }
        write!(f, "  the body")
    }
}
