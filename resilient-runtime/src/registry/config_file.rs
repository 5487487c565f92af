//! How a file of settings reaches the components of a registry.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::Registry;
use crate::component::Kind;
use crate::config::{ConfigFile, Contradiction, FileWatch, LoadError, Source, Tables, Target};

impl Target for Registry {
    fn source(&self, name: &str) -> Arc<Source> {
        self.config_source(name)
    }

    fn put(&self, tables: &Tables) -> Result<usize, Vec<Contradiction>> {
        self.configure_quietly(tables)
    }

    fn contradictions(&self, tables: &Tables) -> Vec<Contradiction> {
        Self::contradictions(self, tables)
    }

    fn named_by(&self, tables: &Tables, kind: Kind, variable: &str) -> BTreeSet<String> {
        Self::named_by(self, tables, kind, variable)
    }

    fn tell_unused(&self, source: &str) {
        Self::tell_unused(self, source);
    }
}

impl ConfigFile {
    /// Whether everything in it can be, without putting it in force.
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
    /// With all that is wrong, each with its place.
    pub fn check(&self) -> Result<(), LoadError> {
        self.apply(&Registry::new()).map(drop)
    }

    /// Reads the file and the environment and puts them in force, all or nothing. How many components changed.
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
    /// With all that is wrong, each with its place; then nothing has changed.
    pub fn apply(&self, registry: &Registry) -> Result<usize, LoadError> {
        self.apply_to(registry)
    }

    /// Puts the file in force, and again whenever its content has changed, until what it gives is dropped.
    ///
    /// A thread waits for changes in the folder of the file, not of the file itself: editors replace it, and Kubernetes
    /// swaps a link beside it. Every five seconds it looks anyway. A content that is refused leaves the last good one in
    /// force; that is an event, an error in the log and in the statistics of the [source](Source), and the next
    /// good content is put in force again.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, config::ConfigFile};
    /// # let path = std::env::temp_dir().join(format!("resilient-watch-{}.toml", std::process::id()));
    /// # std::fs::write(&path, "[retry.stock]\nmax = 5\n")?;
    ///
    /// let registry = Registry::new();
    /// let watch = ConfigFile::new(&path).watch(&registry)?;
    /// assert_eq!(registry.retry("stock").config().max, 5, "in force at once");
    /// drop(watch); // from here on changes are not followed
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// When the file cannot be put in force now.
    pub fn watch(self, registry: &Registry) -> Result<FileWatch, LoadError> {
        self.watch_for(registry)
    }
}
