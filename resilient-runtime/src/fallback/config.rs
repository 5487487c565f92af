//! The settings of a fallback: none yet.

use crate::settings::{ConfigError, settings};

settings! {
    /// A [`Fallback`](crate::Fallback) has no settings: its levels are code.
    pub struct Config {}
}

impl Config {
    #[allow(clippy::unused_self)] // the form that every config has
    pub(super) fn check(&self, _: &mut ConfigError) {}
}
