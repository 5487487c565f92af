//! HTTP API of the service. All responses are JSON, including errors.

use std::sync::Arc;

use axum::Router;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Json, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use resilient_http::Problem;
use resilient_http::layer::{
    ClientIp, CorrelationLayer, DeadlineLayer, DegradedLayer, IdempotencyLayer, RateLimitLayer, Repeats,
    ServerLayer,
};
use resilient_runtime::{Class, Classify, registry};
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
///
/// The customer routes are wrapped in layers; the last one is outermost. The layers read correlation ids and deadlines
/// from requests, mark degraded responses, limit the rate per address, and execute a request with an `Idempotency-Key`
/// once.
pub(crate) fn routes(service: Arc<Service>, gateway: Arc<Gateway>) -> Result<Router, Repeats> {
    let server = registry().pipeline("http").bulkhead("http").timeout("http").build();
    let customers = Router::new()
        .route("/api/resilience/protected-endpoint", post(protected))
        .route("/api/resilience/simple-protected", get(simple))
        .layer(DegradedLayer::new())
        .layer(ServerLayer::new(server)?)
        .layer(IdempotencyLayer::new(registry().idempotency("requests")))
        .layer(RateLimitLayer::new(registry().rate_limiter("addresses"), ClientIp::direct()))
        .layer(DeadlineLayer::new())
        .layer(CorrelationLayer::new());
    Ok(Router::new()
        .merge(customers)
        .route("/gateway/faults", get(faults).put(set_faults).delete(clear_faults))
        .method_not_allowed_fallback(async || {
            problem(StatusCode::METHOD_NOT_ALLOWED, "this path does not support this method")
        })
        .with_state(App { service, gateway }))
}

/// `OpenAPI` descriptions of the customer routes.
pub(crate) fn paths() -> [(&'static str, Value); 2] {
    let problem = json!({ "description": "Error (RFC 9457)", "content": { "application/problem+json": {} } });
    let answer = |what: &str| {
        let good = json!({ "description": what, "content": { "application/json": { "schema": { "type": "object" } } } });
        json!({ "200": good, "default": problem })
    };
    let text = |form: &str| json!({ "type": "string", "pattern": form });
    let order = json!({
        "type": "object",
        "required": ["order_id", "cents"],
        "additionalProperties": false,
        "properties": {
            "order_id": text("^[A-Za-z0-9._-]{1,64}$"),
            "cents": { "type": "integer", "minimum": 1, "maximum": 10_000_000 },
            "currency": text("^[A-Z]{3}$"),
            "customer": text("^[A-Za-z0-9._-]{0,64}$"),
            "express": { "type": "boolean" },
        },
    });
    let protected = json!({ "post": {
        "summary": "Charge an order; repeating the request does not charge it twice",
        "security": [],
        "requestBody": { "required": true, "content": { "application/json": { "schema": order } } },
        "responses": answer("Charged, or queued for later"),
    } });
    let simple = json!({ "get": {
        "summary": "Ping the gateway",
        "security": [],
        "responses": answer("The gateway responded"),
    } });
    [("/protected-endpoint", protected), ("/simple-protected", simple)]
}

async fn protected(State(app): State<App>, order: Result<Json<Order>, JsonRejection>) -> Response {
    let order = match order {
        Ok(Json(order)) => order,
        Err(error) => return problem(error.status(), error.body_text()),
    };
    if let Some(what) = order.problem() {
        return problem(StatusCode::UNPROCESSABLE_ENTITY, what);
    }
    match app.service.order(&order).await {
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

/// Converts an error to a response, with `Retry-After` if known.
fn failed(error: &ChargeError) -> Response {
    // An ignored error is a fault of the request, not of the gateway.
    let is_callers = error.classify() == Class::Ignored;
    let status = if is_callers { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::BAD_GATEWAY };
    let problem = Problem::of(error, status);
    match error {
        ChargeError::Refused { retry_after, .. } => problem.after(*retry_after),
        _ => problem,
    }
    .into_response()
}

fn problem(status: StatusCode, what: impl Into<String>) -> Response {
    Problem::new(status, what).into_response()
}
