//! A value that contains the fallback level it came from.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Level;
use crate::seconds::{optional_seconds, read_optional_seconds};

/// A value and the fallback level that returned it, if any.
///
/// A function that returns a `Degraded`, or a `Result` or `Option` of it, creates it with [`Degraded::fresh`]. If a
/// fallback level serves the call, the level is filled in.
///
/// ```
/// use resilient_runtime::{Level, fallback::Degraded, resilient};
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Degraded<T> {
    value: T,
    level: Option<Level>,
    #[serde(serialize_with = "optional_seconds", deserialize_with = "read_optional_seconds")]
    age: Option<Duration>,
    reason: Option<Arc<str>>,
}

impl<T> Degraded<T> {
    /// Creates a real result, which no fallback level returned.
    ///
    /// ```
    /// use resilient_runtime::fallback::Degraded;
    ///
    /// assert!(!Degraded::fresh(1.1).is_degraded());
    /// ```
    pub const fn fresh(value: T) -> Self {
        Self { value, level: None, age: None, reason: None }
    }

    /// Whether a fallback level returned the value.
    ///
    /// ```
    /// # use resilient_runtime::{Level, fallback::{Degraded, Mark}};
    /// let mut rate = Degraded::fresh(1.0);
    /// rate.mark(Level::Default, None, None);
    /// assert!(rate.is_degraded());
    /// ```
    pub fn is_degraded(&self) -> bool {
        self.level.is_some()
    }

    /// Returns the fallback level that returned the value, or `None` for a real result.
    ///
    /// ```
    /// # use resilient_runtime::{Level, fallback::{Degraded, Mark}};
    /// let mut rate = Degraded::fresh(1.0);
    /// assert_eq!(rate.level(), None);
    /// rate.mark(Level::Backup, None, None);
    /// assert_eq!(rate.level(), Some(Level::Backup));
    /// ```
    pub fn level(&self) -> Option<Level> {
        self.level
    }

    /// Returns the age of the value, if it came from the local cache.
    ///
    /// ```
    /// # use std::time::Duration;
    /// # use resilient_runtime::{Level, fallback::{Degraded, Mark}};
    /// let mut rate = Degraded::fresh(1.0);
    /// rate.mark(Level::LocalCache, Some(Duration::from_mins(3)), None);
    /// assert_eq!(rate.age(), Some(Duration::from_mins(3)));
    /// ```
    pub fn age(&self) -> Option<Duration> {
        self.age
    }

    /// Returns the text of the failure that the fallback level handled.
    ///
    /// ```
    /// # use resilient_runtime::{Level, fallback::{Degraded, Mark}};
    /// let mut rate = Degraded::fresh(1.0);
    /// rate.mark(Level::Default, None, Some(&"the bank is closed".into()));
    /// assert_eq!(rate.reason(), Some("the bank is closed"));
    /// ```
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// Returns the value.
    ///
    /// ```
    /// let rate = resilient_runtime::Degraded::fresh(1.1);
    /// assert_eq!(rate.into_inner(), 1.1);
    /// ```
    pub fn into_inner(self) -> T {
        self.value
    }

    /// Converts the value, and keeps the level, age and reason.
    ///
    /// ```
    /// # use resilient_runtime::{Level, fallback::{Degraded, Mark}};
    /// let mut rate = Degraded::fresh(2.0);
    /// rate.mark(Level::Backup, None, None);
    /// let price = rate.map(|rate| rate * 10.0);
    /// assert_eq!((*price, price.level()), (20.0, Some(Level::Backup)));
    /// ```
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

/// A return type that can store the fallback level it came from.
///
/// When it is marked more than once, the level farthest from the real result and the greatest age remain.
///
/// ```
/// use resilient_runtime::{Level, fallback::{Degraded, Mark}};
///
/// let mut answer: Result<Degraded<u32>, String> = Ok(Degraded::fresh(7));
/// answer.mark(Level::Replica, None, None);
/// assert!(answer.is_marked());
/// ```
pub trait Mark {
    /// Stores the level, age and reason.
    ///
    /// ```
    /// use resilient_runtime::{Level, fallback::{Degraded, Mark}};
    ///
    /// let mut answer = Degraded::fresh(7);
    /// answer.mark(Level::Default, None, None);
    /// answer.mark(Level::Replica, None, None);
    /// assert_eq!(answer.level(), Some(Level::Default), "the farthest remains");
    /// ```
    fn mark(&mut self, level: Level, age: Option<Duration>, reason: Option<&Arc<str>>);

    /// Whether a level is stored.
    ///
    /// ```
    /// use resilient_runtime::fallback::{Degraded, Mark};
    ///
    /// assert!(!Some(Degraded::fresh(7)).is_marked());
    /// ```
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
