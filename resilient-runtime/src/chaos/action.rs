//! The effect of a fault.

use std::fmt;
use std::time::Duration;

use super::amount::Amount;
use super::custom::Custom;
use super::latency::Latency;
use super::problem::Problems;
use super::skew::Skew;
use crate::classify::Class;
use crate::kind::Kind;
use crate::observe::FaultKind;
use crate::rejection::RejectionKind;
use crate::settings::duration_text;

/// The effect on an attempt or on a component.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Action {
    Latency(Latency),
    Error(Class),
    TypedError,
    Hang,
    Panic,
    Refuse(RejectionKind),
    HoldPermits(Amount),
    HoldThreads(Amount),
    FailStore,
    SlowStore(Latency),
    /// The length of a cycle: the check fails in the first half.
    FlapHealth(Duration),
    SkewClock(Skew),
    Custom(Custom),
}

/// The subject on which a fault acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// The attempts of calls.
    Calls,
    /// A component of one of these kinds. `is_counted` if it acts on single operations of it, which can be counted.
    Component { kinds: &'static [Kind], is_counted: bool },
    /// The clock of the registry.
    Clock,
}

const PERIOD: std::ops::RangeInclusive<Duration> = Duration::from_millis(1)..=Duration::from_hours(24);

impl Action {
    pub(super) fn subject(&self) -> Subject {
        match self {
            Self::HoldPermits(_) | Self::HoldThreads(_) => {
                Subject::Component { kinds: &[Kind::Bulkhead], is_counted: false }
            }
            Self::FailStore | Self::SlowStore(_) => {
                Subject::Component { kinds: &[Kind::Idempotency, Kind::Store], is_counted: true }
            }
            Self::FlapHealth(_) => Subject::Component { kinds: &[Kind::Health], is_counted: false },
            Self::SkewClock(_) => Subject::Clock,
            Self::Latency(_)
            | Self::Error(_)
            | Self::TypedError
            | Self::Hang
            | Self::Panic
            | Self::Refuse(_)
            | Self::Custom(_) => Subject::Calls,
        }
    }

    /// Whether it acts on attempts of calls.
    pub(super) fn is_of_calls(&self) -> bool {
        self.subject() == Subject::Calls
    }

    /// Whether it affects a function that can fail with a rejection, and with the error of `chaos(error = ..)`.
    pub(super) fn can_fail(&self, [rejection, typed]: [bool; 2]) -> bool {
        match self {
            Self::Error(_) | Self::Refuse(_) => rejection,
            Self::TypedError => typed,
            _ => true,
        }
    }

    pub(crate) fn kind(&self) -> FaultKind {
        match self {
            Self::Latency(_) => FaultKind::Latency,
            Self::Error(_) => FaultKind::Error,
            Self::TypedError => FaultKind::TypedError,
            Self::Hang => FaultKind::Hang,
            Self::Panic => FaultKind::Panic,
            Self::Refuse(_) => FaultKind::Refuse,
            Self::HoldPermits(_) => FaultKind::HoldPermits,
            Self::HoldThreads(_) => FaultKind::HoldThreads,
            Self::FailStore => FaultKind::FailStore,
            Self::SlowStore(_) => FaultKind::SlowStore,
            Self::FlapHealth(_) => FaultKind::FlapHealth,
            Self::SkewClock(_) => FaultKind::SkewClock,
            Self::Custom(_) => FaultKind::Custom,
        }
    }

    pub(super) fn check(&self, problems: &mut Problems) {
        match self {
            Self::Latency(latency) | Self::SlowStore(latency) => latency.check(problems),
            Self::HoldPermits(amount) | Self::HoldThreads(amount) => amount.check(problems),
            Self::SkewClock(skew) => skew.check(problems),
            Self::Custom(custom) => custom.check(problems),
            Self::FlapHealth(period) => problems.require(PERIOD.contains(period), || {
                format!("the period {} is not from 1ms to 24h", duration_text(*period))
            }),
            Self::Error(class) => {
                let is_failure = matches!(
                    class,
                    Class::Transient { .. }
                        | Class::Uncertain { .. }
                        | Class::Overload { .. }
                        | Class::Permanent
                );
                problems.require(is_failure, || {
                    format!("an error of class {class:?} cannot be injected; use `Transient`, `Uncertain`, `Overload` or `Permanent`")
                });
            }
            Self::Refuse(kind) => {
                let is_stage = matches!(
                    kind,
                    RejectionKind::CircuitOpen | RejectionKind::BulkheadFull | RejectionKind::RateLimited
                );
                problems.require(is_stage, || {
                    format!(
                        "a rejection of kind `{}` cannot be injected; use `circuit_open`, `bulkhead_full` or `rate_limited`",
                        kind.as_str()
                    )
                });
            }
            Self::TypedError | Self::Hang | Self::Panic | Self::FailStore => {}
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Latency(latency) => write!(f, "latency {latency}"),
            Self::Error(Class::Transient { .. }) => f.write_str("error, transient"),
            Self::Error(Class::Uncertain { .. }) => f.write_str("error, uncertain"),
            Self::Error(Class::Overload { .. }) => f.write_str("error, overload"),
            Self::Error(_) => f.write_str("error, permanent"),
            Self::Refuse(kind) => write!(f, "refuse, {}", kind.as_str()),
            Self::HoldPermits(amount) => write!(f, "hold {amount} of the permits"),
            Self::HoldThreads(amount) => write!(f, "hold {amount} of the threads"),
            Self::SlowStore(latency) => write!(f, "slow_store {latency}"),
            Self::Custom(custom) => custom.fmt(f),
            Self::SkewClock(skew) => write!(f, "skew_clock {skew}"),
            Self::FlapHealth(period) => write!(f, "flap_health every {}", duration_text(*period)),
            Self::TypedError | Self::Hang | Self::Panic | Self::FailStore => {
                f.write_str(self.kind().as_str())
            }
        }
    }
}
