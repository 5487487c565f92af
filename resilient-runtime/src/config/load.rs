//! Reads and applies a settings file and environment variables.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::environment;
use super::fault::{Fault, LoadError, Place, position};
use super::file::{Parsed, Setting};
use super::{Contradiction, Target};
use crate::component::Component;
use crate::fnv1a::fnv1a;

/// The maximum file size, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// A settings file, and the environment variables that override it.
///
/// See the [module documentation](super).
///
/// ```
/// use resilient_runtime::{Registry, config::ConfigFile};
///
/// # let path = std::env::temp_dir().join(format!("resilient-doc-{}.toml", std::process::id()));
/// std::fs::write(&path, "[bulkhead.gateway]\nmax_concurrent = 8\n")?;
/// let registry = Registry::new();
/// ConfigFile::new(&path).prefix("SHOP").apply(&registry)?;
/// # use resilient_runtime::Component;
/// assert_eq!(registry.bulkhead("gateway").config().max_concurrent, 8);
///
/// std::fs::write(&path, "[bulkhead.gateway]\nmax_concurent = 9\n")?;
/// let error = ConfigFile::new(&path).apply(&registry).unwrap_err();
/// assert!(error.to_string().ends_with(":2:1: unknown setting `max_concurent`; did you mean `max_concurrent`?"));
/// # std::fs::remove_file(&path)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct ConfigFile {
    path: PathBuf,
    prefix: String,
    /// Replaces the environment of the process, for tests.
    variables: Option<Vec<(OsString, OsString)>>,
}

