//! The response body of a client call.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use resilient_runtime::pipeline::OpenCall;
use resilient_runtime::{Class, Rejection};
use tower::BoxError;

use super::semantics::{GRPC_STATUS, Protocol, describe_answer, of_error, of_grpc};

pin_project! {
    /// A response body that has a time limit and ends its client call.
    ///
    /// - Each part must arrive within `timeout(read = ..)`, and the whole body within the deadline of the call. Otherwise
    ///   the body ends with an [`io::Error`] that contains a [`Rejection`]; find it with
    ///   [`RejectionKind::found_in`](resilient_runtime::RejectionKind::found_in).
    /// - If the body ends with an error, the call is a failure. For gRPC, the `grpc-status` in the trailers decides.
    /// - If the body is dropped half read, the call counts as cancelled. If it is dropped before it is polled, the status and
    ///   the headers of the response decide.
    ///
    /// It is `Sync` if the inner body is, and has the same size hint.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use http::{Request, Response};
    /// use http_body_util::{BodyExt, Full};
    /// use resilient_runtime::Registry;
    /// use resilient_http::layer::{CallBody, ClientLayer};
    /// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
    ///
    /// let pipeline = std::sync::Arc::new(Registry::new().pipeline("stock").timeout("stock").build());
    /// let server = service_fn(async |_: Request<()>| Ok::<_, BoxError>(Response::new(Full::from("seven"))));
    /// let stock = ServiceBuilder::new().layer(ClientLayer::http(pipeline.clone())).service(server);
    /// let body: CallBody<Full<bytes::Bytes>> = stock.oneshot(Request::new(())).await.unwrap().into_body();
    /// assert_eq!(pipeline.stats().in_flight, 1);
    /// assert_eq!(body.collect().await.unwrap().to_bytes(), "seven");
    /// assert_eq!((pipeline.stats().in_flight, pipeline.stats().succeeded), (0, 1));
    /// # }
    /// ```
    #[derive(Debug)]
    pub struct CallBody<B> {
        #[pin]
        body: B,
        call: OpenCall,
        // The gRPC status that decides the outcome is expected in the trailers.
        awaits_trailers: bool,
        has_ended: bool,
    }
}

impl<B: Body> CallBody<B> {
    /// Wraps the body of a response with these headers.
    pub(crate) fn new(body: B, headers: &HeaderMap, mut call: OpenCall) -> Self {
        let has_ended = body.is_end_stream();
        // A gRPC response with a status in its headers has no trailers (`Trailers-Only`).
        let awaits_trailers = Protocol::of(headers) == Protocol::Grpc && !headers.contains_key(GRPC_STATUS);
        if has_ended && let Some(judgement) = call.judgement() {
            call.end(if awaits_trailers { Class::UNCERTAIN.into() } else { judgement });
        }
        Self { body, call, awaits_trailers, has_ended }
    }

    /// Wraps the body of a response whose call has already ended.
    pub(crate) fn unbounded(body: B) -> Self {
        Self { body, call: OpenCall::default(), awaits_trailers: false, has_ended: false }
    }
}

/// Ends the call after a complete body.
fn complete(call: &mut OpenCall, awaits_trailers: bool) {
    if let Some(judgement) = call.judgement() {
        // A gRPC response always ends with a status. Without one, the connection was closed before the response was complete.
        call.end(if awaits_trailers { Class::UNCERTAIN.into() } else { judgement });
    }
}

/// Converts to an [`io::Error`], so that clients can recognize a timeout.
fn out_of_time(rejection: Rejection) -> BoxError {
    io::Error::from(rejection).into()
}

impl<B: Body> Body for CallBody<B>
where
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        if *this.has_ended {
            return Poll::Ready(None);
        }
        let body = this.body.as_mut();
        match ready!(this.call.poll_part(cx, |cx| body.poll_frame(cx))) {
            None => {
                *this.has_ended = true;
                complete(this.call, *this.awaits_trailers);
                Poll::Ready(None)
            }
            Some(Ok(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref()
                    && let Some(judgement) = of_grpc(trailers)
                {
                    *this.awaits_trailers = false;
                    this.call.end_with(judgement, |words| describe_answer(StatusCode::OK, trailers, words));
                }
                if this.body.is_end_stream() {
                    // Many readers check `is_end_stream` and do not poll again.
                    complete(this.call, *this.awaits_trailers);
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Some(Ok(Err(error))) => {
                *this.has_ended = true;
                let error = error.into();
                // The error text of the body becomes the last error of the call.
                this.call.end_with(of_error(&*error), |words| words.error(&*error));
                Poll::Ready(Some(Err(error)))
            }
            Some(Err(rejection)) => {
                *this.has_ended = true;
                Poll::Ready(Some(Err(out_of_time(rejection))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
