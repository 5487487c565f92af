//! How important a call is.

use serde::Serialize;

/// The class of a call; higher classes go first where there is a queue, and keep reserved permits.
///
/// ```
/// use resilient_runtime::Priority;
/// assert!(Priority::Critical > Priority::High);
/// assert_eq!(Priority::default(), Priority::Normal);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Batch work that nobody waits for.
    Low,
    /// What is not said otherwise.
    #[default]
    Normal,
    /// A user waits.
    High,
    /// Must get through: payments, health, control.
    Critical,
}

impl Priority {
    /// All classes, lowest first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Critical];

    /// The name used in the attribute, in events and in JSON.
    ///
    /// ```
    /// use resilient_runtime::Priority;
    ///
    /// assert_eq!(Priority::ALL.map(Priority::as_str), ["low", "normal", "high", "critical"]);
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Normal => "normal",
            Self::High => "high",
            Self::Critical => "critical",
        }
    }
}
