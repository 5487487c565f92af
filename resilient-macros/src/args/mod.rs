//! Parses the arguments of `#[resilient(...)]`.

mod chaos;
mod fallback;
mod limits;
mod once;
mod place;
mod policies;
mod shed;
mod value;

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::ext::IdentExt;
use syn::parse::{ParseStream, Parser};
use syn::{Error, Expr, Ident, LitStr, Path, Result, Token, parenthesized};

pub(crate) use chaos::Chaos;
pub(crate) use fallback::{Answer, BuiltInCache, Fallback, Level, ReplicaRead, is_async, timeouts};
pub(crate) use limits::{Coalesce, RateLimit};
pub(crate) use once::Once;
pub(crate) use policies::{Policy, Retry};
pub(crate) use shed::LoadShed;
pub(crate) use value::{Setting, Value};

use crate::diag::Errors;

/// An argument that is one expression.
pub(crate) struct Keyed<T> {
    pub(crate) key: Ident,
    pub(crate) value: T,
}

/// The parsed arguments. Arguments with errors are missing.
pub(crate) struct Args {
    pub(crate) circuit_breaker: Option<Policy>,
    /// `circuit_breaker("x", when = ..)`
    pub(crate) counts: Option<Keyed<Expr>>,
    pub(crate) retry: Option<Retry>,
    pub(crate) bulkhead: Option<Policy>,
    pub(crate) timeout: Option<Policy>,
    pub(crate) fallback: Option<Fallback>,
    pub(crate) rate_limit: Option<RateLimit>,
    pub(crate) hedge: Option<Policy>,
    pub(crate) coalesce: Option<Coalesce>,
    pub(crate) load_shed: Option<LoadShed>,
    pub(crate) priority: Option<Keyed<Expr>>,
    pub(crate) failure: Option<Keyed<Expr>>,
    /// `idempotent` without options.
    pub(crate) idempotent: Option<Ident>,
    /// `idempotent(key = ..)`
    pub(crate) once: Option<Box<Once>>,
    pub(crate) clone: Option<Keyed<Vec<Ident>>>,
    pub(crate) map_err: Option<Keyed<Expr>>,
    pub(crate) name: Option<LitStr>,
    pub(crate) registry: Option<Keyed<Expr>>,
    pub(crate) chaos: Chaos,
    pub(crate) krate: Path,
    /// The keys of all arguments, including those with errors.
    pub(crate) keys: Vec<Ident>,
    /// Whether there was an unknown key.
    pub(crate) has_unknown: bool,
}

impl Args {
    /// Parses the arguments. Never fails: arguments with errors are reported and skipped.
    pub(crate) fn parse(tokens: TokenStream, errors: &mut Errors) -> Self {
        let mut args = Self {
            circuit_breaker: None,
            counts: None,
            retry: None,
            bulkhead: None,
            timeout: None,
            fallback: None,
            rate_limit: None,
            hedge: None,
            coalesce: None,
            load_shed: None,
            priority: None,
            failure: None,
            idempotent: None,
            once: None,
            clone: None,
            map_err: None,
            name: None,
            registry: None,
            chaos: Chaos::default(),
            krate: syn::parse_quote!(::resilient_runtime),
            keys: Vec::new(),
            has_unknown: false,
        };
        if tokens.is_empty() {
            errors.span(
                Span::call_site(),
                "`#[resilient]` needs at least one policy, as in `#[resilient(retry(max = 3))]`",
            );
        }
        let parse = |input: ParseStream<'_>| {
            each(input, errors, "arguments", |input, errors| args.argument(input, errors));
            Ok(())
        };
        if let Err(error) = parse.parse2(tokens) {
            errors.push(error);
        }
        args
    }

    fn argument(&mut self, input: ParseStream<'_>, errors: &mut Errors) -> Result<()> {
        let key = key(input, "the name of a policy, such as `circuit_breaker = \"..\"`")?;
        let text = key.to_string();
        if self.keys.contains(&key) {
            return Err(Error::new(key.span(), format!("`{text}` is specified twice")));
        }
        self.keys.push(key.clone());
        match text.as_str() {
            "circuit_breaker" => {
                let (policy, counts) = policies::circuit_breaker(key, input, errors)?;
                (self.circuit_breaker, self.counts) = (Some(policy), counts);
            }
            "retry" => self.retry = Some(policies::retry(key, input, errors)?),
            "bulkhead" => self.bulkhead = Some(policies::bulkhead(key, input, errors)?),
            "timeout" => self.timeout = Some(policies::timeout(key, input, errors)?),
            "rate_limit" => self.rate_limit = Some(limits::rate_limit(key, input, errors)?),
            "hedge" => self.hedge = Some(limits::hedge(key, input, errors)?),
            "coalesce" => self.coalesce = limits::coalesce(key, input, errors)?,
            "load_shed" => self.load_shed = Some(shed::load_shed(key, input, errors)?),
            "fallback" => self.fallback = Some(fallback::parse(key, input, errors)?),
            "priority" => self.priority = Some(expression(key, input, "high")?),
            "failure" => self.failure = Some(expression(key, input, "|output| ..")?),
            "map_err" => self.map_err = Some(expression(key, input, "|rejection| ..")?),
            "registry" => self.registry = Some(expression(key, input, "self.registry.clone()")?),
            "name" => self.name = Some(value::component_name(&key, input)?),
            "clone" => self.clone = Some(clone(key, input, errors)?),
            "idempotent" => match once::idempotent(key, input, errors)? {
                Some(once::Idempotent::Declared(key)) => self.idempotent = Some(key),
                Some(once::Idempotent::ByKey(once)) => self.once = Some(once),
                None => {}
            },
            "chaos" => self.chaos = chaos::chaos(&key, input, errors)?,
            "crate" => self.krate = crate_path(&key, input)?,
            _ => {
                self.has_unknown = true;
                return Err(place::unknown_argument(&key));
            }
        }
        Ok(())
    }

    /// Returns whether a stage can reject a call or time it out.
    pub(crate) fn can_reject(&self) -> bool {
        self.circuit_breaker.is_some()
            || self.bulkhead.is_some()
            || self.timeout.is_some()
            || self.rate_limit.is_some()
            || self.hedge.is_some()
            || self.coalesce.is_some()
            || self.load_shed.is_some()
            || self.once.is_some()
    }

    /// Returns the setting `threads` of the bulkhead, on which the body runs.
    pub(crate) fn threads(&self) -> Option<&Setting> {
        self.bulkhead.as_ref()?.settings.iter().find(|setting| setting.field == "threads")
    }

    /// Returns whether the body may run more than once.
    pub(crate) fn repeats(&self) -> bool {
        self.retry.is_some() || self.hedge.is_some()
    }
}

