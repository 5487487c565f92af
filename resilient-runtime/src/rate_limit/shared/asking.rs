//! A request to the store. Its tokens are not lost if its caller leaves.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::{Shared, role};
use crate::store::rate::{RateRequest, RateRule, ReturnedTokens, Taken};
use crate::store::wait::guarded;
use crate::store::{Backend, Guard, Need, StoreError};

type Answer = Pin<Box<dyn Future<Output = Result<Taken, StoreError>> + Send>>;

/// A request that was sent.
///
/// # Cancel safety
/// If it is dropped, the response is awaited in the background, and its tokens are returned.
pub(super) struct Asking {
    guard: Arc<Guard>,
    answer: Option<Answer>,
    limit: String,
    rule: RateRule,
}

impl Asking {
    pub(super) fn new(guard: &Arc<Guard>, request: RateRequest) -> Self {
        let (limit, rule, sender) = (request.limit.clone(), request.rule, Arc::clone(guard));
        let send = move |backend: Arc<dyn Backend>| async move {
            let store = role(&*backend)?;
            guarded(|| store.take(request)).await
        };
        let answer = async move { sender.request(Need::Optional, send).await };
        Self { guard: Arc::clone(guard), answer: Some(Box::pin(answer)), limit, rule }
    }

    /// Gives up. The store did not respond in time, so it is not known whether it took the tokens.
    pub(super) fn abandon(&mut self) {
        self.answer = None;
    }
}

impl Future for Asking {
    type Output = Result<Taken, StoreError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(answer) = &mut self.answer else { return Poll::Ready(Err(StoreError::TimedOut)) };
        let polled = answer.as_mut().poll(cx);
        if polled.is_ready() {
            self.answer = None;
        }
        polled
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let Some(answer) = self.answer.take() else { return };
        let (guard, limit, rule) = (Arc::clone(&self.guard), std::mem::take(&mut self.limit), self.rule);
        self.guard.spawn(async move {
            let taken = guard.in_time(answer).await;
            if let Ok(taken) = taken
                && taken.granted > 0
            {
                let returned = ReturnedTokens { limit, rule, tokens: taken.granted, mark: taken.mark };
                give_back(&guard, returned).await;
            }
        });
    }
}

/// Returns tokens. If the store fails, they are lost, which admits fewer calls and never more.
pub(super) async fn give_back(guard: &Guard, returned: ReturnedTokens) {
    let send = |backend: Arc<dyn Backend>| async move {
        let store = role(&*backend)?;
        guarded(|| store.give_back(returned)).await
    };
    let _ = guard.within(Need::Required, send).await;
}

/// Tokens of a call that waits until it may use them. Dropping it returns them.
pub(super) struct Reserved<'a> {
    pub(super) shared: &'a Shared,
    pub(super) tokens: Option<ReturnedTokens>,
}

impl Reserved<'_> {
    /// The call uses its tokens.
    pub(super) fn used(mut self) {
        self.tokens = None;
    }
}

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        if let Some(tokens) = self.tokens.take() {
            self.shared.return_tokens(tokens);
        }
    }
}
