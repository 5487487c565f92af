//! Priorities of calls.

use serde::Serialize;

/// The priority of a call.
///
/// Calls with a higher priority leave a queue first and can use reserved permits.
///
/// ```
/// use resilient_runtime::Priority;
/// assert!(Priority::Critical > Priority::High);
/// assert_eq!(Priority::default(), Priority::Normal);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Priority {
    /// Batch work that no user waits for.
    Low,
    /// The default.
    #[default]
    Normal,
    /// A user waits for the result.
    High,
    /// Calls that must get through, such as payments, health checks and control requests.
    Critical,
}

impl Priority {
    /// All priorities, lowest first.
    pub const ALL: [Self; 4] = [Self::Low, Self::Normal, Self::High, Self::Critical];

    /// Returns the name used in the attribute, in events and in JSON.
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
