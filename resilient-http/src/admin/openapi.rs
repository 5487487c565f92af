//! `OpenAPI` 3.1 description of the admin API.

use resilient_runtime::Kind;
use serde_json::{Map, Value, json};

/// Describes the endpoints below `prefix` and the paths in `more`, which the application added.
pub(super) fn document(prefix: &str, more: &Map<String, Value>) -> Value {
    let mut paths: Map<String, Value> =
        more.iter().map(|(path, item)| (format!("{prefix}{path}"), item.clone())).collect();
    let mut add = |path: &str, item: Value| {
        paths.insert(format!("{prefix}{path}"), item);
    };
    for (path, about) in [
        ("/health", "Run all health checks except the deep and startup checks"),
        ("/health/live", "Liveness: fails if the process must be restarted"),
        ("/health/ready", "Readiness: fails if the process must not receive traffic"),
        ("/health/deep", "Run the readiness checks and the deep checks"),
    ] {
        add(path, json!({ "get": health(about) }));
    }
    for (path, about, form) in [
        ("/stats", "Counters and state of all components", "object"),
        ("/config", "Effective settings and the origin of each value", "object"),
        ("/sites", "Annotated functions and their stages", "array"),
        ("/alerts", "State of all alerts", "object"),
        ("/openapi.json", "This OpenAPI document", "object"),
    ] {
        add(path, json!({ "get": read(about, &[], &answer("application/json", form)) }));
    }
    add(
        "/metrics",
        json!({ "get": read("Metrics in the Prometheus or OpenMetrics text format", &[], &answer("text/plain", "string")) }),
    );
    for (path, about) in [
        ("/events", "Events of all components as server-sent events"),
        ("/stream", "Statistics as server-sent events: a snapshot, then the changes once a second"),
    ] {
        add(path, json!({ "get": read(about, &[], &answer("text/event-stream", "string")) }));
    }
    let json = answer("application/json", "object");
    let component = [kind(), text("name")];
    let scope = json!({
        "name": "scope", "in": "query",
        "schema": { "enum": ["local", "cluster"], "default": "local" },
    });
    add(
        "/stats/{kind}/{name}",
        json!({ "get": read("Counters and state of one component", &component, &json) }),
    );
    add(
        "/reset/{kind}/{name}",
        json!({ "post": operation(
            "Reset a component to its initial state, in this instance or, for a circuit breaker with a store, in all",
            &[kind(), text("name"), scope],
            &json,
        ) }),
    );
    let mut change = operation(
        "Change settings at run time; keys are setting names as in /config, and null removes an override",
        &component,
        &json,
    );
    change["requestBody"] = json!({
        "required": true,
        "content": { "application/json": { "schema": {
            "type": "object",
            "additionalProperties": { "type": ["string", "number", "boolean", "null"] },
        } } },
    });
    let clear_overrides = operation("Remove all settings changed at run time", &component, &json);
    add("/config/{kind}/{name}", json!({ "patch": change, "delete": clear_overrides }));
    let action = json!({
        "name": "action", "in": "path", "required": true,
        "schema": { "enum": ["open", "close", "disable", "resume"] },
    });
    let control = operation(
        "Force a circuit breaker open or closed, disable it, or resume automatic operation",
        &[text("name"), action],
        &json,
    );
    add("/circuit_breaker/{name}/{action}", json!({ "post": control }));
    #[cfg(feature = "chaos")]
    super::chaos::paths().into_iter().for_each(|(path, item)| add(path, item));
    json!({
        "openapi": "3.1.0",
        // Relative to this document: the router may be mounted below another path.
        "servers": [{ "url": up(prefix) }],
        "info": { "title": "Resilient", "version": env!("CARGO_PKG_VERSION") },
        "components": { "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } } },
        "security": [{ "token": [] }],
        "paths": paths,
    })
}

/// Relative URL from the document to the root of the router.
fn up(prefix: &str) -> String {
    let up = "../".repeat(prefix.matches('/').count());
    if up.is_empty() { ".".into() } else { up.trim_end_matches('/').into() }
}

pub(super) fn operation(about: &str, parameters: &[Value], answer: &Value) -> Value {
    json!({
        "summary": about,
        "parameters": parameters,
        "responses": { "200": answer, "default": problem() },
    })
}

/// An operation that needs no token from loopback.
pub(super) fn read(about: &str, parameters: &[Value], answer: &Value) -> Value {
    let mut operation = operation(about, parameters, answer);
    operation["security"] = json!([{ "token": [] }, {}]);
    operation
}

fn health(about: &str) -> Value {
    let report = json!({
        "type": "object",
        "required": ["status"],
        "properties": { "status": { "enum": ["pass", "warn", "fail"] } },
    });
    let answer = json!({
        "description": "Health report",
        "content": { "application/health+json": { "schema": report } },
    });
    let mut operation = read(about, &[], &answer);
    operation["responses"]["503"] = answer;
    operation
}

pub(super) fn answer(media: &str, form: &str) -> Value {
    json!({ "description": "Success", "content": { media: { "schema": { "type": form } } } })
}

pub(super) fn problem() -> Value {
    json!({
        "description": "Error (RFC 9457)",
        "content": { "application/problem+json": { "schema": {
            "type": "object",
            "required": ["type", "title", "status", "detail"],
            "properties": {
                "type": { "type": "string" },
                "title": { "type": "string" },
                "status": { "type": "integer" },
                "detail": { "type": "string" },
            },
        } } },
    })
}

fn text(name: &str) -> Value {
    json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string", "minLength": 1 } })
}

fn kind() -> Value {
    let kinds: Vec<_> = Kind::all().map(Kind::as_str).collect();
    json!({ "name": "kind", "in": "path", "required": true, "schema": { "enum": kinds } })
}
