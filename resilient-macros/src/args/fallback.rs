//! Parses `fallback = ..` and `fallback(level = .., ..)`.

use proc_macro2::Span;
use resilient_options::fallback;
use syn::parse::ParseStream;
use syn::{Error, Expr, ExprLit, Ident, Lit, Result, Token, token};

use super::place::Place;
use super::policies::options;
use super::value::{self, Setting};
use super::{Keyed, each, expression, inside, key};
use crate::diag::Errors;

pub(crate) struct Fallback {
    /// Levels in their fixed order. `fallback = ..` has one level.
    pub(crate) levels: Vec<Level>,
    /// Whether it is `fallback = ..`, which receives the failure by value.
    pub(crate) is_single: bool,
    /// Settings of the component.
    pub(crate) settings: Vec<Setting>,
}

pub(crate) struct Level {
    /// Variant of the runtime's `Level`.
    pub(crate) variant: &'static str,
    pub(crate) answer: Answer,
}

pub(crate) enum Answer {
    Code(Expr),
    /// The built-in local or distributed cache.
    Cache(BuiltInCache),
    /// A replica set.
    Replica(ReplicaRead),
}

/// `replica(set, key = id)`
pub(crate) struct ReplicaRead {
    pub(crate) set: Expr,
    pub(crate) key: Keyed<Expr>,
}

pub(crate) struct BuiltInCache {
    /// `local_cache` or `distributed_cache`.
    pub(crate) word: Ident,
    pub(crate) key: Option<Keyed<Expr>>,
    /// Whether an option had an error, which may have been the key.
    pub(crate) is_broken: bool,
}

impl Fallback {
    /// Returns the built-in local cache, if it is a level.
    pub(crate) fn local_cache(&self) -> Option<&BuiltInCache> {
        self.caches().find(|cache| cache.is_local())
    }

    /// Returns the built-in distributed cache, if it is a level.
    pub(crate) fn distributed_cache(&self) -> Option<&BuiltInCache> {
        self.caches().find(|cache| !cache.is_local())
    }

    /// Returns the built-in caches that are levels.
    pub(crate) fn caches(&self) -> impl Iterator<Item = &BuiltInCache> {
        self.levels.iter().filter_map(|level| match &level.answer {
            Answer::Cache(cache) => Some(cache),
            Answer::Code(_) | Answer::Replica(_) => None,
        })
    }

    /// Returns the replica set, if it is a level.
    pub(crate) fn replica(&self) -> Option<&ReplicaRead> {
        self.levels.iter().find_map(|level| match &level.answer {
            Answer::Replica(replica) => Some(replica),
            Answer::Code(_) | Answer::Cache(_) => None,
        })
    }

    /// Returns the levels that are expressions.
    pub(crate) fn code(&self) -> impl Iterator<Item = &Expr> {
        self.levels.iter().filter_map(|level| match &level.answer {
            Answer::Code(answer) => Some(answer),
            Answer::Cache(_) | Answer::Replica(_) => None,
        })
    }
}

impl BuiltInCache {
    pub(crate) fn is_local(&self) -> bool {
        self.word == LOCAL
    }
}

const REPLICA: &str = "replica";
const LOCAL: &str = "local_cache";
const DISTRIBUTED: &str = "distributed_cache";

/// Name in the attribute and variant, in the order of the chain.
const LEVELS: [(&str, &str); 5] = [
    (REPLICA, "Replica"),
    (DISTRIBUTED, "DistributedCache"),
    (LOCAL, "LocalCache"),
    ("backup", "Backup"),
    ("default", "Default"),
];

