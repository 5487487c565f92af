//! What a component did.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::correlation::CorrelationId;
use crate::kind::Kind;
use crate::outage::OpenReason;
use crate::priority::Priority;
use crate::rejection::RejectionKind;

/// Something a component did. A subscriber gets the events of a component in the order in which it did it.
///
/// ```
/// use resilient_runtime::{Component, Registry};
///
/// let registry = Registry::new();
/// let mut events = registry.subscribe();
/// registry.timeout("report").reset();
/// let event = serde_json::to_string(&events.try_recv().unwrap()).unwrap();
/// assert_eq!(event, r#"{"kind":"timeout","component":"report","what":{"event":"reset"}}"#);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Event {
    /// The kind of the component.
    pub kind: Kind,
    /// Its name.
    pub component: &'static str,
    /// What it did.
    pub what: EventKind,
    /// The id of the request in whose course it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<CorrelationId>,
}

impl Event {
    /// With the correlation id of the scope around this code.
    pub(crate) fn now(kind: Kind, component: &'static str, what: EventKind) -> Self {
        Self { kind, component, what, correlation_id: CorrelationId::current() }
    }
}

/// What happened.
///
/// ```
/// use resilient_runtime::{EventKind, Registry, RejectionKind};
///
/// let registry = Registry::new();
/// let breaker = registry.circuit_breaker("payment");
/// breaker.force_open();
/// let mut events = registry.subscribe();
/// breaker.call(|| Some(995));
/// let refused = EventKind::Rejected { rejection: RejectionKind::CircuitOpen, retry_after: None };
/// assert_eq!(events.try_recv().unwrap().what, refused);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
#[non_exhaustive]
pub enum EventKind {
    /// A circuit breaker changed its state.
    Transition {
        /// The state before.
        from: &'static str,
        /// The state after.
        to: &'static str,
        /// Why the circuit is open, where it is.
        reason: Option<OpenReason>,
        /// The text of the failure that opened it.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Arc<str>>,
    },
    /// A call was refused or cut off.
    Rejected {
        /// By what rule.
        rejection: RejectionKind,
        /// When another call has a chance.
        retry_after: Option<Duration>,
    },
    /// A load shedder has begun or ended to shed classes of calls, because a delay stands.
    Shedding {
        /// The highest class shed before; those below it are, too.
        from: Option<Priority>,
        /// The highest class shed now.
        to: Option<Priority>,
    },
    /// A failed attempt will be repeated.
    Retrying {
        /// The attempt that failed, from 1.
        attempt: u32,
        /// How long the call waits first.
        delay: Duration,
        /// The text of its error.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Arc<str>>,
    },
    /// Another attempt was sent besides a slow or failed one.
    Hedged {
        /// Its number, from 1.
        attempt: u32,
    },
    /// A failed attempt was not repeated, because the budget had nothing left.
    BudgetExhausted,
    /// A failed attempt was not repeated, because the server asks for a longer wait than the retry allows.
    RetryAfterTooLong {
        /// How long the server asks to wait.
        retry_after: Duration,
        /// The setting `max_retry_after`.
        most: Duration,
    },
    /// A failed attempt was not repeated, because it may have had an effect and the call is not idempotent.
    NotRepeated,
    /// A call got the answer of an earlier one with the same idempotency key.
    Replayed,
    /// A running call has lost the lease on its idempotency key.
    LeaseLost,
    /// The answer of an idempotent call was not saved: a call with the same key will not get it.
    Unsaved {
        /// Such as `too_large`.
        reason: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A store could not do what it was asked.
    StoreFailed {
        /// What is wrong.
        problem: String,
    },
    /// A fallback level answered.
    FallbackServed {
        /// The level.
        level: &'static str,
    },
    /// A fallback level was cut off or passed over.
    FallbackMissed {
        /// The level.
        level: &'static str,
        /// `timed_out`, `refused` or `out_of_time`.
        why: &'static str,
    },
    /// Every fallback level failed.
    FallbackFailed,
    /// A health check changed its mind.
    HealthChanged {
        /// `pass`, `warn` or `fail`.
        status: &'static str,
    },
    /// An alert fires, got worse or better, or ended.
    AlertChanged {
        /// `warning` or `critical`; none: it ended.
        severity: Option<&'static str>,
        /// The signal.
        value: Option<f64>,
    },
    /// Somebody with the right to it pulled a lever from outside; what it did has an event of its own.
    OperatorAction {
        /// Which lever, such as `reset`.
        action: String,
    },
    /// The settings changed.
    Reconfigured,
    /// The component was reset.
    Reset,
    /// Two places give this component different settings; the first in the order of the source is in force.
    SettingsConflict {
        /// The place that is not heard.
        ignored: String,
        /// The place that is.
        in_force: String,
    },
    /// There are more names of a kind than a registry holds: this one and all further ones share one component.
    TooManyNames {
        /// The first of them.
        name: String,
    },
    /// Settings from outside are for components that are not there so far.
    SettingsUnused {
        /// One line for each component.
        settings: Vec<String>,
    },
    /// Settings from outside are in force.
    SettingsApplied {
        /// Components that they changed.
        changed: usize,
    },
    /// Settings from outside were refused, and those before stay; or an inline setting or a name was; the default stands in its place.
    SettingsRefused {
        /// What is wrong.
        problem: String,
    },
}
