//! The error of a call whose fallback levels all failed.

use std::error::Error;
use std::fmt;

use super::Failure;
use crate::level::Level;

/// A boxed error of any type.
///
/// ```
/// use resilient_runtime::fallback::BoxError;
///
/// let error: BoxError = "the bank is closed".into();
/// assert_eq!(error.to_string(), "the bank is closed");
/// ```
pub type BoxError = Box<dyn Error + Send + Sync>;

/// The error of a call that failed together with every level of its fallback chain.
///
/// Its `source()` is the error of the call itself.
///
/// A function returns it, with the error of the call and the error of the last level, if its error type can be created
/// from it (`#[from] FallbackFailed`, `anyhow::Error`, `Box<dyn Error>`). With any other error type, the function
/// returns the error of the call if the call failed. If the call was rejected, the function returns the error of the
/// last level, or the rejection if that level has no error.
///
/// ```
/// use resilient_runtime::{FallbackFailed, Level, Registry, fallback::{BoxError, Chain}};
///
/// let work = || Err::<f64, BoxError>("the bank is closed".into());
/// let chain = || Chain::of(Level::Backup, |_| Err("so is the other".into()));
/// let error = Registry::new().fallback("rates").call(work, chain).unwrap_err();
/// let failed = error.downcast::<FallbackFailed>().unwrap();
/// let text = "the bank is closed; every fallback level failed, the last one (`backup`) with: so is the other";
/// assert_eq!(failed.to_string(), text);
/// ```
#[derive(Debug)]
pub struct FallbackFailed {
    level: Level,
    last: BoxError,
    primary: BoxError,
}

impl FallbackFailed {
    /// Returns the last level.
    ///
    /// ```
    /// use resilient_runtime::{FallbackFailed, Level, Registry, fallback::{BoxError, Chain}};
    ///
    /// let work = || Err::<u32, BoxError>("refused".into());
    /// let chain = || Chain::of(Level::Backup, |_| Err("full".into())).or(Level::Replica, |_| Err("no route".into()));
    /// let error = Registry::new().fallback("stock").call(work, chain).unwrap_err();
    /// assert_eq!(error.downcast::<FallbackFailed>().unwrap().level(), Level::Backup);
    /// ```
    pub fn level(&self) -> Level {
        self.level
    }

    /// Returns the error of the last level.
    ///
    /// If that level timed out or was skipped, it is a [`NoAnswer`](crate::fallback::NoAnswer).
    ///
    /// ```
    /// use resilient_runtime::{FallbackFailed, Level, Registry, fallback::{BoxError, Chain}};
    ///
    /// let chain = || Chain::of(Level::Backup, |_| Err("the queue is full".into()));
    /// let error = Registry::new().fallback("mail").call(|| Err::<u32, BoxError>("refused".into()), chain).unwrap_err();
    /// assert_eq!(error.downcast::<FallbackFailed>().unwrap().last().to_string(), "the queue is full");
    /// ```
    pub fn last(&self) -> &(dyn Error + Send + Sync + 'static) {
        &*self.last
    }

    /// Combines both errors.
    pub(crate) fn with<E: Into<BoxError>>(level: Level, last: BoxError, failure: Failure<E>) -> Self {
        let primary = match failure {
            Failure::Rejected(rejection) => rejection.into(),
            Failure::Failed(error) => error.into(),
            Failure::Unacceptable => UNACCEPTABLE.into(),
        };
        Self { level, last, primary }
    }
}

pub(crate) const UNACCEPTABLE: &str = "the call returned a value that counts as failed";

impl fmt::Display for FallbackFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { level, last, primary } = self;
        write!(f, "{primary}; every fallback level failed, the last one (`{level}`) with: {last}")
    }
}

impl Error for FallbackFailed {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&*self.primary)
    }
}