/// The only option of a level that is an expression. The other options belong to the built-in caches.
const TIMEOUT: &str = "timeout";

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
                return Err(Error::new(word.span(), format!("`{word}` is specified twice")));
            }
            let Some(place) = LEVELS.iter().position(|(name, _)| word == name) else {
                let options = Place::of(&fallback::TABLE);
                let row = options.find(&word).ok_or_else(|| no_level(&word, &options, input))?;
                let (value, span) = value::parse(&word, row.takes, input)?;
                settings.push(Setting { field: row.field, value, span });
                seen.push(word);
                return Ok(());
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

fn no_level(word: &Ident, known: &Place, input: ParseStream<'_>) -> Error {
    if !input.peek(Token![=]) && !input.peek(token::Paren) {
        let message = "`fallback(..)` takes named levels, as in `fallback(default = zero)`; for a single fallback, write `fallback = zero`";
        return Error::new(word.span(), message);
    }
    known.unknown(word, "fallback level")
}

/// Parses `= expression`, `= "10m"` for a local cache, or either in parentheses with options.
fn level(
    word: Ident,
    place: usize,
    input: ParseStream<'_>,
    errors: &mut Errors,
    settings: &mut Vec<Setting>,
) -> Result<Answer> {
    let (name, _) = LEVELS[place];
    let mut options_here = Place::within(&fallback::TABLE, name);
    if !input.peek(token::Paren) {
        let ahead = input.fork();
        let is_built_in = name == LOCAL && ahead.parse::<Token![=]>().is_ok() && is_text(&ahead);
        if is_built_in {
            let row = const { fallback::TABLE.row("cache_max_age") };
            let (value, span) = value::parse(&word, row.takes, input)?;
            settings.push(Setting { field: row.field, value, span });
            return Ok(Answer::Cache(BuiltInCache { word, key: None, is_broken: false }));
        }
        return Ok(Answer::Code(expression(word, input, "|failure| ..")?.value));
    }
    if options_here.rows.is_empty() {
        let message =
            format!("`{word}` has no options, because it must return immediately; write `{word} = ..`");
        return Err(Error::new(word.span(), message));
    }
    inside(input, |content| {
        let has_options = content.is_empty() || is_option(content);
        if name == LOCAL && has_options {
            options_here.rows.retain(|row| row.option != TIMEOUT);
            return built_in_cache(word, &options_here, content, errors, settings);
        }
        if name == DISTRIBUTED && has_options {
            return built_in_cache(word, &options_here, content, errors, settings);
        }
        if content.is_empty() || is_option(content) {
            let message = format!(
                "`{word}` needs a function or expression first, as in `{word}(other, timeout = \"500ms\")`"
            );
            return Err(Error::new(word.span(), message));
        }
        let answer = value::expr(content)?;
        if !content.is_empty() {
            content
                .parse::<Token![,]>()
                .map_err(|error| Error::new(error.span(), "expected `,` between two options"))?;
        }
        options_here.rows.retain(|row| row.option == TIMEOUT || name == REPLICA);
        let mut by = None;
        options(&options_here, content, errors, settings, |option, input, _, _| {
            if name != REPLICA || option != "key" {
                return Ok(false);
            }
            by = Some(expression(option.clone(), input, "id")?);
            Ok(true)
        });
        Ok(match by {
            Some(key) => Answer::Replica(ReplicaRead { set: answer, key }),
            None => Answer::Code(answer),
        })
    })
}

/// Returns whether the input continues with `option = ..`.
fn is_option(content: ParseStream<'_>) -> bool {
    content.peek(Ident) && content.peek2(Token![=]) && !content.peek2(Token![==])
}

fn is_text(input: ParseStream<'_>) -> bool {
    matches!(value::expr(input), Ok(Expr::Lit(ExprLit { lit: Lit::Str(_), .. })))
}

/// Parses the options of a built-in cache: `local_cache(max_age = "10m", ..)`.
fn built_in_cache(
    word: Ident,
    place: &Place,
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
    options(place, content, errors, settings, special);
    let cache = BuiltInCache { word, key: by, is_broken: errors.count() > before.0 };
    let has = |field: &str| settings[before.1..].iter().any(|setting| setting.field == field);
    let missing = if cache.is_local() {
        (!has("cache_max_age")).then_some(
            "`local_cache` needs `max_age`, the maximum age of a result, as in `local_cache(max_age = \"10m\", key = id)`",
        )
    } else if !has("distributed_cache_store") {
        Some(
            "`distributed_cache` needs `store`, the name of a store, as in \
             `distributed_cache(store = \"shared\", key = id, max_age = \"10m\")`, or a function or expression first, as in \
             `distributed_cache(other, timeout = \"500ms\")`",
        )
    } else {
        (!has("distributed_cache_max_age")).then_some(
            "`distributed_cache` needs `max_age`, the maximum age of a result, as in \
             `distributed_cache(store = \"shared\", key = id, max_age = \"10m\")`",
        )
    };
    match missing.filter(|_| !cache.is_broken) {
        Some(message) => Err(Error::new(cache.word.span(), message)),
        None => Ok(Answer::Cache(cache)),
    }
}

/// Returns whether an expression is `async |failure| ..` or `|failure| async { .. }`.
pub(crate) fn is_async(answer: &Expr) -> bool {
    matches!(answer, Expr::Closure(closure) if closure.asyncness.is_some() || matches!(&*closure.body, Expr::Async(_)))
}

/// Returns the spans of all settings that limit the time of asynchronous levels.
pub(crate) fn timeouts(fallback: &Fallback) -> impl Iterator<Item = Span> {
    // A read of the store ends in time in a synchronous function too.
    let is_bounded = fallback.distributed_cache().is_some();
    let is_time = move |setting: &&Setting| {
        (setting.field.ends_with("_timeout") || setting.field == "grace")
            && !(is_bounded && setting.field == "distributed_cache_timeout")
    };
    fallback.settings.iter().filter(is_time).map(|setting| setting.span)
}
