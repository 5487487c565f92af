//! Routes of the admin API.

use axum::Router;
use axum::extract::rejection::{JsonRejection, PathRejection, QueryRejection};
use axum::extract::{DefaultBodyLimit, Json, Path, Query, State};
use axum::middleware::{from_fn_with_state, map_response};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, patch, post};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use resilient_runtime::health::Ask;
use resilient_runtime::registry::{ChangeError, ResetAllError, UnknownComponent};
use resilient_runtime::settings::Raw;
use resilient_runtime::store::StoreError;
use resilient_runtime::{Kind, UnknownKind};
use serde_json::{Map, Value, json};

use super::access::{guard, hardened};
use super::{App, stream};
use crate::layer::CorrelationLayer;
use crate::metrics::{Format, render};
use crate::{Problem, dashboard};

/// Maximum size of a request body, in bytes.
const BODY: usize = 64 * 1024;

pub(super) fn routes(app: App) -> Router {
    let prefix = app.prefix.clone();
    app.viewers.watch(&app.registry);
    let api = Router::new()
        .route("/health", get(|app| health(app, Ask::All)))
        .route("/health/live", get(|app| health(app, Ask::Liveness)))
        .route("/health/ready", get(|app| health(app, Ask::Readiness)))
        .route("/health/deep", get(|app| health(app, Ask::Deep)))
        .route("/stats", get(stats))
        .route("/stats/{kind}/{name}", get(component_stats))
        .route("/config", get(config))
        .route("/sites", get(sites))
        .route("/alerts", get(alerts))
        .route("/metrics", get(metrics))
        .route("/config/{kind}/{name}", patch(set_overrides).delete(clear_overrides))
        .route("/openapi.json", get(openapi))
        .route("/events", get(stream::events))
        .route("/stream", get(stream::ticks))
        .route("/reset/{kind}/{name}", post(reset))
        .route("/circuit_breaker/{name}/{action}", post(circuit_breaker))
        .merge(chaos())
        .method_not_allowed_fallback(async || {
            Problem::new(StatusCode::METHOD_NOT_ALLOWED, "this endpoint does not support this method")
        });
    // All paths below the prefix belong to the admin API. Without a prefix, unknown paths can belong to the application.
    let api =
        if prefix.is_empty() { api } else { api.route("/", any(nothing)).route("/{*rest}", any(nothing)) };
    // These are route layers: router layers would also wrap the 404 handler of the application. The correlation id and
    // the security headers are outermost, so that rejected requests have them too.
    let guarded = api
        .route_layer(DefaultBodyLimit::max(BODY))
        .route_layer(from_fn_with_state(app.clone(), stream::watched))
        .route_layer(from_fn_with_state(app.clone(), guard))
        .route_layer(CorrelationLayer::new());
    let nested = if prefix.is_empty() { guarded } else { Router::new().nest(&prefix, guarded) };
    nested.merge(dashboard::routes(&prefix)).route_layer(map_response(hardened)).with_state(app)
}

/// The routes below `/chaos`.
#[cfg(feature = "chaos")]
fn chaos() -> Router<App> {
    super::chaos::routes()
}

/// Says why there are no routes below `/chaos`.
#[cfg(not(feature = "chaos"))]
fn chaos() -> Router<App> {
    let absent = any(async || {
        let what = "this program was built without the feature `chaos` of `resilient-http`, so it has no fault injection";
        Problem::new(StatusCode::NOT_FOUND, what)
    });
    Router::new().route("/chaos", absent.clone()).route("/chaos/{*rest}", absent)
}

async fn nothing() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no such endpoint")
}

async fn health(State(app): State<App>, ask: Ask) -> Response {
    let report = app.registry.health_report(ask).await;
    let status = StatusCode::from_u16(report.http_status()).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let json = HeaderValue::from_static("application/health+json");
    (status, [(header::CONTENT_TYPE, json)], json!(report).to_string()).into_response()
}

async fn stats(State(app): State<App>) -> Response {
    app.registry.evaluate_alerts();
    Json(app.registry.stats()).into_response()
}

async fn config(State(app): State<App>) -> Response {
    Json(app.registry.effective()).into_response()
}

async fn sites(State(app): State<App>) -> Response {
    let sites = app.registry.sites();
    let with_stages = sites.into_iter().map(|site| {
        let stages = app.registry.explain(&site.operation);
        json!({ "site": site, "stages": stages.map(|explained| explained.stages) })
    });
    Json(with_stages.collect::<Vec<_>>()).into_response()
}

async fn alerts(State(app): State<App>) -> Response {
    app.registry.evaluate_alerts();
    Json(app.registry.stats().alert).into_response()
}

async fn metrics(State(app): State<App>, headers: HeaderMap) -> Response {
    let accept = headers.get(header::ACCEPT).and_then(|accept| accept.to_str().ok());
    let format = Format::accepted(accept);
    ([(header::CONTENT_TYPE, format.content_type())], render(&app.registry, format)).into_response()
}

type Named = Result<Path<(String, String)>, PathRejection>;

async fn component_stats(State(app): State<App>, path: Named) -> Result<Response, Problem> {
    let (kind, name) = component(path)?;
    if kind == Kind::Alert {
        app.registry.evaluate_alerts();
    }
    let stats = app.registry.component_stats(kind, &name).map_err(|error| unknown(&error))?;
    Ok(Json(stats).into_response())
}

