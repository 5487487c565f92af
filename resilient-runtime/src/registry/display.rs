//! A snapshot of a registry as readable text and as metrics.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};

use super::Stats;
use crate::component::Kind;
use crate::kind::table::components;
use crate::observe::{Describe, MOST_NAMES, Metric, MetricFamily, MetricKind};

fn lines<S: Describe>(f: &mut Formatter<'_>, kind: &str, all: &BTreeMap<String, S>) -> fmt::Result {
    for (name, stats) in all {
        write!(f, "{kind} {name}: ")?;
        stats.describe(f)?;
        writeln!(f)?;
    }
    Ok(())
}

macro_rules! shown {
    ($($kind:ident $name:ident $accessor:ident $module:ident::{$type:ident, $stats:ident} $make:ident;)*) => {
        impl Display for Stats {
            fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
                if !self.enabled {
                    writeln!(f, "! protection is turned off")?;
                }
                lines(f, "operation", &self.operations)?;
                $(lines(f, Kind::$kind.as_str(), &self.$name)?;)*
                for conflict in &self.conflicts {
                    writeln!(f, "! {conflict}")?;
                }
                Ok(())
            }
        }

        impl Stats {
            /// Returns the snapshot as metrics, for an exporter.
            ///
            /// The list of families is always the same. A component has all its series from its first use. At most
            /// 1 024 names per kind are included, in alphabetical order; `resilient_names_left_out` counts the
            /// others.
            ///
            /// ```
            /// let registry = resilient_runtime::Registry::new();
            /// registry.retry("stock");
            /// let stats = registry.stats();
            /// for family in stats.metrics() {
            ///     family.each(|labels, value| println!("{} {labels:?} {value:?}", family.metric().name));
            /// }
            /// ```
            pub fn metrics(&self) -> Vec<MetricFamily<'_>> {
                let mut all: Vec<_> = MetricFamily::of(&self.operations).collect();
                let mut left_out = vec![("operation", left_out_of(&self.operations))];
                $(
                    all.extend(MetricFamily::of(&self.$name));
                    if <crate::$module::$stats as Describe>::METRICS.len() > 0 {
                        left_out.push((Kind::$kind.as_str(), left_out_of(&self.$name)));
                    }
                )*
                all.push(MetricFamily::new(LEFT_OUT, move |each| {
                    left_out.iter().for_each(|(kind, count)| each(&[("kind", kind)], (*count).into()));
                }));
                #[cfg(feature = "chaos")]
                all.push(MetricFamily::new(INJECTED_INTO_COMPONENTS, |each| {
                    for injected in self.injected_into_components.iter().take(MOST_NAMES) {
                        let labels = [
                            ("kind", injected.kind.as_str()),
                            ("name", &*injected.component),
                            ("fault", injected.fault.as_str()),
                        ];
                        each(&labels, injected.count.into());
                    }
                }));
                all
            }
        }
    };
}

components!(all shown);

const LEFT_OUT: Metric = Metric {
    name: "resilient_names_left_out",
    help: "Number of names that are not exported because there are too many.",
    kind: MetricKind::Gauge,
    unit: None,
};

#[cfg(feature = "chaos")]
const INJECTED_INTO_COMPONENTS: Metric = Metric {
    name: "resilient_chaos_component_injected_total",
    help: "Number of operations of components that faults affected, by kind of fault.",
    kind: MetricKind::Counter,
    unit: None,
};

fn left_out_of<S>(all: &BTreeMap<String, S>) -> u64 {
    all.len().saturating_sub(MOST_NAMES) as u64
}
