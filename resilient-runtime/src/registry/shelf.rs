//! The components of one kind, by name.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use super::erased::{AnyComponent, AnyShelf};
use super::{ComponentStats, Registry};
use crate::component::{Core, Create, Kind, lasting};
use crate::kind::table::components;
use crate::sync::{AtomicU64, Ordering};

/// The maximum number of names per kind. Further names share [`OVERFLOW`].
pub(super) const MOST_NAMES: usize = 16_384;
/// The component shared by names beyond the limit.
pub(super) const OVERFLOW: &str = "__overflow__";

#[derive(Debug)]
pub(crate) struct Shelf<T> {
    items: RwLock<BTreeMap<&'static str, Arc<T>>>,
    /// How often a lookup returned the shared item because there were too many names.
    overflows: AtomicU64,
}

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self { items: RwLock::default(), overflows: AtomicU64::new(0) }
    }
}

impl<T> Shelf<T> {
    pub(super) fn get(&self, name: &str) -> Option<Arc<T>> {
        self.items.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Returns the item with this name, created by `make` if it is new. Concurrent callers get the same item
    /// (T120).
    ///
    /// The flag is true for the first name that must share. Report it outside of the lock (T23).
    pub(super) fn get_or_make(&self, name: &str, make: impl FnOnce(&'static str) -> T) -> (Arc<T>, bool) {
        if let Some(found) = self.get(name) {
            return (found, false);
        }
        let mut map = self.items.write().unwrap_or_else(PoisonError::into_inner);
        let full = map.len() >= MOST_NAMES && !map.contains_key(name);
        let name = if full { OVERFLOW } else { lasting(name) };
        let is_first = full && !map.contains_key(name);
        let item = Arc::clone(map.entry(name).or_insert_with(|| Arc::new(make(name))));
        drop(map);
        self.overflows.fetch_add(u64::from(full), Ordering::Relaxed);
        (item, is_first)
    }

    /// Returns how often a lookup returned the shared item.
    pub(super) fn overflows(&self) -> u64 {
        self.overflows.load(Ordering::Relaxed)
    }

    pub(super) fn all(&self) -> Vec<(&'static str, Arc<T>)> {
        let map = self.items.read().unwrap_or_else(PoisonError::into_inner);
        map.iter().map(|(name, item)| (*name, Arc::clone(item))).collect()
    }
}

/// The shelf of [`Kind::Chaos`], which is not a component.
struct Empty;

impl AnyShelf for Empty {
    fn get(&self, _: &str) -> Option<Arc<dyn AnyComponent>> {
        None
    }

    fn all(&self) -> Vec<(&'static str, Arc<dyn AnyComponent>)> {
        Vec::new()
    }

    fn overflows(&self) -> u64 {
        0
    }
}

/// A component that has a shelf in the registry.
pub(crate) trait Shelved: Create {
    fn shelf(shelves: &Shelves) -> &Shelf<Self>;
    fn make(registry: &Registry, core: Core<Self::Config>) -> Self;
    fn of_any_kind(stats: Self::Stats) -> ComponentStats;
}

macro_rules! shelves {
    ($($kind:ident $name:ident $accessor:ident $module:ident::{$type:ident, $stats:ident} $make:ident;)*) => {
        /// All components of a registry.
        #[derive(Debug, Default)]
        pub(crate) struct Shelves {
            $(pub(super) $name: Shelf<crate::$module::$type>,)*
        }

        impl Shelves {
            /// Returns the components of a kind that is known only at run time.
            pub(super) fn of(&self, kind: Kind) -> &dyn AnyShelf {
                match kind {
                    $(Kind::$kind => &self.$name,)*
                    Kind::Chaos => &Empty,
                }
            }
        }

        $(
            impl Shelved for crate::$module::$type {
                fn shelf(shelves: &Shelves) -> &Shelf<Self> {
                    &shelves.$name
                }

                fn make(registry: &Registry, core: Core<Self::Config>) -> Self {
                    registry.$make(core)
                }

                fn of_any_kind(stats: Self::Stats) -> ComponentStats {
                    ComponentStats::$kind(stats)
                }
            }
        )*
    };
}

components!(all shelves);

impl<C: Shelved> AnyShelf for Shelf<C> {
    fn get(&self, name: &str) -> Option<Arc<dyn AnyComponent>> {
        Self::get(self, name).map(|component| component as _)
    }

    fn all(&self) -> Vec<(&'static str, Arc<dyn AnyComponent>)> {
        Self::all(self).into_iter().map(|(name, component)| (name, component as _)).collect()
    }

    fn overflows(&self) -> u64 {
        Self::overflows(self)
    }
}