async fn reset(
    State(app): State<App>,
    path: Named,
    query: Result<Query<Scope>, QueryRejection>,
) -> Result<Json<Value>, Problem> {
    let (kind, name) = component(path)?;
    let Query(Scope { scope }) = query.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    let scope = scope.as_deref().unwrap_or("local");
    match scope {
        "local" => {
            app.registry.reset(kind, &name).map_err(|error| unknown(&error))?;
            audit(&app, "reset", kind, &name);
        }
        "cluster" => {
            app.registry.reset_all(kind, &name).await.map_err(|error| not_reset(&error))?;
            audit(&app, "reset in all instances", kind, &name);
        }
        _ => {
            let known = "unknown scope; expected `local` (this instance) or `cluster` (all instances)";
            return Err(Problem::new(StatusCode::BAD_REQUEST, known));
        }
    }
    Ok(Json(json!({ "reset": name, "kind": kind, "scope": scope })))
}

/// The query of a reset.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Scope {
    scope: Option<String>,
}

fn not_reset(error: &ResetAllError) -> Problem {
    let status = match error {
        ResetAllError::Unknown(error) => return unknown(error),
        ResetAllError::Store(StoreError::Refused(_)) | ResetAllError::NotShared(_) => StatusCode::CONFLICT,
        // Nothing is reset silently in this instance only.
        _ => StatusCode::SERVICE_UNAVAILABLE,
    };
    Problem::new(status, error.to_string())
}

/// The body maps setting names, as `explain` prints them, to values: `{"open_for": "5s", "failure_rate": 0.3}`. Null
/// removes an override.
async fn set_overrides(
    State(app): State<App>,
    path: Named,
    body: Result<Json<Map<String, Value>>, JsonRejection>,
) -> Result<Json<Value>, Problem> {
    let (kind, name) = component(path)?;
    let Json(body) = body.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    let changes: Vec<(String, Raw)> =
        body.into_iter().map(|(field, value)| Ok((field, raw(value)?))).collect::<Result<_, Problem>>()?;
    app.registry.set_overrides(kind, &name, &changes).map_err(|error| refused(&error))?;
    for (field, _) in &changes {
        audit(&app, &format!("set {field}"), kind, &name);
    }
    Ok(Json(json!({ "changed": name, "kind": kind })))
}

async fn clear_overrides(State(app): State<App>, path: Named) -> Result<Json<Value>, Problem> {
    let (kind, name) = component(path)?;
    app.registry.clear_overrides(kind, &name).map_err(|error| refused(&error))?;
    audit(&app, "clear_overrides", kind, &name);
    Ok(Json(json!({ "cleared": name, "kind": kind })))
}

fn raw(value: Value) -> Result<Raw, Problem> {
    let number = |number: serde_json::Number| match number.as_i64() {
        Some(integer) => Some(Raw::Integer(integer)),
        None => number.as_f64().map(Raw::Float),
    };
    let raw = match value {
        Value::Null => Some(Raw::Unset),
        Value::Bool(flag) => Some(Raw::Flag(flag)),
        Value::String(text) => Some(Raw::Text(text)),
        Value::Number(given) => number(given),
        Value::Array(_) | Value::Object(_) => None,
    };
    let what = "the value of a setting must be a string, a number, a boolean or null";
    raw.ok_or_else(|| Problem::new(StatusCode::UNPROCESSABLE_ENTITY, what))
}

fn refused(error: &ChangeError) -> Problem {
    match error {
        ChangeError::Unknown(error) => unknown(error),
        error => Problem::new(StatusCode::UNPROCESSABLE_ENTITY, error.to_string()),
    }
}

async fn openapi(State(app): State<App>) -> Response {
    Json(super::openapi::document(&app.prefix, &app.paths)).into_response()
}

async fn circuit_breaker(State(app): State<App>, path: Named) -> Result<Json<Value>, Problem> {
    let Path((name, action)) = path.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    // The lookup by name would create the breaker.
    app.registry.component_stats(Kind::CircuitBreaker, &name).map_err(|error| unknown(&error))?;
    let breaker = app.registry.circuit_breaker(&name);
    match action.as_str() {
        "open" => breaker.force_open(),
        "close" => breaker.force_closed(),
        "disable" => breaker.disable(),
        "resume" => breaker.resume(),
        _ => {
            let known = "unknown circuit breaker action; expected open, close, disable or resume";
            return Err(Problem::new(StatusCode::NOT_FOUND, known));
        }
    }
    audit(&app, &action, Kind::CircuitBreaker, &name);
    Ok(Json(json!({ "circuit_breaker": name, "state": breaker.state() })))
}

fn component(path: Named) -> Result<(Kind, String), Problem> {
    let Path((kind, name)) = path.map_err(|error| Problem::new(error.status(), error.body_text()))?;
    let unknown = |error: UnknownKind| Problem::new(StatusCode::NOT_FOUND, error.to_string());
    Ok((kind.parse().map_err(unknown)?, name))
}

fn unknown(error: &UnknownComponent) -> Problem {
    Problem::new(StatusCode::NOT_FOUND, error.to_string()).with("did_you_mean", error.nearest())
}

/// Records each write, so that misuse of the token can be traced.
fn audit(app: &App, action: &str, kind: Kind, name: &str) {
    // Cannot fail: the component exists, and components are never removed.
    let _ = app.registry.record_action(kind, name, action);
}
