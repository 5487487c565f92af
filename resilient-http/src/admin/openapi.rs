//! The API for programs, in the form of `OpenAPI` 3.1.

use resilient_runtime::Kind;
use serde_json::{Map, Value, json};

/// What the API below `prefix` offers, and `more`: paths that others have added.
pub(super) fn document(prefix: &str, more: &Map<String, Value>) -> Value {
    let mut paths: Map<String, Value> =
        more.iter().map(|(path, item)| (format!("{prefix}{path}"), item.clone())).collect();
    let mut add = |path: &str, item: Value| {
        paths.insert(format!("{prefix}{path}"), item);
    };
    for (path, about) in [
        ("/health", "All checks but the deep ones"),
        ("/health/live", "Whether the process should be started anew"),
        ("/health/ready", "Whether calls should come here"),
        ("/health/deep", "Whether the real work gets done"),
    ] {
        add(path, json!({ "get": health(about) }));
    }
    for (path, about, form) in [
        ("/stats", "What was counted, and where things stand", "object"),
        ("/config", "Every setting in force, and where its value came from", "object"),
        ("/sites", "The annotated functions, with their stages", "array"),
        ("/alerts", "How the alerts stand", "object"),
        ("/openapi.json", "This document", "object"),
    ] {
        add(path, json!({ "get": read(about, &[], &answer("application/json", form)) }));
    }
    add("/metrics", json!({ "get": read("For Prometheus", &[], &answer("text/plain", "string")) }));
    for (path, about) in [
        ("/events", "What happens, as it happens"),
        ("/stream", "The statistics, and once a second what changed"),
    ] {
        add(path, json!({ "get": read(about, &[], &answer("text/event-stream", "string")) }));
    }
    let json = answer("application/json", "object");
    let component = [kind(), text("name")];
    add("/stats/{kind}/{name}", json!({ "get": read("One component", &component, &json) }));
    add(
        "/reset/{kind}/{name}",
        json!({ "post": operation("Back to the state it had when it was new", &component, &json) }),
    );
    let mut change =
        operation("Changes settings, by the names that the configuration has", &component, &json);
    change["requestBody"] = json!({
        "required": true,
        "content": { "application/json": { "schema": {
            "type": "object",
            "additionalProperties": { "type": ["string", "number", "boolean", "null"] },
        } } },
    });
    let clear_overrides = operation("Takes back what was changed at run time", &component, &json);
    add("/config/{kind}/{name}", json!({ "patch": change, "delete": clear_overrides }));
    let lever = json!({
        "name": "lever", "in": "path", "required": true,
        "schema": { "enum": ["open", "close", "disable", "resume"] },
    });
    let lever = operation(
        "Opens or closes a circuit by hand, or lets it decide again",
        &[text("name"), lever],
        &json,
    );
    add("/circuit_breaker/{name}/{lever}", json!({ "post": lever }));
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

/// From the document to what is below no prefix.
fn up(prefix: &str) -> String {
    let up = "../".repeat(prefix.matches('/').count());
    if up.is_empty() { ".".into() } else { up.trim_end_matches('/').into() }
}

fn operation(about: &str, parameters: &[Value], answer: &Value) -> Value {
    json!({
        "summary": about,
        "parameters": parameters,
        "responses": { "200": answer, "default": problem() },
    })
}

/// Without the token, too, from the machine itself.
fn read(about: &str, parameters: &[Value], answer: &Value) -> Value {
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
        "description": "how it stands",
        "content": { "application/health+json": { "schema": report } },
    });
    let mut operation = read(about, &[], &answer);
    operation["responses"]["503"] = answer;
    operation
}

fn answer(media: &str, form: &str) -> Value {
    json!({ "description": "the answer", "content": { media: { "schema": { "type": form } } } })
}

fn problem() -> Value {
    json!({
        "description": "what is wrong",
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
