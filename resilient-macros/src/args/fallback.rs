//! `fallback = ..` and `fallback(level = .., ..)`.

use proc_macro2::Span;
use syn::parse::ParseStream;
use syn::{Error, Expr, ExprLit, Ident, Lit, Result, Token, token};

use super::policies::{Opt, POSITIVE, options};
use super::value::{self, Setting, Takes};
use super::{Keyed, each, expression, inside, key, unknown};
use crate::diag::Errors;

pub(crate) struct Fallback {
    /// Levels in their fixed order; a single one for `fallback = ..`.
    pub(crate) levels: Vec<Level>,
    /// `fallback = ..`, which is given the failure by value.
    pub(crate) is_single: bool,
    /// Of the component.
    pub(crate) settings: Vec<Setting>,
}

pub(crate) struct Level {
    /// The variant of the runtime's `Level`.
    pub(crate) variant: &'static str,
    pub(crate) answer: Answer,
}

pub(crate) enum Answer {
    Code(Expr),
    /// The built-in local cache, and what tells its answers apart.
    LocalCache(LocalCache),
}

pub(crate) struct LocalCache {
    pub(crate) word: Ident,
    pub(crate) key: Option<Keyed<Expr>>,
    /// Some option of it could not be understood: maybe the key.
    pub(crate) is_broken: bool,
}

impl Fallback {
    /// The built-in local cache.
    pub(crate) fn kept(&self) -> Option<&LocalCache> {
        self.levels.iter().find_map(|level| match &level.answer {
            Answer::LocalCache(kept) => Some(kept),
            Answer::Code(_) => None,
        })
    }

    /// What is code.
    pub(crate) fn code(&self) -> impl Iterator<Item = &Expr> {
        self.levels.iter().filter_map(|level| match &level.answer {
            Answer::Code(answer) => Some(answer),
            Answer::LocalCache(_) => None,
        })
    }
}

/// As written, the variant, and the options of one that is code; in the order of the chain.
const LEVELS: &[(&str, &str, &[Opt])] = &[
    ("replica", "Replica", &[("timeout", "replica_timeout", POSITIVE)]),
    ("distributed_cache", "DistributedCache", &[("timeout", "distributed_cache_timeout", POSITIVE)]),
    ("local_cache", "LocalCache", &[("timeout", "local_cache_timeout", POSITIVE)]),
    ("backup", "Backup", &[("timeout", "backup_timeout", POSITIVE)]),
    ("default", "Default", &[]),
];

/// What the levels have in common.
const OPTIONS: &[Opt] = &[
    ("level_timeout", "level_timeout", POSITIVE),
    ("grace", "grace", Takes::Duration { zero: true }),
    ("max_concurrent", "max_concurrent", Takes::Count { min: 1, max: 1_000_000 }),
];

const CACHE: &[Opt] = &[
    ("max_age", "cache_max_age", POSITIVE),
    ("max_entries", "cache_max_entries", Takes::Count { min: 16, max: 1_000_000 }),
];

pub(super) fn parse(name: Ident, input: ParseStream<'_>, errors: &mut Errors) -> Result<Fallback> {
    if !input.peek(token::Paren) {
        let answer = Answer::Code(expression(name, input, "|failure| ..")?.value);
        let levels = vec![Level { variant: "Default", answer }];
        return Ok(Fallback { levels, is_single: true, settings: Vec::new() });
    }
    let mut found: Vec<(usize, Level)> = Vec::new();
    let mut seen: Vec<Ident> = Vec::new();
    let mut settings = Vec::new();
    let before = errors.count();
    inside(input, |content| {
        each(content, errors, "levels", |input, errors| {
            let word = key(input, "a level, such as `default = ..`")?;
            if seen.contains(&word) {
                return Err(Error::new(word.span(), format!("`{word}` is given twice")));
            }
            if let Some((_, field, takes)) = OPTIONS.iter().find(|(name, ..)| word == name) {
                let (value, span) = value::parse(&word, *takes, input)?;
                settings.push(Setting { field, value, span });
                seen.push(word);
                return Ok(());
            }
            let Some(place) = LEVELS.iter().position(|(name, ..)| word == name) else {
                return Err(no_level(&word, input));
            };
            seen.push(word.clone());
            let answer = level(word, place, input, errors, &mut settings)?;
            found.push((place, Level { variant: LEVELS[place].1, answer }));
            Ok(())
        });
        Ok(())
    })?;
    if found.is_empty() && errors.count() == before {
        return Err(Error::new(name.span(), "`fallback()` has no level; write `fallback(default = ..)`"));
    }
    found.sort_by_key(|(place, _)| *place);
    let levels = found.into_iter().map(|(_, level)| level).collect();
    Ok(Fallback { levels, is_single: false, settings })
}