impl ConfigFile {
    /// Creates a source from a file and from variables that begin with `RESILIENT__`.
    ///
    /// ```
    /// use resilient_runtime::config::ConfigFile;
    ///
    /// assert!(ConfigFile::new("resilient.toml").check().is_err(), "there is no such file here");
    /// ```
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), prefix: "RESILIENT".into(), variables: None }
    }

    /// Uses variables that begin with this prefix and `__`, instead of `RESILIENT__`.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, config::ConfigFile};
    /// # let path = std::env::temp_dir().join(format!("resilient-prefix-{}.toml", std::process::id()));
    ///
    /// std::fs::write(&path, "[retry.stock]\nmax = 5\n")?;
    /// let registry = Registry::new();
    /// let file = ConfigFile::new(&path).prefix("SHOP").variables([("SHOP__RETRY__STOCK__MAX", "7")]);
    /// file.apply(&registry)?;
    /// assert_eq!(registry.retry("stock").config().max, 7);
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Uses these variables instead of the environment of the process.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, config::ConfigFile};
    /// # let path = std::env::temp_dir().join(format!("resilient-variables-{}.toml", std::process::id()));
    ///
    /// std::fs::write(&path, "# all settings are in the environment\n")?;
    /// let registry = Registry::new();
    /// let variables = [("RESILIENT__TIMEOUT__DEFAULT__TOTAL", "2s")];
    /// ConfigFile::new(&path).variables(variables).apply(&registry)?;
    /// assert_eq!(registry.timeout("any").config().total, Some(std::time::Duration::from_secs(2)));
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn variables<K: Into<OsString>, V: Into<OsString>>(
        mut self,
        variables: impl IntoIterator<Item = (K, V)>,
    ) -> Self {
        self.variables = Some(variables.into_iter().map(|(key, value)| (key.into(), value.into())).collect());
        self
    }

    /// Returns the path of the file.
    ///
    /// ```
    /// use std::path::Path;
    /// use resilient_runtime::config::ConfigFile;
    ///
    /// assert_eq!(ConfigFile::new("resilient.toml").path(), Path::new("resilient.toml"));
    /// ```
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Reads and applies the file and the environment. Either all settings are applied or none.
    pub(crate) fn apply_to(&self, target: &impl Target) -> Result<usize, LoadError> {
        let text = self.read();
        self.apply_text(target, text)
    }

    pub(super) fn apply_text(
        &self,
        target: &impl Target,
        text: Result<String, LoadError>,
    ) -> Result<usize, LoadError> {
        let source = target.source(&self.path.display().to_string());
        let digest = text.as_ref().ok().map(|text| format!("{:016x}", fnv1a(text)));
        let outcome = text.and_then(|text| self.put(target, &text));
        match &outcome {
            Ok(changed) => {
                source.applied(*changed, digest);
                target.report_unused(source.name());
            }
            Err(error) => source.refused(&error.to_string()),
        }
        outcome
    }

    fn put(&self, target: &impl Target, text: &str) -> Result<usize, LoadError> {
        // A file that is being written can be empty for a moment. That must not reset the settings.
        if text.trim().is_empty() {
            return Err(LoadError::whole(
                &self.path,
                "is empty; add a comment to the file if this is intended",
            ));
        }
        let mut parsed = Parsed::of(text);
        match &self.variables {
            Some(given) => environment::read(&self.prefix, given.iter().cloned(), &mut parsed),
            None => environment::read(&self.prefix, std::env::vars_os(), &mut parsed),
        }
        let mut faults = std::mem::take(&mut parsed.faults);
        faults.extend(ambiguous(&parsed, target));
        if !faults.is_empty() {
            // Validate the remaining settings too, so that all problems are reported at once.
            faults.extend(located(&parsed, &target.contradictions(&parsed.tables)));
            return Err(LoadError::new(&self.path, faults));
        }
        let applied = target.apply_tables(&parsed.tables);
        applied.map_err(|problems| LoadError::new(&self.path, located(&parsed, &problems)))
    }

    /// Reads the text of the file.
    pub(super) fn read(&self) -> Result<String, LoadError> {
        let wrong = |what: String| LoadError::whole(&self.path, what);
        let cannot = |error: std::io::Error| wrong(format!("cannot be read: {error}"));
        let about = std::fs::metadata(&self.path).map_err(cannot)?;
        if about.is_dir() {
            return Err(wrong("is a directory, not a file".into()));
        }
        if about.len() > LARGEST {
            return Err(wrong(format!("has {} bytes; the maximum is {LARGEST}", about.len())));
        }
        if is_pipe(&about) {
            return Err(wrong("is a pipe or a socket, which could block forever".into()));
        }
        let file = File::open(&self.path).map_err(cannot)?;
        let mut bytes = Vec::new();
        // The length is unreliable for devices, and for files that grow while they are read.
        file.take(LARGEST + 1).read_to_end(&mut bytes).map_err(cannot)?;
        if bytes.len() as u64 > LARGEST {
            return Err(wrong(format!("is larger than the maximum of {LARGEST} bytes")));
        }
        String::from_utf8(bytes).map_err(|error| {
            let good =
                String::from_utf8_lossy(&error.as_bytes()[..error.utf8_error().valid_up_to()]).into_owned();
            let place = position(&good, good.len());
            LoadError::new(&self.path, vec![Fault { place, what: "is not UTF-8 from here on".into() }])
        })
    }
}

#[cfg(unix)]
fn is_pipe(about: &std::fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt;
    about.file_type().is_fifo() || about.file_type().is_socket()
}

#[cfg(not(unix))]
fn is_pipe(_: &std::fs::Metadata) -> bool {
    false
}

/// Returns variables that can refer to several components.
fn ambiguous(parsed: &Parsed, target: &impl Target) -> Vec<Fault> {
    let fault = |((kind, name, _), variable): (&Setting, &String)| {
        let names = target.named_by(&parsed.tables, *kind, name.as_deref()?);
        (names.len() > 1).then(|| {
            let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
            let what = format!("ambiguous: refers to {}; set it in the file instead", names.join(" or "));
            Fault { place: Place::Variable(variable.clone()), what }
        })
    };
    parsed.variables.iter().filter_map(fault).collect()
}

fn located(parsed: &Parsed, problems: &[Contradiction]) -> Vec<Fault> {
    problems.iter().flat_map(|problem| parsed.locate(problem)).collect()
}
