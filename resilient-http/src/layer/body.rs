//! Response bodies that hold a guard, and rejections of requests whose body was not read.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{HeaderValue, Request, Response, Version, header};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use super::semantics::Protocol;
use crate::Problem;

/// The rejection of a request whose body is not read.
///
/// An HTTP/1 connection cannot be reused after that. The response must say so with `Connection: close`; otherwise the client
/// would send its next request on this connection and lose it.
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

    /// The body has been read, so the connection can be reused.
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

/// The maximum size of one data frame. A connection buffers the last frame long before it has been sent, and the guard is
/// dropped at that moment. Without this limit, a large body in one frame would release its guard at once.
const MAX_FRAME: usize = 16 * 1024;

pin_project! {
    /// A response body that holds a guard until it has been sent or is dropped.
    ///
    /// The guard is released when the connection has taken the last frame into its buffer.
    #[derive(Debug)]
    pub struct GuardedBody<B, H> {
        #[pin]
        body: B,
        rest: Bytes,
        guard: Option<H>,
    }
}

impl<B: Body<Data = Bytes>, H> GuardedBody<B, H> {
    pub(crate) fn new(body: B, held: Option<H>) -> Self {
        // Some servers never poll a body that is already at its end.
        let guard = held.filter(|_| !body.is_end_stream());
        Self { body, rest: Bytes::new(), guard }
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
                    *this.guard = None;
                    return Poll::Ready(ended);
                }
            }
        }
        let piece = this.rest.split_to(this.rest.len().min(MAX_FRAME));
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
