//! Where an option stands, what is known there, and what an unknown word means.

use resilient_options::{ARGUMENT_REMEDIES, ARGUMENTS, Remedy, SWITCH, Setting as Row, Table, is_same_word};
use syn::{Error, Ident};

use crate::text::closest;

/// The parentheses of an argument, or of an option of it.
pub(super) struct Place {
    pub(super) table: &'static Table,
    /// The option; empty for the argument itself.
    pub(super) group: &'static str,
    pub(super) rows: Vec<&'static Row>,
}

impl Place {
    /// The parentheses of an argument.
    pub(super) fn of(table: &'static Table) -> Self {
        Self::within(table, "")
    }

    /// The parentheses of an option.
    pub(super) fn within(table: &'static Table, group: &'static str) -> Self {
        Self { table, group, rows: table.options(group).collect() }
    }

    pub(super) fn name(&self) -> &'static str {
        if self.group.is_empty() { self.table.argument } else { self.group }
    }

    pub(super) fn find(&self, option: &Ident) -> Option<&'static Row> {
        self.rows.iter().copied().find(|row| option == row.option)
    }

    /// The error for a word that is no option here.
    pub(super) fn unknown(&self, word: &Ident, what: &str) -> Error {
        let known: Vec<_> = self.rows.iter().map(|row| (row.option, row.aliases)).collect();
        let remedies = self.table.remedies.iter().filter(|remedy| remedy.group == self.group);
        let of = if what == "option" { format!(" of `{}`", self.name()) } else { String::new() };
        unknown(word, what, &of, &known, remedies.chain([&SWITCH]))
    }
}

/// The error for a word that is no argument.
pub(super) fn unknown_argument(word: &Ident) -> Error {
    let known: Vec<_> = ARGUMENTS.iter().map(|argument| (argument.name, argument.aliases)).collect();
    unknown(word, "argument", "", &known, ARGUMENT_REMEDIES)
}

/// `what` names the kind of word expected; `of` is where it stands.
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
    Error::new(key.span(), format!("unknown {what} `{word}`{of}{means}\nknown: {list}"))
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
    fn no_word_of_one_place_has_two_meanings() {
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
    fn a_filter_of_errors_of_another_library_leads_to_when() {
        // F2
        let words =
            ["ignoreExceptions", "record_exceptions", "fail_on", "skipOn", "ShouldHandle", "is_failure"];
        for word in words {
            let text = message(&Place::of(&circuit_breaker::TABLE), word);
            assert!(text.contains("did you mean `when`?") || text.contains("`when = |error| ..`"), "{text}");
        }
    }

    #[test]
    fn a_switch_is_offered_only_where_there_is_one() {
        // F2
        let remedy = |argument, group| message(&place(argument, group), "enabled");
        assert!(remedy("circuit_breaker", "").contains("`enabled = false` in its table"));
        let argument = unknown_argument(&Ident::new("enabled", Span::call_site())).to_string();
        assert!(argument.contains("`enabled = false` at the top"));
        assert!(remedy("retry", "budget").contains("`budget = off`"));
        for argument in ["idempotent", "fallback"] {
            assert!(remedy(argument, "").contains("cannot be switched off"), "{argument}");
        }
    }
}
