//! Everything that is wrong with a registry, found before it matters.

use std::collections::BTreeMap;
use std::fmt;

use super::shelf::OVERFLOW;
use super::{Registry, name};
use crate::component::Kind;
use crate::site;

/// What [`Registry::validate`] found; one line for each problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidationError {
    problems: Vec<String>,
}

impl ValidationError {
    /// One line for each problem.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }
}

impl fmt::Display for ValidationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for ValidationError {}

impl Registry {
    /// Whether everything about the annotated functions and components fits together; good to call at the
    /// start of `main`. In the process's registry it makes the components of all annotated functions.
    ///
    /// # Errors
    /// With all that is wrong: one name with different inline settings, settings that cannot be, names that
    /// differ in case only, names that had to be changed, too many names.
    pub fn validate(&self) -> Result<(), ValidationError> {
        self.know_sites();
        let mut problems = self.0.conflicts.lock().problems();
        let refused = self.stats().config_source.into_values().filter_map(|source| source.problem);
        problems.extend(refused.flat_map(|problem| problem.lines().map(str::to_owned).collect::<Vec<_>>()));
        for (kind, names) in self.names() {
            problems.extend(odd_names(kind, &names));
        }
        if problems.is_empty() { Ok(()) } else { Err(ValidationError { problems }) }
    }

    /// In the process's registry: makes the components of all annotated functions.
    pub(super) fn know_sites(&self) {
        if self.is_global() {
            site::all().into_iter().filter(|site| !site.meta().own_registry).for_each(|site| {
                site.pipeline();
            });
        }
    }
}

fn odd_names(kind: Kind, names: &[String]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut by_lower_case = BTreeMap::<String, &str>::new();
    for name in names {
        if let Some(other) = by_lower_case.insert(name.to_lowercase(), name) {
            problems.push(format!("{kind}: `{other}` and `{name}` differ in case only, and are two"));
        }
        if name == OVERFLOW {
            problems.push(format!("{kind}: too many names; the later ones share `{OVERFLOW}`"));
        } else if name::is_changed(name) {
            problems
                .push(format!("{kind}: `{name}` stands for a name that is empty, too long or unprintable"));
        }
    }
    problems
}
