//! Faults armed by hand.

use axum::extract::rejection::PathRejection;
use axum::extract::{Json, Path, State};
use axum::response::{IntoResponse, Response};
use http::{StatusCode, Uri};
use resilient_runtime::chaos::{FaultId, FaultSpec};
use serde_json::{Value, json};

use super::body::{Body, Fields, Parameters, unprocessable};
use crate::Problem;
use crate::admin::App;

/// `GET /chaos/faults`
pub(super) async fn list(State(app): State<App>) -> Json<Value> {
    let faults = app.registry.chaos().faults();
    app.chaos.by_hand(|by_hand| by_hand.see(&faults));
    Json(json!({ "faults": faults }))
}

/// `POST /chaos/faults`
pub(super) async fn arm(State(app): State<App>, body: Body) -> Result<Response, Problem> {
    let mut fields = Fields::of(body)?;
    let by = fields.by();
    let spec: FaultSpec = serde_json::from_value(Value::Object(fields.rest()))
        .map_err(|error| unprocessable("the fault is refused", vec![error.to_string()]))?;
    let chaos = app.registry.chaos();
    let refused = |error: resilient_runtime::chaos::InvalidFault| error.problems().to_vec();
    let fault = spec.fault().map_err(refused);
    // Also the problems of `by`, in one answer.
    for problem in fault.as_ref().err().into_iter().flatten() {
        fields.problem(problem.clone());
    }
    fields.finish(&[])?;
    let armed = fault.and_then(|fault| chaos.arm(fault, &by).map_err(refused));
    let id = armed.map_err(|problems| unprocessable("the fault is refused", problems))?;
    let faults = chaos.faults();
    app.chaos.by_hand(|by_hand| by_hand.see(&faults));
    let Some(armed) = faults.into_iter().find(|fault| fault.id == id) else {
        let what =
            "the fault ended before this response was made: its `ttl` is short, or everything was stopped";
        return Err(Problem::new(StatusCode::CONFLICT, what));
    };
    chaos.record_action(&format!("arm fault {id} ({} on {}), by {by}", armed.action, armed.target));
    let mut armed = json!(armed);
    if let Value::Object(members) = &mut armed {
        members.entry("warnings").or_insert_with(|| json!([]));
    }
    Ok((StatusCode::CREATED, Json(armed)).into_response())
}

/// `DELETE /chaos/faults/{id}`
pub(super) async fn remove(
    State(app): State<App>,
    id: Result<Path<u64>, PathRejection>,
    uri: Uri,
) -> Result<StatusCode, Problem> {
    let by = Parameters::of(&uri, &["by"])?.by()?;
    let Path(id) = id.map_err(|_| not_in_force("with this id"))?;
    let chaos = app.registry.chaos();
    if !chaos.remove(FaultId::new(id)) {
        return Err(not_in_force(&format!("{id}")));
    }
    chaos.record_action(&format!("end fault {id}, by {by}"));
    app.chaos.by_hand(|by_hand| by_hand.see(&chaos.faults()));
    Ok(StatusCode::NO_CONTENT)
}

fn not_in_force(which: &str) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, format!("no fault {which} is in force; it may have ended already"))
}

/// `DELETE /chaos/faults`
pub(super) async fn remove_all(State(app): State<App>, uri: Uri) -> Result<Json<Value>, Problem> {
    let by = Parameters::of(&uri, &["by"])?.by()?;
    let chaos = app.registry.chaos();
    let faults = chaos.stop_all();
    chaos.record_action(&format!("end all faults, by {by}"));
    app.chaos.by_hand(|by_hand| by_hand.see(&[]));
    Ok(Json(json!({ "faults": faults })))
}
