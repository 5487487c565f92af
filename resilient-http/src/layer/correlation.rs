//! Correlation ids of server requests.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use resilient_runtime::context::Scoped;
use resilient_runtime::correlation::CorrelationId;
use tower::{Layer, Service};

const HEADER: HeaderName = HeaderName::from_static("x-correlation-id");

/// Reads or creates the correlation id of each request.
///
/// The id comes from the request headers ([`CorrelationId::from_headers`]); without one, a random id is created. The inner
/// service can read it with [`CorrelationId::current`], and the response returns it as `x-correlation-id`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # use tower::ServiceExt;
/// use axum::{Router, body::Body, http::Request, routing::get};
/// use resilient_http::layer::CorrelationLayer;
///
/// let app: Router = Router::new().route("/", get(async || "hello")).layer(CorrelationLayer);
/// let request = Request::get("/").header("x-request-id", "order-7").body(Body::empty()).unwrap();
/// assert_eq!(app.oneshot(request).await.unwrap().headers()["x-correlation-id"], "order-7");
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct CorrelationLayer;

impl CorrelationLayer {
    /// Creates the layer; it has no settings.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use tower::ServiceExt;
    /// use axum::{Router, body::Body, http::Request, routing::get};
    /// use resilient_http::layer::CorrelationLayer;
    ///
    /// let app: Router = Router::new().route("/", get(async || "hello")).layer(CorrelationLayer::new());
    /// let response = app.oneshot(Request::new(Body::empty())).await.unwrap();
    /// assert_eq!(response.headers()["x-correlation-id"].len(), 32, "a new id");
    /// # }
    /// ```
    pub fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for CorrelationLayer {
    type Service = Correlate<S>;

    fn layer(&self, inner: S) -> Correlate<S> {
        Correlate { inner }
    }
}

/// The service of a [`CorrelationLayer`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # use http::{Request, Response};
/// # use tower::{BoxError, Layer, ServiceExt, service_fn};
/// use resilient_runtime::correlation::CorrelationId;
/// use resilient_http::layer::{Correlate, CorrelationLayer};
///
/// let id = async |_: Request<()>| Ok::<_, BoxError>(Response::new(CorrelationId::current()));
/// let service: Correlate<_> = CorrelationLayer.layer(service_fn(id));
/// assert!(service.oneshot(Request::new(())).await.unwrap().body().is_some());
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Correlate<S> {
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Correlate<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = CorrelateFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let header = |name: &str| request.headers().get(name)?.to_str().ok();
        let id = CorrelationId::from_headers(header).unwrap_or_else(CorrelationId::random);
        let answer = id.scope(|| self.inner.call(request));
        CorrelateFuture { answer: id.clone().scope_async(answer), id }
    }
}

pin_project! {
    /// The future of a [`Correlate`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use http::{Request, Response};
    /// # use tower::{BoxError, Layer, Service, service_fn};
    /// use resilient_http::layer::{CorrelateFuture, CorrelationLayer};
    ///
    /// let mut service = CorrelationLayer.layer(service_fn(async |_: Request<()>| Ok::<_, BoxError>(Response::new(()))));
    /// let response: CorrelateFuture<_> = service.call(Request::new(()));
    /// assert!(response.await.unwrap().headers().contains_key("x-correlation-id"));
    /// # }
    /// ```
    #[derive(Debug)]
    pub struct CorrelateFuture<F> {
        #[pin]
        answer: Scoped<F, CorrelationId>,
        id: CorrelationId,
    }
}

impl<F, R, E> Future for CorrelateFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let this = self.project();
        let mut answer = ready!(this.answer.poll(cx));
        // An id contains only letters, digits, `.`, `_` and `-`, which are valid in a header.
        if let (Ok(response), Ok(id)) = (&mut answer, HeaderValue::from_str(this.id.as_str())) {
            response.headers_mut().insert(HEADER, id);
        }
        Poll::Ready(answer)
    }
}
