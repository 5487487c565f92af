//! How much memory things take: counted in a process of its own, so that the counting slows no timing.

use std::collections::BTreeMap;
use std::process::Command;

use resilient_runtime::{Registry, resilient};

use crate::body::{BodyError, Failed, number, work_async};

/// Allocations and bytes for each call, by the title of the group and the job.
pub type Allocations = BTreeMap<String, BTreeMap<String, (f64, f64)>>;

/// What the counting process tells.
#[derive(Debug, Default, serde::Serialize, serde::Deserialize)]
pub struct Memory {
    /// For each call.
    pub calls: Allocations,
    /// Bytes that one component of a registry holds, with its name and its place there.
    pub components: Vec<(String, u64)>,
    /// Bytes that a rate limiter holds for each of [`KEYS`] keys, by whose it is.
    pub keys: Vec<(String, f64)>,
}

/// How many keys are told apart.
pub const KEYS: u32 = 1_000_000;

/// Runs the counting process, which lies beside this one.
///
/// # Errors
/// It is not there, or has failed.
pub fn count() -> Result<Memory, String> {
    let this = std::env::current_exe().map_err(|error| format!("where am I? {error}"))?;
    let output = Command::new(this.with_file_name("allocations")).output();
    let output = output.map_err(|error| format!("`allocations` does not run: {error}"))?;
    if !output.status.success() {
        return Err(format!("`allocations` failed: {}", String::from_utf8_lossy(&output.stderr)));
    }
    serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("`allocations` said something else: {error}"))
}

/// A way to make a component of some name.
pub type Make = fn(&Registry, &str);

/// What can be made by name.
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

/// Bytes of the future of a function with four stages, and of the same function without.
pub fn futures() -> (usize, usize) {
    (size_of_val(&annotated()), size_of_val(&bare()))
}