fn no_level(word: &Ident, input: ParseStream<'_>) -> Error {
    if !input.peek(Token![=]) && !input.peek(token::Paren) {
        let message = "`fallback(..)` takes named levels, as in `fallback(default = zero)`; for a single one write `fallback = zero`";
        return Error::new(word.span(), message);
    }
    let known: Vec<&str> =
        LEVELS.iter().map(|(name, ..)| *name).chain(OPTIONS.iter().map(|(name, ..)| *name)).collect();
    unknown(word, "fallback level", "fallback", &known)
}

/// `= expression`, `= "10m"` of a local cache, or either in parentheses with options.
fn level(
    word: Ident,
    place: usize,
    input: ParseStream<'_>,
    errors: &mut Errors,
    settings: &mut Vec<Setting>,
) -> Result<Answer> {
    let (name, _, table) = LEVELS[place];
    if !input.peek(token::Paren) {
        let ahead = input.fork();
        let is_kept = name == "local_cache" && ahead.parse::<Token![=]>().is_ok() && is_text(&ahead);
        if is_kept {
            let (value, span) = value::parse(&word, POSITIVE, input)?;
            settings.push(Setting { field: "cache_max_age", value, span });
            return Ok(Answer::LocalCache(LocalCache { word, key: None, is_broken: false }));
        }
        return Ok(Answer::Code(expression(word, input, "|failure| ..")?.value));
    }
    if table.is_empty() {
        let message = format!("`{word}` has no options: write `{word} = ..`; it must answer at once");
        return Err(Error::new(word.span(), message));
    }
    inside(input, |content| {
        if name == "local_cache" && (content.is_empty() || is_option(content)) {
            return kept(word, content, errors, settings);
        }
        if content.is_empty() || is_option(content) {
            let message =
                format!("`{word}` needs what to ask first, as in `{word}(other, timeout = \"500ms\")`");
            return Err(Error::new(word.span(), message));
        }
        let answer = value::expr(content)?;
        if !content.is_empty() {
            content
                .parse::<Token![,]>()
                .map_err(|error| Error::new(error.span(), "expected `,` between two options"))?;
        }
        options(&word, table, &[], content, errors, settings, |_, _, _, _| Ok(false));
        Ok(Answer::Code(answer))
    })
}

/// `option = ..`
fn is_option(content: ParseStream<'_>) -> bool {
    content.peek(Ident) && content.peek2(Token![=]) && !content.peek2(Token![==])
}

fn is_text(input: ParseStream<'_>) -> bool {
    matches!(value::expr(input), Ok(Expr::Lit(ExprLit { lit: Lit::Str(_), .. })))
}

/// `local_cache(max_age = "10m", ..)`
fn kept(
    word: Ident,
    content: ParseStream<'_>,
    errors: &mut Errors,
    settings: &mut Vec<Setting>,
) -> Result<Answer> {
    let mut by = None;
    let before = (errors.count(), settings.len());
    let special = |option: &Ident, input: ParseStream<'_>, _: &mut Errors, _: &mut Vec<Setting>| {
        if option != "key" {
            return Ok(false);
        }
        by = Some(expression(option.clone(), input, "id")?);
        Ok(true)
    };
    options(&word, CACHE, &["key"], content, errors, settings, special);
    let has_age = settings[before.1..].iter().any(|setting| setting.field == "cache_max_age");
    if !has_age && errors.count() == before.0 {
        let message = "`local_cache` needs `max_age`: how old an answer may be, as in `local_cache(max_age = \"10m\", key = id)`";
        return Err(Error::new(word.span(), message));
    }
    Ok(Answer::LocalCache(LocalCache { word, key: by, is_broken: errors.count() > before.0 }))
}

/// `async |failure| ..`, or `|failure| async { .. }`, which is as good.
pub(crate) fn is_async(answer: &Expr) -> bool {
    matches!(answer, Expr::Closure(closure) if closure.asyncness.is_some() || matches!(&*closure.body, Expr::Async(_)))
}

/// Where a level's own time is limited, or that of all.
pub(crate) fn timeouts(fallback: &Fallback) -> impl Iterator<Item = Span> {
    let is_time = |setting: &&Setting| setting.field.ends_with("_timeout") || setting.field == "grace";
    fallback.settings.iter().filter(is_time).map(|setting| setting.span)
}
