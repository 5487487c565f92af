//! Request body with a time limit, a minimum rate and a memory limit.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use super::connection::Reading;
use crate::layer::Room;

/// Bytes of a body that count towards the memory limit: the default limit of the extractors of axum. Handlers read
/// larger bodies in chunks, so that only this many bytes of them count.
const COUNTED: usize = 2 << 20;
/// Approximate memory overhead of a chunk.
const PIECE: usize = 128;
/// Smaller chunks are copied: each would keep the whole read buffer of several KiB alive.
const COPIED: usize = 16 << 10;

/// State that the server shares with the body of a request: why it was aborted, and its memory.
#[derive(Debug)]
pub(super) struct BodyState {
    given_up: OnceLock<GivenUp>,
    room: Room,
}

/// Why receiving a body was aborted.
#[derive(Clone, Copy, Debug, thiserror::Error)]
pub(super) enum GivenUp {
    #[error("the request body arrived too slowly")]
    TooSlow,
    #[error("the memory limit for request bodies is reached")]
    NoRoom,
}

impl BodyState {
    pub(super) fn new(room: Room) -> Self {
        Self { given_up: OnceLock::new(), room }
    }

    pub(super) fn given_up(&self) -> Option<GivenUp> {
        self.given_up.get().copied()
    }

    fn give_up<T>(&self, why: GivenUp) -> Poll<Option<Result<T, axum::BoxError>>> {
        Poll::Ready(Some(Err((*self.given_up.get_or_init(|| why)).into())))
    }
}

pub(super) struct SlowBody {
    body: Incoming,
    reading: Reading,
    limit: Pin<Box<dyn Future<Output = ()> + Send>>,
    state: Arc<BodyState>,
    bytes: usize,
    counted: usize,
}

impl SlowBody {
    /// Wraps a request body.
    ///
    /// Reading it fails when its time is over, when its connection must close because it is slow, or when the memory
    /// limit is reached.
    pub(super) fn wrap(
        body: Incoming,
        span: Duration,
        state: &Arc<BodyState>,
        begin: impl FnOnce() -> Reading,
    ) -> Body {
        if http_body::Body::is_end_stream(&body) {
            return Body::empty();
        }
        let reading = begin();
        let cut = reading.cut();
        let limit = Box::pin(async move {
            // The limit is reached in both cases.
            let _ = tokio::time::timeout(span, cut).await;
        });
        Body::new(Self { body, reading, limit, state: Arc::clone(state), bytes: 0, counted: 0 })
    }
}

impl http_body::Body for SlowBody {
    type Data = Bytes;
    type Error = axum::BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::BoxError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else {
            self.reading.wait();
            ready!(self.limit.as_mut().poll(cx));
            return self.state.give_up(GivenUp::TooSlow);
        };
        let Some(Ok(frame)) = frame else { return Poll::Ready(frame.map(|frame| frame.map_err(Into::into))) };
        let frame =
            frame.map_data(|data| if data.len() < COPIED { Bytes::copy_from_slice(&data) } else { data });
        if let Some(data) = frame.data_ref() {
            self.reading.add(data.len());
            self.bytes = self.bytes.saturating_add(data.len());
            if self.bytes <= COUNTED {
                self.counted += data.len() + PIECE;
            }
            if !self.state.room.grow(self.counted) {
                return self.state.give_up(GivenUp::NoRoom);
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