/// Parses comma-separated parts. After an error it continues after the next comma.
fn each(
    input: ParseStream<'_>,
    errors: &mut Errors,
    what: &str,
    mut part: impl FnMut(ParseStream<'_>, &mut Errors) -> Result<()>,
) {
    while !input.is_empty() {
        if let Err(error) = part(input, errors) {
            errors.push(error);
            skip_past_comma(input);
        } else if !input.is_empty() && input.parse::<Token![,]>().is_err() {
            let next = input.cursor().token_tree().map(|(token, _)| token);
            errors.at(next, format!("expected `,` between two {what}"));
            // The next part may contain further errors, so do not skip it.
            if !input.peek(Ident::peek_any) {
                skip_past_comma(input);
            }
        }
    }
}

fn skip_past_comma(input: ParseStream<'_>) {
    while !input.is_empty() {
        if input.parse::<Token![,]>().is_ok() {
            return;
        }
        let _ = input.parse::<TokenTree>();
    }
}

/// Parses the content of parentheses. After an error the rest is skipped, because syn would report it as unexpected.
fn inside<T>(input: ParseStream<'_>, parse: impl FnOnce(ParseStream<'_>) -> Result<T>) -> Result<T> {
    let content;
    parenthesized!(content in input);
    let parsed = parse(&content);
    if parsed.is_err() {
        content.parse::<TokenStream>()?;
    }
    parsed
}

fn key(input: ParseStream<'_>, expected: &str) -> Result<Ident> {
    if !input.peek(Ident::peek_any) {
        let found = if input.peek(LitStr) { ", found a string" } else { "" };
        return Err(input.error(format!("expected {expected}{found}")));
    }
    input.call(Ident::parse_any)
}

/// Parses `= expression`.
fn expression(key: Ident, input: ParseStream<'_>, example: &str) -> Result<Keyed<Expr>> {
    if !input.peek(Token![=]) {
        return Err(Error::new(
            key.span(),
            format!("`{key}` takes an expression, as in `{key} = {example}`"),
        ));
    }
    input.parse::<Token![=]>()?;
    if input.is_empty() || input.peek(Token![,]) {
        let message = format!("`{key} =` is incomplete; expected an expression, as in `{key} = {example}`");
        return Err(Error::new(key.span(), message));
    }
    Ok(Keyed { value: value::expr(input)?, key })
}

fn clone(key: Ident, input: ParseStream<'_>, errors: &mut Errors) -> Result<Keyed<Vec<Ident>>> {
    const EXPECTED: &str =
        "`clone` needs the names of the arguments to clone for each attempt, as in `clone(payload)`";
    if !input.peek(syn::token::Paren) {
        return Err(Error::new(key.span(), EXPECTED));
    }
    let before = errors.count();
    let mut names: Vec<Ident> = Vec::new();
    inside(input, |content| {
        each(content, errors, "arguments", |input, _| {
            let name = input.call(Ident::parse_any).map_err(|error| Error::new(error.span(), EXPECTED))?;
            if names.contains(&name) {
                return Err(Error::new(name.span(), format!("`{name}` is specified twice")));
            }
            names.push(name);
            Ok(())
        });
        Ok(())
    })?;
    if names.is_empty() && errors.count() == before {
        return Err(Error::new(
            key.span(),
            "`clone()` is empty; name the arguments to clone, as in `clone(payload)`",
        ));
    }
    Ok(Keyed { key, value: names })
}

fn crate_path(key: &Ident, input: ParseStream<'_>) -> Result<Path> {
    const EXAMPLE: &str = "`crate` takes a path, as in `crate = ::resilient_runtime`";
    input.parse::<Token![=]>().map_err(|_| Error::new(key.span(), EXAMPLE))?;
    if input.is_empty() {
        return Err(Error::new(key.span(), EXAMPLE));
    }
    let path = input.call(Path::parse_mod_style).map_err(|error| Error::new(error.span(), EXAMPLE))?;
    let first = path.segments.first().map(|segment| segment.ident.to_string());
    let absolute = path.leading_colon.is_some()
        || matches!(first.as_deref(), Some("crate" | "self" | "super" | "$crate"));
    if !absolute {
        let message = "the path of `crate` must be absolute; start it with `::` or `crate::`, as in `crate = ::resilient_runtime`";
        return Err(Error::new_spanned(path, message));
    }
    Ok(path)
}
