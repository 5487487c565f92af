//! Beside other attributes.

use std::sync::atomic::{AtomicU32, Ordering};

use resilient::resilient;
use tracing::instrument;

use crate::{E, tick};

#[resilient(retry(max = 2, base = "0ms"), circuit_breaker = "foreign")]
#[instrument(skip(x))]
async fn above_instrument(x: String, y: u32) -> Result<usize, E> {
    tick().await;
    Ok(x.len() + y as usize)
}

// `#[instrument]` above moves the arguments into a block of its own, so what is owned must be copied.
#[instrument(skip(x))]
#[resilient(retry(max = 2, base = "0ms"), circuit_breaker = "foreign", clone(x))]
async fn below_instrument(x: String, y: u32) -> Result<usize, E> {
    tick().await;
    Ok(x.len() + y as usize)
}

#[resilient(retry(max = 2, base = "0ms"))]
#[instrument]
fn sync_above_instrument(x: &str) -> Result<usize, E> {
    Ok(x.len())
}

#[instrument]
#[resilient(retry(max = 2, base = "0ms"))]
fn sync_below_instrument(x: &str) -> Result<usize, E> {
    Ok(x.len())
}

#[tokio::test]
async fn tracing_in_both_orders() {
    assert_eq!(above_instrument("ab".into(), 1).await, Ok(3));
    assert_eq!(below_instrument("ab".into(), 1).await, Ok(3));
    assert_eq!(sync_above_instrument("ab"), Ok(2));
    assert_eq!(sync_below_instrument("ab"), Ok(2));
}

#[tokio::test]
async fn a_function_inside_a_tokio_test() {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    #[resilient(retry(max = 2, base = "0ms"))]
    async fn inside() -> Result<u32, E> {
        tick().await;
        if CALLS.fetch_add(1, Ordering::Relaxed) == 0 { Err(E::Bad) } else { Ok(1) }
    }
    assert_eq!(inside().await, Ok(1));
}

static TESTED: AtomicU32 = AtomicU32::new(0);

#[tokio::test]
#[resilient(retry(max = 2, base = "0ms"))]
async fn a_test_that_is_itself_retried() -> Result<(), E> {
    tick().await;
    if TESTED.fetch_add(1, Ordering::Relaxed) == 0 { Err(E::Bad) } else { Ok(()) }
}
