//! Problems of a file, and their places.

use std::fmt;

/// A problem of a scenario, with its place.
///
/// ```
/// let error = resilient_chaos::Scenario::parse("[scenario]\nname = 7\n").unwrap_err();
/// let name = error.problems().iter().find(|problem| problem.line == 2).unwrap();
/// assert_eq!((name.line, name.column), (2, 8));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub struct Problem {
    /// The line, counted from 1. 0 if the problem concerns the file as a whole.
    pub line: usize,
    /// The column in characters, counted from 1. 0 if the problem concerns the file as a whole.
    pub column: usize,
    /// A description of the problem, and the remedy.
    pub what: String,
}

/// A refused file, with all of its problems.
///
/// ```
/// let error = resilient_chaos::Scenario::parse("").unwrap_err();
/// assert!(error.to_string().contains("`scenario` is missing"), "{error}");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidScenario {
    path: String,
    problems: Vec<Problem>,
}

impl InvalidScenario {
    pub(crate) fn new(path: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort();
        problems.dedup();
        Self { path: path.to_owned(), problems }
    }

    pub(crate) fn whole(path: &str, what: impl Into<String>) -> Self {
        Self::new(path, vec![Problem { line: 0, column: 0, what: what.into() }])
    }

    /// Returns all problems, in the order of the file.
    ///
    /// ```
    /// let error = resilient_chaos::Scenario::parse("[scenario]\nversion = 2\nnaem = \"a\"\n").unwrap_err();
    /// assert!(error.problems().len() >= 2, "all of them at once");
    /// ```
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }
}

impl fmt::Display for InvalidScenario {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = if self.path.is_empty() { "scenario" } else { &self.path };
        for (index, Problem { line, column, what }) in self.problems.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            match line {
                0 => write!(f, "{separator}{path}: {what}")?,
                _ => write!(f, "{separator}{path}:{line}:{column}: {what}")?,
            }
        }
        Ok(())
    }
}

impl std::error::Error for InvalidScenario {}

/// Returns the problem at a byte of a text.
pub(crate) fn at(text: &str, byte: usize, what: impl Into<String>) -> Problem {
    let before = text.get(..byte).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().map_or(0, |last| last.chars().count()) + 1;
    Problem { line, column, what: what.into() }
}
