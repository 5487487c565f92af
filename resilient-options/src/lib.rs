//! The single definition of each argument of `#[resilient(...)]` and each setting of a component.
//!
//! A row defines the name, type, unit, range, default, documentation, and the names that other libraries use. The
//! attribute parses and checks its arguments with these tables, and the runtime validates settings with them. Editor
//! completion, the JSON schema of the settings file, the documentation of each `Config` and `docs/attribute.md` are
//! generated from them. The crate contains only constants and has no dependencies, because both the macro and the
//! runtime must wait for it to compile.
//!
//! To add a setting, add a row to the table of its component and a field to the component's `Config`. `table.rs`
//! documents the format of a row.

#![no_std]
#![forbid(unsafe_code)]
#![deny(missing_docs)]

#[macro_use]
mod table;

mod arguments;
mod takes;

pub mod alert;
pub mod bulkhead;
pub mod circuit_breaker;
pub mod coalesce;
pub mod config_source;
pub mod fallback;
pub mod health;
pub mod hedge;
pub mod idempotency;
pub mod load_shed;
pub mod rate_limit;
pub mod retry;
pub mod retry_budget;
pub mod store;
pub mod timeout;

pub use arguments::{ARGUMENT_REMEDIES, ARGUMENTS, Argument, SWITCH};
pub use takes::{Takes, Value};

/// One option of the attribute, one setting of a component, or both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// Name in the component's `Config`, in settings files, in environment variables and in `explain()`.
    ///
    /// Empty for an option that is code.
    pub field: &'static str,
    /// Name in the attribute.
    ///
    /// Empty for a setting that only a settings file, the environment and run-time changes can set.
    pub option: &'static str,
    /// Enclosing option in the attribute: `adaptive` for `adaptive(min = 1)`.
    ///
    /// Empty if there is none.
    pub group: &'static str,
    /// Type and allowed range.
    pub takes: Takes,
    /// Value if the setting is not set.
    pub default: Value,
    /// Example, as written in the attribute.
    pub form: &'static str,
    /// Description in one or a few sentences.
    pub about: &'static str,
    /// Names that other libraries use for it, for "did you mean".
    pub aliases: &'static [&'static str],
}

/// Words that are not options, and what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// Enclosing option of the words. Empty if there is none.
    pub group: &'static str,
    /// The unknown words.
    pub words: &'static [&'static str],
    /// Remedy, as shown in the error message.
    pub text: &'static str,
}

/// The settings of one kind of component.
#[derive(Debug)]
pub struct Table {
    /// Name of the kind in settings files, metrics and JSON.
    pub kind: &'static str,
    /// Argument of the attribute. Empty for a kind without one.
    pub argument: &'static str,
    /// All settings, in display order.
    pub settings: &'static [Setting],
    /// Remedies for words that are not options.
    pub remedies: &'static [Remedy],
}

impl Table {
    /// Returns the setting with this name in the component's `Config`, in a constant.
    ///
    /// # Panics
    /// Panics if there is no such setting. In a constant this is a compile error.
    #[doc(hidden)]
    pub const fn row(&self, field: &str) -> &'static Setting {
        let mut index = 0;
        while index < self.settings.len() {
            if is_same(self.settings[index].field, field) {
                return &self.settings[index];
            }
            index += 1;
        }
        panic!("the table has no such field")
    }

    /// Returns the setting with this name in the component's `Config`.
    pub fn field(&self, field: &str) -> Option<&'static Setting> {
        self.settings.iter().find(|setting| setting.field == field)
    }

    /// Returns the options of a group in the attribute.
    ///
    /// An empty group means the options of the argument itself.
    pub fn options(&self, group: &str) -> impl Iterator<Item = &'static Setting> + Clone {
        let has_argument = !self.argument.is_empty();
        self.settings
            .iter()
            .filter(move |setting| has_argument && !setting.option.is_empty() && setting.group == group)
    }

    /// Returns the option with this name in a group.
    pub fn option(&self, group: &str, option: &str) -> Option<&'static Setting> {
        self.options(group).find(|setting| setting.option == option)
    }
}

const fn is_same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut index = 0;
    while index < one.len() && index < other.len() && one[index] == other[index] {
        index += 1;
    }
    index == one.len() && index == other.len()
}

/// Returns whether two names differ only in case and `_`.
///
/// For example, `failureRate`, `FailureRate` and `failure_rate` are the same word.
pub fn is_same_word(one: &str, other: &str) -> bool {
    fn folded(word: &str) -> impl Iterator<Item = char> {
        word.chars().filter(|letter| *letter != '_').flat_map(char::to_lowercase)
    }
    folded(one).eq(folded(other))
}

/// The tables of all kinds.
pub const TABLES: &[&Table] = &[
    &circuit_breaker::TABLE,
    &retry::TABLE,
    &bulkhead::TABLE,
    &timeout::TABLE,
    &rate_limit::TABLE,
    &hedge::TABLE,
    &coalesce::TABLE,
    &fallback::TABLE,
    &load_shed::TABLE,
    &idempotency::TABLE,
    &retry_budget::TABLE,
    &health::TABLE,
    &alert::TABLE,
    &config_source::TABLE,
    &store::TABLE,
];

/// Names that an editor completes inside `#[resilient(...)]`, with their hover documentation.
///
/// They are modules, because editors show the documentation of an imported module but not of an imported constant.
#[doc(hidden)]
pub mod ide {
    pub use crate::arguments::complete as arguments;
    pub use crate::bulkhead::complete as bulkhead;
    pub use crate::circuit_breaker::complete as circuit_breaker;
    pub use crate::coalesce::complete as coalesce;
    pub use crate::fallback::complete as fallback;
    pub use crate::hedge::complete as hedge;
    pub use crate::idempotency::complete as idempotent;
    pub use crate::load_shed::complete as load_shed;
    pub use crate::rate_limit::complete as rate_limit;
    pub use crate::retry::complete as retry;
    pub use crate::timeout::complete as timeout;
}
