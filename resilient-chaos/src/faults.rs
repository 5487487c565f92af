//! What the runner needs of fault injection.

use std::time::Duration;

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

/// Checks the specification of a fault, and returns all of its problems.
pub(crate) fn check(fault: &Json) -> Result<(), Vec<String>> {
    if fault.get("type").and_then(Json::as_str).is_none() {
        return Err(vec![
            "the fault has no `type`; for example `{ type = \"error\", on = \"charge\" }`".to_owned(),
        ]);
    }
    Ok(())
}

/// Fields of a fault that a step gives, and the field of the step.
const GIVEN_BY_STEP: [(&str, &str); 4] = [("percent", "rate"), ("rate", "rate"), ("ttl", "for"), ("seed", "seed")];

/// Checks the fault of a step, which must not have what the step gives. Returns all of its problems.
pub(crate) fn check_of_step(fault: &Json) -> Vec<String> {
    let given = GIVEN_BY_STEP.iter().filter(|(field, _)| fault.get(*field).is_some());
    let given: Vec<_> = given
        .map(|(field, instead)| match *instead {
            "seed" => "the fault must not have `seed`: `[scenario]` gives it".to_owned(),
            instead => format!("the fault must not have `{field}`: the step gives it by `{instead}`"),
        })
        .collect();
    if given.is_empty() { check(fault).err().unwrap_or_default() } else { given }
}
