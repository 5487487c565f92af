//! Bodies: one that holds something until it has been sent, and those that nobody has read.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use axum::response::IntoResponse;
use http::{HeaderValue, Request, Response, Version, header};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::Problem;

/// A refusal of a request whose body nobody reads. Over HTTP/1 the connection cannot be used any more, and who sent it must
/// be told, or the next request on it would be lost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Unread(bool);

impl Unread {
    pub(super) fn of<B: Body>(request: &Request<B>) -> Self {
        Self(request.version() <= Version::HTTP_11 && !request.body().is_end_stream())
    }

    pub(super) fn refused(self, problem: Problem) -> Response<axum::body::Body> {
        let mut response = problem.into_response();
        if self.0 {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

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
    pub(crate) fn new(body: B, held: Option<H>) -> Self {
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
