//! Statistics of a shared circuit.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::exchange::rule;
use crate::circuit_breaker::CircuitBreaker;
use crate::circuit_breaker::config::Coordinate;
use crate::seconds::{optional_seconds, seconds};
use crate::store::circuits::{Rule, SharedState};

/// The shared circuit, as this instance knows it. Times are serialized in seconds.
///
/// ```
/// use resilient_runtime::{Component, Registry, circuit_breaker::{Config, shared::MemoryCircuits}, clock::Clock};
///
/// let registry = Registry::new();
/// registry.use_store("shared", MemoryCircuits::new(Clock::system()));
/// let payment = registry.circuit_breaker("payment");
/// payment.reconfigure(Config::default().store("shared")).unwrap();
/// while payment.stats().shared.unwrap().state.is_none() {
///     std::thread::yield_now(); // the first exchange runs in the background
/// }
/// let shared = payment.stats().shared.unwrap();
/// assert_eq!((shared.votes, shared.quorum, shared.instances, shared.applies), (0, 2, 1, false));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct SharedStats {
    /// The name of the store.
    pub store: Arc<str>,
    /// The effect of the shared circuit on this instance.
    pub coordinate: &'static str,
    /// The scope, if one is set.
    pub scope: Option<Arc<str>>,
    /// The shared state. `None` while it is not known.
    pub state: Option<SharedState>,
    /// Time since the shared state changed.
    #[serde(serialize_with = "optional_seconds")]
    pub unchanged_for: Option<Duration>,
    /// Number of instances that vote for opening.
    pub votes: u32,
    /// Number of instances that use the circuit.
    pub instances: u32,
    /// Number of votes that open the shared circuit, by the settings of this instance. 0 while the state is not known.
    pub quorum: u32,
    /// Number of instances that hold a probe slot.
    pub probes: u32,
    /// Whether other instances use other settings for this circuit. Use the same settings in all instances.
    pub mixed_settings: bool,
    /// Whether this instance votes for opening.
    pub voted: bool,
    /// Whether the shared circuit affects the calls of this instance.
    pub applies: bool,
    /// Time since the last exchange with the store.
    #[serde(serialize_with = "seconds")]
    pub age: Duration,
    /// Why the last exchange failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<Arc<str>>,
}

impl CircuitBreaker {
    /// Returns the shared circuit if `store` is set. `voted`, `applies`: of the local circuit.
    pub(in crate::circuit_breaker) fn shared_stats(&self, voted: bool, applies: bool) -> Option<SharedStats> {
        let config = self.core.config();
        let store = config.store.clone()?;
        let now = self.core.clock().now();
        let mut stats = SharedStats {
            store,
            coordinate: config.coordinate.as_str(),
            scope: config.scope.clone(),
            state: None,
            unchanged_for: None,
            votes: 0,
            instances: 0,
            quorum: 0,
            probes: 0,
            mixed_settings: false,
            voted,
            applies,
            age: Duration::ZERO,
            problem: None,
        };
        if let Some(coordination) = self.coordination.get() {
            let view = coordination.view.lock();
            stats.problem.clone_from(&view.problem);
            if let Some((shared, heard)) = &view.shared {
                stats.age = now.since(*heard);
                stats.state = Some(shared.state);
                stats.mixed_settings = shared.is_mixed;
                stats.unchanged_for = Some(shared.unchanged_for.saturating_add(stats.age));
                (stats.votes, stats.instances, stats.probes) =
                    (shared.votes, shared.instances, shared.probes);
                stats.quorum = rule(&config).votes_of(shared.instances);
            }
        }
        if stats.problem.is_none() {
            stats.problem = self.store_problem().map(Into::into);
        }
        Some(stats)
    }
}

impl Coordinate {
    pub(in crate::circuit_breaker) const fn as_str(self) -> &'static str {
        match self {
            Self::Observe => "observe",
            Self::Advise => "advise",
            Self::Enforce => "enforce",
        }
    }
}

/// For example `store "shared": open, 3 of 5 instances vote (enforce)`.
impl fmt::Display for SharedStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.map_or("unknown", SharedState::as_str);
        write!(f, "store `{}`", self.store)?;
        if let Some(scope) = &self.scope {
            write!(f, " in `{scope}`")?;
        }
        write!(f, ": {state}, open in {} of {} instances ({})", self.votes, self.instances, self.coordinate)?;
        match &self.problem {
            Some(problem) => write!(f, ", {problem}"),
            None => Ok(()),
        }
    }
}

impl CircuitBreaker {
    /// Describes the coordination for an explanation.
    pub(in crate::circuit_breaker) fn shared_notes(&self) -> Vec<String> {
        let config = self.core.config();
        let Some(store) = &config.store else { return Vec::new() };
        let quorum = match (config.quorum, config.quorum_share) {
            (Some(votes), _) => format!("{votes} instances"),
            (None, share) => {
                let share = share.unwrap_or(Rule::default().share);
                format!("{share} of the instances, at least 2,")
            }
        };
        let effect = match config.coordinate {
            Coordinate::Observe => "is shown and does not affect calls",
            Coordinate::Advise => "opens this circuit at its first failure",
            Coordinate::Enforce => "opens this circuit",
        };
        vec![format!("shared by store `{store}`: an open circuit in {quorum} {effect}")]
    }
}
