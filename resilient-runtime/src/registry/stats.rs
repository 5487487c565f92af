//! A snapshot of all statistics of a registry.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::Serialize;

use super::shelf::Shelf;
use super::{Registry, saturation};
use crate::component::{Component, Kind};
use crate::kind::table::components;
use crate::observe::{Operation, OperationStats, Total};

macro_rules! stats {
    ($($kind:ident $name:ident $accessor:ident $module:ident::{$type:ident, $stats:ident} $make:ident;)*) => {
        /// A snapshot of a registry. It serializes, and displays as a table.
        ///
        /// ```
        /// let registry = resilient_runtime::Registry::new();
        /// registry.retry("stock");
        /// let stats = registry.stats();
        /// assert!(stats.enabled && stats.retry.contains_key("stock") && stats.conflicts.is_empty());
        /// assert!(stats.to_string().contains("stock"), "a readable table");
        /// ```
        #[derive(Clone, Debug, Serialize)]
        #[non_exhaustive]
        pub struct Stats {
            /// Whether protection is [turned on](Registry::set_enabled).
            pub enabled: bool,
            /// The golden signals of all operations together. Nested calls count separately.
            pub total: OperationStats,
            /// The golden signals of each operation, by name.
            pub operations: BTreeMap<String, OperationStats>,
            $(
                #[doc = concat!("The statistics of each [`", stringify!($type), "`](crate::", stringify!($module), "::", stringify!($type), "), by name.")]
                pub $name: BTreeMap<String, crate::$module::$stats>,
            )*
            /// Attribute settings that conflict with each other or are invalid.
            pub conflicts: Vec<String>,
            /// External settings for components that do not exist yet, one line each.
            pub unused_settings: Vec<String>,
            /// By kind, how often a lookup returned `__overflow__` because of too many names.
            pub overflowed_names: BTreeMap<Kind, u64>,
            /// How often faults acted on components, by component and kind of fault.
            #[cfg(feature = "chaos")]
            #[serde(skip_serializing_if = "Vec::is_empty")]
            pub injected_into_components: Vec<crate::observe::InjectedIntoComponent>,
        }

        /// A snapshot of one component.
        ///
        /// ```
        /// use resilient_runtime::{Kind, Registry};
        ///
        /// let registry = Registry::new();
        /// registry.coalesce("rates");
        /// let stats = registry.component_stats(Kind::Coalesce, "rates").unwrap();
        /// assert!(serde_json::to_string(&stats).unwrap().starts_with(r#"{"in_flight":0"#));
        /// ```
        #[derive(Clone, Debug, Serialize)]
        #[serde(untagged)]
        #[non_exhaustive]
        #[allow(clippy::large_enum_variant)] // short-lived
        pub enum ComponentStats {
            $(
                #[doc = concat!("The statistics of one [`", stringify!($type), "`](crate::", stringify!($module), "::", stringify!($type), ").")]
                $kind(crate::$module::$stats),
            )*
        }

        impl Registry {
            /// Returns a snapshot of the registry. Reading it does not slow down calls.
            ///
            /// ```
            /// let registry = resilient_runtime::Registry::new();
            /// registry.bulkhead("gateway").call(|| Some(1));
            /// registry.pipeline("checkout").build().call(|| Some(1));
            /// let stats = registry.stats();
            /// assert_eq!((stats.bulkhead["gateway"].in_use, stats.operations["checkout"].calls), (0, 1));
            /// assert!(serde_json::to_value(&stats).is_ok());
            /// ```
            pub fn stats(&self) -> Stats {
                let (total, operations) = self.operation_stats();
                Stats {
                    enabled: self.is_enabled(),
                    total,
                    operations,
                    $($name: snapshots(&self.0.shelves.$name),)*
                    conflicts: self.0.conflicts.lock().problems(),
                    unused_settings: self.unused_settings().into_iter().map(|unused| unused.to_string()).collect(),
                    overflowed_names: self.overflowed_names(),
                    #[cfg(feature = "chaos")]
                    injected_into_components: self.0.chaos.on_components(),
                }
            }
        }
    };
}

components!(all stats);

impl Registry {
    /// Returns the statistics of all operations together, and of each.
    fn operation_stats(&self) -> (OperationStats, BTreeMap<String, OperationStats>) {
        let (now, saturations) = (self.clock().now(), self.saturations());
        let mut total = Total::default();
        let of = |(name, operation): (&'static str, Arc<Operation>)| {
            let saturation = self.saturation(name, &saturations);
            (name.to_owned(), OperationStats { saturation, ..operation.stats_into(now, &mut total) })
        };
        let operations = self.0.operations.all().into_iter().map(of).collect();
        (total.stats(saturation::of_all(&saturations)), operations)
    }
}

fn snapshots<C: Component>(shelf: &Shelf<C>) -> BTreeMap<String, C::Stats> {
    shelf.all().into_iter().map(|(name, component)| (name.to_owned(), component.stats())).collect()
}
