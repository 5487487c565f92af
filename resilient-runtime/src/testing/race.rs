//! Runs several operations of a store at the same time.

use std::future::poll_fn;
use std::task::Poll;

use crate::idempotency::{Answer, StoreError};

/// Starts all operations before it waits for the first, and returns their results in order.
pub(super) async fn all<T>(mut answers: Vec<Answer<'_, T>>) -> Vec<Result<T, StoreError>> {
    let mut results: Vec<Option<_>> = answers.iter().map(|_| None).collect();
    poll_fn(|cx| {
        for (answer, result) in answers.iter_mut().zip(&mut results) {
            if result.is_none()
                && let Poll::Ready(ready) = answer.as_mut().poll(cx)
            {
                *result = Some(ready);
            }
        }
        if results.iter().all(Option::is_some) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    results.into_iter().flatten().collect()
}
