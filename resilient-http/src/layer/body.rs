//! A body that holds something until it has been sent.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// A body, and what is held until it has ended or is dropped.
    #[derive(Debug)]
    pub struct Held<B, H> {
        #[pin]
        body: B,
        held: Option<H>,
    }
}

impl<B: Body, H> Held<B, H> {
    pub(super) fn new(body: B, held: Option<H>) -> Self {
        // What has no more to send is never polled by some servers.
        let held = held.filter(|_| !body.is_end_stream());
        Self { body, held }
    }
}

impl<B: Body, H> Body for Held<B, H> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = ready!(this.body.poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            *this.held = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
