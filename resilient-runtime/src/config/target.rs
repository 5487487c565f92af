//! What a file of settings is applied to.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::{Contradiction, Source, Tables};
use crate::component::Kind;

/// Holds components, and puts settings from outside in force. The registry implements it, so that this module does not
/// know the registry.
pub(crate) trait Target: Clone + Send + 'static {
    /// The source of this name, which tells how its settings fared.
    fn source(&self, name: &str) -> Arc<Source>;

    /// Puts the settings in force, all or nothing. How many components changed.
    fn put(&self, tables: &Tables) -> Result<usize, Vec<Contradiction>>;

    /// Every component whose settings would not go together.
    fn contradictions(&self, tables: &Tables) -> Vec<Contradiction>;

    /// The names that a variable of the environment may mean.
    fn named_by(&self, tables: &Tables, kind: Kind, variable: &str) -> BTreeSet<String>;

    /// Says which of the settings in force are for nobody.
    fn tell_unused(&self, source: &str);
}
