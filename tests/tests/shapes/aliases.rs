//! Return types that are aliases of futures.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};

use resilient_runtime::{Component as _, registry, resilient};

type Fut = Pin<Box<dyn Future<Output = io::Result<u32>> + Send>>;
type Borrowing<'a> = Pin<Box<dyn Future<Output = io::Result<u32>> + Send + 'a>>;
/// Not the alias of `futures`: this one includes the error type.
type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = io::Result<T>> + Send + 'a>>;

fn fails(calls: &AtomicU32) -> io::Result<u32> {
    calls.fetch_add(1, Ordering::Relaxed);
    Err(io::ErrorKind::ConnectionRefused.into())
}

static ALIASED: AtomicU32 = AtomicU32::new(0);
static SERVICE: AtomicU32 = AtomicU32::new(0);

#[resilient(retry(max = 2, base = "1ms"), circuit_breaker("aliased", failure_threshold = 3), fallback = Ok(7))]
fn aliased() -> Fut {
    Box::pin(async { fails(&ALIASED) })
}

#[resilient(retry(max = 2, base = "1ms"))]
fn borrowing(calls: &AtomicU32) -> Borrowing<'_> {
    Box::pin(async move { fails(calls) })
}

#[resilient(retry(max = 1, base = "1ms"), fallback = Ok(1))]
fn own_box_future(calls: &AtomicU32) -> BoxFuture<'_, u32> {
    Box::pin(async move { fails(calls) })
}

trait Service {
    type Future: Future<Output = io::Result<u32>>;

    fn call(&self) -> Self::Future;
}

struct Client(&'static AtomicU32);

impl Service for Client {
    type Future = Fut;

    #[resilient(retry(max = 2, base = "1ms"), fallback = |_| Ok(7))]
    fn call(&self) -> Self::Future {
        let calls = self.0;
        Box::pin(async move { fails(calls) })
    }
}

#[tokio::test(start_paused = true)]
async fn a_future_behind_an_alias_is_protected_like_a_written_out_one() {
    assert_eq!(aliased().await.unwrap(), 7);
    assert_eq!(ALIASED.load(Ordering::Relaxed), 3);
    let stats = registry().circuit_breaker("aliased").stats();
    assert_eq!((stats.successful, stats.failed), (0, 3));

    let calls = || AtomicU32::new(0);
    let borrowed = calls();
    assert!(borrowing(&borrowed).await.is_err());
    assert_eq!(borrowed.load(Ordering::Relaxed), 3);

    let own = calls();
    assert_eq!(own_box_future(&own).await.unwrap(), 1);
    assert_eq!(own.load(Ordering::Relaxed), 2);

    assert_eq!(Client(&SERVICE).call().await.unwrap(), 7);
    assert_eq!(SERVICE.load(Ordering::Relaxed), 3);
}

/// The `Result` of creating the future is evaluated, not the future.
#[resilient(retry(max = 2, base = "0ms"))]
fn spawns(calls: &Cell<u32>) -> io::Result<Fut> {
    calls.set(calls.get() + 1);
    if calls.get() < 2 { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok(Box::pin(async { Ok(1) })) }
}

#[tokio::test]
async fn a_future_in_a_result_is_returned_unchanged() {
    let calls = Cell::new(0);
    assert_eq!(spawns(&calls).unwrap().await.unwrap(), 1);
    assert_eq!(calls.get(), 2);
}
