//! Experiments: list, state and abort.

use std::sync::Arc;

use axum::extract::rejection::PathRejection;
use axum::extract::{Json, Path, State};
use axum::response::Response;
use http::{HeaderMap, StatusCode, Uri};
use serde_json::{Value, json};

use super::attended::Follower;
use super::body::Parameters;
use super::journal::{Form, stream};
use super::record::Record;
use crate::Problem;
use crate::admin::App;
use crate::admin::stream::HasToken;

pub(super) type Id = Result<Path<u64>, PathRejection>;

/// `GET /chaos/experiments`
pub(super) async fn list(State(app): State<App>) -> Json<Value> {
    let running = app.chaos.running(&app.registry).map(|(record, _)| record.json());
    let known = app.chaos.experiments(&app.registry);
    let finished = known.iter().filter(|record| record.outcome().is_some());
    Json(json!({ "running": running, "finished": finished.map(|record| record.json()).collect::<Vec<_>>() }))
}

/// Returns the experiment with this id.
pub(super) fn find(app: &App, id: Id) -> Result<Arc<Record>, Problem> {
    let unknown = |which: String| {
        let what = format!("there is no experiment {which}; the latest 20 that ended are kept");
        Problem::new(StatusCode::NOT_FOUND, what)
    };
    let Path(id) = id.map_err(|_| unknown("with this id".to_owned()))?;
    app.chaos.experiment(&app.registry, id).ok_or_else(|| unknown(id.to_string()))
}

/// `GET /chaos/experiments/{id}`
pub(super) async fn one(State(app): State<App>, id: Id) -> Result<Json<Value>, Problem> {
    Ok(Json(find(&app, id)?.json()))
}

/// `GET /chaos/experiments/{id}/journal`
pub(super) async fn journal(
    State(app): State<App>,
    id: Id,
    token: HasToken,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let record = find(&app, id)?;
    let slot = app.viewers.slot(token.is_some())?;
    let held = (Follower::new(&record.followers), slot);
    Ok(stream(record.journal.clone(), Form::accepted(&headers), held, move || record.json()))
}

/// `DELETE /chaos/experiments/{id}`
pub(super) async fn abort(
    State(app): State<App>,
    id: Id,
    uri: Uri,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let by = Parameters::of(&uri, &["by"])?.by()?;
    let record = find(&app, id)?;
    let running = app.chaos.running(&app.registry).filter(|(running, _)| running.id == record.id);
    let Some((_, running)) = running else {
        let what = format!("the experiment {} has ended already", record.id);
        return Err(Problem::new(StatusCode::CONFLICT, what));
    };
    running.stop(&format!("aborted by {by}"));
    let (id, name) = (record.id, &record.scenario);
    app.registry.chaos().record_action(&format!("abort experiment {id} ({name}), by {by}"));
    Ok((StatusCode::ACCEPTED, Json(record.json())))
}
