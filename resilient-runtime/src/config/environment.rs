//! Reads variables such as `RESILIENT__CIRCUIT_BREAKER__PAYMENT__OPEN_FOR=10s`.

use std::ffi::OsString;

use super::fault::{Fault, Place};
use super::file::{Parsed, Setting};
use super::tables::{Tables, variable_name};
use crate::component::Kind;
use crate::nearest::nearest;
use crate::settings::Raw;

/// Reads the variables that begin with `prefix` and `__`, and records problems in `parsed`.
pub(super) fn read(prefix: &str, variables: impl Iterator<Item = (OsString, OsString)>, parsed: &mut Parsed) {
    for (variable, value) in variables {
        let Some(variable) = variable.to_str() else { continue };
        let Some(path) = variable.strip_prefix(prefix).and_then(|rest| rest.strip_prefix("__")) else {
            continue;
        };
        let outcome = match value.to_str() {
            Some(value) if path == "ENABLED" => match switch(value) {
                Ok(enabled) => {
                    parsed.tables.set_enabled_by_environment(enabled);
                    continue;
                }
                Err(what) => Err(what),
            },
            Some(value) => one(path, value, &mut parsed.tables),
            None => Err("the value is not UTF-8".to_owned()),
        };
        match outcome {
            Ok(setting) => _ = parsed.variables.insert(setting, variable.to_owned()),
            Err(what) => parsed.faults.push(Fault { place: Place::Variable(variable.to_owned()), what }),
        }
    }
}

fn one(path: &str, value: &str, tables: &mut Tables) -> Result<Setting, String> {
    let Some((kind, rest)) = path.split_once("__") else { return Err(form()) };
    // A name can contain `__`, but a field cannot.
    let Some((name, field)) = rest.rsplit_once("__") else { return Err(form()) };
    let known: Vec<_> = Kind::all().map(|kind| (kind, variable_name(kind.as_str()))).collect();
    let Some((kind, _)) = known.iter().find(|(_, name)| name == kind) else {
        let nearest = nearest(kind, known.iter().map(|(_, name)| name.as_str()));
        let nearest = nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
        return Err(format!("unknown component kind `{kind}`{nearest}"));
    };
    let name = (name != "DEFAULT").then_some(name);
    let field = field.to_lowercase();
    tables.set_environment(*kind, name, &field, &Raw::Untyped(value.to_owned()))?;
    Ok((*kind, name.map(str::to_owned), Some(field)))
}

/// Parses the value of `RESILIENT__ENABLED`.
fn switch(value: &str) -> Result<bool, String> {
    value.trim().parse().map_err(|_| "turns all protection on or off; expected `true` or `false`".to_owned())
}

fn form() -> String {
    "expected kind, name and setting, as in `RESILIENT__CIRCUIT_BREAKER__PAYMENT__OPEN_FOR`, or `RESILIENT__ENABLED`".to_owned()
}
