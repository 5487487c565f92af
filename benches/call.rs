//! What one call costs: `cargo xtask bench`.

use std::hint::black_box;
use std::time::Duration;

use resilient::{Pipeline, Rejection, resilient};
use resilient_benches::{Job, measure};

type Outcome = Result<u64, Rejection>;

#[allow(clippy::unnecessary_wraps)] // what the others return
fn plain(n: u64) -> Outcome {
    Ok(n.wrapping_mul(3))
}

#[resilient(circuit_breaker = "breaker")]
fn breaker(n: u64) -> Outcome {
    Ok(n.wrapping_mul(3))
}

#[resilient(retry(max = 3))]
fn retry(n: u64) -> Outcome {
    Ok(n.wrapping_mul(3))
}

#[resilient(bulkhead = "bulkhead")]
fn bulkhead(n: u64) -> Outcome {
    Ok(n.wrapping_mul(3))
}

#[resilient(circuit_breaker = "three", retry(max = 3), bulkhead = "three")]
fn three(n: u64) -> Outcome {
    Ok(n.wrapping_mul(3))
}

#[resilient(circuit_breaker = "four", retry(max = 3), bulkhead = "four", timeout = "1s")]
async fn four(n: u64) -> Outcome {
    Ok(n.wrapping_mul(3))
}

#[allow(clippy::unused_async)] // what the others are
async fn plain_async(n: u64) -> Outcome {
    Ok(n.wrapping_mul(3))
}

/// Runs a future that is ready at its first poll, without an executor in the figure.
fn ready<T>(future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => unreachable!("the bodies here never wait"),
    }
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let _entered = runtime.enter();
    let registry = resilient::registry();
    let pipeline = Pipeline::builder("four by hand")
        .circuit_breaker("four by hand")
        .retry("four by hand")
        .bulkhead("four by hand")
        .timeout("four by hand")
        .build();
    let (one_breaker, one_bulkhead) = (registry.circuit_breaker("direct"), registry.bulkhead("direct"));
    let open = registry.circuit_breaker("open");
    open.force_open();
    let semaphore = tokio::sync::Semaphore::new(64);
    let n = || black_box(7);
    let rows = measure(vec![
        Job::new("plain fn", || plain(n())),
        Job::new("plain async fn", || ready(plain_async(n()))),
        Job::new("breaker, attribute", || breaker(n())),
        Job::new("retry, attribute", || retry(n())),
        Job::new("bulkhead, attribute", || bulkhead(n())),
        Job::new("three, attribute, sync", || three(n())),
        Job::new("four, attribute, async", || ready(four(n()))),
        Job::new("four, builder, async", || ready(pipeline.call_async(async || plain(n())))),
        Job::new("breaker by hand", || one_breaker.call(|| plain(n()))),
        Job::new("breaker open, by hand", || open.call(|| plain(n()))),
        Job::new("bulkhead permit", || one_bulkhead.try_acquire().is_ok()),
        Job::new("tokio semaphore permit", || semaphore.try_acquire().is_ok()),
        Job::new("tokio timeout", || ready(tokio::time::timeout(Duration::from_secs(1), plain_async(n())))),
    ]);
    println!("{:<26} {:>8} {:>8} {:>8}   ns per call", "", "median", "min", "max");
    for row in rows {
        println!("{:<26} {:>8.1} {:>8.1} {:>8.1}", row.name, row.median, row.min, row.max);
    }
}
