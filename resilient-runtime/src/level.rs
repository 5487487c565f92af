//! The names of the levels.

use std::fmt;

use serde::Serialize;

/// How far an answer is from the real one; the order of the chain.
///
/// ```
/// use resilient_runtime::Level;
///
/// assert!(Level::Replica < Level::Default, "the nearer to the real answer, the less");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Level {
    /// Another instance or region of the same thing.
    Replica,
    /// A cache shared by several machines.
    DistributedCache,
    /// A cache of this process.
    LocalCache,
    /// Another way to the same end: a second provider, a queue for later.
    Backup,
    /// A fixed or computed stand-in.
    Default,
}

impl Level {
    /// All levels in the order of the chain.
    pub const ALL: [Self; 5] =
        [Self::Replica, Self::DistributedCache, Self::LocalCache, Self::Backup, Self::Default];

    /// The name used in the attribute, in events and in JSON.
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
