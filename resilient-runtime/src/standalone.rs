//! Constructors of components that belong to no registry.

use std::sync::Arc;

use crate::clock::Clock;
use crate::component::{Component, Core, Create, Environment, lasting};
use crate::kind::table::components;
use crate::name;
use crate::observe::Events;
use crate::random::Random;
use crate::settings::{ConfigError, Layered, Settings};

/// Creates a component that belongs to no registry. It has no event listeners.
fn make<C: Create>(name: &'static str, clock: Clock, config: C::Config) -> Result<C, ConfigError> {
    let mut error = config.validate().err().unwrap_or_default();
    C::check_standalone(&config, &mut error);
    error.in_order(C::Config::FIELDS).finish()?;
    let settings = Layered::of(C::Config::shared_default());
    settings.replace(config);
    let name = if name::is_normal(name) { name } else { lasting(&name::normal(name)) };
    let environment = Environment { clock, events: Events::default(), random: Arc::new(Random::new(None)) };
    Ok(C::create(Core { name, environment, settings }))
}

macro_rules! constructors {
    ($($kind:ident $name:ident $accessor:ident $module:ident::{$type:ident, $stats:ident} $make:ident;)*) => {
        $(
            /// Constructors without a registry.
            impl crate::$module::$type {
                /// Creates a component that belongs to no registry.
                ///
                /// Its name is the name of its kind, and it uses the system clock. It behaves like a component of a
                /// [`Registry`](crate::Registry), but its events are not published.
                ///
                /// ```
                #[doc = concat!("use resilient_runtime::{Component, ", stringify!($type), ", ", stringify!($module), "::Config};")]
                ///
                #[doc = concat!("let ", stringify!($name), " = ", stringify!($type), "::new(Config::default())?;")]
                #[doc = concat!("assert_eq!(", stringify!($name), ".name(), \"", stringify!($name), "\");")]
                #[doc = concat!("assert_eq!(*", stringify!($name), ".config(), Config::default());")]
                /// # Ok::<_, resilient_runtime::ConfigError>(())
                /// ```
                ///
                /// # Errors
                /// Returns all problems if settings are out of range, contradict each other, or refer to a registry.
                pub fn new(config: crate::$module::Config) -> Result<Self, ConfigError> {
                    make(Self::KIND.as_str(), Clock::system(), config)
                }

                /// Creates a component with a name and a clock that belongs to no registry.
                ///
                /// The name appears in rejections and logs.
                ///
                /// ```
                #[doc = concat!("use resilient_runtime::{Component, ", stringify!($type), ", clock::ManualClock, ", stringify!($module), "::Config};")]
                ///
                /// let time = ManualClock::new();
                #[doc = concat!("let ", stringify!($name), " = ", stringify!($type), "::with_name_and_clock(\"shop\", time.clock(), Config::default())?;")]
                #[doc = concat!("assert_eq!(", stringify!($name), ".name(), \"shop\");")]
                /// # Ok::<_, resilient_runtime::ConfigError>(())
                /// ```
                ///
                /// # Errors
                /// Same as [`new`](Self::new).
                pub fn with_name_and_clock(
                    name: &'static str,
                    clock: Clock,
                    config: crate::$module::Config,
                ) -> Result<Self, ConfigError> {
                    make(name, clock, config)
                }
            }
        )*
    };
}

components!(standalone constructors);
