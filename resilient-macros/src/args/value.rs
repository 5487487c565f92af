//! Parses and checks the value of a setting according to its table row.

use proc_macro2::Span;
use quote::ToTokens;
use resilient_options::{Takes, Value as Default};
use syn::parse::ParseStream;
use syn::spanned::Spanned;
use syn::{Error, Expr, ExprLit, Ident, Lit, LitStr, Result, Token};

use crate::text::{Quantity, closest, duration_up_to, percentage, quantity, rate};

/// The value of a setting.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Duration(u64),
    Count(u64),
    Ratio(f64),
    Number(f64),
    Text(String),
    Flag(bool),
    /// `none`: disables a setting that has a default.
    Unset,
}

/// One setting of a component.
pub(crate) struct Setting {
    /// Field of the component's `Config`.
    pub(crate) field: &'static str,
    pub(crate) value: Value,
    /// Span of the value.
    pub(crate) span: Span,
}

/// Parses an expression and removes the group that `macro_rules!` puts around a `$name:literal` or an `$answer:expr`.
pub(super) fn expr(input: ParseStream<'_>) -> Result<Expr> {
    let mut expr = input.parse()?;
    while let Expr::Group(group) = expr {
        expr = *group.expr;
    }
    Ok(expr)
}

/// Parses `= value`.
pub(super) fn parse(key: &Ident, takes: Takes, input: ParseStream<'_>) -> Result<(Value, Span)> {
    let example = example(takes);
    if !input.peek(Token![=]) {
        return Err(Error::new(key.span(), format!("`{key}` takes a value, as in `{key} = {example}`")));
    }
    input.parse::<Token![=]>()?;
    if input.is_empty() || input.peek(Token![,]) {
        let message = format!("`{key} =` is incomplete; expected a value, as in `{key} = {example}`");
        return Err(Error::new(key.span(), message));
    }
    let expr = expr(input)?;
    let span = expr.span();
    Ok((read(key, takes, &expr)?, span))
}

fn example(takes: Takes) -> &'static str {
    match takes {
        Takes::Duration { .. } | Takes::Limit { .. } => "\"250ms\"",
        Takes::Count { .. } => "3",
        Takes::Ratio { .. } => "0.5",
        Takes::Number { .. } => "2.0",
        Takes::Word(words) => words[0],
        Takes::Window => "\"30s\"",
        Takes::Name => "\"payment\"",
        Takes::Rate => "\"100/s\"",
        Takes::Flag => "true",
        Takes::Secret | Takes::Code | Takes::Group => "..",
    }
}

