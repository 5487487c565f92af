//! `resilient set`

use std::process::ExitCode;

use serde_json::{Map, Value};
use ureq::http::Method;

use super::{Component, Run, changed};
use crate::failure::Failure;
use crate::session::Session;

/// Override settings of a component while the service runs
///
/// The values have the form of the settings file: 5, 0.3, 30%, 10s, 100/s, true, none. Overrides stay until
/// `resilient unset` or the end of the service.
#[derive(Debug, clap::Args)]
pub(crate) struct Set {
    #[command(flatten)]
    component: Component,
    /// Settings, such as `open_for=10s failure_rate=30%`
    #[arg(required = true, value_name = "KEY=VALUE", value_parser = assignment)]
    settings: Vec<(String, Value)>,
}

impl Run for Set {
    fn run(self, session: &Session) -> Result<ExitCode, Failure> {
        let mut body = Map::new();
        for (key, value) in self.settings {
            if body.insert(key.clone(), value).is_some() {
                return Err(Failure::usage(format!("`{key}` is given twice")));
            }
        }
        let keys = body.keys().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(", ");
        let answer =
            session.api()?.send(Method::PATCH, &self.component.path("/config"), Some(&body.into()))?;
        let Component { kind, name } = &self.component;
        changed(
            session,
            &answer,
            format!("{kind} `{name}`: {keys} set until `resilient unset` or the end of the service"),
        )
    }
}

fn assignment(text: &str) -> Result<(String, Value), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE, such as open_for=10s")?;
    if key.trim().is_empty() {
        return Err("the name of the setting is missing before `=`".into());
    }
    if value.trim().is_empty() {
        return Err("the value is missing after `=`; `resilient unset` removes an override".into());
    }
    Ok((key.trim().to_owned(), typed(value.trim())))
}

/// The type of a value, as in a settings file without the quotation marks.
fn typed(value: &str) -> Value {
    match serde_json::from_str(value) {
        Ok(typed @ (Value::Bool(_) | Value::Number(_) | Value::String(_))) => typed,
        _ => value.into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_value_has_the_type_of_the_settings_file() {
        for (text, value) in [
            ("max=5", json!(5)),
            ("rate=0.3", json!(0.3)),
            ("rate = 30%", json!("30%")),
            ("open_for=10s", json!("10s")),
            ("adaptive=true", json!(true)),
            ("total=none", json!("none")),
            ("word=\"5\"", json!("5")),
            ("key=a=b", json!("a=b")),
            ("list=[1]", json!("[1]")),
            ("max=null", json!("null")),
        ] {
            assert_eq!(assignment(text).unwrap().1, value, "{text}");
        }
        assert!(typed("99999999999999999999999").is_number() && typed("1e999").is_string());
        for wrong in ["max", "=5", "max=", " = "] {
            assert!(assignment(wrong).is_err(), "{wrong}");
        }
    }
}
