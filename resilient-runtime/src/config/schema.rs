//! The JSON Schema of the settings file, for editors.

use resilient_options::{Setting, TABLES, Takes, Value as Default};
use serde_json::{Map, Value, json};

use crate::component::by_kind as kinds;
use crate::settings::duration_text;

/// Returns the JSON Schema of a settings file.
///
/// The repository contains it as `resilient.schema.json`.
///
/// ```
/// let schema = resilient_runtime::config::schema();
/// let max = &schema["properties"]["retry"]["additionalProperties"]["properties"]["max"];
/// assert!(max.is_object(), "{schema}");
/// ```
pub fn schema() -> Value {
    let mut tables = Map::new();
    for table in TABLES {
        let mut fields = Map::new();
        for row in table.settings.iter().filter(|row| !row.field.is_empty()) {
            // Alternative options for the same field exist only in the attribute.
            fields.entry(row.field).or_insert_with(|| field(row));
        }
        if !fields.is_empty() {
            let about =
                format!("Settings of each `{}` by name; `default` applies to all of them.", table.kind);
            let each = json!({ "type": "object", "additionalProperties": false, "properties": fields });
            let described = json!({ "type": "object", "description": about, "additionalProperties": each });
            tables.insert(table.kind.to_owned(), described);
        }
    }
    let switch = json!({
        "type": "boolean",
        "description": "Whether protection is on. If `false`, calls skip all stages except fallbacks and idempotency keys.",
    });
    tables.insert(kinds::ENABLED.to_owned(), switch);
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of Resilient",
        "type": "object",
        "additionalProperties": false,
        "properties": tables,
    })
}

/// Returns the schema of a setting: its type, default and description.
fn field(row: &Setting) -> Value {
    let mut schema = takes(row.takes);
    if let Value::Object(schema) = &mut schema {
        let range = match row.takes {
            Takes::Duration { .. } | Takes::Limit { .. } | Takes::Ratio { above: true, .. } => {
                format!(" Allowed: {}.", row.takes)
            }
            _ => String::new(),
        };
        schema.insert("description".into(), format!("{}{range}", row.about).into());
        let default = match row.default {
            Default::Unset => return Value::Object(std::mem::take(schema)),
            Default::Duration(nanos) => duration_text(std::time::Duration::from_nanos(nanos)).into(),
            Default::Count(count) => count.into(),
            Default::Ratio(number) | Default::Number(number) => number.into(),
            Default::Text(text) => text.into(),
            Default::Flag(flag) => flag.into(),
        };
        schema.insert("default".into(), default);
    }
    schema
}

fn takes(takes: Takes) -> Value {
    let time = || json!({ "type": "string", "pattern": r"^\s*(\d+\s*(d|h|m|s|ms|us|µs|ns)\s*)+$", "examples": ["250ms", "1m30s"] });
    let count = |min: u64, max: u64| json!({ "type": "integer", "minimum": min, "maximum": max });
    match takes {
        Takes::Duration { .. } => time(),
        Takes::Limit { .. } => json!({ "anyOf": [time(), { "const": "none" }] }),
        Takes::Count { min, max, .. } => count(min, max),
        Takes::Ratio { min, .. } => json!({ "anyOf": [
            { "type": "number", "minimum": min, "maximum": 1 },
            { "type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*%$", "examples": ["30%"] },
        ] }),
        Takes::Number { min, max: f64::MAX, .. } => json!({ "type": "number", "minimum": min }),
        Takes::Number { min, max, .. } => json!({ "type": "number", "minimum": min, "maximum": max }),
        Takes::Word(words) => json!({ "enum": words }),
        Takes::Window => {
            let (least, most) = Takes::WINDOW_CALLS.into_inner();
            json!({ "anyOf": [time(), count(least, most)] })
        }
        Takes::Rate => json!({ "type": "string", "examples": ["100/s", "5/min"] }),
        Takes::Flag => json!({ "type": "boolean" }),
        Takes::Name | Takes::Secret | Takes::Code | Takes::Group => json!({ "type": "string" }),
    }
}
