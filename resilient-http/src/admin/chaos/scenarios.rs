//! The shipped scenarios.

use std::time::Duration;

use axum::extract::Json;
use resilient_chaos::scenario::{Scenario, Shipped};
use serde_json::{Value, json};

/// `GET /chaos/scenarios`
pub(super) async fn list() -> Json<Value> {
    let one = |shipped: &Shipped| {
        let scenario = shipped.scenario();
        json!({
            "name": scenario.name,
            "hypothesis": scenario.hypothesis,
            "duration_seconds": duration(&scenario).as_secs_f64(),
            "environment": scenario.environment,
        })
    };
    Json(json!({ "scenarios": Shipped::all().iter().map(one).collect::<Vec<_>>() }))
}

/// Returns how long an experiment takes if nothing deviates and the recovery needs no time.
pub(super) fn duration(scenario: &Scenario) -> Duration {
    scenario.observe_before + scenario.end_of_steps() + scenario.recovery.hold
}