fn read(key: &Ident, takes: Takes, expr: &Expr) -> Result<Value> {
    let lit = match expr {
        Expr::Lit(ExprLit { lit, .. }) => Some(lit),
        _ => None,
    };
    let fail = |message: String| Err(Error::new_spanned(expr, message));
    match (takes, lit) {
        (Takes::Duration { max, .. }, Some(Lit::Str(text))) => {
            let nanos = duration_up_to(text, max)?;
            in_range(key, takes, Default::Duration(nanos), expr).map(|()| Value::Duration(nanos))
        }
        (Takes::Duration { .. }, _) => {
            fail(format!("`{key}` must be a string with a unit, as in `\"100ms\"`"))
        }
        (Takes::Limit { max }, lit) => {
            let is_none = match (lit, expr) {
                (Some(Lit::Str(text)), _) => text.value() == "none",
                (None, Expr::Path(path)) => path.path.is_ident("none"),
                _ => false,
            };
            if is_none { Ok(Value::Unset) } else { read(key, Takes::Duration { min: 1, max }, expr) }
        }
        (Takes::Window, Some(Lit::Str(text))) => {
            let nanos = duration_up_to(text, *Takes::WINDOW_TIME.end())?;
            if Takes::WINDOW_TIME.contains(&nanos) {
                return Ok(Value::Duration(nanos));
            }
            fail("`window` must be from 10 ms to 1 h, or a number of calls from 1 to 10000".into())
        }
        (Takes::Window, Some(Lit::Int(_))) => {
            let (min, max) = Takes::WINDOW_CALLS.into_inner();
            read(key, Takes::Count { min, max, unit: "calls" }, expr)
        }
        (Takes::Window, _) => {
            fail("`window` must be a duration, such as `\"30s\"`, or a number of calls, such as `100`".into())
        }
        (Takes::Count { .. }, Some(Lit::Int(number))) => {
            // A number that does not fit into `u64` is outside of every range.
            let count = number.base10_parse::<u64>().unwrap_or(u64::MAX);
            in_range(key, takes, Default::Count(count), expr).map(|()| Value::Count(count))
        }
        (Takes::Count { .. }, Some(Lit::Str(text))) if text.value().parse::<u64>().is_ok() => {
            fail(format!("`{key}` is a number; write `{key} = {}`, without quotes", text.value()))
        }
        (Takes::Count { .. }, _) => fail(format!("`{key}` must be a whole number{}", range(takes))),
        (Takes::Ratio { .. }, lit) => match ratio(lit)? {
            Some(share) => in_range(key, takes, Default::Ratio(share), expr).map(|()| Value::Ratio(share)),
            None => fail(format!(
                "`{key}` must be a number from 0 to 1, such as `0.5`, or a percentage, such as `\"50%\"`"
            )),
        },
        (Takes::Number { .. }, lit) => match number(lit) {
            Some(number) if takes.admits(Default::Number(number)) => Ok(Value::Number(number)),
            _ => fail(format!("`{key}` must be a number{}", range(takes))),
        },
        (Takes::Rate, Some(Lit::Str(text))) => rate(text).map(Value::Text),
        (Takes::Rate, _) => fail(format!("`{key}` must be a string, such as `\"100/s\"` or `\"10/min\"`")),
        (Takes::Flag, Some(Lit::Bool(flag))) => Ok(Value::Flag(flag.value)),
        (Takes::Flag, _) => fail(format!("`{key}` must be `true` or `false`")),
        (Takes::Word(words), _) => word(key, words, expr),
        (Takes::Name, Some(Lit::Str(text))) => check_name(key, text).map(|()| Value::Text(text.value())),
        (Takes::Name, _) => fail(name_must_be_literal(key)),
        (Takes::Secret | Takes::Code | Takes::Group, _) => {
            fail(format!("`{key}` cannot be set to this value"))
        }
    }
}

/// Formats the range, as in ` from 1 to 100 calls`.
fn range(takes: Takes) -> String {
    let range = takes.to_string();
    let from = if range.starts_with(|letter: char| letter.is_ascii_digit()) { "from " } else { "" };
    format!(" {from}{range}")
}

fn in_range(key: &Ident, takes: Takes, value: Default, expr: &Expr) -> Result<()> {
    if takes.admits(value) {
        return Ok(());
    }
    let is_zero = matches!(value, Default::Duration(0)) || value == Default::Ratio(0.0);
    let message = match takes {
        Takes::Duration { min: 1, .. } | Takes::Ratio { above: true, .. } if is_zero => {
            format!("`{key}` must be more than zero")
        }
        _ => format!("`{key}` must be{}", range(takes)),
    };
    Err(Error::new_spanned(expr, message))
}

fn ratio(lit: Option<&Lit>) -> Result<Option<f64>> {
    if let Some(Lit::Str(text)) = lit {
        return percentage(text).map(Some);
    }
    Ok(number(lit).filter(|share| (0.0..=1.0).contains(share)))
}

fn number(lit: Option<&Lit>) -> Option<f64> {
    match lit? {
        Lit::Float(float) => float.base10_parse().ok(),
        Lit::Int(int) => int.base10_parse().ok(),
        _ => None,
    }
}

