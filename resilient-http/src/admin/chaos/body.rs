//! Request bodies and queries: all problems at once, with near names for unknown fields.

use axum::extract::Json;
use axum::extract::rejection::JsonRejection;
use http::{StatusCode, Uri};
use serde_json::{Map, Value};

use crate::Problem;

/// The largest number of characters of the name of who sends a change.
const NAME: usize = 64;
/// A longer word is not compared, because the cost is the product of the lengths.
const WORD: usize = 64;

/// The JSON object of a request, or why it is none.
pub(super) type Body = Result<Json<Map<String, Value>>, JsonRejection>;

/// Reads the fields of a body one by one and collects the problems.
#[derive(Debug)]
pub(super) struct Fields {
    fields: Map<String, Value>,
    problems: Vec<String>,
}

impl Fields {
    pub(super) fn of(body: Body) -> Result<Self, Problem> {
        let Json(fields) = body.map_err(|error| Problem::new(error.status(), error.body_text()))?;
        Ok(Self { fields, problems: Vec::new() })
    }

    pub(super) fn problem(&mut self, what: impl Into<String>) {
        self.problems.push(what.into());
    }

    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        match self.fields.remove(name)? {
            Value::String(text) => Some(text),
            _ => {
                self.problem(format!("`{name}` must be a text"));
                None
            }
        }
    }

    pub(super) fn flag(&mut self, name: &str) -> Option<bool> {
        let flag = self.fields.remove(name)?.as_bool();
        if flag.is_none() {
            self.problem(format!("`{name}` must be true or false"));
        }
        flag
    }

    /// Takes the name of who sends the request.
    pub(super) fn by(&mut self) -> String {
        let name = self.text("by");
        if let Some(problem) = name.as_deref().and_then(name_problem) {
            self.problem(problem);
        }
        who(name.as_deref())
    }

    /// Takes the fields that are left.
    pub(super) fn rest(&mut self) -> Map<String, Value> {
        std::mem::take(&mut self.fields)
    }

    /// Fails with all problems, also of fields that are left.
    pub(super) fn finish(mut self, known: &[&str]) -> Result<(), Problem> {
        for name in self.rest().keys() {
            self.problems.push(unknown("field", name, known));
        }
        if self.problems.is_empty() {
            Ok(())
        } else {
            Err(unprocessable("the request is refused", self.problems))
        }
    }
}

fn name_problem(name: &str) -> Option<String> {
    let long = name.chars().count() > NAME;
    let hidden = name.chars().any(char::is_control);
    (long || hidden)
        .then(|| format!("`by` must have at most {NAME} characters, none of them a control character"))
}

/// Returns who sends a change, for logs, events and the list of faults. Longer names are cut.
pub(super) fn who(name: Option<&str>) -> String {
    let name: String = name.unwrap_or_default().chars().filter(|c| !c.is_control()).take(NAME).collect();
    match name.trim() {
        "" => "admin API".to_owned(),
        name => format!("admin API ({name})"),
    }
}

/// The parameters of a query.
#[derive(Debug)]
pub(super) struct Parameters(Vec<(String, String)>);

impl Parameters {
    /// Fails if a parameter is unknown.
    pub(super) fn of(uri: &Uri, known: &[&str]) -> Result<Self, Problem> {
        let parameters = Self::lenient(uri);
        let unknown: Vec<_> = parameters
            .0
            .iter()
            .filter(|(name, _)| !known.contains(&name.as_str()))
            .map(|(name, _)| unknown("parameter", name, known))
            .collect();
        if unknown.is_empty() { Ok(parameters) } else { Err(unprocessable("the query is refused", unknown)) }
    }

    /// Ignores unknown parameters.
    pub(super) fn lenient(uri: &Uri) -> Self {
        let query = axum::extract::Query::<Vec<(String, String)>>::try_from_uri(uri);
        Self(query.map(|query| query.0).unwrap_or_default())
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// Returns who sends the request.
    pub(super) fn by(&self) -> Result<String, Problem> {
        let name = self.get("by");
        match name.and_then(name_problem) {
            Some(problem) => Err(unprocessable("the query is refused", vec![problem])),
            None => Ok(who(name)),
        }
    }
}

/// A 422 with all problems.
pub(super) fn unprocessable(what: &str, problems: Vec<String>) -> Problem {
    let detail = format!("{what}: {}", problems.join("; "));
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail).with("problems", problems)
}

/// Describes an unknown name, with the nearest known one or all of them.
pub(super) fn unknown(what: &str, word: &str, known: &[&str]) -> String {
    let shown: String = word.chars().take(WORD).flat_map(char::escape_debug).collect();
    let near = known.iter().filter(|_| word.len() <= WORD);
    let near = near.map(|name| (strsim::levenshtein(word, name), *name)).min();
    match near.filter(|(distance, name)| *distance <= 2 + name.len() / 4) {
        Some((_, near)) => format!("unknown {what} `{shown}`; did you mean `{near}`?"),
        None => format!("unknown {what} `{shown}`; expected one of {}", known.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn all_problems_of_a_body_are_reported_with_near_names() {
        let Value::Object(body) =
            json!({ "tomll": "", "attended": 1, "by": "a\nb", "mode": [], "zzzzzzzzz": 0 })
        else {
            unreachable!()
        };
        let mut fields = Fields::of(Ok(Json(body))).unwrap();
        let (mode, attended) = (fields.text("mode"), fields.flag("attended"));
        assert_eq!((mode, attended, fields.by().as_str()), (None, None, "admin API (ab)"));
        let problem = fields.finish(&["toml", "mode", "attended", "by"]).unwrap_err();
        let text = format!("{problem:?}");
        for expected in [
            "`mode` must be a text",
            "`attended` must be true or false",
            "`by` must have at most 64 characters",
            "unknown field `tomll`; did you mean `toml`?",
            "unknown field `zzzzzzzzz`; expected one of toml, mode, attended, by",
        ] {
            assert!(text.contains(expected), "{expected} is missing in {text}");
        }
    }

    #[test]
    fn a_name_is_bounded() {
        assert_eq!(who(Some(&"x".repeat(100))), format!("admin API ({})", "x".repeat(64)));
        assert_eq!((who(None).as_str(), who(Some("\n ")).as_str()), ("admin API", "admin API"));
    }
}
