//! The class of an error that fault injection makes.

use super::Class;
use crate::rejection::{Mark, Origin};

impl Origin {
    /// The origin of an injected error with this class.
    pub(crate) fn of(class: Class) -> Self {
        match class {
            Class::Uncertain { .. } => Self::Uncertain,
            Class::Overload { .. } => Self::Overload,
            Class::Permanent => Self::Permanent,
            _ => Self::Transient,
        }
    }
}

impl Mark {
    /// The class of an injected error.
    pub(crate) fn injected_class(self) -> Class {
        let retry_after = self.retry_after;
        match self.origin {
            Origin::Uncertain => Class::Uncertain { retry_after },
            Origin::Overload => Class::Overload { retry_after },
            Origin::Permanent => Class::Permanent,
            Origin::Real | Origin::Refusal | Origin::Transient | Origin::Typed => {
                Class::Transient { retry_after }
            }
        }
    }
}
