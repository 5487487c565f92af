//! The policies that are components: each a table of its options.

use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Error, Expr, Ident, LitInt, LitStr, Result, Token, token};

use super::value::{self, Setting, Takes, Value};
use super::{each, expression, inside, unknown};
use crate::diag::Errors;

/// A component with its inline settings.
pub(crate) struct Policy {
    pub(crate) key: Ident,
    pub(crate) name: Option<LitStr>,
    pub(crate) settings: Vec<Setting>,
}

/// A retry, and what of it is code.
pub(crate) struct Retry {
    pub(crate) policy: Policy,
    pub(crate) when: Option<super::Keyed<Expr>>,
}

/// An option: its name, the field it sets, what it takes.
pub(super) type Opt = (&'static str, &'static str, Takes);

pub(super) const POSITIVE: Takes = Takes::Duration { zero: false };
const MILLION: u64 = 1_000_000;

const CIRCUIT_BREAKER: &[Opt] = &[
    ("failure_rate", "failure_rate", Takes::Ratio { zero: false }),
    ("window", "window", Takes::Window),
    ("min_calls", "min_calls", Takes::Count { min: 1, max: MILLION }),
    ("failure_threshold", "failure_threshold", Takes::Count { min: 1, max: MILLION }),
    ("success_threshold", "success_threshold", Takes::Count { min: 1, max: MILLION }),
    ("open_for", "open_for", POSITIVE),
    ("open_max", "open_max", POSITIVE),
    ("half_open_calls", "half_open_calls", Takes::Count { min: 1, max: 1000 }),
    ("slow_call", "slow_call", POSITIVE),
    ("slow_rate", "slow_rate", Takes::Ratio { zero: false }),
    ("low_volume_failures", "low_volume_failures", Takes::Count { min: 0, max: MILLION }),
    ("slow_in_flight", "slow_in_flight", Takes::Flag),
    ("open_jitter", "open_jitter", Takes::Ratio { zero: true }),
    ("probe_lease", "probe_lease", POSITIVE),
];

const RETRY: &[Opt] = &[
    ("max", "max", Takes::Count { min: 1, max: 1000 }),
    ("attempts", "max", Takes::Count { min: 2, max: 1001 }),
    ("backoff", "backoff", Takes::Word(&["exponential", "constant", "linear", "fibonacci", "decorrelated"])),
    ("base", "base", Takes::Duration { zero: true }),
    ("factor", "factor", Takes::Number { min: 1.0, max: 100.0 }),
    ("max_delay", "max_delay", Takes::Duration { zero: true }),
    ("jitter", "jitter", Takes::Ratio { zero: true }),
    ("max_elapsed", "max_elapsed", POSITIVE),
    ("max_retry_after", "max_retry_after", Takes::Duration { zero: true }),
];

const BUDGET: &[Opt] = &[
    ("ratio", "budget_ratio", Takes::Ratio { zero: true }),
    ("reserve", "budget_reserve", Takes::Number { min: 0.0, max: 1e6 }),
    ("free", "budget_free", Takes::Count { min: 0, max: MILLION }),
];

const BULKHEAD: &[Opt] = &[
    ("max_concurrent", "max_concurrent", Takes::Count { min: 1, max: MILLION }),
    ("max_queue", "max_queue", Takes::Count { min: 0, max: MILLION }),
    ("max_wait", "max_wait", POSITIVE),
    ("threads", "threads", Takes::Count { min: 1, max: 1024 }),
];

/// The limit that a bulkhead finds.
const FOUND: &[Opt] = &[
    ("min", "adaptive_min", Takes::Count { min: 1, max: MILLION }),
    ("max", "adaptive_max", Takes::Count { min: 1, max: MILLION }),
    ("initial", "adaptive_initial", Takes::Count { min: 1, max: MILLION }),
];

const RESERVE: &[Opt] = &[
    ("critical", "reserve_critical", Takes::Count { min: 0, max: MILLION }),
    ("high", "reserve_high", Takes::Count { min: 0, max: MILLION }),
];

const TIMEOUT: &[Opt] = &[
    ("total", "total", POSITIVE),
    ("attempt", "attempt", POSITIVE),
    ("connect", "connect", POSITIVE),
    ("read", "read", POSITIVE),
];

const ADAPTIVE: &[Opt] = &[
    ("percentile", "percentile", Takes::Number { min: 1.0, max: 99.9 }),
    ("factor", "factor", Takes::Number { min: 1.0, max: 100.0 }),
    ("min", "min", POSITIVE),
    ("max", "max", POSITIVE),
    ("window", "window", POSITIVE),
    ("min_samples", "min_samples", Takes::Count { min: 10, max: MILLION }),
];

pub(super) fn circuit_breaker(key: Ident, input: ParseStream<'_>, errors: &mut Errors) -> Result<Policy> {
    named(key, CIRCUIT_BREAKER, &[], input, errors, |_, _, _, _| Ok(false))
}

