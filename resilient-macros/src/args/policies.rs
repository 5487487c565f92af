//! Parses the policies that are components, each by the table of its options.

use proc_macro2::Span;
use resilient_options::{Setting as Row, Table, Takes, bulkhead, circuit_breaker, retry, timeout};
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Error, Expr, Ident, LitInt, LitStr, Result, Token, token};

use super::place::Place;
use super::value::{self, Setting, Value};
use super::{each, expression, inside};
use crate::diag::Errors;

/// A component with its inline settings.
pub(crate) struct Policy {
    pub(crate) key: Ident,
    pub(crate) name: Option<LitStr>,
    pub(crate) settings: Vec<Setting>,
}

/// A retry and its predicate.
pub(crate) struct Retry {
    pub(crate) policy: Policy,
    pub(crate) when: Option<super::Keyed<Expr>>,
}

/// Parses a circuit breaker and its predicate.
pub(super) fn circuit_breaker(
    key: Ident,
    input: ParseStream<'_>,
    errors: &mut Errors,
) -> Result<(Policy, Option<super::Keyed<Expr>>)> {
    let mut when = None;
    let special = |option: &Ident, input: ParseStream<'_>, _: &mut Errors, _: &mut Vec<Setting>| {
        if option != "when" {
            return Ok(false);
        }
        when = Some(expression(option.clone(), input, "is_outage")?);
        Ok(true)
    };
    let policy = named(key, &circuit_breaker::TABLE, input, errors, special)?;
    Ok((policy, when))
}

pub(super) fn bulkhead(key: Ident, input: ParseStream<'_>, errors: &mut Errors) -> Result<Policy> {
    let special = |option: &Ident, input: ParseStream<'_>, errors: &mut Errors, into: &mut Vec<Setting>| {
        adapts(
            option,
            &bulkhead::TABLE,
            const { bulkhead::TABLE.row("adaptive") },
            "max_concurrent",
            input,
            errors,
            into,
        )
    };
    named(key, &bulkhead::TABLE, input, errors, special)
}

pub(super) fn timeout(key: Ident, input: ParseStream<'_>, errors: &mut Errors) -> Result<Policy> {
    if input.peek(Token![=]) {
        if let Some(error) = value::not_a_duration(input) {
            return Err(error);
        }
        let (value, span) = value::parse(&key, const { timeout::TABLE.row("total") }.takes, input)?;
        return Ok(Policy { key, name: None, settings: vec![Setting { field: "total", value, span }] });
    }
    let before = errors.count();
    let special = |option: &Ident, input: ParseStream<'_>, errors: &mut Errors, into: &mut Vec<Setting>| {
        adapts(
            option,
            &timeout::TABLE,
            const { timeout::TABLE.row("adaptive") },
            "attempt",
            input,
            errors,
            into,
        )
    };
    let policy = listed(key, &timeout::TABLE, "timeout = \"2s\"", input, errors, special)?;
    if policy.settings.is_empty() && policy.name.is_none() && errors.count() == before {
        let message = "`timeout` needs a limit, as in `timeout = \"2s\"` or `timeout(attempt = \"500ms\")`";
        return Err(Error::new(policy.key.span(), message));
    }
    Ok(policy)
}

/// Parses `adaptive`, or `attempt = adaptive(..)` with the setting that adapts.
fn adapts(
    option: &Ident,
    table: &'static Table,
    row: &'static Row,
    found: &str,
    input: ParseStream<'_>,
    errors: &mut Errors,
    into: &mut Vec<Setting>,
) -> Result<bool> {
    let word = if option == "adaptive" {
        option.clone()
    } else if option == found && is_adaptive(input) {
        input.parse::<Token![=]>()?;
        input.parse()?
    } else {
        return Ok(false);
    };
    if into.iter().any(|setting| setting.field == "adaptive") {
        return Err(Error::new(word.span(), "`adaptive` is specified twice"));
    }
    switch(&word, table, row, input, errors, into).map(|()| true)
}

/// Returns whether the input continues with `= adaptive`.
fn is_adaptive(input: ParseStream<'_>) -> bool {
    let ahead = input.fork();
    ahead.parse::<Token![=]>().is_ok() && ahead.parse::<Ident>().is_ok_and(|word| word == "adaptive")
}

