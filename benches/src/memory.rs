//! Memory of components, counted in a separate process so that the counting does not affect the timings.

use std::collections::BTreeMap;
use std::process::Command;

use resilient_runtime::{Registry, resilient};

use crate::body::{BodyError, Failed, number, work_async};

/// Allocations and bytes per call, by the title of the group and the job.
pub type Allocations = BTreeMap<String, BTreeMap<String, (f64, f64)>>;

/// Output of the counting process.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Memory {
    /// Allocations per call.
    pub calls: Allocations,
    /// Bytes of one component, including its name and its registry entry.
    pub components: Vec<(String, u64)>,
    /// Bytes of a rate limiter for each of [`KEYS`] keys, by library.
    pub keys: Vec<(String, f64)>,
}

/// Number of keys of the rate limiters.
pub const KEYS: u32 = 1_000_000;

/// Runs the counting process, which is in the same directory as this one.
///
/// # Errors
/// Returns an error if the process cannot be started or fails.
pub fn count() -> Result<Memory, String> {
    let this =
        std::env::current_exe().map_err(|error| format!("cannot find the path of this program: {error}"))?;
    let output = Command::new(this.with_file_name("allocations")).output();
    let output = output.map_err(|error| format!("cannot run `allocations`: {error}"))?;
    if !output.status.success() {
        return Err(format!("`allocations` failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("unexpected output of `allocations`: {error}"))
}

/// Creates a component by name.
pub type Make = fn(&Registry, &str);

/// The measured components.
pub const COMPONENTS: [(&str, Make); 9] = [
    ("circuit breaker", |registry, name| drop(registry.circuit_breaker(name))),
    ("bulkhead", |registry, name| drop(registry.bulkhead(name))),
    ("retry, with its budget", |registry, name| drop(registry.retry(name))),
    ("timeout", |registry, name| drop(registry.timeout(name))),
    ("fallback", |registry, name| drop(registry.fallback(name))),
    ("rate limiter", |registry, name| drop(registry.rate_limiter(name))),
    ("hedge, with its budget", |registry, name| drop(registry.hedge(name))),
    ("coalesce", |registry, name| drop(registry.coalesce(name))),
    ("a pipeline's statistics", |registry, name| drop(registry.pipeline(name).build())),
];

#[resilient(circuit_breaker = "bench: size", retry(max = 3), bulkhead = "bench: size", timeout = "1s")]
async fn annotated() -> Result<u64, Failed> {
    work_async(number()).await
}

async fn bare() -> Result<u64, BodyError> {
    work_async(number()).await
}

/// Bytes of the future of a function with four stages, and of the same function without the attribute.
pub fn futures() -> (usize, usize) {
    (size_of_val(&annotated()), size_of_val(&bare()))
}
