//! The overview, and the end of all faults, experiments and monkeys.

use std::time::Duration;

use axum::extract::{Json, State};
use http::{StatusCode, Uri};
use resilient_chaos::report::Journal;
use serde_json::{Value, json};

use super::body::{Parameters, who};
use crate::Problem;
use crate::admin::App;

/// How long an experiment and a monkey may take to end after their faults were ended.
const ENDS_WITHIN: Duration = Duration::from_secs(1);

/// `GET /chaos`
pub(super) async fn overview(State(app): State<App>) -> Json<Value> {
    let (registry, control) = (&app.registry, &app.chaos);
    let chaos = registry.chaos();
    let faults = chaos.faults();
    control.by_hand(|by_hand| by_hand.see(&faults));
    Json(json!({
        "armed": !faults.is_empty(),
        "faults": faults,
        "injected": chaos.injected(),
        "limits": chaos.limits(),
        "environment": control.environment,
        "experiment": control.running(registry).map(|(record, _)| record.json()),
        "monkey": control.monkey(registry).map(|(record, _)| record.json()),
    }))
}

/// `POST /chaos/stop`: ends all faults at once, then the experiment and the monkey.
///
/// Nothing in the request can refuse it: a query that cannot be read is ignored.
pub(super) async fn stop(State(app): State<App>, uri: Uri) -> Result<Json<Value>, Problem> {
    let by = who(Parameters::lenient(&uri).get("by"));
    let chaos = app.registry.chaos();
    let reason = format!("stopped by {by}");
    let armed = chaos.faults();
    let experiment = app.chaos.running(&app.registry);
    let monkey = app.chaos.monkey(&app.registry);
    // The reasons first, so that the journals do not report that another client removed the faults.
    experiment.iter().for_each(|(_, running)| running.stop(&reason));
    monkey.iter().for_each(|(_, running)| running.stop(&reason));
    let mut faults = chaos.stop_all().max(armed.len());
    chaos.record_action(&format!("stop everything, by {by}"));
    let journals = experiment.iter().map(|(record, _)| &record.journal);
    let have_ended = ended(journals.chain(monkey.iter().map(|(record, _)| &record.journal)));
    let is_over = tokio::time::timeout(ENDS_WITHIN, have_ended).await.is_ok();
    // A step could start at the same moment.
    faults += chaos.stop_all();
    app.chaos.by_hand(|by_hand| by_hand.see(&chaos.faults()));
    if !is_over {
        let what = "all faults have ended, but the experiment or the monkey has not answered within 1 s and could \
                    inject again; send the request again";
        return Err(Problem::new(StatusCode::INTERNAL_SERVER_ERROR, what).with("faults", faults));
    }
    let experiment = experiment.map(|(record, _)| record.scenario.clone());
    Ok(Json(json!({ "faults": faults, "experiment": experiment, "monkey": monkey.is_some() })))
}

/// Waits until all of these have ended.
async fn ended<'j>(journals: impl Iterator<Item = &'j Journal>) {
    for journal in journals {
        while journal.next(usize::MAX).await.is_some() {}
    }
}
