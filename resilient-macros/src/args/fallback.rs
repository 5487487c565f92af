//! `fallback = ..` and `fallback(level = .., ..)`.

use syn::parse::ParseStream;
use syn::{Error, Expr, Ident, Result, Token, parenthesized, token};

use super::{each, expression, key, unknown};
use crate::diag::Errors;

pub(crate) struct Fallback {
    /// Levels in their fixed order; a single one for `fallback = ..`.
    pub(crate) levels: Vec<Level>,
    /// `fallback = ..`, which is given the failure by value.
    pub(crate) is_single: bool,
}

pub(crate) struct Level {
    /// The variant of the runtime's `Level`.
    pub(crate) variant: &'static str,
    pub(crate) answer: Expr,
}

/// As written, and the variant; in the order of the chain.
const LEVELS: &[(&str, &str)] = &[
    ("replica", "Replica"),
    ("distributed_cache", "DistributedCache"),
    ("local_cache", "LocalCache"),
    ("backup", "Backup"),
    ("default", "Default"),
];

pub(super) fn parse(name: Ident, input: ParseStream<'_>, errors: &mut Errors) -> Result<Fallback> {
    if !input.peek(token::Paren) {
        let answer = expression(name, input, "|failure| ..")?.value;
        return Ok(Fallback { levels: vec![Level { variant: "Default", answer }], is_single: true });
    }
    let content;
    parenthesized!(content in input);
    let mut found: Vec<(usize, Level)> = Vec::new();
    let mut wrong = false;
    each(&content, errors, "levels", |input, _| {
        wrong = true;
        let known: Vec<&str> = LEVELS.iter().map(|(name, _)| *name).collect();
        let level = key(input, "a level, such as `default = ..`")?;
        let Some(place) = LEVELS.iter().position(|(name, _)| level == name) else {
            if !input.peek(Token![=]) {
                let message = "`fallback(..)` takes named levels, as in `fallback(default = zero)`; for a single one write `fallback = zero`";
                return Err(Error::new(level.span(), message));
            }
            return Err(unknown(
                &level,
                "fallback level",
                "",
                &known,
                &[("cache", "local_cache"), ("else", "default")],
            ));
        };
        if found.iter().any(|(other, _)| *other == place) {
            return Err(Error::new(level.span(), format!("`{level}` is given twice")));
        }
        let answer = expression(level, input, "|failure| ..")?.value;
        found.push((place, Level { variant: LEVELS[place].1, answer }));
        wrong = false;
        Ok(())
    });
    if found.is_empty() && !wrong {
        return Err(Error::new(name.span(), "`fallback()` has no level; write `fallback(default = ..)`"));
    }
    found.sort_by_key(|(place, _)| *place);
    let levels = found.into_iter().map(|(_, level)| level).collect();
    Ok(Fallback { levels, is_single: false })
}

/// `async |failure| ..`, or `|failure| async { .. }`, which is as good.
pub(crate) fn is_async(answer: &Expr) -> bool {
    matches!(answer, Expr::Closure(closure) if closure.asyncness.is_some() || matches!(&*closure.body, Expr::Async(_)))
}
