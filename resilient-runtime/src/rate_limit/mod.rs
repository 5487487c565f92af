//! Bounds how often calls may begin.

mod config;
mod stats;

use std::sync::Arc;

pub use config::Config;
pub use stats::Stats;

use crate::component::{Component, Core, Create, Kind};
use crate::observe::Happening;
use crate::settings::{ConfigError, Effective};

/// Bounds how often calls may begin. See the [module](self).
#[derive(Debug)]
pub struct RateLimiter {
    core: Core<Config>,
}

impl Create for RateLimiter {
    fn create(core: Core<Config>) -> Self {
        Self { core }
    }

    fn core(&self) -> &Core<Config> {
        &self.core
    }
}

impl Component for RateLimiter {
    const KIND: Kind = Kind::RateLimit;
    type Config = Config;
    type Stats = Stats;

    fn name(&self) -> &str {
        self.core.name
    }

    fn stats(&self) -> Stats {
        Stats { calls: 0 }
    }

    fn reset(&self) {
        self.core.publish(Self::KIND, Happening::Reset);
    }

    fn config(&self) -> Arc<Config> {
        self.core.config()
    }

    fn reconfigure(&self, config: Config) -> Result<(), ConfigError> {
        self.core.reconfigure(Self::KIND, config, |_| ())
    }

    fn effective(&self) -> Vec<Effective> {
        self.core.settings.effective()
    }
}
