//! The form of the file, for editors: JSON Schema.

use schemars::{Schema, json_schema};
use serde_json::{Map, Value};

use crate::component::Kind;
use crate::kind::settings as kinds;

/// The schema of a configuration file. The repository keeps it as `resilient.schema.json`.
///
/// ```
/// let schema = resilient_runtime::config::schema().to_value();
/// let max = &schema["properties"]["retry"]["additionalProperties"]["properties"]["max"];
/// assert!(max.is_object(), "{schema}");
/// ```
pub fn schema() -> Schema {
    let kinds = Kind::all().map(|kind| (kind, kinds::fields(kind)));
    let mut tables: Map<String, Value> = kinds
        .filter(|(_, fields)| !fields.is_empty())
        .map(|(kind, fields)| {
            let fields: Map<String, Value> =
                fields.into_iter().map(|field| (field.name.to_owned(), field.schema.to_value())).collect();
            let table = json_schema!({
                "type": "object",
                "description": format!("Each `{kind}` by its name; `default` for all of them."),
                "additionalProperties": { "type": "object", "additionalProperties": false, "properties": fields },
            });
            (kind.as_str().to_owned(), table.to_value())
        })
        .collect();
    let switch = json_schema!({
        "type": "boolean",
        "description": "Whether protection is on at all. `false`: calls pass all stages by, but for fallbacks and idempotency keys.",
    });
    tables.insert(kinds::ENABLED.to_owned(), switch.to_value());
    json_schema!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of Resilient",
        "type": "object",
        "additionalProperties": false,
        "properties": tables,
    })
}
