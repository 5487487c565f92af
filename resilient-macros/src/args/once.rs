//! Parses `idempotent`.

use resilient_options::idempotency;
use syn::parse::ParseStream;
use syn::{Error, Expr, Ident, Result, Token, token};

use super::policies::{Policy, listed};
use super::value::Setting;
use super::{Keyed, expression};
use crate::diag::Errors;

/// The two forms of `idempotent`.
pub(crate) enum Idempotent {
    /// Without options: running the function twice has the same effect as running it once.
    Declared(Ident),
    /// With a key: the function runs once for each key.
    ByKey(Box<Once>),
}

/// `idempotent` with a key.
pub(crate) struct Once {
    pub(crate) policy: Policy,
    pub(crate) by: Keyed<Expr>,
    /// Values that calls with the same key must agree on. By default, all arguments.
    pub(crate) fingerprint: Option<Keyed<Expr>>,
    /// The transaction that the record belongs to.
    pub(crate) transaction: Option<Keyed<Expr>>,
}

const EXAMPLE: &str = "idempotent(key = order.id)";

/// Returns `None` if an error was already reported.
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
            "`idempotent` needs a key, as in `{EXAMPLE}`; write `idempotent` without options if running the function twice \
             has the same effect as running it once"
        );
        Error::new(key.span(), message)
    };
    if !input.peek(token::Paren) {
        return Err(needs_a_key(&key));
    }
    let (mut by, mut fingerprint, mut transaction) = (None, None, None);
    let special = |option: &Ident, input: ParseStream<'_>, _: &mut Errors, _: &mut Vec<Setting>| {
        if option == "key" {
            by = Some(expression(option.clone(), input, "order.id")?);
        } else if option == "fingerprint" {
            fingerprint = Some(expression(option.clone(), input, "(order.cents, &order.account)")?);
        } else if option == "transaction" {
            transaction = Some(expression(option.clone(), input, "tx")?);
        } else {
            return Ok(false);
        }
        Ok(true)
    };
    let before = errors.count();
    let policy = listed(key, &idempotency::TABLE, EXAMPLE, input, errors, special)?;
    match by {
        Some(by) => Ok(Some(Idempotent::ByKey(Box::new(Once { policy, by, fingerprint, transaction })))),
        None if errors.count() > before => Ok(None),
        None => Err(needs_a_key(&policy.key)),
    }
}
