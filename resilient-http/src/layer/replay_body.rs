//! A request body that can be sent again.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use tower::BoxError;

/// The default maximum number of stored bytes.
const DEFAULT_MAX_BYTES: usize = 64 * 1024;

/// A request body that stores what it sends, so that a clone can send it again.
///
/// Use it for bodies that cannot be cloned, such as streams and the bodies of `tonic`. Each clone sends the same body from its
/// beginning. The first attempt is streamed without delay.
///
/// Up to 64 KiB are stored; [`at_most`](Self::at_most) changes this limit. A longer body is not stored, and a second attempt
/// to send it fails with an error.
///
/// # Examples
/// A channel of `tonic`, which has its own body types:
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Empty, StreamBody};
/// use resilient_runtime::Registry;
/// use resilient_http::layer::{HttpClientLayer, ReplayBody};
/// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// type NotClone = http_body_util::combinators::UnsyncBoxBody<Bytes, BoxError>; // like `tonic::body::Body`
/// let channel = service_fn(async |_: Request<NotClone>| Ok::<_, BoxError>(Response::new(Empty::<Bytes>::new())));
///
/// let pipeline = Registry::new().pipeline("greeter").retry("greeter").timeout("greeter").build();
/// let channel = ServiceBuilder::new()
///     .map_request(|request: Request<NotClone>| request.map(ReplayBody::new))
///     .layer(HttpClientLayer::new(pipeline))
///     .map_request(|request: Request<ReplayBody<NotClone>>| request.map(NotClone::new)) // `tonic::body::Body::new`
///     .service(channel);
/// # let body = NotClone::new(Empty::new().map_err(|never| match never {}));
/// # assert_eq!(channel.oneshot(Request::new(body)).await.unwrap().status(), 200);
/// # });
/// ```
#[derive(Debug)]
pub struct ReplayBody<B> {
    shared: Arc<Mutex<Shared<B>>>,
    next: usize,
}

#[derive(Debug)]
struct Shared<B> {
    /// `None` after the end of the body.
    source: Option<Pin<Box<B>>>,
    /// The received parts; empty if the body exceeds the limit.
    parts: Vec<Part>,
    /// The number of received parts, stored or not.
    received: usize,
    bytes: usize,
    most: usize,
    /// The tasks that wait for the next part. The source wakes only the task that polled it last.
    waiting: Vec<Waker>,
}

#[derive(Clone, Debug)]
enum Part {
    Data(Bytes),
    Trailers(HeaderMap),
    Broken,
}

/// The body exceeded the limit, or ended with an error the first time.
#[derive(Debug, thiserror::Error)]
#[error(
    "the request body cannot be sent again: it exceeds the limit of `ReplayBody` or failed the first time"
)]
struct NotAgain;

impl<B> ReplayBody<B> {
    /// Wraps a body.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use bytes::Bytes;
    /// use http_body_util::{BodyExt, Full};
    /// use resilient_http::layer::ReplayBody;
    ///
    /// let body = ReplayBody::new(Full::from("an order"));
    /// for again in [body.clone(), body] {
    ///     assert_eq!(again.collect().await.unwrap().to_bytes(), "an order");
    /// }
    /// # }
    /// ```
    pub fn new(body: B) -> Self {
        let shared = Shared {
            source: Some(Box::pin(body)),
            parts: Vec::new(),
            received: 0,
            bytes: 0,
            most: DEFAULT_MAX_BYTES,
            waiting: Vec::new(),
        };
        Self { shared: Arc::new(Mutex::new(shared)), next: 0 }
    }

    /// Sets the maximum number of bytes that are stored; 64 KiB by default.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use http_body_util::{BodyExt, Full};
    /// use resilient_http::layer::ReplayBody;
    ///
    /// let body = ReplayBody::new(Full::from("an order")).at_most(3);
    /// assert!(body.clone().collect().await.is_ok(), "the first time");
    /// assert!(body.collect().await.is_err(), "it cannot be sent again");
    /// # }
    /// ```
    #[must_use]
    pub fn at_most(self, bytes: usize) -> Self {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner).most = bytes;
        self
    }
}

impl<B> Clone for ReplayBody<B> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), next: 0 }
    }
}

impl<B> Drop for ReplayBody<B> {
    fn drop(&mut self) {
        // The source might have stored only the waker of this clone, so the others must poll again.
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = std::mem::take(&mut shared.waiting);
        drop(shared);
        waiting.into_iter().for_each(Waker::wake);
    }
}

impl<B> Shared<B> {
    fn store(&mut self, part: Part) {
        self.received += 1;
        self.waiting.drain(..).for_each(Waker::wake);
        self.bytes = self.bytes.saturating_add(match &part {
            Part::Data(data) => data.len(),
            Part::Trailers(_) | Part::Broken => 0,
        });
        if self.bytes > self.most {
            self.parts = Vec::new();
        } else {
            self.parts.push(part);
        }
    }
}