pub(super) fn bulkhead(key: Ident, input: ParseStream<'_>, errors: &mut Errors) -> Result<Policy> {
    let special = |option: &Ident, input: ParseStream<'_>, errors: &mut Errors, into: &mut Vec<Setting>| {
        if adapts(option, "max_concurrent", FOUND, "adaptive(min = 1, max = 200)", input, errors, into)? {
            return Ok(true);
        }
        if option != "reserve" {
            return Ok(false);
        }
        group(option, RESERVE, "reserve(critical = 4)", input, errors, into).map(|()| true)
    };
    named(key, BULKHEAD, &["reserve", "adaptive"], input, errors, special)
}

pub(super) fn timeout(key: Ident, input: ParseStream<'_>, errors: &mut Errors) -> Result<Policy> {
    if input.peek(Token![=]) {
        if let Some(error) = value::no_time(input) {
            return Err(error);
        }
        let (value, span) = value::parse(&key, POSITIVE, input)?;
        return Ok(Policy { key, name: None, settings: vec![Setting { field: "total", value, span }] });
    }
    let before = errors.count();
    let special = |option: &Ident, input: ParseStream<'_>, errors: &mut Errors, into: &mut Vec<Setting>| {
        let example = "adaptive(percentile = 95, max = \"10s\")";
        adapts(option, "attempt", ADAPTIVE, example, input, errors, into)
    };
    let policy = listed(key, TIMEOUT, &["adaptive"], "timeout = \"2s\"", input, errors, special)?;
    if policy.settings.is_empty() && policy.name.is_none() && errors.count() == before {
        let message = "`timeout` needs a limit, as in `timeout = \"2s\"` or `timeout(attempt = \"500ms\")`";
        return Err(Error::new(policy.key.span(), message));
    }
    Ok(policy)
}

/// `adaptive`, or what it finds: `attempt = adaptive(..)`.
fn adapts(
    option: &Ident,
    found: &str,
    table: &'static [Opt],
    example: &str,
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
        return Err(Error::new(word.span(), "`adaptive` is given twice"));
    }
    adaptive(&word, table, example, input, errors, into).map(|()| true)
}

/// `= adaptive`
fn is_adaptive(input: ParseStream<'_>) -> bool {
    let ahead = input.fork();
    ahead.parse::<Token![=]>().is_ok() && ahead.parse::<Ident>().is_ok_and(|word| word == "adaptive")
}

/// `adaptive`, `adaptive = true`, or `adaptive(percentile = 95, ..)`
fn adaptive(
    option: &Ident,
    table: &'static [Opt],
    example: &str,
    input: ParseStream<'_>,
    errors: &mut Errors,
    into: &mut Vec<Setting>,
) -> Result<()> {
    if input.peek(Token![=]) {
        let (value, span) = value::parse(option, Takes::Flag, input)?;
        into.push(Setting { field: "adaptive", value, span });
        return Ok(());
    }
    into.push(Setting { field: "adaptive", value: Value::Flag(true), span: option.span() });
    if input.is_empty() || input.peek(Token![,]) {
        return Ok(());
    }
    let before = (errors.count(), into.len());
    group(option, table, example, input, errors, into)?;
    if (errors.count(), into.len()) == before {
        let message =
            format!("`adaptive()` says nothing: write `adaptive` for the usual settings, or `{example}`");
        return Err(Error::new(option.span(), message));
    }
    Ok(())
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
    let special = |option: &Ident, input: ParseStream<'_>, errors: &mut Errors, into: &mut Vec<Setting>| {
        if option == "when" {
            when = Some(expression(option.clone(), input, "is_transient")?);
            return Ok(true);
        }
        if option != "budget" {
            return Ok(false);
        }
        if input.peek(token::Paren) {
            return group(option, BUDGET, "budget(ratio = 0.1, reserve = 3)", input, errors, into)
                .map(|()| true);
        }
        if let Some(span) = off(input)? {
            into.push(Setting { field: "budget", value: Value::Text("off".to_owned()), span });
            return Ok(true);
        }
        let (value, span) = value::parse(option, Takes::Name, input)?;
        into.push(Setting { field: "budget", value, span });
        Ok(true)
    };
    let before = errors.count();
    let mut policy = listed(key, RETRY, &["when", "budget"], "retry(max = 3)", input, errors, special)?;
    // A limit that could not be understood is not one that was forgotten.
    if errors.count() == before {
        limit(&mut policy, errors)?;
    }
    Ok(Retry { policy, when })
}

/// `= off`, if that is what is there.
fn off(input: ParseStream<'_>) -> Result<Option<Span>> {
    let ahead = input.fork();
    let is_off = ahead.parse::<Token![=]>().is_ok() && ahead.parse::<Ident>().is_ok_and(|word| word == "off");
    if !is_off {
        return Ok(None);
    }
    input.parse::<Token![=]>()?;
    input.parse::<Ident>().map(|word| Some(word.span()))
}

