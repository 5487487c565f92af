//! Settings from outside of the program: a file, the environment.
//!
//! What counts, the later the more: the library's default, the attribute, the file's `default` table of the kind, its table
//! of the name, the environment, a change at run time. Where each value in force came from is shown by
//! [`explain`](crate::Registry::explain).
//!
//! With the feature `config-file`, a file in TOML:
//!
//! ```toml
//! #:schema ./resilient.schema.json
//! [circuit_breaker.default]      # all that say nothing themselves
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
//! - The settings have the names that `explain` prints. A duration has a unit; a share is `0.3` or `"30%"`; `"none"` is
//!   not set. What begins alike can be a group: `budget = { ratio = 0.1 }` is `budget_ratio = 0.1`; a group switches on
//!   the setting of its own name, if that is a switch.
//! - A variable such as `RESILIENT__CIRCUIT_BREAKER__PAYMENT__OPEN_FOR=10s` goes above the file. In it a name is in
//!   capitals, with `_` for whatever is no letter or digit; `DEFAULT` stands for all of the kind, and
//!   is above the file, too. A variable that may mean two components is refused.
//! - What a kind's `default` says must be possible alone, for components that say nothing else.
//! - Everything that is wrong is told at once, with its place, and then nothing is changed: of a file that is followed
//!   by `ConfigFile::watch` the last good content stays in force.
//! - `enabled = false` at the top of the file, or `RESILIENT__ENABLED=false`, switches all protection off, as
//!   [`Registry::set_enabled`](crate::Registry::set_enabled) does; `enabled = false` in a table, such as
//!   `[circuit_breaker.payment]`, that component alone. Fallbacks, idempotency and health checks cannot be switched off.
//! - Settings for a name that no component has are told at load, where it looks like a slip or all annotated functions are
//!   known, and by [`Registry::validate`](crate::Registry::validate) as long as it is so: make components that are made
//!   by hand before you call it.
//! - What is possible only together with what an annotated function says is checked together with that.
//! - State, permits and windows survive, and a change at run time stays above, until
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
