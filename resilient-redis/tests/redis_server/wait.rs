//! Waits of the tests, and the check that a call does not wait too long.

use std::future::Future;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;

use crate::server::PATIENCE;

/// How much later than the time limit of the store a call may end.
pub(crate) const LATE: Duration = Duration::from_millis(5);

/// Waits until a condition holds.
pub(crate) async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < PATIENCE * 2, "{what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// Waits for a call, which must not wait for longer than the time limit of its store and 5 ms.
///
/// No allowance for a busy machine is needed: a call that is asked late, after its time limit, must end then.
pub(crate) async fn in_time<T>(limit: Duration, call: impl Future<Output = T>) -> T {
    let mut call = pin!(call);
    // Its time limit begins in its first poll, and thus before the one below.
    if let Some(done) = (&mut call).now_or_never() {
        return done;
    }
    match tokio::time::timeout(limit + LATE, &mut call).await {
        Ok(done) => done,
        // The time can end after the call was asked.
        Err(_) => {
            call.now_or_never().unwrap_or_else(|| panic!("it waits for longer than {limit:?} and 5 ms"))
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_waits_for_longer_than_its_store_is_found() {
    let limit = Duration::from_millis(100);
    in_time(limit, std::future::ready(())).await;
    in_time(limit, tokio::time::sleep(limit)).await;
    let late = tokio::spawn(in_time(limit, tokio::time::sleep(limit + LATE * 2)));
    assert!(late.await.unwrap_err().is_panic());
}
