//! Chaos engineering for Resilient: experiments, game days and a chaos monkey.
//!
//! - [`scenario`]: what an experiment injects, and what it expects. Scenarios are TOML files.
//! - [`runner`]: runs an experiment in a registry, and removes its faults whatever happens.
//! - [`report`]: the journal, and the report as Markdown and HTML.
//! - [`game_day`]: a sequence of experiments, with pauses for people.
//! - [`monkey`]: random faults in business hours.

#![forbid(unsafe_code)]
#![deny(missing_docs)]
// Tests run on the tokio runtime and measure its virtual time.
#![cfg_attr(test, allow(clippy::disallowed_methods))]

pub mod faults;
pub mod game_day;
pub mod monkey;
pub mod probe;
pub mod report;
pub mod runner;
pub mod scenario;

mod random;
mod text;

pub use game_day::GameDay;
pub use monkey::Monkey;
pub use report::Report;
pub use runner::Runner;
pub use scenario::Scenario;
