//! The context of an option: which options are allowed there, and the error for an unknown word.

use resilient_options::{ARGUMENT_REMEDIES, ARGUMENTS, Remedy, SWITCH, Setting as Row, Table, is_same_word};
use syn::{Error, Ident};

use crate::text::closest;

/// The parentheses of an argument or of a nested option.
pub(super) struct Place {
    pub(super) table: &'static Table,
    /// The nested option; empty for the argument itself.
    pub(super) group: &'static str,
    pub(super) rows: Vec<&'static Row>,
}

impl Place {
    /// Creates the place for an argument.
    pub(super) fn of(table: &'static Table) -> Self {
        Self::within(table, "")
    }

    /// Creates the place for a nested option.
    pub(super) fn within(table: &'static Table, group: &'static str) -> Self {
        Self { table, group, rows: table.options(group).collect() }
    }

    pub(super) fn name(&self) -> &'static str {
        if self.group.is_empty() { self.table.argument } else { self.group }
    }

    pub(super) fn find(&self, option: &Ident) -> Option<&'static Row> {
        self.rows.iter().copied().find(|row| option == row.option)
    }

    /// Returns the error for an unknown word.
    pub(super) fn unknown(&self, word: &Ident, what: &str) -> Error {
        let known: Vec<_> = self.rows.iter().map(|row| (row.option, row.aliases)).collect();
        let remedies = self.table.remedies.iter().filter(|remedy| remedy.group == self.group);
        let of = if what == "option" { format!(" of `{}`", self.name()) } else { String::new() };
        unknown(word, what, &of, &known, remedies.chain([&SWITCH]))
    }
}

/// Returns the error for an unknown argument.
pub(super) fn unknown_argument(word: &Ident) -> Error {
    let known: Vec<_> = ARGUMENTS.iter().map(|argument| (argument.name, argument.aliases)).collect();
    unknown(word, "argument", "", &known, ARGUMENT_REMEDIES)
}

/// Returns the error for an unknown word. `what` is the expected kind of word and `of` its context.
fn unknown<'a>(
    key: &Ident,
    what: &str,
    of: &str,
    known: &[(&'static str, &[&str])],
    remedies: impl IntoIterator<Item = &'a Remedy>,
) -> Error {
    let word = key.to_string();
    let names = || known.iter().map(|(name, _)| *name);
    let list = names().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let is_word = |alias: &&str| is_same_word(alias, &word);
    let alias = known.iter().find(|(_, aliases)| aliases.iter().any(is_word));
    let remedy = || remedies.into_iter().find(|remedy| remedy.words.iter().any(is_word));
    let near = || names().find(is_word).or_else(|| closest(&word, names()));
    let means = match alias.map(|(name, _)| *name) {
        Some(name) => format!("; did you mean `{name}`?"),
        None => match (remedy(), near()) {
            (Some(remedy), _) => format!(": {}", remedy.text),
            (None, Some(name)) => format!("; did you mean `{name}`?"),
            (None, None) => String::new(),
        },
    };
    Error::new(key.span(), format!("unknown {what} `{word}`{of}{means}\nexpected one of: {list}"))
}

#[cfg(test)]
mod tests {
    use proc_macro2::Span;
    use resilient_options::{TABLES, circuit_breaker};

    use super::*;

    fn place(argument: &str, group: &'static str) -> Place {
        Place::within(TABLES.iter().find(|table| table.argument == argument).unwrap(), group)
    }

    fn message(place: &Place, word: &str) -> String {
        place.unknown(&Ident::new(word, Span::call_site()), "option").to_string()
    }

    #[test]
    fn no_word_is_ambiguous_within_one_place() {
        for table in TABLES {
            let groups = table.settings.iter().map(|row| row.option).chain([""]);
            for group in groups {
                let rows: Vec<_> = table.options(group).collect();
                for (index, row) in rows.iter().enumerate() {
                    for alias in row.aliases {
                        assert!(
                            !rows.iter().any(|other| other != row && is_same_word(other.option, alias)),
                            "{alias}"
                        );
                        assert!(
                            !rows[index + 1..].iter().any(|other| other.aliases.contains(alias)),
                            "{alias}"
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn error_filters_of_other_libraries_suggest_when() {
        let words =
            ["ignoreExceptions", "record_exceptions", "fail_on", "skipOn", "ShouldHandle", "is_failure"];
        for word in words {
            let text = message(&Place::of(&circuit_breaker::TABLE), word);
            assert!(text.contains("did you mean `when`?") || text.contains("`when = |error| ..`"), "{text}");
        }
    }

    #[test]
    fn disabling_is_suggested_only_where_it_is_possible() {
        let remedy = |argument, group| message(&place(argument, group), "enabled");
        assert!(remedy("circuit_breaker", "").contains("`enabled = false` in its table"));
        let argument = unknown_argument(&Ident::new("enabled", Span::call_site())).to_string();
        assert!(argument.contains("`enabled = false` at the top"));
        assert!(remedy("retry", "budget").contains("`budget = off`"));
        for argument in ["idempotent", "fallback"] {
            assert!(remedy(argument, "").contains("cannot be disabled"), "{argument}");
        }
    }
}