impl<B> Body for ReplayBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        let mut shared = this.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if this.next < shared.received {
            let part = shared.parts.get(this.next).cloned().unwrap_or(Part::Broken);
            this.next += 1;
            return Poll::Ready(Some(match part {
                Part::Data(data) => Ok(Frame::data(data)),
                Part::Trailers(trailers) => Ok(Frame::trailers(trailers)),
                Part::Broken => Err(NotAgain.into()),
            }));
        }
        let Some(source) = shared.source.as_mut() else { return Poll::Ready(None) };
        let Poll::Ready(frame) = source.as_mut().poll_frame(cx) else {
            if !shared.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                shared.waiting.push(cx.waker().clone());
            }
            return Poll::Pending;
        };
        let (part, frame) = match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => (Part::Data(data.clone()), Ok(Frame::data(data))),
                Err(frame) => match frame.into_trailers() {
                    Ok(trailers) => (Part::Trailers(trailers.clone()), Ok(Frame::trailers(trailers))),
                    Err(_) => (Part::Broken, Err(NotAgain.into())),
                },
            },
            Some(Err(error)) => (Part::Broken, Err(error.into())),
            None => {
                shared.source = None;
                shared.waiting.drain(..).for_each(Waker::wake);
                return Poll::Ready(None);
            }
        };
        if matches!(part, Part::Broken) {
            shared.source = None;
        }
        shared.store(part);
        this.next += 1;
        Poll::Ready(Some(frame))
    }

    fn is_end_stream(&self) -> bool {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        self.next >= shared.received && shared.source.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        // After another clone has read a part, only the total size is known, and only after the end of the body.
        match &shared.source {
            Some(source) if shared.received == 0 => source.size_hint(),
            None if self.next == 0 && shared.bytes <= shared.most => {
                SizeHint::with_exact(u64::try_from(shared.bytes).unwrap_or(u64::MAX))
            }
            _ => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http_body_util::{BodyExt as _, StreamBody};

    use super::*;

    fn body(
        parts: Vec<Result<Frame<Bytes>, std::io::Error>>,
    ) -> ReplayBody<impl Body<Data = Bytes, Error = std::io::Error>> {
        ReplayBody::new(StreamBody::new(futures_util::stream::iter(VecDeque::from(parts))))
    }

    #[allow(clippy::unnecessary_wraps)] // a part of a stream that may break off
    fn data(text: &'static str) -> Result<Frame<Bytes>, std::io::Error> {
        Ok(Frame::data(Bytes::from_static(text.as_bytes())))
    }

    #[tokio::test]
    async fn a_body_is_sent_again_after_an_attempt_that_ended_in_the_middle() {
        let mut trailers = HeaderMap::new();
        trailers.insert("x", "1".parse().unwrap());
        let body = body(vec![data("one "), data("two "), data("three"), Ok(Frame::trailers(trailers))]);
        let mut first = body.clone();
        assert_eq!(first.frame().await.unwrap().unwrap().into_data().unwrap(), "one ");
        drop(first);
        for again in [body.clone(), body] {
            let collected = again.collect().await.unwrap();
            assert_eq!(collected.trailers().unwrap()["x"], "1");
            assert_eq!(collected.to_bytes(), "one two three");
        }
    }

    #[tokio::test]
    async fn a_body_that_failed_or_is_too_long_is_not_sent_again() {
        let broken = body(vec![data("one"), Err(std::io::Error::other("gone"))]);
        assert_eq!(broken.clone().collect().await.unwrap_err().to_string(), "gone");
        assert_eq!(broken.collect().await.unwrap_err().to_string(), NotAgain.to_string());
        let long = body(vec![data("one"), data("two")]).at_most(5);
        assert_eq!(long.clone().collect().await.unwrap().to_bytes(), "onetwo");
        assert_eq!(long.collect().await.unwrap_err().to_string(), NotAgain.to_string());
    }

    #[tokio::test]
    async fn two_concurrent_clones_both_send_the_whole_body() {
        let (send, parts) = tokio::sync::mpsc::channel::<Bytes>(4);
        let parts = futures_util::stream::unfold(parts, |mut parts| async move {
            let part = parts.recv().await?;
            Some((Ok::<_, std::io::Error>(Frame::data(part)), parts))
        });
        let body = ReplayBody::new(StreamBody::new(Box::pin(parts)));
        let collect = |body: ReplayBody<_>| async move { body.collect().await.unwrap().to_bytes() };
        let (left, right) = (tokio::spawn(collect(body.clone())), tokio::spawn(collect(body.clone())));
        let aborted = tokio::spawn(collect(body));
        for part in ["one ", "two"] {
            tokio::task::yield_now().await;
            send.send(part.into()).await.unwrap();
            aborted.abort();
        }
        drop(send);
        assert_eq!((left.await.unwrap(), right.await.unwrap()), ("one two".into(), "one two".into()));
    }
}
