//! Bodies: one that holds something until it has been sent, and those that nobody has read.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Version, header};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::semantics::Protocol;
use crate::Problem;

/// A refusal of a request whose body nobody reads. Over HTTP/1 the connection cannot be used any more, and who sent it must
/// be told, or the next request on it would be lost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Unread {
    closes: bool,
    protocol: Protocol,
}

impl Unread {
    pub(crate) fn of<B: Body>(request: &Request<B>) -> Self {
        Self {
            closes: request.version() <= Version::HTTP_11 && !request.body().is_end_stream(),
            protocol: Protocol::of(request.headers()),
        }
    }

    /// Its body was read.
    pub(crate) fn read(self) -> Self {
        Self { closes: false, ..self }
    }

    pub(crate) fn refused(self, problem: Problem) -> Response<axum::body::Body> {
        let mut response = problem.response_in(self.protocol);
        if self.closes {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// The largest piece that is handed on at once. A connection takes the last one long before it has been sent, and what is
/// held is free then: of a large answer in one piece nothing else would be left to wait for.
const PIECE: usize = 16 * 1024;

pin_project! {
    /// A body, and what is held until it has been sent, but for what a connection buffers, or is dropped.
    #[derive(Debug)]
    pub struct GuardedBody<B, H> {
        #[pin]
        body: B,
        rest: Bytes,
        kept: Option<H>,
    }
}

impl<B: Body<Data = Bytes>, H> GuardedBody<B, H> {
    pub(crate) fn new(body: B, held: Option<H>) -> Self {
        // What has no more to send is never polled by some servers.
        let kept = held.filter(|_| !body.is_end_stream());
        Self { body, rest: Bytes::new(), kept }
    }
}

impl<B: Body<Data = Bytes>, H> Body for GuardedBody<B, H> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.project();
        if this.rest.is_empty() {
            match ready!(this.body.poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => *this.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                ended => {
                    *this.kept = None;
                    return Poll::Ready(ended);
                }
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(PIECE));
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}
