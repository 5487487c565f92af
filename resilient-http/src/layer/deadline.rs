//! Deadlines of incoming requests.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes};
use http::{Request, Response, StatusCode};
use pin_project_lite::pin_project;
use resilient_runtime::context::Scoped;
use resilient_runtime::deadline::{Deadline, Header};
use tower::{BoxError, Layer, Service};

use super::body::Unread;
use crate::Problem;

const HEADERS: [Header; 2] = [Header::GrpcTimeout, Header::ExpectedTimeout];

/// Applies the caller's remaining time as the deadline of a request.
///
/// The time comes from the headers `grpc-timeout` and `x-envoy-expected-rq-timeout-ms`; the shorter one applies. Protected
/// calls inside the request cannot take longer. A request without any time left gets 504 and does not reach the inner
/// service. A request with a malformed header gets 400.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # use tower::ServiceExt;
/// use axum::{Router, body::Body, http::Request, routing::get};
/// use resilient_http::layer::DeadlineLayer;
///
/// let app: Router = Router::new().route("/", get(async || "hello")).layer(DeadlineLayer::new());
/// let send = |timeout: &str| {
///     app.clone().oneshot(Request::get("/").header("grpc-timeout", timeout).body(Body::empty()).unwrap())
/// };
/// assert_eq!(send("0m").await.unwrap().status(), 504, "no time is left");
/// assert_eq!(send("soon").await.unwrap().status(), 400);
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
pub struct DeadlineLayer {
    most: Duration,
}

impl Default for DeadlineLayer {
    fn default() -> Self {
        Self::new()
    }
}

impl DeadlineLayer {
    /// Creates a layer without a limit of its own.
    ///
    /// A request without a deadline header then has no deadline.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use tower::ServiceExt;
    /// use axum::{Router, body::Body, http::Request, routing::get};
    /// use resilient_runtime::deadline;
    /// use resilient_http::layer::DeadlineLayer;
    ///
    /// let left = async || assert_eq!(deadline::remaining(), None);
    /// let app: Router = Router::new().route("/", get(left)).layer(DeadlineLayer::new());
    /// assert_eq!(app.oneshot(Request::new(Body::empty())).await.unwrap().status(), 200);
    /// # }
    /// ```
    pub fn new() -> Self {
        Self { most: Duration::MAX }
    }

    /// Sets the maximum time of every request, with or without a deadline header.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use std::time::Duration;
    /// # use tower::ServiceExt;
    /// use axum::{Router, body::Body, http::Request, routing::get};
    /// use resilient_runtime::deadline;
    /// use resilient_http::layer::DeadlineLayer;
    ///
    /// let left = async || assert!(deadline::remaining().unwrap() <= Duration::from_secs(9));
    /// let app: Router = Router::new().route("/", get(left)).layer(DeadlineLayer::new().at_most(Duration::from_secs(9)));
    /// assert_eq!(app.oneshot(Request::new(Body::empty())).await.unwrap().status(), 200);
    /// # }
    /// ```
    #[must_use]
    pub fn at_most(self, most: Duration) -> Self {
        Self { most }
    }
}

impl<S> Layer<S> for DeadlineLayer {
    type Service = WithDeadline<S>;

    fn layer(&self, inner: S) -> WithDeadline<S> {
        WithDeadline { inner, most: self.most }
    }
}

/// The service of a [`DeadlineLayer`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # use std::time::Duration;
/// # use axum::body::Body;
/// # use http::{Request, Response};
/// # use tower::{BoxError, Layer, ServiceExt, service_fn};
/// use resilient_http::layer::{DeadlineLayer, WithDeadline};
///
/// let hello = async |_: Request<Body>| Ok::<_, BoxError>(Response::new(Body::from("hello")));
/// let service: WithDeadline<_> = DeadlineLayer::new().at_most(Duration::ZERO).layer(service_fn(hello));
/// assert_eq!(service.oneshot(Request::new(Body::empty())).await.unwrap().status(), 504);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct WithDeadline<S> {
    inner: S,
    most: Duration,
}

impl<S> WithDeadline<S> {
    /// Returns the time that the request has left, or `None` if it has no deadline.
    fn given<B>(&self, request: &Request<B>) -> Result<Option<Duration>, Problem> {
        let mut least = (self.most < Duration::MAX).then_some(self.most);
        for header in HEADERS {
            let Some(value) = request.headers().get(header.name()) else { continue };
            let text = value.to_str().unwrap_or("\u{fffd}");
            let left = header.read(text);
            let left = left.map_err(|error| Problem::new(StatusCode::BAD_REQUEST, error.to_string()))?;
            least = Some(least.map_or(left, |least| least.min(left)));
        }
        match least {
            Some(left) if left.is_zero() => {
                Err(Problem::new(StatusCode::GATEWAY_TIMEOUT, "the deadline of the request has passed")
                    .unexecuted())
            }
            least => Ok(least),
        }
    }
}

impl<S, B, R> Service<Request<B>> for WithDeadline<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    B: http_body::Body,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = DeadlineFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.given(&request) {
            Ok(Some(left)) => {
                let deadline = Deadline::after(left);
                let answer = deadline.scope(|| self.inner.call(request));
                DeadlineFuture::Bounded { answer: deadline.scope_async(answer) }
            }
            Ok(None) => DeadlineFuture::Free { answer: self.inner.call(request) },
            Err(problem) => {
                let refusal = Unread::of(&request).refused(problem);
                DeadlineFuture::Refused { refusal: Some(refusal) }
            }
        }
    }
}

pin_project! {
    /// The future of a [`WithDeadline`].
    ///
    /// ```
    /// # use axum::body::Body;
    /// # use http::{Request, Response};
    /// # use tower::{BoxError, Layer, Service, service_fn};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_http::layer::{DeadlineFuture, DeadlineLayer};
    ///
    /// let hello = async |_: Request<Body>| Ok::<_, BoxError>(Response::new(Body::from("hello")));
    /// let mut service = DeadlineLayer::new().layer(service_fn(hello));
    /// let response: DeadlineFuture<_> = service.call(Request::new(Body::empty()));
    /// assert_eq!(response.await.unwrap().status(), 200);
    /// # }
    /// ```
    #[derive(Debug)]
    #[project = Project]
    #[allow(missing_docs)]
    pub enum DeadlineFuture<F> {
        Bounded { #[pin] answer: Scoped<F, Deadline> },
        Free { #[pin] answer: F },
        Refused { refusal: Option<Response<Body>> },
    }
}

impl<F, R, E> Future for DeadlineFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answer = match self.project() {
            Project::Bounded { answer } => ready!(answer.poll(cx)),
            Project::Free { answer } => ready!(answer.poll(cx)),
            Project::Refused { refusal } => return Poll::Ready(Ok(refusal.take().unwrap_or_default())),
        };
        Poll::Ready(answer.map(|response| response.map(Body::new)))
    }
}
