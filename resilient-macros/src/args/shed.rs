//! Load shedding, and when the call arrived.

use quote::ToTokens;
use syn::ext::IdentExt;
use syn::parse::ParseStream;
use syn::{Error, Expr, Ident, Lit, LitFloat, LitInt, Result, Token, token};

use super::policies::{Opt, POSITIVE, Policy, group, named};
use super::value::{self, Setting, Takes, Value};
use super::{Keyed, expression};
use crate::diag::Errors;

/// A load shedder, and what of it is code.
pub(crate) struct LoadShed {
    pub(crate) policy: Policy,
    pub(crate) arrived_at: Option<Keyed<Expr>>,
}

const CALLS: Takes = Takes::Count { min: 1, max: 1_000_000 };

const LOAD_SHED: &[Opt] = &[
    ("max_in_flight", "max_in_flight", CALLS),
    ("min_in_flight", "min_in_flight", CALLS),
    ("initial_in_flight", "initial_in_flight", CALLS),
    ("adaptive", "adaptive", Takes::Flag),
    ("target_delay", "target_delay", POSITIVE),
    ("target_latency", "target_latency", POSITIVE),
    ("interval", "interval", POSITIVE),
    ("retry_after", "retry_after", POSITIVE),
];

const SHARE: &[Opt] = &[
    ("low", "share_low", Takes::Ratio { zero: false }),
    ("normal", "share_normal", Takes::Ratio { zero: false }),
    ("high", "share_high", Takes::Ratio { zero: false }),
];

const THROTTLE: &[Opt] = &[
    ("factor", "throttle_factor", Takes::Number { min: 1.0, max: 100.0 }),
    ("window", "throttle_window", POSITIVE),
    ("floor", "throttle_floor", Takes::Ratio { zero: false }),
    ("min_calls", "throttle_min_calls", CALLS),
];

pub(super) fn load_shed(key: Ident, input: ParseStream<'_>, errors: &mut Errors) -> Result<LoadShed> {
    let mut arrived_at = None;
    let special = |option: &Ident, input: ParseStream<'_>, errors: &mut Errors, into: &mut Vec<Setting>| {
        match option.unraw().to_string().as_str() {
            "share" => group(option, SHARE, "share(low = 0.5, normal = 0.8)", input, errors, into)?,
            "throttle" => throttle(option, input, errors, into)?,
            "arrived_at" => arrived_at = Some(expression(option.clone(), input, "request.arrived_at")?),
            _ => return Ok(false),
        }
        Ok(true)
    };
    let policy = named(key, LOAD_SHED, &["share", "throttle", "arrived_at"], input, errors, special)?;
    Ok(LoadShed { policy, arrived_at })
}

/// The word alone, `= true`, or with what goes with it in parentheses.
fn throttle(
    option: &Ident,
    input: ParseStream<'_>,
    errors: &mut Errors,
    into: &mut Vec<Setting>,
) -> Result<()> {
    let (mut value, mut span) = (Value::Flag(true), option.span());
    if input.peek(token::Paren) {
        group(option, THROTTLE, "throttle(factor = 2.0)", input, errors, into)?;
    } else if input.peek(Token![=]) && (input.peek2(LitFloat) || input.peek2(LitInt)) {
        input.parse::<Token![=]>()?;
        let number: Lit = input.parse()?;
        let factor = number.to_token_stream();
        return Err(Error::new(number.span(), format!("write `throttle(factor = {factor})`")));
    } else if input.peek(Token![=]) {
        (value, span) = value::parse(option, Takes::Flag, input)?;
    }
    into.push(Setting { field: "throttle", value, span });
    Ok(())
}
