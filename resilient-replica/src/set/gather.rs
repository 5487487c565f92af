//! Waits for several members at once.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::FuturesUnordered;
use resilient_runtime::clock::{Clock, Delay};
use resilient_runtime::store::StoreError;

use super::error::Problem;
use super::member::Reply;

/// Requests to members that have not answered.
pub(crate) struct Gather<T> {
    pending: FuturesUnordered<Reply<T>>,
    clock: Clock,
    hedge: Option<Delay>,
    deadline: Option<Delay>,
}

/// The next event.
pub(crate) enum Next<T> {
    Answer(usize, Result<T, StoreError>),
    /// A member is slow: ask another one.
    Hedge,
    /// The time for consistency is over.
    Deadline,
    /// All have answered.
    End,
}

impl<T> Gather<T> {
    pub(crate) fn new(clock: &Clock, within: Option<Duration>) -> Result<Self, Problem> {
        let deadline = within.map(|span| clock.delay(span).ok_or(Problem::NoTimer)).transpose()?;
        Ok(Self { pending: FuturesUnordered::new(), clock: clock.clone(), hedge: None, deadline })
    }

    pub(crate) fn ask(&self, request: Reply<T>) {
        self.pending.push(request);
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }

    /// [`Next::Hedge`] follows after this time.
    pub(crate) fn hedge_after(&mut self, span: Duration) {
        self.hedge = self.clock.delay(span);
    }

    /// The next answer that is there already.
    pub(crate) fn ready(&mut self) -> Option<(usize, Result<T, StoreError>)> {
        let mut cx = Context::from_waker(Waker::noop());
        match Pin::new(&mut self.pending).poll_next(&mut cx) {
            Poll::Ready(answer) => answer,
            Poll::Pending => None,
        }
    }

    pub(crate) async fn next(&mut self) -> Next<T> {
        poll_fn(|cx| {
            match Pin::new(&mut self.pending).poll_next(cx) {
                Poll::Ready(Some((member, answer))) => return Poll::Ready(Next::Answer(member, answer)),
                Poll::Ready(None) => return Poll::Ready(Next::End),
                Poll::Pending => {}
            }
            if let Some(deadline) = &mut self.deadline
                && Pin::new(deadline).poll(cx).is_ready()
            {
                self.deadline = None;
                return Poll::Ready(Next::Deadline);
            }
            if let Some(hedge) = &mut self.hedge
                && Pin::new(hedge).poll(cx).is_ready()
            {
                self.hedge = None;
                return Poll::Ready(Next::Hedge);
            }
            Poll::Pending
        })
        .await
    }
}
