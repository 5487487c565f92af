//! The settings of a hedge and their defaults.

use crate::settings::{ConfigError, settings};

settings! {
    /// The settings of a [`Hedge`](crate::Hedge).
    pub struct Config {}
}

impl Config {
    #[allow(clippy::unused_self)] // the form that every config has
    pub(super) fn check(&self, _: &mut ConfigError) {}
}
