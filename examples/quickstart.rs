//! The smallest useful program: a function that fails twice and is retried, and the statistics.
//!
//!     cargo run --example quickstart

use std::sync::atomic::{AtomicU32, Ordering};

use resilient_runtime::{Rejection, resilient};

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("no response")]
    NoResponse,
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

static CALLS: AtomicU32 = AtomicU32::new(0);

#[resilient(circuit_breaker = "weather", retry(max = 3, base = "50ms"), timeout = "2s")]
async fn temperature(city: &str) -> Result<String, FetchError> {
    match CALLS.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => Err(FetchError::NoResponse),
        _ => Ok(format!("21 degrees in {city}, at attempt {}", resilient_runtime::attempt())),
    }
}

#[tokio::main]
async fn main() -> Result<(), FetchError> {
    println!("{}\n", temperature("Tunis").await?);
    println!("{}", resilient_runtime::stats());
    Ok(())
}
