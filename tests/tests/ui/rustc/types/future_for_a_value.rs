use std::future::{Future, Ready, ready};
use std::pin::Pin;

use resilient_runtime::resilient;

type Fut = Pin<Box<dyn Future<Output = std::io::Result<u32>> + Send>>;

async fn work() -> std::io::Result<u32> {
    Ok(1)
}

fn boxed() -> Fut {
    Box::pin(work())
}

#[resilient(circuit_breaker = "a", fallback = boxed())]
fn alias() -> Fut {
    boxed()
}

#[resilient(circuit_breaker = "a", fallback = tokio::spawn(work()))]
fn handle() -> tokio::task::JoinHandle<std::io::Result<u32>> {
    tokio::spawn(work())
}

#[resilient(circuit_breaker = "a", fallback = ready(Ok(1)))]
fn named() -> Ready<std::io::Result<u32>> {
    ready(Ok(2))
}

#[resilient(circuit_breaker = "a", fallback = Box::new(ready(Ok(1))))]
fn unpinned() -> Box<dyn Future<Output = std::io::Result<u32>> + Unpin> {
    Box::new(ready(Ok(2)))
}

#[resilient(circuit_breaker = "a", fallback = later)]
fn generic<F: Future<Output = std::io::Result<u32>>>(now: F, later: F) -> F {
    now
}

#[resilient(circuit_breaker = "a", fallback = boxed())]
async fn future_of_a_future() -> Fut {
    boxed()
}

trait Service {
    type Future: Future<Output = std::io::Result<u32>>;

    fn inner(&self) -> Self::Future;

    #[resilient(circuit_breaker = "a", fallback = self.inner())]
    fn call(&self) -> Self::Future {
        self.inner()
    }
}

fn main() {}
