//! Problems in settings, and their places.

use std::fmt;
use std::path::{Path, PathBuf};

/// The place of a problem.
///
/// ```
/// use resilient_runtime::{Registry, config::{ConfigFile, Place}};
///
/// let error = ConfigFile::new("/no/such/file.toml").apply(&Registry::new()).unwrap_err();
/// assert_eq!(error.faults()[0].place, Place::Whole);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Place {
    /// The file as a whole.
    Whole,
    /// A position in the file. Both numbers count from 1.
    Position {
        /// The line.
        line: usize,
        /// The column, in characters.
        column: usize,
    },
    /// An environment variable.
    Variable(String),
}

impl Place {
    /// Returns the line in the file.
    pub(super) fn line(&self) -> Option<usize> {
        if let Self::Position { line, .. } = self { Some(*line) } else { None }
    }
}

/// A problem in the settings.
///
/// ```
/// use resilient_runtime::config::{ConfigFile, Place};
/// # let path = std::env::temp_dir().join(format!("resilient-fault-{}.toml", std::process::id()));
///
/// std::fs::write(&path, "[retry.stock]\nmax = \"often\"\n")?;
/// let error = ConfigFile::new(&path).check().unwrap_err();
/// assert!(matches!(error.faults()[0].place, Place::Position { line: 2, .. }));
/// # std::fs::remove_file(&path)?;
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fault {
    /// The place of the problem.
    pub place: Place,
    /// A description of the problem, and the remedy.
    pub what: String,
}

/// The error for refused settings, with all problems.
///
/// None of the settings has been applied.
///
/// ```
/// let error = resilient_runtime::config::ConfigFile::new("/no/such/file.toml").check().unwrap_err();
/// assert!(error.to_string().starts_with("/no/such/file.toml: "));
/// ```
/// `Debug` prints the same text as `Display`, so that it is readable if `main` returns the error.
#[derive(Clone, PartialEq, Eq)]
pub struct LoadError {
    path: PathBuf,
    faults: Vec<Fault>,
}

impl fmt::Debug for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl LoadError {
    pub(super) fn new(path: &Path, mut faults: Vec<Fault>) -> Self {
        faults.sort_by(|a, b| a.place.cmp(&b.place));
        Self { path: path.to_owned(), faults }
    }

    pub(super) fn whole(path: &Path, what: impl Into<String>) -> Self {
        Self::new(path, vec![Fault { place: Place::Whole, what: what.into() }])
    }

    /// Returns the path of the file.
    ///
    /// ```
    /// use std::path::Path;
    /// use resilient_runtime::config::ConfigFile;
    ///
    /// let error = ConfigFile::new("/no/such/file.toml").check().unwrap_err();
    /// assert_eq!(error.path(), Path::new("/no/such/file.toml"));
    /// ```
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns all problems, in the order of the file.
    ///
    /// ```
    /// use resilient_runtime::config::ConfigFile;
    /// # let path = std::env::temp_dir().join(format!("resilient-faults-{}.toml", std::process::id()));
    ///
    /// std::fs::write(&path, "[retry.a]\nmax = -1\n[retry.b]\nbase = \"soon\"\n")?;
    /// assert_eq!(ConfigFile::new(&path).check().unwrap_err().faults().len(), 2, "all of them at once");
    /// # std::fs::remove_file(&path)?;
    /// # Ok::<_, std::io::Error>(())
    /// ```
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Fault { place, what }) in self.faults.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            let path = self.path.display();
            match place {
                Place::Whole => write!(f, "{separator}{path}: {what}")?,
                Place::Position { line, column } => write!(f, "{separator}{path}:{line}:{column}: {what}")?,
                Place::Variable(name) => write!(f, "{separator}{name}: {what}")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for LoadError {}

/// Returns the line and column of a byte in a text.
pub(super) fn position(text: &str, byte: usize) -> Place {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    Place::Position { line, column }
}
