//! The kinds of component, and functions of a kind that is only known at run time.

pub(crate) mod table;

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::nearest::nearest;
use table::components;

macro_rules! kinds {
    ($($kind:ident $name:ident $accessor:ident $module:ident::{$type:ident, $stats:ident} $make:ident;)*) => {
        /// The kinds of component.
        ///
        /// The stages of a call come first, from the outermost to the innermost.
        ///
        /// ```
        /// use resilient_runtime::{Bulkhead, Component, Kind};
        ///
        /// assert_eq!(Bulkhead::KIND, Kind::Bulkhead);
        /// assert_eq!("rate_limit".parse(), Ok(Kind::RateLimit));
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Kind {
            $(
                #[doc = concat!("[`", stringify!($type), "`](crate::", stringify!($module), "::", stringify!($type), ")")]
                $kind,
            )*
            /// Fault injection, in events. It is not a component.
            Chaos,
        }

        impl Kind {
            const ALL: &[Self] = &[$(Self::$kind,)*];

            /// Returns the name used in the attribute, in JSON and in paths.
            ///
            /// ```
            /// use resilient_runtime::Kind;
            ///
            /// assert!(Kind::all().all(|kind| kind.as_str().parse() == Ok(kind)));
            /// ```
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$kind => stringify!($name),)*
                    Self::Chaos => "chaos",
                }
            }
        }
    };
}

components!(all kinds);

impl Kind {
    /// Returns all kinds.
    ///
    /// ```
    /// use resilient_runtime::Kind;
    ///
    /// assert!(Kind::all().any(|kind| kind == Kind::Bulkhead));
    /// ```
    pub fn all() -> impl ExactSizeIterator<Item = Self> + DoubleEndedIterator + Clone {
        Self::ALL.iter().copied()
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Serialize for Kind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The error for an unknown kind of component.
///
/// ```
/// use resilient_runtime::Kind;
///
/// let error = "bulkhed".parse::<Kind>().unwrap_err();
/// assert_eq!(error.to_string(), "unknown component kind `bulkhed`; did you mean `bulkhead`?");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownKind(String);

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Limit the length of a name that may be hostile.
        let shown: String = self.0.chars().take(64).collect();
        write!(f, "unknown component kind `{shown}`")?;
        match nearest(&self.0, Kind::all().map(Kind::as_str)) {
            Some(name) => write!(f, "; did you mean `{name}`?"),
            None => {
                write!(f, "; known kinds: {}", Kind::all().map(Kind::as_str).collect::<Vec<_>>().join(", "))
            }
        }
    }
}

impl std::error::Error for UnknownKind {}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(name: &str) -> Result<Self, UnknownKind> {
        Self::all().find(|kind| kind.as_str() == name).ok_or_else(|| UnknownKind(name.to_owned()))
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_settings_in_the_table_of_options() {
        let tables: Vec<_> = resilient_options::TABLES.iter().map(|table| table.kind).collect();
        for kind in Kind::all() {
            assert!(tables.contains(&kind.as_str()), "`{kind}` is missing in `resilient_options::TABLES`");
        }
        assert_eq!(tables.len(), Kind::all().len());
    }
}
