//! The scenarios that this crate contains.

use super::Scenario;

/// A scenario that this crate contains.
///
/// They fit the `payments` example, and are examples of a good hypothesis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Shipped {
    /// The name.
    pub name: &'static str,
    /// The content of the file.
    pub text: &'static str,
}

macro_rules! shipped {
    ($($name:literal),* $(,)?) => {
        [$(Shipped { name: $name, text: include_str!(concat!("../../scenarios/", $name, ".toml")) }),*]
    };
}

const ALL: [Shipped; 6] = shipped![
    "dependency-down",
    "dependency-slow",
    "errors-10-percent",
    "overload",
    "store-lost",
    "retry-storm"
];

impl Shipped {
    /// All shipped scenarios.
    ///
    /// ```
    /// assert_eq!(resilient_chaos::scenario::Shipped::all().len(), 6);
    /// ```
    pub const fn all() -> &'static [Self] {
        const { &ALL }
    }

    /// Returns the scenario.
    ///
    /// ```
    /// let overload = resilient_chaos::scenario::shipped("overload").unwrap();
    /// assert!(overload.scenario().hypothesis.contains("overload"));
    /// ```
    ///
    /// # Panics
    /// Never: a test reads every shipped scenario.
    #[allow(clippy::missing_panics_doc, clippy::expect_used)]
    pub fn scenario(&self) -> Scenario {
        Scenario::parse(self.text).expect("a shipped scenario is valid")
    }
}

/// Returns the shipped scenario with this name.
///
/// ```
/// assert!(resilient_chaos::scenario::shipped("no-such-scenario").is_none());
/// ```
pub fn shipped(name: &str) -> Option<Shipped> {
    ALL.into_iter().find(|shipped| shipped.name == name)
}
