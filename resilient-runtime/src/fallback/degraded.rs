//! An answer that says itself how far it is from the real one.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::Level;
use crate::observe::optional_seconds;

/// A value, and whether a fallback level gave it.
///
/// A function that returns it, or a `Result` or `Option` of it, makes it with [`Degraded::fresh`]; where a level
/// answers, the mark is filled in.
///
/// ```
/// use resilient::{Level, fallback::Degraded, resilient};
///
/// #[resilient(retry(max = 1, base = "0ms"), fallback(default = Ok(Degraded::fresh(1.0))))]
/// fn rate(known: Option<f64>) -> Result<Degraded<f64>, std::io::Error> {
///     known.map(Degraded::fresh).ok_or_else(|| std::io::Error::other("the bank is closed"))
/// }
///
/// assert_eq!(rate(Some(1.1)).unwrap().level(), None);
/// let stand_in = rate(None).unwrap();
/// assert_eq!((*stand_in, stand_in.level()), (1.0, Some(Level::Default)));
/// assert_eq!(stand_in.reason(), Some("the bank is closed"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Degraded<T> {
    value: T,
    level: Option<Level>,
    #[serde(serialize_with = "optional_seconds")]
    age: Option<Duration>,
    reason: Option<Arc<str>>,
}

impl<T> Degraded<T> {
    /// A real answer.
    pub const fn fresh(value: T) -> Self {
        Self { value, level: None, age: None, reason: None }
    }

    /// Whether a fallback level gave it.
    pub fn is_degraded(&self) -> bool {
        self.level.is_some()
    }

    /// The level that gave it; `None` for a real answer.
    pub fn level(&self) -> Option<Level> {
        self.level
    }

    /// How old it is, where it came from the local cache.
    pub fn age(&self) -> Option<Duration> {
        self.age
    }

    /// What kept the real answer away, in words.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// The value alone.
    pub fn into_inner(self) -> T {
        self.value
    }

    /// The value made into another, with the same mark.
    pub fn map<U>(self, with: impl FnOnce(T) -> U) -> Degraded<U> {
        Degraded { value: with(self.value), level: self.level, age: self.age, reason: self.reason }
    }
}

impl<T> From<T> for Degraded<T> {
    fn from(value: T) -> Self {
        Self::fresh(value)
    }
}

impl<T> Deref for Degraded<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T> DerefMut for Degraded<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: fmt::Display> fmt::Display for Degraded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.value.fmt(f)
    }
}

/// An outcome that can hold the mark of a level. The worst level and the greatest age stay where there is one already.
pub trait Mark {
    /// Fills the mark in.
    fn mark(&mut self, level: Level, age: Option<Duration>, reason: Option<&Arc<str>>);

    /// Whether there is one.
    fn is_marked(&self) -> bool;
}

impl<T> Mark for Degraded<T> {
    fn mark(&mut self, level: Level, age: Option<Duration>, reason: Option<&Arc<str>>) {
        self.level = self.level.max(Some(level));
        self.age = self.age.max(age);
        if let Some(reason) = reason {
            self.reason = Some(Arc::clone(reason));
        }
    }

    fn is_marked(&self) -> bool {
        self.is_degraded()
    }
}

impl<T, E> Mark for Result<Degraded<T>, E> {
    fn mark(&mut self, level: Level, age: Option<Duration>, reason: Option<&Arc<str>>) {
        if let Ok(degraded) = self {
            degraded.mark(level, age, reason);
        }
    }

    fn is_marked(&self) -> bool {
        self.as_ref().is_ok_and(Mark::is_marked)
    }
}

impl<T> Mark for Option<Degraded<T>> {
    fn mark(&mut self, level: Level, age: Option<Duration>, reason: Option<&Arc<str>>) {
        if let Some(degraded) = self {
            degraded.mark(level, age, reason);
        }
    }

    fn is_marked(&self) -> bool {
        self.as_ref().is_some_and(Mark::is_marked)
    }
}
