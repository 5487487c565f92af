//! Rejections that fault injection makes.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::{Detail, Mark, Rejection, RejectionKind};

/// The fault that caused a rejection.
///
/// ```
/// use resilient_runtime::{Class, Registry, Rejection, chaos::Fault};
///
/// let registry = Registry::new();
/// let load = registry.pipeline("load").build();
/// registry.chaos().arm(Fault::error(Class::TRANSIENT).on("load"), "alice").unwrap();
/// let error = load.call(|| Ok::<_, Rejection>(7)).unwrap_err();
/// let by = error.injected_by().unwrap();
/// assert_eq!((by.fault, by.kind, &*by.by), (1, "error", "alice"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct InjectedBy {
    /// The number of the fault.
    pub fault: u64,
    /// The kind of the fault, such as `error`.
    pub kind: &'static str,
    /// The person or program that armed the fault.
    pub by: Arc<str>,
}

impl fmt::Display for InjectedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { fault, kind, by } = self;
        write!(f, "injected by fault {fault} ({kind}, by {by})")
    }
}

/// Where a rejection comes from, in a byte: it is part of the mark that survives in other errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// A stage.
    Real,
    /// Fault injection, in place of a stage.
    Refusal,
    /// Fault injection, in place of an error of the body with this class.
    Transient,
    /// The same, with the error of `chaos(error = ..)` if there is one.
    Typed,
    Uncertain,
    Overload,
    Permanent,
}

impl Rejection {
    /// An error in place of one of the body.
    #[cold]
    pub(crate) fn injected(
        operation: &'static str,
        origin: Origin,
        retry_after: Option<Duration>,
        by: InjectedBy,
    ) -> Self {
        let mut mark = Mark::new(RejectionKind::Injected, operation, retry_after);
        mark.origin = origin;
        Self { mark, detail: Detail::Injected(Arc::new(by)) }
    }

    /// The error of `chaos(error = ..)`, or a transient error if the function has none.
    #[cold]
    pub(crate) fn injected_error(operation: &'static str, by: InjectedBy) -> Self {
        Self::injected(operation, Origin::Typed, None, by)
    }

    /// Whether the error of `chaos(error = ..)` takes its place.
    #[doc(hidden)]
    pub fn is_typed(&self) -> bool {
        self.mark.origin == Origin::Typed
    }

    /// A rejection in place of one of a stage.
    #[cold]
    pub(crate) fn injected_refusal(kind: RejectionKind, component: &'static str, by: InjectedBy) -> Self {
        let mut mark = Mark::new(kind, component, None);
        mark.origin = Origin::Refusal;
        Self { mark, detail: Detail::Injected(Arc::new(by)) }
    }

    /// Returns whether fault injection made the rejection, also for one [found](Self::found_in) in another error.
    ///
    /// ```
    /// let breaker = resilient_runtime::Registry::new().circuit_breaker("db");
    /// breaker.force_open();
    /// assert!(!breaker.try_acquire().unwrap_err().is_injected());
    /// ```
    pub fn is_injected(&self) -> bool {
        self.is_from_injection_point() || self.injected_by().is_some()
    }

    /// Whether it takes the place of an outcome at the injection point of a pipeline. A rejection of a component on
    /// which a fault acts is treated like any other rejection of it.
    pub(crate) fn is_from_injection_point(&self) -> bool {
        self.mark.origin != Origin::Real
    }

    /// Marks the rejection of a component on which a fault acts.
    #[cold]
    pub(crate) fn caused_by(mut self, by: InjectedBy) -> Self {
        self.detail = Detail::Injected(Arc::new(by));
        self
    }

    /// Returns the fault that caused the rejection.
    ///
    /// `None` if it is not injected, or if it was found in a `#[error(transparent)]` variant.
    ///
    /// ```
    /// let breaker = resilient_runtime::Registry::new().circuit_breaker("db");
    /// breaker.force_open();
    /// assert!(breaker.try_acquire().unwrap_err().injected_by().is_none());
    /// ```
    pub fn injected_by(&self) -> Option<&InjectedBy> {
        match &self.detail {
            Detail::Injected(by) => Some(by),
            _ => None,
        }
    }
}
