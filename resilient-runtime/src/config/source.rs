//! Where settings from outside come from, and how that went: a component like all others, so that it shows in statistics
//! and events.

use std::fmt;

use serde::Serialize;

use crate::component::{Component, Core, Create, Kind};
use crate::observe::{Describe, EventKind, LogLimit, log_limited};
use crate::settings::settings;
use crate::sync::Mutex;

settings! {
    /// A source has no settings of its own.
    ///
    /// ```
    /// use resilient_runtime::{config::SourceConfig, settings::Settings};
    ///
    /// assert!(SourceConfig::FIELDS.is_empty());
    /// ```
    pub struct Config: config_source {}
}

/// How a source of settings stands.
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
    /// Times that its settings were applied.
    pub applied: u64,
    /// Times that they were refused: then the ones before stayed in force.
    pub refused: u64,
    /// The 64-bit FNV-1a hash of the text in force, in hexadecimal, where there is one: the same text, the same digest.
    pub digest: Option<String>,
    /// What was wrong the last time, if anything: one line for each problem.
    pub problem: Option<String>,
}

impl Describe for Stats {
    fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "applied {}, refused {}", self.applied, self.refused)?;
        if let Some(digest) = &self.digest {
            write!(f, "; in force {digest}")?;
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
    /// Its settings are in force; so many components changed.
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

    /// They are, and some of them are for nobody.
    pub(crate) fn unused(&self, settings: Vec<String>) {
        self.core.publish(Self::KIND, EventKind::SettingsUnused { settings });
    }

    /// They are not, and those before still are.
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
            source = %self.core.name, problem, "settings refused, those before stay in force"
        );
    }
}

impl Create for Source {
    const ALWAYS_ON: Option<&str> = Some("a source of settings cannot be switched off: remove the file");

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

    /// Zeroes the counts; the settings stay.
    fn reset(&self) {
        {
            let mut stats = self.stats.lock();
            *stats = Stats { digest: stats.digest.take(), ..Stats::default() };
            self.core.put(Self::KIND, || EventKind::Reset);
        }
        self.core.events().deliver();
    }
}
