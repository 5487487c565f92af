//! Reads settings from a settings file and from environment variables.
//!
//! Settings are layered. Each of these overrides the ones before: the library's default, the attribute, the file's
//! `default` table of the kind, the file's table of the component, the environment, a change at run time.
//! [`explain`](crate::Registry::explain) shows the origin of each effective value.
//!
//! With the feature `config-file`, settings are read from a TOML file:
//!
//! ```toml
//! #:schema ./resilient.schema.json
//! [circuit_breaker.default]      # all circuit breakers, unless overridden
//! open_for = "10s"
//!
//! [circuit_breaker.payment]
//! failure_rate = "30%"
//! window = "1m"
//!
//! [rate_limit."api.search"]
//! rate = "100/s"
//! ```
//!
//! - The names of settings are those that `explain` prints. A duration needs a unit. A share is `0.3` or `"30%"`.
//!   `"none"` means not set. Settings with a common prefix can be written as a group: `budget = { ratio = 0.1 }` is
//!   `budget_ratio = 0.1`. If the name of the group is itself a switch, the group turns it on.
//! - An environment variable such as `RESILIENT__CIRCUIT_BREAKER__PAYMENT__OPEN_FOR=10s` overrides the file.
//!   Component names are in capitals, with `_` for every character that is not an ASCII letter or digit. `DEFAULT`
//!   applies to all components of the kind, and also overrides the file. A variable that can refer to two
//!   components is refused.
//! - The settings in a kind's `default` table must be valid on their own, for components without other settings.
//! - All problems are reported at once, each with its place, and nothing is applied. With `ConfigFile::watch`, the
//!   last valid content stays in effect.
//! - `enabled = false` at the top of the file, or `RESILIENT__ENABLED=false`, turns all protection off, like
//!   [`Registry::set_enabled`](crate::Registry::set_enabled). `enabled = false` in a table such as
//!   `[circuit_breaker.payment]` disables only that component. Fallbacks, idempotency and health checks cannot be
//!   disabled.
//! - Settings for a component that does not exist are reported when they are loaded, if the name looks misspelled
//!   or all annotated functions are known. [`Registry::validate`](crate::Registry::validate) reports all of them,
//!   so create components that are used without the attribute before you call it.
//! - Settings that are valid only in combination with the settings of an annotated function are validated together.
//! - State, permits and windows are preserved. A change at run time stays in effect until
//!   [`clear_overrides`](crate::Registry::clear_overrides).

mod contradiction;
#[cfg(feature = "config-file")]
mod environment;
#[cfg(feature = "config-file")]
mod fault;
#[cfg(feature = "config-file")]
mod file;
#[cfg(feature = "config-file")]
mod load;
#[cfg(feature = "config-file")]
mod schema;
mod source;
mod tables;
#[cfg(feature = "config-file")]
mod target;
#[cfg(feature = "config-file")]
mod watch;

pub use contradiction::Contradiction;
#[cfg(feature = "config-file")]
pub use fault::{Fault, LoadError, Place};
#[cfg(feature = "config-file")]
pub use load::ConfigFile;
#[cfg(feature = "config-file")]
pub use schema::schema;
pub use source::{Config as SourceConfig, Source, Stats};
pub use tables::Tables;
pub(crate) use tables::variable_name;
#[cfg(feature = "config-file")]
pub(crate) use target::Target;
#[cfg(feature = "config-file")]
pub use watch::FileWatch;

#[cfg(all(test, feature = "config-file", not(resilient_loom)))]
mod tests;
