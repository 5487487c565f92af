//! Parses load shedding and the expression `arrived_at`.

use quote::ToTokens;
use resilient_options::load_shed;
use syn::parse::ParseStream;
use syn::{Error, Expr, Ident, Lit, LitFloat, LitInt, Result, Token};

use super::policies::{Policy, named};
use super::value::Setting;
use super::{Keyed, expression};
use crate::diag::Errors;

/// A load shedder and its expression.
pub(crate) struct LoadShed {
    pub(crate) policy: Policy,
    pub(crate) arrived_at: Option<Keyed<Expr>>,
}

pub(super) fn load_shed(key: Ident, input: ParseStream<'_>, errors: &mut Errors) -> Result<LoadShed> {
    let mut arrived_at = None;
    let special = |option: &Ident, input: ParseStream<'_>, _: &mut Errors, _: &mut Vec<Setting>| {
        if option == "arrived_at" {
            arrived_at = Some(expression(option.clone(), input, "request.arrived_at")?);
            return Ok(true);
        }
        if option == "throttle" && input.peek(Token![=]) && (input.peek2(LitFloat) || input.peek2(LitInt)) {
            input.parse::<Token![=]>()?;
            let number: Lit = input.parse()?;
            let factor = number.to_token_stream();
            return Err(Error::new(
                number.span(),
                format!("`throttle` needs its factor by name; write `throttle(factor = {factor})`"),
            ));
        }
        Ok(false)
    };
    let policy = named(key, &load_shed::TABLE, input, errors, special)?;
    Ok(LoadShed { policy, arrived_at })
}
