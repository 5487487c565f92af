//! The id of a request.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderName, HeaderValue, Request, Response};
use pin_project_lite::pin_project;
use resilient_runtime::context::Scoped;
use resilient_runtime::correlation::CorrelationId;
use tower::{Layer, Service};

const HEADER: HeaderName = HeaderName::from_static("x-correlation-id");

/// Takes the correlation id of a request ([`CorrelationId::from_headers`]), or makes one; what is called finds it with
/// [`CorrelationId::current`], and the answer has it as `x-correlation-id`.
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
    /// There is nothing to set.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use tower::ServiceExt;
    /// use axum::{Router, body::Body, http::Request, routing::get};
    /// use resilient_http::layer::CorrelationLayer;
    ///
    /// let app: Router = Router::new().route("/", get(async || "hello")).layer(CorrelationLayer::new());
    /// let answer = app.oneshot(Request::new(Body::empty())).await.unwrap();
    /// assert_eq!(answer.headers()["x-correlation-id"].len(), 32, "a new one");
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
    /// The answer of a [`Correlate`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use http::{Request, Response};
    /// # use tower::{BoxError, Layer, Service, service_fn};
    /// use resilient_http::layer::{CorrelateFuture, CorrelationLayer};
    ///
    /// let mut service = CorrelationLayer.layer(service_fn(async |_: Request<()>| Ok::<_, BoxError>(Response::new(()))));
    /// let answer: CorrelateFuture<_> = service.call(Request::new(()));
    /// assert!(answer.await.unwrap().headers().contains_key("x-correlation-id"));
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
        // Letters, digits, `.`, `_` and `-`: a header can have them all.
        if let (Ok(response), Ok(id)) = (&mut answer, HeaderValue::from_str(this.id.as_str())) {
            response.headers_mut().insert(HEADER, id);
        }
        Poll::Ready(answer)
    }
}
