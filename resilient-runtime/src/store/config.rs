//! Settings of a store.

use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use crate::settings::{ConfigError, Secret, settings};

/// Maximum size of a file with a URL, in bytes.
const LONGEST_URL: u64 = 64 * 1024;

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
                let text =
                    read(path).map_err(|error| format!("its `url_file` {path} cannot be read: {error}"))?;
                Ok(Some(text.trim().into()))
            }
            (None, None) => Ok(None),
        }
    }

    /// Whether the settings say where the store is.
    pub(super) fn has_url(&self) -> bool {
        self.url.is_some() || self.url_file.is_some()
    }

    /// The settings that a connector uses.
    pub(super) fn place(&self) -> Place<'_> {
        Place {
            url: self.url.as_ref(),
            url_file: self.url_file.as_deref(),
            prefix: self.prefix.as_deref(),
            timeout: self.timeout,
        }
    }
}

/// The settings that a connector uses. If they change, the store is opened again.
#[derive(PartialEq)]
pub(super) struct Place<'a> {
    url: Option<&'a Secret>,
    url_file: Option<&'a str>,
    prefix: Option<&'a str>,
    timeout: Duration,
}

impl Place<'_> {
    /// The address for people, without a login, if the settings have one.
    pub(super) fn shown(&self) -> Option<String> {
        self.url.map(ToString::to_string).or_else(|| self.url_file.map(|path| format!("url in {path}")))
    }
}

/// Reads a file that should contain a URL. A larger file is an error.
fn read(path: &str) -> std::io::Result<String> {
    let mut text = String::new();
    std::fs::File::open(path)?.take(LONGEST_URL + 1).read_to_string(&mut text)?;
    if text.len() as u64 > LONGEST_URL {
        return Err(std::io::Error::other(format!("it has more than {LONGEST_URL} bytes")));
    }
    Ok(text)
}
