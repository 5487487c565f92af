//! Response headers for degraded responses.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, header};
use pin_project_lite::pin_project;
use resilient_runtime::fallback::DegradationScope;
use resilient_runtime::{Degradation, Level};
use tower::{Layer, Service};

const DEGRADED: HeaderName = HeaderName::from_static("x-resilience-degraded");
const LEVEL: HeaderName = HeaderName::from_static("x-resilience-level");
const CACHE_STATUS: HeaderName = HeaderName::from_static("cache-status");

/// Marks responses that a fallback level took part in.
///
/// A degraded response gets these headers:
///
/// | header | value |
/// |---|---|
/// | `X-Resilience-Degraded` | `true` |
/// | `X-Resilience-Level` | the worst fallback level that was used |
/// | `Age` | the age in seconds of the oldest value from the local cache, if known |
/// | `Cache-Status` (RFC 9211) | `resilient; hit; detail=LEVEL`, if the level is a cache |
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # use tower::ServiceExt;
/// use axum::{Router, body::Body, http::Request, routing::get};
/// use resilient_runtime::{Level, Registry, fallback::Chain};
/// use resilient_http::layer::DegradedLayer;
///
/// let list = Registry::new().fallback("list");
/// let books = async move || list.call(|| None, || Chain::of(Level::Default, |_| Some("books"))).unwrap();
/// let app: Router = Router::new().route("/", get(books)).layer(DegradedLayer);
/// let response = app.oneshot(Request::new(Body::empty())).await.unwrap();
/// assert_eq!(response.headers()["x-resilience-degraded"], "true");
/// assert_eq!(response.headers()["x-resilience-level"], "default");
/// # }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct DegradedLayer;

impl DegradedLayer {
    /// Creates the layer; it has no settings.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use tower::ServiceExt;
    /// use axum::{Router, body::Body, http::Request, routing::get};
    /// use resilient_http::layer::DegradedLayer;
    ///
    /// let app: Router = Router::new().route("/", get(async || "not a fallback")).layer(DegradedLayer::new());
    /// let response = app.oneshot(Request::new(Body::empty())).await.unwrap();
    /// assert!(!response.headers().contains_key("x-resilience-degraded"));
    /// # }
    /// ```
    pub fn new() -> Self {
        Self
    }
}

impl<S> Layer<S> for DegradedLayer {
    type Service = MarkDegraded<S>;

    fn layer(&self, inner: S) -> MarkDegraded<S> {
        MarkDegraded { inner }
    }
}

/// The service of a [`DegradedLayer`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # use http::{Request, Response};
/// # use tower::{BoxError, Layer, ServiceExt, service_fn};
/// use resilient_http::layer::{DegradedLayer, MarkDegraded};
///
/// let service: MarkDegraded<_> =
///     DegradedLayer.layer(service_fn(async |_: Request<()>| Ok::<_, BoxError>(Response::new("real"))));
/// assert!(service.oneshot(Request::new(())).await.unwrap().headers().is_empty());
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct MarkDegraded<S> {
    inner: S,
}

impl<S, B, R> Service<Request<B>> for MarkDegraded<S>
where
    S: Service<Request<B>, Response = Response<R>>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = DegradedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        DegradedFuture { answer: Degradation::scope(self.inner.call(request)) }
    }
}

pin_project! {
    /// The future of a [`MarkDegraded`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use http::{Request, Response};
    /// # use tower::{BoxError, Layer, Service, service_fn};
    /// use resilient_http::layer::{DegradedFuture, DegradedLayer};
    ///
    /// let mut service = DegradedLayer.layer(service_fn(async |_: Request<()>| Ok::<_, BoxError>(Response::new(7))));
    /// let response: DegradedFuture<_> = service.call(Request::new(()));
    /// assert_eq!(*response.await.unwrap().body(), 7);
    /// # }
    /// ```
    pub struct DegradedFuture<F> {
        #[pin]
        answer: DegradationScope<F>,
    }
}

impl<F> std::fmt::Debug for DegradedFuture<F> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DegradedFuture").finish_non_exhaustive()
    }
}

impl<F, R, E> Future for DegradedFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = F::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let (mut answer, degradation) = ready!(self.project().answer.poll(cx));
        if let (Ok(response), Some(degradation)) = (&mut answer, degradation) {
            mark(response.headers_mut(), &degradation);
        }
        Poll::Ready(answer)
    }
}

fn mark(headers: &mut HeaderMap, degradation: &Degradation) {
    headers.insert(DEGRADED, HeaderValue::from_static("true"));
    headers.insert(LEVEL, HeaderValue::from_static(degradation.level.as_str()));
    if let Some(age) = degradation.age {
        headers.insert(header::AGE, HeaderValue::from(age.as_secs()));
    }
    if matches!(degradation.level, Level::LocalCache | Level::DistributedCache) {
        let status = HeaderValue::from_str(&format!("resilient; hit; detail={}", degradation.level.as_str()));
        headers.extend(status.ok().map(|status| (CACHE_STATUS, status)));
    }
}
