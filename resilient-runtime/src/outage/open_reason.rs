//! The reasons for which a circuit opens.

use std::fmt;

use serde::Serialize;

use crate::ratio::Ratio;

/// The reason why a circuit is open.
///
/// ```
/// use resilient_runtime::{Component, OpenReason, Registry, circuit_breaker::Config};
///
/// let breaker = Registry::new().circuit_breaker("payment");
/// breaker.reconfigure(Config::default().failure_threshold(1)).unwrap();
/// breaker.call(|| None::<u32>);
/// let reason = breaker.stats().reason.unwrap();
/// assert_eq!(reason, OpenReason::Consecutive { failures: 1 });
/// assert_eq!(reason.to_string(), "1 failure in a row");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "rule")]
#[non_exhaustive]
pub enum OpenReason {
    /// The failure rate of the window reached its limit. Slow calls count if they are configured to count as failed.
    FailureRate {
        /// The measured failure rate.
        observed: Ratio,
        /// The failure rate that opens the circuit.
        limit: Ratio,
        /// The number of calls in the window.
        calls: u64,
    },
    /// The rate of slow calls in the window reached its limit.
    SlowRate {
        /// The measured rate of slow calls.
        observed: Ratio,
        /// The rate of slow calls that opens the circuit.
        limit: Ratio,
        /// The number of calls in the window.
        calls: u64,
    },
    /// Too many failures in a row.
    Consecutive {
        /// The number of failures.
        failures: u32,
    },
    /// Too many calls in flight are already slow. None of them has ended yet.
    SlowInFlight {
        /// The number of slow calls in flight.
        calls: u64,
    },
    /// The probes of the half-open circuit failed.
    ProbesFailed {
        /// The number of failed probes.
        failed: u32,
        /// The number of completed probes.
        ended: u32,
    },
    /// The circuit was forced open.
    Forced,
    /// Other instances of the service have an open circuit. See [`shared`](crate::circuit_breaker::shared).
    Shared {
        /// The number of instances whose circuit is open by their own evidence.
        votes: u32,
        /// The number of instances that share the circuit.
        instances: u32,
    },
}

impl fmt::Display for OpenReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailureRate { observed, limit, calls } => {
                write!(f, "{observed} of {calls} calls failed, limit {limit}")
            }
            Self::SlowRate { observed, limit, calls } => {
                write!(f, "{observed} of {calls} calls were slow, limit {limit}")
            }
            Self::Consecutive { failures: 1 } => f.write_str("1 failure in a row"),
            Self::Consecutive { failures } => write!(f, "{failures} failures in a row"),
            Self::SlowInFlight { calls } => write!(f, "{calls} calls in flight are slow already"),
            Self::ProbesFailed { failed, ended } => write!(f, "{failed} of {ended} probes failed"),
            Self::Forced => f.write_str("forced open"),
            Self::Shared { votes, instances } => {
                write!(f, "the circuits of {votes} of {instances} instances are open")
            }
        }
    }
}
