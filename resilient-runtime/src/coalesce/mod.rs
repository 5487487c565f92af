//! Lets equal calls at the same time share one flight.

mod config;
mod stats;

use std::sync::Arc;

pub use config::Config;
pub use stats::Stats;

use crate::component::{Component, Core, Create, Kind};
use crate::observe::Happening;
use crate::settings::{ConfigError, Effective};

/// Lets equal calls at the same time share one flight. See the [module](self).
#[derive(Debug)]
pub struct Coalesce {
    core: Core<Config>,
}

impl Create for Coalesce {
    fn create(core: Core<Config>) -> Self {
        Self { core }
    }

    fn core(&self) -> &Core<Config> {
        &self.core
    }
}

impl Component for Coalesce {
    const KIND: Kind = Kind::Coalesce;
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