/// `attempts` counts the first one too; one of the two words is enough, and needed.
fn limit(policy: &mut Policy, errors: &mut Errors) -> Result<()> {
    let mut limits = policy.settings.iter_mut().filter(|setting| setting.field == "max");
    match (limits.next(), limits.next()) {
        (None, _) if policy.name.is_none() => {
            Err(Error::new(policy.key.span(), "`retry` needs a limit, as in `retry(max = 3)`"))
        }
        (Some(_), Some(second)) => {
            let message = "`max` counts retries and `attempts` counts all attempts; give one of them";
            errors.span(second.span, message);
            Ok(())
        }
        _ => Ok(()),
    }
}

/// `= "name"` or `("name", option = value, ..)`
pub(super) fn named(
    key: Ident,
    table: &'static [Opt],
    also: &[&'static str],
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
    let policy = listed(key, table, also, &example, input, errors, special)?;
    if policy.name.is_none() && errors.count() == before {
        let key = &policy.key;
        let message =
            format!("`{key}` needs a name first, as in `{key} = \"payment\"` or `{key}(\"payment\", ..)`");
        return Err(Error::new(key.span(), message));
    }
    Ok(policy)
}

/// `(["name",] option = value, ..)`
pub(super) fn listed(
    key: Ident,
    table: &'static [Opt],
    also: &[&'static str],
    example: &str,
    input: ParseStream<'_>,
    errors: &mut Errors,
    mut special: impl FnMut(&Ident, ParseStream<'_>, &mut Errors, &mut Vec<Setting>) -> Result<bool>,
) -> Result<Policy> {
    if !input.peek(token::Paren) {
        return Err(Error::new(key.span(), format!("`{key}` needs its options, as in `{example}`")));
    }
    let (mut name, mut settings) = (None, Vec::new());
    inside(input, |content| {
        if content.peek(LitInt) {
            let number: LitInt = content.parse()?;
            let message = match table[0] {
                (option, _, Takes::Count { .. }) if example.contains('"') => {
                    format!("write `{key}(\"payment\", {option} = {number})`")
                }
                (option, _, Takes::Count { .. }) => format!("write `{key}({option} = {number})`"),
                _ => format!("`{key}` needs its options by name, as in `{example}`"),
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
            if !table.iter().map(|(name, ..)| name).chain(also).any(|name| first == name) {
                value::literal_name(&key, content)?;
            }
        }
        options(&key, table, also, content, errors, &mut settings, |option, input, errors, into| {
            if option == "name" {
                let message =
                    format!("the name comes first and without a key, as in `{key}(\"payment\", ..)`");
                return Err(Error::new(option.span(), message));
            }
            special(option, input, errors, into)
        });
        Ok(())
    })?;
    Ok(Policy { key, name, settings })
}

/// `option(option = value, ..)`
pub(super) fn group(
    key: &Ident,
    table: &'static [Opt],
    example: &str,
    input: ParseStream<'_>,
    errors: &mut Errors,
    into: &mut Vec<Setting>,
) -> Result<()> {
    if !input.peek(token::Paren) {
        return Err(Error::new(key.span(), format!("`{key}` needs its options, as in `{example}`")));
    }
    inside(input, |content| {
        options(key, table, &[], content, errors, into, |_, _, _, _| Ok(false));
        Ok(())
    })
}

pub(super) fn options(
    of: &Ident,
    table: &'static [Opt],
    also: &[&'static str],
    content: ParseStream<'_>,
    errors: &mut Errors,
    into: &mut Vec<Setting>,
    mut special: impl FnMut(&Ident, ParseStream<'_>, &mut Errors, &mut Vec<Setting>) -> Result<bool>,
) {
    let mut seen: Vec<Ident> = Vec::new();
    each(content, errors, "options", |input, errors| {
        if !input.peek(Ident::peek_any) {
            return Err(input.error(format!("expected an option of `{of}`, as in `{} = ..`", table[0].0)));
        }
        let option = input.call(Ident::parse_any)?;
        if seen.contains(&option) {
            return Err(Error::new(option.span(), format!("`{option}` is given twice")));
        }
        seen.push(option.clone());
        if special(&option, input, errors, into)? {
            return Ok(());
        }
        let Some((name, field, takes)) = table.iter().find(|(name, ..)| option == name) else {
            let known: Vec<&str> = table.iter().map(|(name, ..)| *name).chain(also.iter().copied()).collect();
            return Err(unknown(&option, "option", &of.to_string(), &known));
        };
        let (mut value, span) = value::parse(&option, *takes, input)?;
        if let ("attempts", Value::Count(all)) = (*name, &value) {
            value = Value::Count(all - 1);
        }
        into.push(Setting { field, value, span });
        Ok(())
    });
}
