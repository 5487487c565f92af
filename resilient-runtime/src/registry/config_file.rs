//! Applies settings files to a registry.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Registry;
use crate::component::Kind;
use crate::config::{ConfigFile, Contradiction, FileWatch, LoadError, Source, Tables, Target};

impl Target for Registry {
    fn source(&self, name: &str) -> Arc<Source> {
        self.config_source(name)
    }

    fn apply_tables(&self, tables: &Tables) -> Result<usize, Vec<Contradiction>> {
        self.configure_quietly(tables)
    }

    fn contradictions(&self, tables: &Tables) -> Vec<Contradiction> {
        Self::contradictions(self, tables)
    }

    fn named_by(&self, tables: &Tables, kind: Kind, variable: &str) -> BTreeSet<String> {
        Self::named_by(self, tables, kind, variable)
    }

    fn report_unused(&self, source: &str) {
        Self::report_unused(self, source);
    }
}

impl ConfigFile {
    /// Validates the file and the environment without applying them.
    ///
    /// ```
    /// use resilient_runtime::config::ConfigFile;
    /// # let path = std::env::temp_dir().join(format!("resilient-check-{}.toml", std::process::id()));
    ///
    /// std::fs::write(&path, "[bulkhead.db]\nmax_queue = 9\n")?;
    /// let error = ConfigFile::new(&path).check().unwrap_err();
    /// assert!(error.to_string().contains("max_wait"), "{error}");
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<_, std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Returns all problems, each with its place.
    pub fn check(&self) -> Result<(), LoadError> {
        self.apply(&Registry::new()).map(drop)
    }

    /// Reads and applies the file and the environment variables.
    ///
    /// Either all settings are applied or none. Returns the number of components that changed.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, config::ConfigFile};
    /// # let path = std::env::temp_dir().join(format!("resilient-apply-{}.toml", std::process::id()));
    ///
    /// let registry = Registry::new();
    /// let retry = registry.retry("stock");
    /// std::fs::write(&path, "[retry.default]\nmax = 1\n")?;
    /// assert_eq!(ConfigFile::new(&path).apply(&registry)?, 1);
    /// assert_eq!(retry.config().max, 1);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Returns all problems, each with its place. In that case nothing changes.
    pub fn apply(&self, registry: &Registry) -> Result<usize, LoadError> {
        self.apply_to(registry)
    }

    /// Applies the file, and again after each change of its content.
    ///
    /// Stops when the returned watch is dropped. A thread watches the folder of the file rather than the file
    /// itself, because editors replace files and Kubernetes swaps a symbolic link next to it. It also reads the
    /// file every five seconds. If the content is refused, the last valid settings stay in effect. The problem is
    /// reported by an event, in the log and in the statistics of the [source](Source). The next valid content is
    /// applied again.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, config::ConfigFile};
    /// # let path = std::env::temp_dir().join(format!("resilient-watch-{}.toml", std::process::id()));
    /// # std::fs::write(&path, "[retry.stock]\nmax = 5\n")?;
    ///
    /// let registry = Registry::new();
    /// let watch = ConfigFile::new(&path).watch(&registry)?;
    /// assert_eq!(registry.retry("stock").config().max, 5, "applied at once");
    /// drop(watch); // stops watching
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error if the file cannot be applied now.
    pub fn watch(self, registry: &Registry) -> Result<FileWatch, LoadError> {
        self.watch_for(registry)
    }
}
