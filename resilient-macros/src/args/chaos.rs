//! Parses `chaos`.

use syn::parse::ParseStream;
use syn::{Error, Expr, Ident, LitStr, Result, Token, token};

use super::{Keyed, each, expression, inside, value};
use crate::diag::Errors;

/// Whether and how faults can be injected.
#[derive(Default)]
pub(crate) struct Chaos {
    /// `chaos = off`
    pub(crate) is_off: bool,
    /// `chaos = "group"`
    pub(crate) group: Option<LitStr>,
    /// `chaos(error = ..)`
    pub(crate) error: Option<Keyed<Expr>>,
}

const EXAMPLES: &str = "`chaos = off`, `chaos = \"payments\"` or `chaos(error = || ..)`";

pub(super) fn chaos(key: &Ident, input: ParseStream<'_>, errors: &mut Errors) -> Result<Chaos> {
    if input.peek(token::Paren) {
        return listed(key, input, errors);
    }
    let incomplete = || Error::new(key.span(), format!("`chaos` is incomplete; write {EXAMPLES}"));
    input.parse::<Token![=]>().map_err(|_| incomplete())?;
    if input.is_empty() || input.peek(Token![,]) {
        return Err(incomplete());
    }
    let ahead = input.fork();
    if let Ok(Expr::Path(path)) = value::expr(&ahead) {
        value::expr(input)?;
        if path.path.is_ident("off") {
            return Ok(Chaos { is_off: true, ..Chaos::default() });
        }
        return Err(Error::new_spanned(
            path,
            format!("expected `off` or a group in quotes; write {EXAMPLES}"),
        ));
    }
    let group = value::literal_name(key, input)?;
    Ok(Chaos { group: Some(group), ..Chaos::default() })
}

/// Parses `("group", error = ..)`.
fn listed(key: &Ident, input: ParseStream<'_>, errors: &mut Errors) -> Result<Chaos> {
    let mut chaos = Chaos::default();
    let before = errors.count();
    inside(input, |content| {
        each(content, errors, "options of `chaos`", |input, _| chaos.option(key, input));
        Ok(())
    })?;
    if chaos.group.is_none() && chaos.error.is_none() && errors.count() == before {
        return Err(Error::new(key.span(), format!("`chaos()` is empty; write {EXAMPLES}")));
    }
    Ok(chaos)
}

impl Chaos {
    fn option(&mut self, key: &Ident, input: ParseStream<'_>) -> Result<()> {
        if input.peek(LitStr) {
            let group = value::literal_name(key, input)?;
            if self.group.is_some() {
                return Err(Error::new(group.span(), "`chaos` has two groups; a function is in one"));
            }
            self.group = Some(group);
            return Ok(());
        }
        let option = super::key(input, "`error = || ..` or a group in quotes")?;
        if option != "error" {
            let message = format!(
                "unknown option `{option}` of `chaos`\nexpected one of: `error`, or a group in quotes"
            );
            return Err(Error::new(option.span(), message));
        }
        if self.error.is_some() {
            return Err(Error::new(option.span(), "`error` is specified twice"));
        }
        self.error = Some(expression(option, input, "|| PayError::Timeout")?);
        Ok(())
    }
}