/// Parses `adaptive`, `adaptive = true`, or `adaptive(percentile = 95, ..)`.
fn switch(
    option: &Ident,
    table: &'static Table,
    row: &'static Row,
    input: ParseStream<'_>,
    errors: &mut Errors,
    into: &mut Vec<Setting>,
) -> Result<()> {
    if input.peek(Token![=]) {
        let (value, span) = value::parse(option, row.takes, input)?;
        into.push(Setting { field: row.field, value, span });
        return Ok(());
    }
    into.push(Setting { field: row.field, value: Value::Flag(true), span: option.span() });
    if input.is_empty() || input.peek(Token![,]) {
        return Ok(());
    }
    let before = (errors.count(), into.len());
    group(option, table, row, input, errors, into)?;
    if (errors.count(), into.len()) == before {
        let message = format!(
            "`{option}()` is empty; write `{option}` for the default settings, or `{}`",
            in_parentheses(row)
        );
        return Err(Error::new(option.span(), message));
    }
    Ok(())
}

/// Returns the last form of an option, which has nested options.
fn in_parentheses(row: &'static Row) -> &'static str {
    row.form.rsplit(" or ").next().unwrap_or(row.form)
}

pub(super) fn retry(key: Ident, input: ParseStream<'_>, errors: &mut Errors) -> Result<Retry> {
    if input.peek(Token![=]) {
        if !input.peek2(LitStr) {
            return Err(Error::new(
                key.span(),
                "`retry` takes a limit or a name, as in `retry(max = 3)` or `retry = \"payment\"`",
            ));
        }
        let name = Some(value::component_name(&key, input)?);
        return Ok(Retry { policy: Policy { key, name, settings: Vec::new() }, when: None });
    }
    let mut when = None;
    let special = |option: &Ident, input: ParseStream<'_>, _: &mut Errors, into: &mut Vec<Setting>| {
        if option == "when" {
            when = Some(expression(option.clone(), input, "is_transient")?);
            return Ok(true);
        }
        if option != "budget" {
            return Ok(false);
        }
        let Some(span) = off(input)? else { return Ok(false) };
        into.push(Setting { field: "budget", value: Value::Text("off".to_owned()), span });
        Ok(true)
    };
    let before = errors.count();
    let mut policy = listed(key, &retry::TABLE, "retry(max = 3)", input, errors, special)?;
    // If the limit had a syntax error, do not report that it is missing.
    if errors.count() == before {
        limit(&mut policy, errors)?;
    }
    Ok(Retry { policy, when })
}

/// Parses `= off` if the input continues with it.
fn off(input: ParseStream<'_>) -> Result<Option<Span>> {
    let ahead = input.fork();
    let is_off = ahead.parse::<Token![=]>().is_ok() && ahead.parse::<Ident>().is_ok_and(|word| word == "off");
    if !is_off {
        return Ok(None);
    }
    input.parse::<Token![=]>()?;
    input.parse::<Ident>().map(|word| Some(word.span()))
}

/// Checks that exactly one of `max` and `attempts` is present, unless the retry has a name.
fn limit(policy: &mut Policy, errors: &mut Errors) -> Result<()> {
    let mut limits = policy.settings.iter_mut().filter(|setting| setting.field == "max");
    match (limits.next(), limits.next()) {
        (None, _) if policy.name.is_none() => {
            Err(Error::new(policy.key.span(), "`retry` needs a limit, as in `retry(max = 3)`"))
        }
        (Some(_), Some(second)) => {
            let message = "`max` counts retries and `attempts` counts all attempts; specify only one of them";
            errors.span(second.span, message);
            Ok(())
        }
        (Some(Setting { value: Value::Count(0), span, .. }), None) => {
            errors.span(*span, "`max = 0` allows no retries; remove `retry`, or write `max = 1`");
            Ok(())
        }
        _ => Ok(()),
    }
}

