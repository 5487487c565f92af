//! Settings of a store.

use std::sync::Arc;
use std::time::Duration;

use crate::settings::{ConfigError, Secret, settings};

settings! {
    /// Settings of a [`Store`](crate::Store).
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, store::Config};
    ///
    /// let store = Registry::new().store("shared");
    /// store.reconfigure(Config::default().url("redis://shop:s3cret@cache.internal")).unwrap();
    /// assert_eq!(store.config().url.as_ref().unwrap().to_string(), "redis://***@cache.internal");
    /// ```
    pub struct Config: store, check {
        url: Option<Secret>,
        url_file: Option<Arc<str>>,
        prefix: Option<Arc<str>>,
        timeout: Duration,
        max_concurrent: u32,
        open_after: u32,
        open_for: Duration,
    }
}

impl Config {
    fn check(&self, error: &mut ConfigError) {
        let is_one = self.url.is_none() || self.url_file.is_none();
        error.require(is_one, "url_file", self.url_file.clone(), "unset if `url` is set: use one of them");
    }

    /// The URL with its login, if one is set.
    ///
    /// # Errors
    /// Returns why the file cannot be read.
    pub(super) fn whole_url(&self) -> Result<Option<Secret>, String> {
        match (&self.url, &self.url_file) {
            (Some(url), _) => Ok(Some(url.clone())),
            (None, Some(path)) => {
                let read = std::fs::read_to_string(&**path);
                let text = read.map_err(|error| format!("its `url_file` {path} cannot be read: {error}"))?;
                Ok(Some(text.trim().into()))
            }
            (None, None) => Ok(None),
        }
    }

    /// Whether the settings say where the store is.
    pub(super) fn has_url(&self) -> bool {
        self.url.is_some() || self.url_file.is_some()
    }
}
