//! A request body that must come by a time, and steadily.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;

use super::connections::Reading;

/// Whether a body was given up before it had come.
#[derive(Clone, Debug, Default)]
pub(super) struct OutOfTime(Arc<AtomicBool>);

impl OutOfTime {
    pub(super) fn is_so(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

pub(super) struct SlowBody {
    body: Incoming,
    reading: Reading,
    limit: Pin<Box<dyn Future<Output = ()> + Send>>,
    late: OutOfTime,
}

#[derive(Debug, thiserror::Error)]
#[error("the body came too slowly")]
struct TooSlow;

impl SlowBody {
    /// Wraps the body. It fails when its time is over, or when it is slow and its connection must close.
    pub(super) fn wrap(
        body: Incoming,
        span: Duration,
        late: &OutOfTime,
        begin: impl FnOnce() -> Reading,
    ) -> Body {
        if http_body::Body::is_end_stream(&body) {
            return Body::empty();
        }
        let reading = begin();
        let cut = reading.cut();
        let limit = Box::pin(async move {
            // Either way it has ended.
            let _ = tokio::time::timeout(span, cut).await;
        });
        Body::new(Self { body, reading, limit, late: late.clone() })
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
            self.late.0.store(true, Ordering::Relaxed);
            return Poll::Ready(Some(Err(TooSlow.into())));
        };
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            self.reading.add(data.len());
        }
        Poll::Ready(frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
