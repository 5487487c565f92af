//! Idempotency by key.

use resilient_options::idempotency;
use syn::parse::ParseStream;
use syn::{Error, Expr, Ident, Result, Token, token};

use super::policies::{Policy, listed};
use super::value::Setting;
use super::{Keyed, expression};
use crate::diag::Errors;

/// What `idempotent` says.
pub(crate) enum Idempotent {
    /// The word alone: twice has the effect of once.
    Declared(Ident),
    /// It is carried out once for each key.
    ByKey(Box<Once>),
}

/// Calls with the same key are carried out once.
pub(crate) struct Once {
    pub(crate) policy: Policy,
    pub(crate) by: Keyed<Expr>,
    /// What a call with the same key must agree in; all arguments where nothing is said.
    pub(crate) fingerprint: Option<Keyed<Expr>>,
}

const EXAMPLE: &str = "idempotent(key = order.id)";

/// Nothing where it was said already what is wrong.
pub(super) fn idempotent(
    key: Ident,
    input: ParseStream<'_>,
    errors: &mut Errors,
) -> Result<Option<Idempotent>> {
    if input.is_empty() || input.peek(Token![,]) {
        return Ok(Some(Idempotent::Declared(key)));
    }
    let needs_a_key = |key: &Ident| {
        let message = format!(
            "`idempotent` takes a key, as in `{EXAMPLE}`; or write the word alone where running it twice has the \
             effect of once"
        );
        Error::new(key.span(), message)
    };
    if !input.peek(token::Paren) {
        return Err(needs_a_key(&key));
    }
    let (mut by, mut fingerprint) = (None, None);
    let special = |option: &Ident, input: ParseStream<'_>, _: &mut Errors, _: &mut Vec<Setting>| {
        if option == "key" {
            by = Some(expression(option.clone(), input, "order.id")?);
        } else if option == "fingerprint" {
            fingerprint = Some(expression(option.clone(), input, "(order.cents, &order.account)")?);
        } else {
            return Ok(false);
        }
        Ok(true)
    };
    let before = errors.count();
    let policy = listed(key, &idempotency::TABLE, EXAMPLE, input, errors, special)?;
    match by {
        Some(by) => Ok(Some(Idempotent::ByKey(Box::new(Once { policy, by, fingerprint })))),
        None if errors.count() > before => Ok(None),
        None => Err(needs_a_key(&policy.key)),
    }
}
