use std::fmt::Display;
use std::future::Future;
use std::pin::Pin;

use resilient_runtime::{Rejection, resilient};

#[resilient(idempotent(key = id))]
fn opaque(id: u32) -> Result<impl Display, Rejection> {
    Ok(id)
}

#[resilient(idempotent(key = 1))]
fn uses_its_arguments_up(id: String) -> Pin<Box<dyn Future<Output = Result<String, Rejection>>>> {
    let other = id;
    Box::pin(async move { Ok(other) })
}

fn main() {}
