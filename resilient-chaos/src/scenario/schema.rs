//! The JSON schema of a scenario, for editors.

use resilient_runtime::chaos::FaultSpec;
use serde_json::{Map, Value as Json, json};

use super::fields::FILE;
use super::table::{Field, Need, Table, Takes};

/// Returns the JSON schema of a scenario.
///
/// The repository contains it as `resilient-chaos/scenario.schema.json`.
///
/// ```
/// let schema = resilient_chaos::scenario::schema();
/// assert_eq!(schema["properties"]["scenario"]["properties"]["version"]["maximum"], 1);
/// ```
pub fn schema() -> Json {
    let mut schema = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Chaos experiment of Resilient",
    });
    if let (Json::Object(schema), Json::Object(table)) = (&mut schema, table(&FILE)) {
        schema.extend(table);
    }
    schema
}

/// Returns the schema of a table. With variants, it is a choice of objects.
pub(crate) fn table(table: &Table) -> Json {
    let Some((decider, variants)) = table.variants else {
        return object(table.about, table.fields.iter(), None);
    };
    let choices = variants.iter().map(|variant| {
        object(variant.about, table.fields.iter().chain(variant.fields), Some((decider, variant.word)))
    });
    json!({ "description": table.about, "oneOf": choices.collect::<Vec<_>>() })
}

fn object<'f>(
    about: &str,
    fields: impl Iterator<Item = &'f Field> + Clone,
    word: Option<(&str, &str)>,
) -> Json {
    let required: Vec<_> = fields
        .clone()
        .filter(|field| matches!(field.need, Need::Required(_)))
        .map(|field| field.name)
        .collect();
    let mut properties = Map::new();
    for field in fields {
        let schema = match word {
            Some((decider, word)) if field.name == decider => json!({ "const": word, "description": about }),
            _ => self::field(field),
        };
        properties.insert(field.name.to_owned(), schema);
    }
    json!({
        "type": "object",
        "description": about,
        "additionalProperties": false,
        "required": required,
        "properties": properties,
    })
}

fn field(field: &Field) -> Json {
    let mut schema = takes(&field.takes);
    if let Json::Object(schema) = &mut schema {
        schema.insert("description".into(), field.about.into());
        if let Need::Default(written) = field.need
            // The defaults are texts, numbers and flags, which are written in the same way in JSON.
            && let Ok(value) = serde_json::from_str::<Json>(written)
        {
            schema.insert("default".into(), value);
        }
    }
    schema
}

fn share() -> Json {
    json!({ "anyOf": [
        { "type": "number", "minimum": 0, "maximum": 1 },
        { "type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*%$", "examples": ["30%"] },
    ] })
}

fn takes(takes: &Takes) -> Json {
    match takes {
        Takes::Text => json!({ "type": "string", "minLength": 1 }),
        Takes::Identifier => json!({ "type": "string", "pattern": "^[a-z0-9_-]{1,64}$" }),
        Takes::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Takes::Labels => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
        Takes::Words(words) => json!({ "enum": words }),
        Takes::Flag => json!({ "type": "boolean" }),
        Takes::Count { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Takes::AnyNumber => json!({ "type": "number" }),
        Takes::Number { min, max } => json!({ "type": "number", "minimum": min, "maximum": max }),
        Takes::Share => share(),
        Takes::Span { .. } => {
            json!({ "type": "string", "pattern": r"^\s*(\d+\s*(h|m|s|ms|us|µs|ns)\s*)+$", "examples": ["250ms", "1m30s"] })
        }
        Takes::Time => json!({ "type": "string", "pattern": r"^\d{2}:\d{2}$", "examples": ["09:30"] }),
        Takes::Rate(ramp) => json!({ "anyOf": [share(), table(ramp)] }),
        Takes::Fault => {
            let types = json!({ "enum": FaultSpec::types() });
            json!({ "type": "object", "required": ["type"], "properties": { "type": types } })
        }
        Takes::Table(inner) => table(inner),
        Takes::Tables(inner) => json!({ "type": "array", "minItems": 1, "items": table(inner) }),
    }
}
