//! Combinations with attributes of other crates.

use std::sync::atomic::{AtomicU32, Ordering};

use resilient_runtime::resilient;
use tracing::instrument;

use crate::{E, tick};

#[resilient(retry(max = 2, base = "0ms"), circuit_breaker = "foreign")]
#[instrument(skip(x))]
async fn above_instrument(x: String, y: u32) -> Result<usize, E> {
    tick().await;
    Ok(x.len() + y as usize)
}

// `#[instrument]` above moves the arguments into a separate block, so owned arguments must be cloned.
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
async fn instrument_works_in_both_orders() {
    assert_eq!(above_instrument("ab".into(), 1).await, Ok(3));
    assert_eq!(below_instrument("ab".into(), 1).await, Ok(3));
    assert_eq!(sync_above_instrument("ab"), Ok(2));
    assert_eq!(sync_below_instrument("ab"), Ok(2));
}

#[tokio::test]
async fn functions_inside_a_tokio_test_work() {
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

#[async_trait::async_trait]
trait Traced {
    async fn above(&self, x: String) -> Result<u32, E>;
    async fn below(&self, x: String) -> Result<u32, E>;
}

#[async_trait::async_trait]
impl Traced for u32 {
    #[resilient(retry(max = 2, base = "0ms"), circuit_breaker = "foreign traits above")]
    #[instrument(skip(self))]
    async fn above(&self, x: String) -> Result<Self, E> {
        tick().await;
        if resilient_runtime::attempt() < 2 { Err(E::Bad) } else { Ok(*self + x.parse::<Self>()?) }
    }

    #[instrument(skip(self))]
    #[resilient(retry(max = 2, base = "0ms"), circuit_breaker = "foreign traits below", clone(x))]
    async fn below(&self, x: String) -> Result<u32, E> {
        tick().await;
        if resilient_runtime::attempt() < 2 { Err(E::Bad) } else { Ok(*self + x.parse::<u32>()?) }
    }
}

#[tokio::test]
async fn instrument_and_async_trait_work_together() {
    assert_eq!(1.above("2".into()).await, Ok(3));
    assert_eq!(1.below("2".into()).await, Ok(3));
}

#[cfg_attr(any(), resilient(no such argument))]
fn not_configured() -> u32 {
    1
}

#[test]
fn an_attribute_disabled_by_cfg_attr_has_no_effect() {
    assert_eq!(not_configured(), 1);
}

static RETRIED: AtomicU32 = AtomicU32::new(0);

#[resilient(retry(max = 2, base = "0ms"))]
#[tokio::test]
async fn a_test_that_is_retried_with_its_runtime() -> Result<(), E> {
    tick().await;
    if RETRIED.fetch_add(1, Ordering::Relaxed) == 0 { Err(E::Bad) } else { Ok(()) }
}
