//! The settings of a coalescer and their defaults.

use crate::settings::{ConfigError, settings};

settings! {
    /// The settings of a [`Coalesce`](crate::Coalesce).
    pub struct Config {}
}

impl Config {
    #[allow(clippy::unused_self)] // the form that every config has
    pub(super) fn check(&self, _: &mut ConfigError) {}
}
