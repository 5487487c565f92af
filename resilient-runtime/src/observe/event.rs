//! The events that components publish.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::correlation::CorrelationId;
use crate::kind::Kind;
use crate::outage::OpenReason;
use crate::priority::Priority;
use crate::rejection::RejectionKind;

/// An event published by a component.
///
/// Subscribers receive the events of a component in the order in which they happened.
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
    /// The name of the component.
    pub component: &'static str,
    /// The kind of the event, with its details.
    pub what: EventKind,
    /// The correlation id of the request that caused the event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<CorrelationId>,
}

impl Event {
    /// Creates an event with the correlation id of the current scope.
    pub(crate) fn now(kind: Kind, component: &'static str, what: EventKind) -> Self {
        Self { kind, component, what, correlation_id: CorrelationId::current() }
    }
}

/// The kind of an event, with its details.
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
        /// Why the circuit is open, if it is.
        reason: Option<OpenReason>,
        /// The text of the error that opened the circuit.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Arc<str>>,
    },
    /// A call was rejected or timed out.
    Rejected {
        /// The kind of the rejection.
        rejection: RejectionKind,
        /// How long to wait before the next call.
        retry_after: Option<Duration>,
    },
    /// A load shedder started or stopped shedding calls of some priorities because of a standing delay.
    Shedding {
        /// The highest priority shed before. Lower priorities are shed too.
        from: Option<Priority>,
        /// The highest priority shed now.
        to: Option<Priority>,
    },
    /// A failed attempt will be retried.
    Retrying {
        /// The number of the failed attempt, from 1.
        attempt: u32,
        /// The delay before the retry.
        delay: Duration,
        /// The text of the attempt's error.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Arc<str>>,
    },
    /// A hedge was started: another attempt in parallel to a slow or failed one.
    Hedged {
        /// The number of the attempt, from 1.
        attempt: u32,
    },
    /// A failed attempt was not retried because the retry budget was exhausted.
    BudgetExhausted,
    /// A failed attempt was not retried because the server requested a longer wait than allowed.
    RetryAfterTooLong {
        /// The wait that the server requested.
        retry_after: Duration,
        /// The value of the setting `max_retry_after`.
        most: Duration,
    },
    /// A failed attempt was not retried because it may have had an effect and the call is not idempotent.
    NotRepeated,
    /// A call returned the stored result of an earlier call with the same idempotency key.
    Replayed,
    /// A running call lost the lease on its idempotency key.
    LeaseLost,
    /// The result of an idempotent call was not stored. It cannot be replayed to a call with the same key.
    Unsaved {
        /// The reason, such as `too_large`.
        reason: &'static str,
        /// A description of the problem.
        problem: String,
    },
    /// A store failed, and the component continues without it.
    StoreFailed {
        /// A description of the problem.
        problem: String,
    },
    /// The circuit that the instances of a service share has opened.
    SharedOpened {
        /// The number of instances whose own circuit is open.
        votes: u32,
        /// The number of instances that share the circuit.
        instances: u32,
    },
    /// The circuit that the instances of a service share has closed.
    SharedClosed {
        /// `recovered`: the probes succeeded. `reset`: by an operator. `lapsed`: the opening was not renewed.
        why: &'static str,
    },
    /// A store is degraded: requests fail at once until it works again.
    StoreDegraded {
        /// The last failure.
        problem: String,
    },
    /// A degraded store works again.
    StoreRecovered,
    /// Another instance has other settings for the same shared component.
    SharedSettingsDiffer,
    /// A fallback level served a call.
    FallbackServed {
        /// The name of the level.
        level: &'static str,
    },
    /// A fallback level timed out or was skipped.
    FallbackMissed {
        /// The name of the level.
        level: &'static str,
        /// `timed_out`, `refused` or `out_of_time`; of a cache or replica set also `empty`, `stale`, `unreadable` or
        /// `store_failed`.
        why: &'static str,
    },
    /// Every fallback level failed.
    FallbackFailed,
    /// A health check changed its status.
    HealthChanged {
        /// The new status: `pass`, `warn` or `fail`.
        status: &'static str,
    },
    /// An alert fired, changed its severity, or ended.
    AlertChanged {
        /// The new severity, `warning` or `critical`; `None` if the alert ended.
        severity: Option<&'static str>,
        /// The value of the signal.
        value: Option<f64>,
    },
    /// An operator changed the component from outside. The change itself has its own event.
    OperatorAction {
        /// The action, such as `reset`.
        action: String,
    },
    /// The settings changed.
    Reconfigured,
    /// The component was reset.
    Reset,
    /// Two places specify different settings for this component. The first place in source order applies.
    SettingsConflict {
        /// The place whose settings are ignored.
        ignored: String,
        /// The place whose settings apply.
        in_force: String,
    },
    /// A kind has more names than a registry holds. This name and all further ones share a component.
    TooManyNames {
        /// The first name beyond the limit.
        name: String,
    },
    /// External settings are for components that do not exist yet.
    SettingsUnused {
        /// The unused settings, one line per component.
        settings: Vec<String>,
    },
    /// A fault was armed.
    FaultArmed {
        /// The number of the fault.
        fault: u64,
        /// The effect, such as `latency 300ms`.
        action: String,
        /// The calls that it affects.
        target: String,
        /// The person or program that armed it.
        by: String,
    },
    /// A fault affected an attempt of the operation.
    FaultInjected {
        /// The number of the fault.
        fault: u64,
        /// The kind of the fault, such as `error`.
        fault_kind: &'static str,
        /// The person or program that armed it.
        by: Arc<str>,
    },
    /// A fault ended.
    FaultEnded {
        /// The number of the fault.
        fault: u64,
        /// `removed`, `expired` or `stopped`.
        why: &'static str,
        /// The number of attempts that it affected.
        injected: u64,
    },
    /// External settings were applied.
    SettingsApplied {
        /// The number of components that changed.
        changed: usize,
    },
    /// External settings or attribute settings were refused. The previous settings or defaults stay in effect.
    SettingsRefused {
        /// A description of the problem.
        problem: String,
    },
}
