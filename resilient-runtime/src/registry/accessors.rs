//! Access to the components of a registry by name.

use std::any::Any;
use std::sync::Arc;

use super::Registry;
use crate::component::Component;
use crate::kind::table::components;
use crate::name;

macro_rules! accessors {
    ($($kind:ident $name:ident $accessor:ident $module:ident::{$type:ident, $stats:ident} $make:ident;)*) => {
        /// Access to components by name. A component is created when its name is first used.
        impl Registry {
            $(
                #[doc = concat!("Returns the [`", stringify!($type), "`](crate::", stringify!($module), "::", stringify!($type), ") with this name, and creates it if necessary.")]
                ///
                /// ```
                /// use resilient_runtime::{Component, Registry};
                ///
                /// let registry = Registry::new();
                #[doc = concat!("let shared = registry.", stringify!($accessor), "(\"shop\");")]
                /// assert_eq!(shared.name(), "shop");
                #[doc = concat!("assert!(std::sync::Arc::ptr_eq(&shared, &registry.", stringify!($accessor), "(\"shop\")));")]
                /// ```
                pub fn $accessor(&self, name: &str) -> Arc<crate::$module::$type> {
                    self.component(name, None)
                }
            )*
        }
    };
}

components!(all accessors);

impl Registry {
    /// Returns the component with this type and name, if it exists. Never creates one.
    ///
    /// ```
    /// use resilient_runtime::{Bulkhead, Registry};
    ///
    /// let registry = Registry::new();
    /// assert!(registry.find::<Bulkhead>("gateway").is_none());
    /// registry.bulkhead("gateway");
    /// assert!(registry.find::<Bulkhead>("gateway").is_some());
    /// ```
    pub fn find<C: Component>(&self, name: &str) -> Option<Arc<C>> {
        let found: Arc<dyn Any + Send + Sync> = self.0.shelves.of(C::KIND).get(&name::normal(name))?;
        found.downcast().ok()
    }
}
