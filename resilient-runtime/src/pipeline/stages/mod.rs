//! One file for each stage: how it admits a call, what the call holds, and how the stage settles it.

pub(crate) mod bulkhead;
#[cfg(feature = "chaos")]
pub(crate) mod chaos;
pub(crate) mod circuit_breaker;
pub(crate) mod coalesce;
pub(crate) mod fallback;
pub(crate) mod hedge;
pub(crate) mod idempotency;
pub(crate) mod load_shed;
pub(crate) mod observe;
pub(crate) mod rate_limit;
pub(crate) mod retry;
pub(crate) mod threads;
pub(crate) mod timeout;
pub(crate) mod transaction;

use std::sync::Arc;

use crate::kind::table::components;

macro_rules! stage_components {
    ($($kind:ident $name:ident $accessor:ident $module:ident::{$type:ident, $stats:ident} $make:ident;)*) => {
        /// The components of a pipeline, one for each of its stages.
        #[derive(Clone, Debug, Default)]
        pub(crate) struct StageComponents {
            $(pub(crate) $name: Option<Arc<crate::$module::$type>>,)*
        }

        #[cfg(feature = "chaos")]
        impl StageComponents {
            /// Whether one of the stages uses this component.
            pub(crate) fn uses(&self, kind: crate::Kind, name: &str) -> bool {
                use crate::Component as _;
                match kind {
                    $(crate::Kind::$kind => {
                        self.$name.as_ref().is_some_and(|component| component.name() == name)
                    })*
                    _ => false,
                }
            }
        }
    };
}

components!(stages stage_components);
