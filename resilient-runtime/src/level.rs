//! The levels of a fallback chain.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A level of a fallback chain, ordered from the closest to the real result to the farthest.
///
/// A chain tries its levels in this order.
///
/// ```
/// use resilient_runtime::Level;
///
/// assert!(Level::Replica < Level::Default, "a replica is closer to the real result");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Level {
    /// Another instance or region of the same service.
    Replica,
    /// A cache shared by several machines.
    DistributedCache,
    /// A cache in this process.
    LocalCache,
    /// An alternative, such as a second provider or a queue that is processed later.
    Backup,
    /// A fixed or computed default value.
    Default,
}

impl Level {
    /// All levels, in the order in which a chain tries them.
    pub const ALL: [Self; 5] =
        [Self::Replica, Self::DistributedCache, Self::LocalCache, Self::Backup, Self::Default];

    /// Returns the name used in the attribute, in events and in JSON.
    ///
    /// ```
    /// use resilient_runtime::Level;
    ///
    /// assert_eq!(Level::DistributedCache.as_str(), "distributed_cache");
    /// ```
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Replica => "replica",
            Self::DistributedCache => "distributed_cache",
            Self::LocalCache => "local_cache",
            Self::Backup => "backup",
            Self::Default => "default",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
