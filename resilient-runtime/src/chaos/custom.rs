//! Faults of the program's own.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::action::Action;
use super::armed::Facts;
use super::fault::Fault;
use super::latency::Latency;
use super::problem::Problems;
use crate::classify::Class;
use crate::priority::Priority;
use crate::rejection::RejectionKind;

/// A fault of the program's own: decides for each attempt what happens to it.
///
/// Targets, rate, bounds and the time to live apply as to any other fault: only attempts that pass them are asked.
///
/// ```
/// use resilient_runtime::chaos::{Attempt, CustomFault, Effect, Fault};
/// use resilient_runtime::{Class, Registry, Rejection};
///
/// /// Fails all calls of one customer.
/// struct OfCustomer(&'static str);
/// impl CustomFault for OfCustomer {
///     fn name(&self) -> &str { "of_customer" }
///     fn inject(&self, attempt: &Attempt<'_>) -> Effect {
///         let is_theirs = attempt.correlation_id.is_some_and(|id| id.ends_with(self.0));
///         if is_theirs { Effect::Error(Class::Permanent) } else { Effect::None }
///     }
/// }
///
/// let registry = Registry::new();
/// let load = registry.pipeline("load").build();
/// let fault = registry.chaos().inject(Fault::custom(OfCustomer("-7")).on("load")).unwrap();
/// assert_eq!(load.call(|| Ok::<_, Rejection>(1)), Ok(1));
/// let id = resilient_runtime::correlation::CorrelationId::parse("customer-7").unwrap();
/// assert!(id.scope(|| load.call(|| Ok::<_, Rejection>(1))).is_err());
/// assert_eq!(fault.injected(), 1);
/// ```
pub trait CustomFault: Send + Sync + 'static {
    /// The name in lists and logs: 1 to 64 bytes without control characters.
    fn name(&self) -> &str;

    /// Decides what happens to an attempt. It must not block. If it panics, nothing happens to the attempt.
    fn inject(&self, attempt: &Attempt<'_>) -> Effect;
}

/// An attempt about which a [`CustomFault`] decides.
///
/// ```
/// use resilient_runtime::chaos::{Attempt, Effect};
/// use resilient_runtime::Priority;
///
/// fn low_only(attempt: &Attempt<'_>) -> Effect {
///     if attempt.priority == Priority::Low { Effect::Hang } else { Effect::None }
/// }
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Attempt<'a> {
    /// The name of the operation.
    pub operation: &'a str,
    /// The priority of the call.
    pub priority: Priority,
    /// The correlation id of the call.
    pub correlation_id: Option<&'a str>,
}

/// The effect of a [`CustomFault`] on an attempt.
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::chaos::Effect;
///
/// assert_ne!(Effect::Latency(Duration::from_secs(1)), Effect::None);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// Nothing. It does not count as injected.
    None,
    /// As [`Fault::latency`].
    Latency(Duration),
    /// As [`Fault::error`], with a class that it accepts.
    Error(Class),
    /// As [`Fault::typed_error`].
    TypedError,
    /// As [`Fault::hang`].
    Hang,
    /// As [`Fault::panic`].
    Panic,
    /// As [`Fault::refuse`], with a kind that it accepts.
    Refuse(RejectionKind),
}

/// A custom fault as an action. Two are equal if they are the same value.
#[derive(Clone)]
pub(crate) struct Custom(Arc<dyn CustomFault>);

impl PartialEq for Custom {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl fmt::Debug for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Custom").field(&self.name()).finish()
    }
}

impl fmt::Display for Custom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "custom `{}`", self.name())
    }
}

impl Custom {
    fn name(&self) -> String {
        catch_unwind(AssertUnwindSafe(|| self.0.name().to_owned())).unwrap_or_default()
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        let name = self.name();
        let is_usable = !name.trim().is_empty() && name.len() <= 64 && !name.contains(char::is_control);
        problems.require(is_usable, || {
            "the name of a custom fault is not 1 to 64 bytes without control characters".to_owned()
        });
    }

    /// Asks what happens to the attempt. `None` for nothing.
    pub(super) fn effect(&self, facts: &Facts<'_>) -> Option<Action> {
        let attempt = Attempt {
            operation: facts.pipeline.operation(),
            priority: facts.priority,
            correlation_id: facts.correlation_id,
        };
        let action = match catch_unwind(AssertUnwindSafe(|| self.0.inject(&attempt))) {
            Ok(Effect::None) => return None,
            Ok(Effect::Latency(span)) => Action::Latency(Latency::fixed(span)),
            Ok(Effect::Error(class)) => Action::Error(class),
            Ok(Effect::TypedError) => Action::TypedError,
            Ok(Effect::Hang) => Action::Hang,
            Ok(Effect::Panic) => Action::Panic,
            Ok(Effect::Refuse(kind)) => Action::Refuse(kind),
            Err(_) => {
                tracing::warn!(target: "resilient_runtime::chaos", fault = %self, "a custom fault panicked");
                return None;
            }
        };
        let mut problems = Problems::default();
        action.check(&mut problems);
        if let Err(error) = problems.finish() {
            tracing::warn!(target: "resilient_runtime::chaos", fault = %self, %error, "the effect of a custom fault");
            return None;
        }
        if !action.can_fail(facts.rejectable) {
            facts.is_skipped.set(true);
            return None;
        }
        Some(action)
    }
}

impl Fault {
    /// Asks a [`CustomFault`] what happens to each attempt.
    ///
    /// It exists only in code: there is no [`FaultSpec`](super::FaultSpec) of it.
    ///
    /// ```
    /// use resilient_runtime::chaos::{Attempt, CustomFault, Effect, Fault};
    ///
    /// struct Gone;
    /// impl CustomFault for Gone {
    ///     fn name(&self) -> &str { "gone" }
    ///     fn inject(&self, _: &Attempt<'_>) -> Effect { Effect::Hang }
    /// }
    /// assert_eq!(Fault::custom(Gone).on("load").to_string(), "custom `gone` on load");
    /// ```
    pub fn custom(fault: impl CustomFault) -> Self {
        Self::new(Action::Custom(Custom(Arc::new(fault))))
    }
}
