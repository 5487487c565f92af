//! Parses rate limits, hedges and coalescing.

use proc_macro2::Span;
use resilient_options::{Value as Default, coalesce, hedge, rate_limit};
use syn::parse::ParseStream;
use syn::{Error, Expr, ExprLit, Ident, Lit, Result, Token, token};

use super::policies::{Policy, listed, named};
use super::value::{self, Setting, Value};
use super::{Keyed, expression};
use crate::diag::Errors;

/// A rate limit and its expressions.
pub(crate) struct RateLimit {
    pub(crate) policy: Policy,
    pub(crate) key: Option<Keyed<Expr>>,
    pub(crate) weight: Option<Keyed<Expr>>,
}

/// Coalescing and its key.
pub(crate) struct Coalesce {
    pub(crate) policy: Policy,
    pub(crate) by: Keyed<Expr>,
}

pub(super) fn rate_limit(key: Ident, input: ParseStream<'_>, errors: &mut Errors) -> Result<RateLimit> {
    let (mut by, mut weight) = (None, None);
    let before = errors.count();
    let special = |option: &Ident, input: ParseStream<'_>, _: &mut Errors, _: &mut Vec<Setting>| {
        if option == "key" {
            by = Some(expression(option.clone(), input, "user.id")?);
        } else if option == "weight" {
            weight = Some(expression(option.clone(), input, "items.len()")?);
        } else {
            return Ok(false);
        }
        Ok(true)
    };
    let policy = named(key, &rate_limit::TABLE, input, errors, special)?;
    let has_rate = policy.settings.iter().any(|setting| setting.field == "rate");
    if !policy.settings.is_empty() && !has_rate && errors.count() == before {
        let message = "`rate_limit` with options needs a rate, as in `rate_limit(\"api\", rate = \"100/s\")`";
        return Err(Error::new(policy.key.span(), message));
    }
    Ok(RateLimit { policy, key: by, weight })
}

pub(super) fn hedge(key: Ident, input: ParseStream<'_>, errors: &mut Errors) -> Result<Policy> {
    const EXAMPLE: &str = "hedge(after = \"50ms\")";
    let special = |option: &Ident, input: ParseStream<'_>, _: &mut Errors, into: &mut Vec<Setting>| {
        if option != "after" {
            return Ok(false);
        }
        let Some((percentile, span)) = percentile(input)? else {
            return Ok(false);
        };
        into.push(Setting { field: "percentile", value: Value::Number(percentile), span });
        Ok(true)
    };
    if input.peek(Token![=]) {
        let name = Some(value::component_name(&key, input)?);
        return Ok(Policy { key, name, settings: Vec::new() });
    }
    listed(key, &hedge::TABLE, EXAMPLE, input, errors, special)
}

/// Parses `= "p95"` if the input continues with it.
fn percentile(input: ParseStream<'_>) -> Result<Option<(f64, Span)>> {
    let ahead = input.fork();
    if ahead.parse::<Token![=]>().is_err() {
        return Ok(None);
    }
    let Ok(Expr::Lit(ExprLit { lit: Lit::Str(text), .. })) = value::expr(&ahead) else {
        return Ok(None);
    };
    let value = text.value();
    let Some(number) = value.trim().strip_prefix('p') else { return Ok(None) };
    input.parse::<Token![=]>()?;
    value::expr(input)?;
    let takes = const { hedge::TABLE.row("percentile") }.takes;
    match number.parse::<f64>() {
        Ok(number) if takes.admits(Default::Number(number)) => Ok(Some((number, text.span()))),
        _ => Err(Error::new(
            text.span(),
            format!("the percentile must be from {takes}, as in `after = \"p95\"`"),
        )),
    }
}

/// Returns `None` if an error was already reported.
pub(super) fn coalesce(key: Ident, input: ParseStream<'_>, errors: &mut Errors) -> Result<Option<Coalesce>> {
    const EXAMPLE: &str = "coalesce(key = id)";
    let mut by = None;
    let special = |option: &Ident, input: ParseStream<'_>, _: &mut Errors, _: &mut Vec<Setting>| {
        if option != "key" {
            return Ok(false);
        }
        by = Some(expression(option.clone(), input, "id")?);
        Ok(true)
    };
    if !input.peek(token::Paren) {
        let message = format!("`coalesce` needs a key that identifies equal calls, as in `{EXAMPLE}`");
        return Err(Error::new(key.span(), message));
    }
    let before = errors.count();
    let policy = listed(key, &coalesce::TABLE, EXAMPLE, input, errors, special)?;
    match by {
        Some(by) => Ok(Some(Coalesce { policy, by })),
        None if errors.count() > before => Ok(None),
        None => {
            let message = format!("`coalesce` needs a key that identifies equal calls, as in `{EXAMPLE}`");
            Err(Error::new(policy.key.span(), message))
        }
    }
}
