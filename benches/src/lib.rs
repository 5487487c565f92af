//! Benchmarks of a call, compared with other libraries. `cargo xtask bench` writes `RESULTS.md`.

pub mod body;
#[cfg(feature = "peers")]
pub mod compile_time;
#[cfg(feature = "peers")]
pub mod contention;
#[cfg(feature = "peers")]
pub mod durable;
#[cfg(feature = "peers")]
pub mod harness;
#[cfg(feature = "peers")]
pub mod jobs;
#[cfg(feature = "peers")]
pub mod machine;
#[cfg(feature = "peers")]
pub mod memory;
#[cfg(feature = "peers")]
pub mod report;
#[cfg(feature = "peers")]
pub mod served;
