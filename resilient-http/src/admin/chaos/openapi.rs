//! `OpenAPI` description of the routes.

use resilient_chaos::scenario::Shipped;
use resilient_runtime::Kind;
use resilient_runtime::chaos::FaultSpec;
use serde_json::{Value, json};

use crate::admin::openapi::{answer, operation, read};

/// Path and path item of each route.
pub(in crate::admin) fn paths() -> Vec<(&'static str, Value)> {
    let object = answer("application/json", "object");
    let (id, by) = ([id()], by());
    let id_and_by = [id[0].clone(), by.clone()];
    let (from, to) = (milliseconds("from"), milliseconds("to"));
    vec![
        (
            "/chaos",
            json!({ "get": read("Armed faults, limits, environment, and the experiment and monkey that run", &[], &object) }),
        ),
        (
            "/chaos/stop",
            json!({ "post": operation("End all faults at once, abort the experiment, stop the monkey", &[any_text("by")], &object) }),
        ),
        (
            "/chaos/faults",
            json!({
                "get": read("The faults in force", &[], &object),
                "post": with_body(answers(operation("Arm a fault until its time to live is over or it is removed", &[], &object), "201"), &fault()),
                "delete": operation("End all faults", std::slice::from_ref(&by), &object),
            }),
        ),
        (
            "/chaos/faults/{id}",
            json!({ "delete": without_content(operation("End a fault", &id_and_by, &object)) }),
        ),
        (
            "/chaos/scenarios",
            json!({ "get": read("The scenarios that can be started by name", &[], &object) }),
        ),
        (
            "/chaos/experiments",
            json!({
                "get": read("The experiment that runs, and the latest that ended", &[], &object),
                "post": with_body(also(operation("Start an experiment, or plan it", &[], &object), "202", &object), &experiment()),
            }),
        ),
        (
            "/chaos/experiments/{id}",
            json!({
                "get": read("State and result of an experiment", &id, &object),
                "delete": answers(operation("Abort an experiment", &id_and_by, &object), "202"),
            }),
        ),
        (
            "/chaos/experiments/{id}/journal",
            json!({ "get": read("The journal of an experiment, one entry a line or as server-sent events, until it ends", &id, &journal()) }),
        ),
        (
            "/chaos/experiments/{id}/report",
            json!({ "get": read("The report of an experiment that ended", &[id[0].clone(), format()], &report()) }),
        ),
        (
            "/chaos/monkey",
            json!({
                "get": read("State of the chaos monkey", &[], &object),
                "post": with_body(answers(operation("Start a chaos monkey", &[], &object), "202"), &monkey()),
                "delete": operation("Stop the chaos monkey", &[by], &object),
            }),
        ),
        (
            "/chaos/monkey/journal",
            json!({ "get": read("The decisions of the chaos monkey, one a line or as server-sent events", &[], &journal()) }),
        ),
        (
            "/chaos/annotations",
            json!({ "get": read("Annotation data for Grafana", &[from, to], &answer("application/json", "array")) }),
        ),
    ]
}

/// Replaces the status of the answer.
fn answers(mut operation: Value, status: &str) -> Value {
    if let Some(responses) = operation["responses"].as_object_mut()
        && let Some(answer) = responses.remove("200")
    {
        responses.insert(status.to_owned(), answer);
    }
    operation
}

/// Adds another answer.
fn also(mut operation: Value, status: &str, answer: &Value) -> Value {
    operation["responses"][status] = answer.clone();
    operation
}

fn without_content(operation: Value) -> Value {
    let mut operation = answers(operation, "204");
    operation["responses"]["204"] = json!({ "description": "Success" });
    operation
}

fn with_body(mut operation: Value, schema: &Value) -> Value {
    operation["requestBody"] =
        json!({ "required": true, "content": { "application/json": { "schema": schema } } });
    operation
}

fn id() -> Value {
    json!({ "name": "id", "in": "path", "required": true, "schema": { "type": "integer", "minimum": 1, "maximum": 4_294_967_295_u32 } })
}

fn parameter(name: &str, schema: &Value) -> Value {
    json!({ "name": name, "in": "query", "required": false, "schema": schema })
}

fn any_text(name: &str) -> Value {
    parameter(name, &json!({ "type": "string" }))
}

fn by() -> Value {
    parameter("by", &name())
}

/// The name of who sends a change.
fn name() -> Value {
    json!({ "type": "string", "maxLength": 64 })
}

fn milliseconds(name: &str) -> Value {
    parameter(name, &json!({ "type": "integer", "minimum": 0, "maximum": super::annotations::LATEST }))
}

fn format() -> Value {
    parameter("format", &json!({ "enum": ["html", "markdown", "json"] }))
}

fn journal() -> Value {
    let text = json!({ "schema": { "type": "string" } });
    json!({ "description": "Success", "content": { "application/x-ndjson": text, "text/event-stream": text } })
}

fn report() -> Value {
    let text = json!({ "schema": { "type": "string" } });
    let content = json!({ "text/html": text, "text/markdown": text, "application/json": { "schema": { "type": "object" } } });
    json!({ "description": "Success", "content": content })
}

fn experiment() -> Value {
    let names: Vec<_> = Shipped::all().iter().map(|shipped| shipped.name).collect();
    json!({
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "scenario": { "enum": names },
            "toml": { "type": "string" },
            "mode": { "enum": ["run", "probes", "plan"] },
            "attended": { "type": "boolean" },
            "by": name(),
        },
    })
}

fn monkey() -> Value {
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["toml"],
        "properties": { "toml": { "type": "string" }, "attended": { "type": "boolean" }, "by": name() },
    })
}

/// A fault as [`FaultSpec`] reads it.
fn fault() -> Value {
    let (text, count) = (json!({ "type": "string" }), json!({ "type": "integer", "minimum": 0 }));
    let kinds: Vec<_> = Kind::all().map(Kind::as_str).collect();
    json!({
        "type": "object",
        "additionalProperties": false,
        "required": ["type"],
        "properties": {
            "type": { "enum": FaultSpec::types() },
            "add": text, "jitter": text, "from": text, "to": text, "mean": text, "deviation": text, "median": text, "p99": text,
            "class": { "enum": ["transient", "uncertain", "overload", "permanent"] },
            "retry_after": text,
            "as": { "enum": ["circuit_open", "bulkhead_full", "rate_limited"] },
            "share": { "oneOf": [{ "type": "number" }, text] },
            "count": count,
            "period": text, "jump": text, "speed": { "type": "number" },
            "on": { "oneOf": [text, { "type": "array", "items": text }] },
            "component": {
                "type": "object",
                "additionalProperties": false,
                "required": ["kind", "name"],
                "properties": { "kind": { "enum": kinds }, "name": text },
            },
            "group": text,
            "priority": { "enum": ["low", "normal", "high", "critical"] },
            "correlation_prefix": text,
            "token": text,
            "rate": { "oneOf": [{ "type": "number" }, text] },
            "every": count, "times": count, "max_active": count, "seed": count,
            "ttl": text,
            "by": name(),
        },
    })
}
