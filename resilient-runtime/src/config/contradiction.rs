//! Settings that contradict each other.

use std::fmt;

use crate::component::Kind;
use crate::settings::ConfigError;

/// Settings of one component that contradict each other.
///
/// ```
/// use resilient_runtime::{Kind, Registry, config::Tables, settings::Raw};
///
/// let mut tables = Tables::default();
/// tables.set(Kind::Bulkhead, Some("db"), "max_queue", &Raw::Integer(9)).unwrap();
/// let contradictions = Registry::new().apply("mine", &tables).unwrap_err();
/// assert_eq!((contradictions[0].kind, contradictions[0].name.as_str()), (Kind::Bulkhead, "db"));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Contradiction {
    /// The kind of the component.
    pub kind: Kind,
    /// The name of the component.
    pub name: String,
    /// The problems.
    pub error: ConfigError,
}

impl fmt::Display for Contradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} `{}`: {}", self.kind, self.name, self.error)
    }
}
