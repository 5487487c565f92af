//! The service over HTTP. Every answer is JSON, errors too.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::{JsonRejection, PathRejection};
use axum::extract::{Json, Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use resilient::circuit_breaker::State as Circuit;
use resilient::{Kind, Rejection, registry};
use serde_json::{Value, json};

use crate::client::ChargeError;
use crate::gateway::{Faults, Gateway};
use crate::service::{Order, Service};

#[derive(Clone)]
struct App {
    service: Arc<Service>,
    gateway: Arc<Gateway>,
}

/// All routes.
pub(crate) fn routes(service: Arc<Service>, gateway: Arc<Gateway>) -> Router {
    Router::new()
        .route("/api/resilience/protected-endpoint", post(protected))
        .route("/api/resilience/simple-protected", get(simple))
        .route("/api/resilience/stats", get(stats))
        .route("/api/resilience/stats/{kind}/{name}", get(component_stats))
        .route("/api/resilience/reset/{kind}/{name}", post(reset))
        .route("/api/resilience/health", get(health))
        .route("/gateway/faults", get(faults).put(set_faults).delete(clear_faults))
        .fallback(async || {
            problem(StatusCode::NOT_FOUND, "there is nothing here; see the program's output for the paths")
        })
        .method_not_allowed_fallback(async || problem(StatusCode::METHOD_NOT_ALLOWED, "not with this method"))
        .with_state(App { service, gateway })
}

async fn protected(State(app): State<App>, order: Result<Json<Order>, JsonRejection>) -> Response {
    let order = match order {
        Ok(Json(order)) => order,
        Err(error) => return problem(error.status(), error.body_text()),
    };
    if let Some(what) = order.problem() {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, what);
    }
    match app.service.charge(&order).await {
        Ok(answer) => Json(answer).into_response(),
        Err(error) => failed(&error),
    }
}

async fn simple(State(app): State<App>) -> Response {
    match app.service.ping().await {
        Ok(answer) => Json(json!({ "gateway": answer })).into_response(),
        Err(error) => failed(&error),
    }
}

async fn stats() -> Response {
    Json(registry().stats()).into_response()
}

type KindAndName = Result<Path<(String, String)>, PathRejection>;

async fn component_stats(path: KindAndName) -> Response {
    about_component(path, |kind, name| registry().component_stats(kind, name).map(|stats| json!(stats)))
}

async fn reset(path: KindAndName) -> Response {
    about_component(path, |kind, name| registry().reset(kind, name).map(|()| json!({ "reset": name })))
}

fn about_component(
    path: KindAndName,
    act: impl FnOnce(Kind, &str) -> Result<Value, resilient::registry::UnknownComponent>,
) -> Response {
    let (kind, name) = match path {
        Ok(Path(path)) => path,
        Err(error) => return problem(error.status(), error.body_text()),
    };
    let kind = match kind.parse::<Kind>() {
        Ok(kind) => kind,
        Err(error) => return problem(StatusCode::NOT_FOUND, error.to_string()),
    };
    match act(kind, &name) {
        Ok(value) => Json(value).into_response(),
        Err(error) => problem(StatusCode::NOT_FOUND, error.to_string()),
    }
}

/// An open circuit degrades the service and does not end it: still 200.
async fn health() -> Response {
    let stats = registry().stats();
    let is_open = |name: &&String| {
        matches!(registry().circuit_breaker(name).state(), Circuit::Open | Circuit::ForcedOpen)
    };
    let open: Vec<&String> = stats.circuit_breaker.keys().filter(is_open).collect();
    let verdict = if open.is_empty() { "ok" } else { "degraded" };
    Json(json!({ "status": verdict, "open_circuits": open })).into_response()
}

async fn faults(State(app): State<App>) -> Response {
    Json(json!({ "faults": app.gateway.faults(), "connections": app.gateway.connections() })).into_response()
}

async fn set_faults(State(app): State<App>, faults: Result<Json<Faults>, JsonRejection>) -> Response {
    match faults {
        Ok(Json(faults)) => match faults.problem() {
            Some(what) => problem(StatusCode::UNPROCESSABLE_ENTITY, what),
            None => {
                app.gateway.set_faults(faults);
                self::faults(State(app)).await
            }
        },
        Err(error) => problem(error.status(), error.body_text()),
    }
}

async fn clear_faults(State(app): State<App>) -> Response {
    app.gateway.set_faults(Faults::default());
    faults(State(app)).await
}

/// What a caller is told of an error, and when to come back.
fn failed(error: &ChargeError) -> Response {
    let status = match error {
        ChargeError::Rejected(rejection) if rejection.is_timeout() => StatusCode::GATEWAY_TIMEOUT,
        ChargeError::Rejected(_) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::BAD_GATEWAY,
    };
    let mut response = problem(status, error.to_string());
    let wish = match error {
        ChargeError::Rejected(rejection) => Rejection::retry_after(rejection),
        ChargeError::Refused { retry_after, .. } => *retry_after,
        _ => None,
    };
    if let Some(span) = wish {
        // Whole seconds, rounded up: too early would be in vain.
        let seconds = span.as_secs() + u64::from(span.subsec_nanos() > 0);
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

fn problem(status: StatusCode, what: impl Into<String>) -> Response {
    (status, Json(json!({ "error": what.into() }))).into_response()
}
