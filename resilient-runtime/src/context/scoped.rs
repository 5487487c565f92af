//! A future that is polled in its own context.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

/// The context that a [`Scoped`] future enters at each poll.
pub trait Enter {
    /// Enters the context until the guard is dropped.
    fn enter(&self) -> impl Sized + use<Self>;

    /// Called after the body was polled, before the context is left.
    #[inline]
    fn polled(&mut self) {}
}

pin_project! {
    /// A future that is polled with a [`Deadline`](crate::deadline::Deadline) or a
    /// [`CorrelationId`](crate::correlation::CorrelationId).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use std::time::Duration;
    /// use resilient_runtime::{context::Scoped, deadline::{self, Deadline}};
    ///
    /// let work: Scoped<_, Deadline> = Deadline::after(Duration::from_secs(5)).scope_async(async { deadline::remaining() });
/// assert_eq!(deadline::remaining(), None, "only while it is polled");
    /// assert!(work.await.unwrap() <= Duration::from_secs(5));
    /// # }
    /// ```
    #[derive(Debug)]
    #[must_use = "a future does nothing unless it is awaited"]
    pub struct Scoped<F, C> {
        #[pin]
        body: F,
        context: C,
    }
}

#[inline]
pub(crate) fn scoped<F: Future, C: Enter>(context: C, body: F) -> Scoped<F, C> {
    Scoped { body, context }
}

impl<F: Future, C: Enter> Future for Scoped<F, C> {
    type Output = F::Output;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        // Entered at each poll, because the surrounding context can differ.
        let entered = this.context.enter();
        let poll = this.body.poll(cx);
        this.context.polled();
        drop(entered);
        poll
    }
}
