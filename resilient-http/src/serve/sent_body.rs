//! Response body that detects a client that does not read it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::connection::{Busy, Connection};
use crate::layer::GuardedBody;

/// A response body that reports unsent chunks to its HTTP/2 connection.
///
/// Over HTTP/1, the socket detects a client that reads nothing. Over HTTP/2, such a client stops the flow of a stream,
/// and the next chunk of the body is not polled.
pub(super) struct SentBody {
    body: GuardedBody<Body, Busy>,
    /// `Some` for HTTP/2: the connection, which counts the responses with data that waits to be sent.
    connection: Option<Arc<Connection>>,
    has_given: bool,
}

impl SentBody {
    pub(super) fn new(body: Body, busy: Busy, connection: Option<Arc<Connection>>) -> Self {
        Self { body: GuardedBody::new(body, Some(busy)), connection, has_given: false }
    }

    fn given(&mut self) {
        if std::mem::take(&mut self.has_given)
            && let Some(connection) = &self.connection
        {
            connection.given();
        }
    }
}

impl Drop for SentBody {
    fn drop(&mut self) {
        self.given();
    }
}

impl http_body::Body for SentBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.given();
        let poll = Pin::new(&mut self.body).poll_frame(cx);
        if let (Poll::Ready(Some(Ok(_))), Some(connection)) = (&poll, &self.connection) {
            connection.give();
            self.has_given = true;
        }
        poll
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