fn word(key: &Ident, words: &[&'static str], expr: &Expr) -> Result<Value> {
    let list = words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ");
    let given = match expr {
        Expr::Path(path) => path.path.get_ident().map(ToString::to_string),
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => {
            let text = text.value();
            let meant = closest(&text, words.iter().copied());
            let message = match meant {
                Some(word) => format!("write `{key} = {word}`, without quotes"),
                None => format!("`{key}` must be one of {list}, without quotes"),
            };
            return Err(Error::new_spanned(expr, message));
        }
        _ => None,
    };
    let Some(given) = given else {
        return Err(Error::new_spanned(expr, format!("`{key}` must be one of {list}")));
    };
    if words.contains(&given.as_str()) {
        return Ok(Value::Text(given));
    }
    let message = match closest(&given, words.iter().copied()) {
        Some(meant) => {
            format!("unknown value `{given}` for `{key}`; did you mean `{meant}`?\nexpected one of: {list}")
        }
        None => format!("unknown value `{given}` for `{key}`\nexpected one of: {list}"),
    };
    Err(Error::new_spanned(expr, message))
}

/// Parses `= "name"`.
pub(super) fn component_name(key: &Ident, input: ParseStream<'_>) -> Result<LitStr> {
    if !input.peek(Token![=]) {
        return Err(Error::new(key.span(), format!("`{key}` takes a name, as in `{key} = \"payment\"`")));
    }
    input.parse::<Token![=]>()?;
    if input.is_empty() || input.peek(Token![,]) {
        let message = format!("`{key} =` is incomplete; expected a name, as in `{key} = \"payment\"`");
        return Err(Error::new(key.span(), message));
    }
    literal_name(key, input)
}

/// Parses `"name"`.
pub(super) fn literal_name(key: &Ident, input: ParseStream<'_>) -> Result<LitStr> {
    let expr = expr(input)?;
    let Expr::Lit(ExprLit { lit: Lit::Str(name), .. }) = expr else {
        if let Expr::Lit(ExprLit { lit: lit @ (Lit::Int(_) | Lit::Float(_)), .. }) = &expr
            && let Some(message) = not_a_name(key, &lit.to_token_stream().to_string())
        {
            return Err(Error::new_spanned(expr, message));
        }
        return Err(Error::new_spanned(expr, name_must_be_literal(key)));
    };
    check_name(key, &name)?;
    Ok(name)
}

/// Returns the error for `timeout = value` if the value is a name or `adaptive` instead of a duration.
pub(super) fn not_a_duration(input: ParseStream<'_>) -> Option<Error> {
    let ahead = input.fork();
    ahead.parse::<Token![=]>().ok()?;
    match expr(&ahead).ok()? {
        Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => {
            let value = text.value();
            let is_name = value.contains(|letter: char| letter.is_ascii_lowercase())
                && value
                    .chars()
                    .all(|letter| letter.is_alphabetic() || matches!(letter, '_' | '-' | '.' | ':'));
            let message = format!(
                "`{value}` is not a duration; write a whole number and a unit, as in `timeout = \"250ms\"`; to name the \
                 timeout, write `timeout(\"{value}\", total = \"2s\")`"
            );
            is_name.then(|| Error::new(text.span(), message))
        }
        found => {
            let is_adaptive = match &found {
                Expr::Path(path) => path.path.is_ident("adaptive"),
                Expr::Call(call) => matches!(&*call.func, Expr::Path(path) if path.path.is_ident("adaptive")),
                _ => false,
            };
            let message = "`timeout = ..` limits the whole call, and only the attempt timeout can be adaptive; write \
                           `timeout(adaptive(percentile = 95, factor = 1.5))`";
            is_adaptive.then(|| Error::new_spanned(found, message))
        }
    }
}

fn name_must_be_literal(key: &Ident) -> String {
    format!("`{key}` must be a string literal, because all calls of the function share one component")
}

/// Checks the same rules as the registry, so that no name is changed at run time.
fn check_name(key: &Ident, name: &LitStr) -> Result<()> {
    let text = name.value();
    let problem = if text.trim().is_empty() {
        "must not be empty"
    } else if text.len() > 128 {
        "must not be longer than 128 bytes"
    } else if text.contains(char::is_control) {
        "must not contain control characters"
    } else {
        return match not_a_name(key, &text) {
            Some(message) => Err(Error::new(name.span(), message)),
            None => Ok(()),
        };
    };
    Err(Error::new(name.span(), format!("the name of `{key}` {problem}")))
}

/// Returns an error if a name is a quantity, which would otherwise create a component with that name and set nothing.
fn not_a_name(key: &Ident, text: &str) -> Option<String> {
    let key = key.to_string();
    let quantity = match quantity(text)? {
        // The name of the operation does not name a component.
        _ if key == "name" => return None,
        // Only `hedge` takes a percentile.
        Quantity::Percentile if key != "hedge" => return None,
        quantity => quantity,
    };
    let what = match quantity {
        Quantity::Rate => "a rate",
        Quantity::Count => "a number",
        Quantity::Share => "a percentage",
        Quantity::Time => "a duration",
        Quantity::Percentile => "a percentile",
    };
    let number: String = text.chars().filter(char::is_ascii_digit).collect();
    let is_rate = rate(&LitStr::new(text, Span::call_site())).is_ok();
    let form = match (key.as_str(), quantity) {
        ("rate_limit", Quantity::Rate) if is_rate => format!("rate_limit(\"name\", rate = \"{text}\")"),
        ("rate_limit", Quantity::Count) => format!("rate_limit(\"name\", rate = \"{number}/s\")"),
        ("rate_limit", Quantity::Time) => {
            format!("rate_limit(\"name\", rate = \"100/s\", max_wait = \"{text}\")")
        }
        ("rate_limit", _) => "rate_limit(\"name\", rate = \"100/s\")".to_owned(),
        ("circuit_breaker", Quantity::Share) => {
            format!("circuit_breaker(\"name\", failure_rate = \"{text}\")")
        }
        ("circuit_breaker", Quantity::Count) if text.contains('.') => {
            format!("circuit_breaker(\"name\", failure_rate = {text})")
        }
        ("circuit_breaker", Quantity::Count) => {
            format!("circuit_breaker(\"name\", failure_threshold = {number})")
        }
        ("circuit_breaker", _) => format!("circuit_breaker(\"name\", open_for = \"{text}\")"),
        ("bulkhead", Quantity::Count) => format!("bulkhead(\"name\", max_concurrent = {number})"),
        ("bulkhead", Quantity::Time) => format!("bulkhead(\"name\", max_queue = 100, max_wait = \"{text}\")"),
        ("bulkhead", _) => "bulkhead(\"name\", max_concurrent = 64)".to_owned(),
        ("retry", Quantity::Count) => format!("retry(max = {number})"),
        ("retry", Quantity::Time) => format!("retry(max = 3, base = \"{text}\")"),
        ("retry", Quantity::Share) => format!("retry(max = 3, budget(ratio = \"{text}\"))"),
        ("retry", _) => "retry(max = 3)".to_owned(),
        ("timeout", Quantity::Time) => format!("timeout = \"{text}\"` or `timeout(total = \"{text}\")"),
        ("timeout", _) => "timeout = \"2s\"".to_owned(),
        ("hedge", Quantity::Time | Quantity::Percentile) => format!("hedge(after = \"{text}\")"),
        ("hedge", Quantity::Count) => format!("hedge(after = \"50ms\", max = {number})"),
        ("hedge", _) => "hedge(after = \"50ms\")".to_owned(),
        ("load_shed", Quantity::Count) => format!("load_shed(\"name\", max_in_flight = {number})"),
        ("load_shed", Quantity::Time) => format!("load_shed(\"name\", target_delay = \"{text}\")"),
        ("load_shed", _) => "load_shed(\"name\", max_in_flight = 100)".to_owned(),
        ("coalesce", Quantity::Time) => format!("coalesce(key = id, max_wait = \"{text}\")"),
        ("coalesce", _) => "coalesce(key = id)".to_owned(),
        ("idempotent", Quantity::Time) => format!("idempotent(key = order.id, ttl = \"{text}\")"),
        ("idempotent", _) => "idempotent(key = order.id)".to_owned(),
        ("budget", Quantity::Share) => format!("budget(ratio = \"{text}\")"),
        ("budget", Quantity::Count) if text.contains('.') => format!("budget(ratio = {text})"),
        ("budget", Quantity::Count | Quantity::Rate) => {
            let reserve: String = text.chars().take_while(char::is_ascii_digit).collect();
            format!("budget(reserve = {reserve})")
        }
        ("store", Quantity::Time) => format!("store_timeout = \"{text}\""),
        _ => format!("{key} = \"name\""),
    };
    Some(format!("`{key}` expects a name here, but `{text}` is {what}; write `{form}`"))
}
