//! Error types: one that classifies its errors for retries, and one of another crate that cannot implement `Classify`.
//!
//!     cargo run --example custom_errors

use std::num::ParseIntError;
use std::time::Duration;

use resilient_runtime::{Class, Classify, Rejection, registry, resilient};

#[derive(Debug, thiserror::Error)]
enum ApiError {
    #[error("status {0}")]
    Status(u16),
    #[error("busy; retry after {0:?}")]
    Busy(Duration),
    /// A policy rejected the call.
    #[error(transparent)]
    Rejected(#[from] Rejection),
}

impl Classify for ApiError {
    fn classify(&self) -> Class {
        match self {
            Self::Status(500..) => Class::TRANSIENT,
            // A mistake of the caller: no retry, no failure of the server, no fallback.
            Self::Status(_) => Class::Ignored,
            Self::Busy(span) => Class::Overload { retry_after: Some(*span) },
            Self::Rejected(rejection) => rejection.classify(),
        }
    }
}

#[resilient(circuit_breaker("api", failure_threshold = 3, open_for = "30s"), retry(max = 1, base = "10ms"))]
fn get(answer: Result<&str, u16>) -> Result<String, ApiError> {
    match answer {
        Ok(text) => Ok(text.to_owned()),
        Err(429) => Err(ApiError::Busy(Duration::from_millis(30))),
        Err(status) => Err(ApiError::Status(status)),
    }
}

/// `ParseIntError` has no conversion from `Rejection`, so that `map_err` converts the rejection.
#[resilient(bulkhead("parser", max_concurrent = 1), map_err = |_rejection| "".parse::<u32>().unwrap_err())]
fn parse(text: &str) -> Result<u32, ParseIntError> {
    text.trim().parse()
}

fn show<T: std::fmt::Debug, E: std::fmt::Display>(what: &str, outcome: Result<T, E>) {
    match outcome {
        Ok(value) => println!("{what:<28} {value:?}"),
        Err(error) => println!("{what:<28} error: {error}"),
    }
}

fn main() {
    show("success", get(Ok("hello")));
    show("404: not retried", get(Err(404)));
    show("429: retried after 30 ms", get(Err(429)));
    show("503: retried, opens circuit", get(Err(503)));
    show("rejected, circuit is open", get(Ok("hello")));
    let retries = registry().stats().retry;
    println!("\nretries: {:?}\n", retries.values().map(|retry| retry.retries).collect::<Vec<_>>());

    show("parsed", parse(" 42 "));
    let bulkhead = registry().bulkhead("parser");
    let held = bulkhead.try_acquire();
    show("rejected as ParseIntError", parse("42"));
    drop(held);
}
