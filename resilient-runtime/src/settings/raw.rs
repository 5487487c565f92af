//! Values as text or numbers, before the type of the field is known.

use std::borrow::Cow;

use super::{Settings, Value, parse_duration};
use crate::nearest::nearest;

/// A value as it appears in a file, an environment variable or a request.
///
/// ```
/// use resilient_runtime::{Kind, config::Tables, settings::Raw};
///
/// let mut tables = Tables::default();
/// assert!(tables.set(Kind::Timeout, Some("report"), "total", &Raw::Text("2s".into())).is_ok());
/// let error = tables.set(Kind::Timeout, Some("report"), "total", &Raw::Integer(2)).unwrap_err();
/// assert!(error.contains("`2s` or `2ms`"), "a duration needs a unit: {error}");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Raw {
    /// Not set.
    Unset,
    /// Text: a name, a word, a duration such as `250ms`, a rate such as `100/s`, or a share such as `50%`; `none`
    /// means not set.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// A floating-point number.
    Float(f64),
    /// True or false.
    Flag(bool),
    /// Text of unknown type, as in an environment variable.
    Untyped(String),
}

impl Raw {
    /// Returns the possible values. The first one that the field accepts is used.
    fn meanings(&self) -> Vec<Value> {
        match self {
            Self::Unset => vec![Value::Unset],
            Self::Flag(flag) => vec![Value::Flag(*flag)],
            Self::Float(number) => vec![Value::Ratio(*number), Value::Number(*number)],
            Self::Integer(number) => match u64::try_from(*number) {
                Ok(count) => vec![Value::Count(count)],
                Err(_) => vec![Value::Number(*number as f64)],
            },
            Self::Text(text) => {
                let percent =
                    text.trim().strip_suffix('%').and_then(|number| number.trim().parse::<f64>().ok());
                let duration = parse_duration(text).ok().map(Value::Duration);
                let share = percent.map(|percent| Value::Ratio(percent / 100.0));
                let word = Value::Text(Cow::Owned(text.clone()));
                let unset = (text == "none").then_some(Value::Unset);
                // `none` is a name only for fields that cannot be unset.
                duration.into_iter().chain(share).chain(unset).chain([word]).collect()
            }
            Self::Untyped(text) => {
                let trimmed = text.trim();
                let mut meanings = Self::Text(text.clone()).meanings();
                let integer = trimmed.parse().ok().map(Self::Integer);
                let number = integer.or_else(|| trimmed.parse().ok().map(Self::Float));
                let typed = number.or_else(|| trimmed.parse().ok().map(Self::Flag));
                meanings.extend(typed.iter().flat_map(Self::meanings));
                meanings
            }
        }
    }
}

/// Suggests a field for an unknown name: one that other libraries use this name for, or one with a similar
/// spelling.
fn meant<C: Settings>(word: &str) -> Option<&'static str> {
    let known = |row: &&resilient_options::Setting| C::FIELDS.contains(&row.field);
    let is_alias = |row: &&resilient_options::Setting| {
        row.aliases.iter().any(|alias| resilient_options::is_same_word(alias, word))
    };
    let mut rows = C::table().settings.iter();
    rows.find(|row| known(row) && is_alias(row))
        .map(|row| row.field)
        .or_else(|| nearest(word, C::FIELDS.iter().copied()))
}

/// Returns the field with this name and the value for it, or an error text.
pub(crate) fn read<C: Settings>(field: &str, raw: &Raw) -> Result<(&'static str, Value), String> {
    let Some(known) = C::FIELDS.iter().find(|known| **known == field) else {
        let field: String = field.chars().take(64).collect();
        return Err(match meant::<C>(&field) {
            Some(name) => format!("unknown setting `{field}`; did you mean `{name}`?"),
            None => format!("unknown setting `{field}`; known settings: {}", C::FIELDS.join(", ")),
        });
    };
    let mut refused = None;
    for value in raw.meanings() {
        let mut config = C::default();
        match config.set(known, &value) {
            // A secret is stored as one, so that it is shown nowhere.
            Ok(()) => match config.get(known) {
                Some(secret @ Value::Secret(_)) => return Ok((known, secret)),
                _ => return Ok((known, value)),
            },
            Err(error) => _ = refused.get_or_insert(error),
        }
    }
    Err(refused.map_or_else(|| format!("`{field}` does not accept this value"), |error| error.to_string()))
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{circuit_breaker, rate_limit, retry};

    fn text(text: &str) -> Raw {
        Raw::Text(text.into())
    }

    #[test]
    fn the_field_determines_the_type_of_a_value() {
        let breaker = |field: &str, raw: &Raw| read::<circuit_breaker::Config>(field, raw).unwrap().1;
        assert_eq!(breaker("open_for", &text("5s")), Value::Duration(Duration::from_secs(5)));
        assert_eq!(breaker("failure_rate", &text("50%")), Value::Ratio(0.5));
        assert_eq!(breaker("failure_rate", &Raw::Float(0.25)), Value::Ratio(0.25));
        assert_eq!(breaker("failure_rate", &Raw::Untyped("0.25".into())), Value::Ratio(0.25));
        assert_eq!(breaker("min_calls", &Raw::Untyped("7".into())), Value::Count(7));
        assert_eq!(breaker("open_max", &text("none")), Value::Unset);
        assert!(read::<circuit_breaker::Config>("open_for", &text("none")).is_err());
        assert!(read::<rate_limit::Config>("rate", &text("100/s")).is_ok());
        assert!(read::<retry::Config>("factor", &Raw::Integer(3)).is_ok());
    }

    #[test]
    fn errors_contain_a_remedy() {
        // T126
        let wrong = |field: &str, raw: &Raw| read::<circuit_breaker::Config>(field, raw).unwrap_err();
        assert!(wrong("open_fro", &text("5s")).contains("did you mean `open_for`?"));
        // Names from other libraries.
        assert!(wrong("recoveryTimeout", &text("5s")).contains("did you mean `open_for`?"));
        let unitless = wrong("open_for", &Raw::Integer(5));
        assert!(unitless.contains("unit") && unitless.contains("did you mean `5s` or `5ms`?"), "{unitless}");
        assert!(wrong("open_for", &Raw::Untyped("5".into())).contains("did you mean `5s` or `5ms`?"));
        let word = read::<retry::Config>("backoff", &text("exponental")).unwrap_err();
        assert!(
            word.contains("one of exponential") && word.contains("did you mean `exponential`?"),
            "{word}"
        );
        assert!(wrong("failure_rate", &Raw::Float(f64::NAN)).contains("0 to 1"));
        assert!(wrong("min_calls", &Raw::Integer(-1)).contains("whole number"));
        assert!(wrong(&"x".repeat(10_000), &Raw::Unset).len() < 400);
    }
}
