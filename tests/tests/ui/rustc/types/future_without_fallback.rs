use std::future::Future;
use std::pin::Pin;

use resilient_runtime::resilient;

type Fut = Pin<Box<dyn Future<Output = std::io::Result<u32>> + Send>>;

fn boxed() -> Fut {
    Box::pin(async { Ok(1) })
}

#[resilient(retry(max = 3))]
fn retried() -> Fut {
    boxed()
}

#[resilient(circuit_breaker = "a")]
fn broken() -> Fut {
    boxed()
}

fn main() {}
