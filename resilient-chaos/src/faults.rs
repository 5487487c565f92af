//! The interface between the runner and fault injection.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use resilient_runtime::Registry;
use resilient_runtime::chaos::{Chaos, Fault, FaultGuard, FaultSpec};
use serde_json::Value as Json;

/// Identifies an injected fault.
pub type FaultId = u64;

/// A fault that the runner injects.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Arm<'a> {
    /// The specification of the fault, in JSON.
    pub fault: &'a Json,
    /// The share of calls that are hit, from 0 to 1.
    pub rate: f64,
    /// Decides which calls are hit.
    pub seed: u64,
    /// The fault ends after this time, unless it is renewed.
    pub ttl: Duration,
    /// The largest number of calls that the fault may hold at the same time.
    pub max_active: Option<u32>,
    /// The reason, shown in the list of faults.
    pub by: &'a str,
}

/// Injects faults. Implemented by the fault injection of a registry, and by test doubles.
pub trait Faults: Send + Sync {
    /// Returns all problems of a fault that cannot be injected. By default none.
    fn check(&self, fault: &Json) -> Vec<String> {
        let _ = fault;
        Vec::new()
    }

    /// Injects a fault as a lease.
    ///
    /// # Errors
    /// Returns why the fault cannot be injected, and the remedy.
    fn arm(&self, arm: &Arm<'_>) -> Result<FaultId, String>;

    /// Extends the lease of a fault. Returns `false` if the fault has ended.
    fn renew(&self, id: FaultId, ttl: Duration) -> bool;

    /// Changes the share of calls that are hit. Returns `false` if the fault has ended.
    fn set_rate(&self, id: FaultId, rate: f64) -> bool;

    /// Removes a fault. Returns `false` if it had ended before.
    fn remove(&self, id: FaultId) -> bool;

    /// Returns how many calls a fault has hit, if it is injected.
    fn injected(&self, id: FaultId) -> Option<u64>;
}

/// Returns the operations or patterns that a fault targets: one, or a list.
pub(crate) fn targets(fault: &Json) -> Vec<&str> {
    match fault.get("on") {
        Some(Json::String(one)) => vec![one],
        Some(Json::Array(list)) => list.iter().filter_map(Json::as_str).collect(),
        _ => Vec::new(),
    }
}

/// Returns the fault injection of a registry, which runners use by default.
///
/// A program wraps it to inject faults in another way, for example outside of the process.
///
/// ```
/// let faults = resilient_chaos::faults::of_registry(&resilient_runtime::Registry::new());
/// let unknown = serde_json::json!({ "type": "latncy", "on": "charge", "add": "1s" });
/// assert!(faults.check(&unknown)[0].contains("did you mean `latency`?"));
/// ```
pub fn of_registry(registry: &Registry) -> Arc<dyn Faults> {
    Arc::new(InProcess::new(registry))
}

/// Injects faults with the fault injection of a registry.
#[derive(Debug)]
struct InProcess {
    chaos: Chaos,
    /// Dropping a guard removes its fault.
    guards: Mutex<BTreeMap<FaultId, FaultGuard>>,
}

impl InProcess {
    fn new(registry: &Registry) -> Self {
        Self { chaos: registry.chaos(), guards: Mutex::default() }
    }

    fn guards(&self) -> MutexGuard<'_, BTreeMap<FaultId, FaultGuard>> {
        self.guards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The smallest rate of a fault, for ramps that begin with 0.
const SMALLEST: f64 = 1e-9;

impl Faults for InProcess {
    fn check(&self, fault: &Json) -> Vec<String> {
        let checked = match read(fault) {
            Ok(fault) => self.chaos.check(&fault).map_err(|error| error.problems().to_vec()),
            Err(problems) => Err(problems),
        };
        checked.err().unwrap_or_default()
    }

    fn arm(&self, arm: &Arm<'_>) -> Result<FaultId, String> {
        let fault = read(arm.fault).map_err(|problems| problems.join("; "))?;
        let fault = fault.rate(arm.rate.max(SMALLEST)).seed(arm.seed).ttl(arm.ttl);
        let fault = match arm.max_active {
            Some(most) if arm.fault.get("max_active").is_none() => fault.max_active(most),
            _ => fault,
        };
        let guard = self.chaos.inject_as(fault, arm.by).map_err(|error| error.to_string())?;
        let id = guard.id().get();
        self.guards().insert(id, guard);
        Ok(id)
    }

    fn renew(&self, id: FaultId, ttl: Duration) -> bool {
        let guards = self.guards();
        let Some(guard) = guards.get(&id) else { return false };
        !guard.snapshot().expires_in.is_zero() && guard.renew(ttl).is_ok()
    }

    fn set_rate(&self, id: FaultId, rate: f64) -> bool {
        self.guards().get(&id).is_some_and(|guard| guard.set_rate(rate.max(SMALLEST)).is_ok())
    }

    fn remove(&self, id: FaultId) -> bool {
        // The lock is released before the fault ends, because that wakes calls.
        let guard = self.guards().remove(&id);
        guard.is_some_and(|guard| self.chaos.remove(guard.snapshot().id))
    }

    fn injected(&self, id: FaultId) -> Option<u64> {
        self.guards().get(&id).map(FaultGuard::injected)
    }
}

/// Checks the specification of a fault without a registry, and returns all of its problems.
pub(crate) fn check(fault: &Json) -> Vec<String> {
    read(fault).err().unwrap_or_default()
}

/// Checks the rate of a step, which not every fault accepts, and returns all problems.
pub(crate) fn check_rate(fault: &Json, rate: f64) -> Vec<String> {
    let checked = read(fault).map(|fault| fault.rate(rate.max(SMALLEST)).check());
    checked.ok().and_then(Result::err).map(|error| error.problems().to_vec()).unwrap_or_default()
}

/// Whether a fault acts on calls, and not on a component or the clock.
pub(crate) fn is_of_calls(fault: &Json) -> bool {
    use resilient_runtime::chaos::FaultKind::{Error, Hang, Latency, Panic, Refuse, TypedError};
    let kinds = [Error, Hang, Latency, Panic, Refuse, TypedError];
    read(fault).is_ok_and(|fault| kinds.contains(&fault.kind()))
}

/// Reads the specification of a fault. The error has all of its problems.
fn read(fault: &Json) -> Result<Fault, Vec<String>> {
    let spec: FaultSpec = serde_json::from_value(fault.clone()).map_err(|error| vec![error.to_string()])?;
    spec.fault().map_err(|error| error.problems().to_vec())
}

/// Fields of a fault that a step gives, and the field of the step.
const GIVEN_BY_STEP: [(&str, &str); 4] =
    [("percent", "rate"), ("rate", "rate"), ("ttl", "for"), ("seed", "seed")];

/// Checks the fault of a step, which must not have what the step gives. Returns all of its problems.
pub(crate) fn check_of_step(fault: &Json) -> Vec<String> {
    let given = GIVEN_BY_STEP.iter().filter(|(field, _)| fault.get(*field).is_some());
    let given: Vec<_> = given
        .map(|(field, instead)| match *instead {
            "seed" => "the fault must not have `seed`: `[scenario]` gives it".to_owned(),
            instead => format!("the fault must not have `{field}`: the step gives it by `{instead}`"),
        })
        .collect();
    if given.is_empty() { check(fault) } else { given }
}
