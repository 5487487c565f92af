//! Every argument of `#[resilient(...)]` and every setting of a component, once: its name, type, unit, range, default, the
//! names that other libraries use for it, and its documentation.
//!
//! The attribute parses and checks with these tables, and the runtime validates with them. Completion in editors, the JSON
//! schema of the settings file, the documentation of each `Config` and the README's table come from them, too. The crate
//! holds constants only and depends on nothing, because both the macro and the runtime wait for it to compile.
//!
//! To add a setting, add a row to the table of its component and a field to the component's `Config`. `table.rs` explains
//! the form of a row.

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
pub mod timeout;

pub use arguments::{ARGUMENT_REMEDIES, ARGUMENTS, Argument, SWITCH};
pub use takes::{Takes, Value};

/// One option of the attribute, one setting of a component, or both.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Setting {
    /// The name in the component's `Config`, in a settings file, in the environment and in `explain()`. Empty for an option
    /// that is code.
    pub field: &'static str,
    /// The name in the attribute. Empty for a setting that only a file, the environment and a call at run time can change.
    pub option: &'static str,
    /// The option in whose parentheses the attribute writes it: `adaptive` for `adaptive(min = 1)`. Empty for none.
    pub group: &'static str,
    /// The type and the range.
    pub takes: Takes,
    /// The value where nothing is said.
    pub default: Value,
    /// How the attribute writes it.
    pub form: &'static str,
    /// What it does, in a sentence or a few.
    pub about: &'static str,
    /// Other names for it, for "did you mean".
    pub aliases: &'static [&'static str],
}

/// Words that are no option, and what to write instead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Remedy {
    /// The option in whose parentheses the words stand. Empty for none.
    pub group: &'static str,
    /// The words.
    pub words: &'static [&'static str],
    /// What to write instead.
    pub text: &'static str,
}

/// The settings of one kind of component.
#[derive(Debug)]
pub struct Table {
    /// The name of the kind in a settings file, in metrics and in JSON.
    pub kind: &'static str,
    /// The argument of the attribute. Empty for a kind that the attribute does not have.
    pub argument: &'static str,
    /// All of it, in the order in which it is shown.
    pub settings: &'static [Setting],
    /// What to write instead of words that are no option.
    pub remedies: &'static [Remedy],
}

impl Table {
    /// The setting of this name in the component's `Config`; for a constant.
    ///
    /// # Panics
    /// While the constant is evaluated, if there is no such setting.
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

    /// The setting of this name in the component's `Config`.
    pub fn field(&self, field: &str) -> Option<&'static Setting> {
        self.settings.iter().find(|setting| setting.field == field)
    }

    /// The options that the attribute takes in this group; those of the argument itself for an empty group.
    pub fn options(&self, group: &str) -> impl Iterator<Item = &'static Setting> + Clone {
        let has_argument = !self.argument.is_empty();
        self.settings
            .iter()
            .filter(move |setting| has_argument && !setting.option.is_empty() && setting.group == group)
    }

    /// The option of this name.
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

/// Whether two names differ in case and `_` only: `failureRate`, `FailureRate` and `failure_rate` are one word.
pub fn is_same_word(one: &str, other: &str) -> bool {
    fn folded(word: &str) -> impl Iterator<Item = char> {
        word.chars().filter(|letter| *letter != '_').flat_map(char::to_lowercase)
    }
    folded(one).eq(folded(other))
}

/// The table of each kind.
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
];

/// Names for an editor to complete inside `#[resilient(...)]`, with what it shows when one hovers over them.
///
/// They are modules, because editors show the documentation of a module that is imported, and not that of a constant.
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
