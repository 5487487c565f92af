//! The target of a settings file.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Contradiction, Source, Tables};
use crate::component::Kind;

/// Holds components, and applies external settings to them. The registry implements this trait, so that this module
/// does not depend on the registry.
pub(crate) trait Target: Clone + Send + 'static {
    /// Returns the source with this name, which records whether its settings were applied.
    fn source(&self, name: &str) -> Arc<Source>;

    /// Applies the settings. Either all settings are applied or none. Returns the number of components that
    /// changed.
    fn apply_tables(&self, tables: &Tables) -> Result<usize, Vec<Contradiction>>;

    /// Returns every component whose settings contradict each other.
    fn contradictions(&self, tables: &Tables) -> Vec<Contradiction>;

    /// Returns the names that an environment variable can refer to.
    fn named_by(&self, tables: &Tables, kind: Kind, variable: &str) -> BTreeSet<String>;

    /// Reports applied settings for components that do not exist.
    fn report_unused(&self, source: &str);
}
