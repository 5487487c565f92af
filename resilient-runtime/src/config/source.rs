//! Sources of settings, such as files, and the results of loading them.
//!
//! A source is a component, so that it is included in statistics and events.

use std::fmt;

use serde::Serialize;

use crate::component::{Component, Core, Create, Kind};
use crate::observe::{Describe, EventKind, LogLimit, log_limited};
use crate::settings::settings;
use crate::sync::Mutex;

settings! {
    /// The settings of a source. There are none.
    ///
    /// ```
    /// use resilient_runtime::{config::SourceConfig, settings::Settings};
    ///
    /// assert!(SourceConfig::FIELDS.is_empty());
    /// ```
    pub struct Config: config_source {}
}

/// A snapshot of a source of settings.
///
/// ```
/// use resilient_runtime::{Component, Registry, config::Tables};
///
/// let registry = Registry::new();
/// registry.apply("mine", &Tables::default()).unwrap();
/// let stats = registry.config_source("mine").stats();
/// assert_eq!((stats.applied, stats.refused, stats.problem), (1, 0, None));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Stats {
    /// How often its settings were applied.
    pub applied: u64,
    /// How often its settings were refused, so that the previous ones stayed in effect.
    pub refused: u64,
    /// The 64-bit FNV-1a hash of the text in effect, in hexadecimal, if there is one.
    ///
    /// Equal texts have equal digests.
    pub digest: Option<String>,
    /// The problems of the last attempt, one line each, if it was refused.
    pub problem: Option<String>,
}

impl Describe for Stats {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "applied {}, refused {}", self.applied, self.refused)?;
        if let Some(digest) = &self.digest {
            write!(f, "; digest {digest}")?;
        }
        for problem in self.problem.iter().flat_map(|problem| problem.lines()) {
            write!(f, "\n! {problem}")?;
        }
        Ok(())
    }
}

/// A source of settings, such as a file.
///
/// ```
/// use resilient_runtime::{Component, Kind, Registry, config::Source};
///
/// let source: std::sync::Arc<Source> = Registry::new().config_source("mine");
/// assert_eq!((Source::KIND, source.name(), source.stats().applied), (Kind::ConfigSource, "mine", 0));
/// ```
#[derive(Debug)]
pub struct Source {
    core: Core<Config>,
    stats: Mutex<Stats>,
    log_limit: LogLimit,
}

impl Source {
    /// Records that the settings were applied and how many components changed.
    pub(crate) fn applied(&self, changed: usize, digest: Option<String>) {
        {
            let mut stats = self.stats.lock();
            stats.applied += 1;
            stats.problem = None;
            stats.digest = digest;
            self.core.put(Self::KIND, || EventKind::SettingsApplied { changed });
        }
        self.core.events().deliver();
        let name = self.core.name;
        tracing::info!(target: "resilient_runtime::config", source = %name, changed, "settings applied");
    }

    /// Reports applied settings for components that do not exist.
    pub(crate) fn unused(&self, settings: Vec<String>) {
        self.core.publish(Self::KIND, EventKind::SettingsUnused { settings });
    }

    /// Records that the settings were refused.
    pub(crate) fn refused(&self, problem: &str) {
        {
            let mut stats = self.stats.lock();
            stats.refused += 1;
            stats.problem = Some(problem.to_owned());
            self.core.put(Self::KIND, || EventKind::SettingsRefused { problem: problem.to_owned() });
        }
        self.core.events().deliver();
        log_limited!(
            self.log_limit, self.core.clock(), ERROR, target: "resilient_runtime::config",
            source = %self.core.name, problem, "settings refused; the previous settings stay in effect"
        );
    }
}

impl Create for Source {
    const ALWAYS_ON: Option<&str> = Some("a source of settings cannot be disabled; remove the file instead");

    fn create(core: Core<Config>) -> Self {
        Self { core, stats: Mutex::default(), log_limit: LogLimit::new() }
    }
}

impl Component for Source {
    const KIND: Kind = Kind::ConfigSource;
    type Config = Config;
    type Stats = Stats;

    fn core(&self) -> &Core<Config> {
        &self.core
    }

    fn stats(&self) -> Stats {
        self.stats.lock().clone()
    }

    /// Resets the counters. The settings stay in effect.
    fn reset(&self) {
        {
            let mut stats = self.stats.lock();
            *stats = Stats { digest: stats.digest.take(), ..Stats::default() };
            self.core.put(Self::KIND, || EventKind::Reset);
        }
        self.core.events().deliver();
    }
}
