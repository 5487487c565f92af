//! Why a circuit is open.

use std::fmt;

use serde::Serialize;

use crate::ratio::Ratio;

/// Why a circuit is open.
///
/// ```
/// use resilient_runtime::{Component, OpenReason, Registry, circuit_breaker::Config};
///
/// let breaker = Registry::new().circuit_breaker("payment");
/// breaker.reconfigure(Config::default().failure_threshold(1)).unwrap();
/// breaker.call(|| None::<u32>);
/// let reason = breaker.stats().reason.unwrap();
/// assert_eq!(reason, OpenReason::Consecutive { failures: 1 });
/// assert_eq!(reason.to_string(), "1 failures in a row");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "rule")]
#[non_exhaustive]
pub enum OpenReason {
    /// Too large a share of the window's calls failed (or, where slow calls count as failed, were slow).
    FailureRate {
        /// The share that was seen.
        observed: Ratio,
        /// The share that opens the circuit.
        limit: Ratio,
        /// The calls in the window.
        calls: u64,
    },
    /// Too large a share of the window's calls was slow.
    SlowRate {
        /// The share that was seen.
        observed: Ratio,
        /// The share that opens the circuit.
        limit: Ratio,
        /// The calls in the window.
        calls: u64,
    },
    /// Too many failures in a row.
    Consecutive {
        /// How many.
        failures: u32,
    },
    /// Too many calls hang that are slow already, though none of them has ended.
    SlowInFlight {
        /// How many.
        calls: u64,
    },
    /// The probes of the half-open circuit failed.
    ProbesFailed {
        /// Failed probes.
        failed: u32,
        /// Ended probes.
        ended: u32,
    },
    /// Somebody forced it open.
    Forced,
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
            Self::Consecutive { failures } => write!(f, "{failures} failures in a row"),
            Self::SlowInFlight { calls } => write!(f, "{calls} calls in flight are slow already"),
            Self::ProbesFailed { failed, ended } => write!(f, "{failed} of {ended} probes failed"),
            Self::Forced => f.write_str("forced open"),
        }
    }
}