/// Parses `= "name"` or `("name", option = value, ..)`.
pub(super) fn named(
    key: Ident,
    table: &'static Table,
    input: ParseStream<'_>,
    errors: &mut Errors,
    special: impl FnMut(&Ident, ParseStream<'_>, &mut Errors, &mut Vec<Setting>) -> Result<bool>,
) -> Result<Policy> {
    if !input.peek(token::Paren) {
        let name = Some(value::component_name(&key, input)?);
        return Ok(Policy { key, name, settings: Vec::new() });
    }
    let example = format!("{key}(\"payment\", ..)");
    let before = errors.count();
    let policy = listed(key, table, &example, input, errors, special)?;
    if policy.name.is_none() && errors.count() == before {
        let key = &policy.key;
        let message = format!(
            "`{key}` needs a name before its options, as in `{key} = \"payment\"` or `{key}(\"payment\", ..)`"
        );
        return Err(Error::new(key.span(), message));
    }
    Ok(policy)
}

/// Parses `(["name",] option = value, ..)`.
pub(super) fn listed(
    key: Ident,
    table: &'static Table,
    example: &str,
    input: ParseStream<'_>,
    errors: &mut Errors,
    mut special: impl FnMut(&Ident, ParseStream<'_>, &mut Errors, &mut Vec<Setting>) -> Result<bool>,
) -> Result<Policy> {
    if !input.peek(token::Paren) {
        return Err(Error::new(key.span(), format!("`{key}` needs options, as in `{example}`")));
    }
    let place = Place::of(table);
    let (mut name, mut settings) = (None, Vec::new());
    inside(input, |content| {
        if content.peek(LitInt) {
            let number: LitInt = content.parse()?;
            let message = match place.rows.first() {
                Some(Row { option, takes: Takes::Count { .. }, .. }) if example.contains('"') => {
                    format!("`{key}` needs named options; write `{key}(\"payment\", {option} = {number})`")
                }
                Some(Row { option, takes: Takes::Count { .. }, .. }) => {
                    format!("`{key}` needs named options; write `{key}({option} = {number})`")
                }
                _ => format!("`{key}` needs named options, as in `{example}`"),
            };
            return Err(Error::new(number.span(), message));
        }
        if content.peek(LitStr) {
            match value::literal_name(&key, content) {
                Ok(text) => name = Some(text),
                Err(error) => errors.push(error),
            }
            if !content.is_empty() && content.parse::<Token![,]>().is_err() {
                return Err(content.error("expected `,` after the name"));
            }
        } else if content.peek(Ident) && !content.peek2(Token![=]) && !content.peek2(token::Paren) {
            let first: Ident = content.fork().parse()?;
            if place.find(&first).is_none() {
                value::literal_name(&key, content)?;
            }
        }
        options(&place, content, errors, &mut settings, |option, input, errors, into| {
            if option == "name" {
                let message =
                    format!("the name must come first, without `name =`, as in `{key}(\"payment\", ..)`");
                return Err(Error::new(option.span(), message));
            }
            special(option, input, errors, into)
        });
        Ok(())
    })?;
    Ok(Policy { key, name, settings })
}

/// Parses `option(option = value, ..)`.
fn group(
    option: &Ident,
    table: &'static Table,
    row: &'static Row,
    input: ParseStream<'_>,
    errors: &mut Errors,
    into: &mut Vec<Setting>,
) -> Result<()> {
    if !input.peek(token::Paren) {
        let example = in_parentheses(row);
        return Err(Error::new(option.span(), format!("`{option}` needs options, as in `{example}`")));
    }
    inside(input, |content| {
        options(&Place::within(table, row.option), content, errors, into, |_, _, _, _| Ok(false));
        Ok(())
    })
}

/// Parses options by the rows of a place. `special` runs first and returns whether it has parsed the option.
pub(super) fn options(
    place: &Place,
    content: ParseStream<'_>,
    errors: &mut Errors,
    into: &mut Vec<Setting>,
    mut special: impl FnMut(&Ident, ParseStream<'_>, &mut Errors, &mut Vec<Setting>) -> Result<bool>,
) {
    let mut seen: Vec<Ident> = Vec::new();
    each(content, errors, "options", |input, errors| {
        if !input.peek(Ident::peek_any) {
            let first = place.rows.first().map_or("option", |row| row.option);
            let message = format!("expected an option of `{}`, as in `{first} = ..`", place.name());
            return Err(input.error(message));
        }
        let option = input.call(Ident::parse_any)?;
        if seen.contains(&option) {
            return Err(Error::new(option.span(), format!("`{option}` is specified twice")));
        }
        seen.push(option.clone());
        if special(&option, input, errors, into)? {
            return Ok(());
        }
        let row = place.find(&option).ok_or_else(|| place.unknown(&option, "option"))?;
        let has_options = place.group.is_empty() && place.table.options(row.option).next().is_some();
        match row.takes {
            Takes::Flag if has_options => switch(&option, place.table, row, input, errors, into),
            Takes::Group => group(&option, place.table, row, input, errors, into),
            _ if has_options && input.peek(token::Paren) => {
                group(&option, place.table, row, input, errors, into)
            }
            takes => {
                let (mut value, span) = value::parse(&option, takes, input)?;
                if let ("attempts", Value::Count(all)) = (row.option, &value) {
                    value = Value::Count(all.saturating_sub(1));
                }
                into.push(Setting { field: row.field, value, span });
                Ok(())
            }
        }
    });
}
