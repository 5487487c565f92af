//! A pipeline around a server.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use http::request::Parts;
use http::{Request, Response};
use resilient_runtime::pipeline::HeldPermits;
use resilient_runtime::{Class, Classify, Judgement, Pipeline, Priority, Rejection, Verdict};
use tower::{BoxError, Layer, Service};

use super::body::{GuardedBody, Unread};
use super::semantics::{is_failed_server, of_error, of_grpc};

/// The error for a server pipeline with a stage that repeats calls.
///
/// A server cannot repeat a request, because its body can be read only once.
///
/// ```
/// use resilient_runtime::Registry;
/// use resilient_http::layer::ServerLayer;
///
/// let pipeline = Registry::new().pipeline("api").retry("api").build();
/// let error = ServerLayer::new(pipeline).unwrap_err();
/// assert!(error.to_string().starts_with("the pipeline `api` has `retry` or `hedge`"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pipeline `{0}` has `retry` or `hedge`, but a server cannot repeat a request: remove that stage")]
pub struct Repeats(String);

/// A [`Pipeline`] around a server.
///
/// - **Rejections** become `application/problem+json` responses with a matching status ([`status_of`](crate::status_of)). A
///   rejected gRPC request gets a `grpc-status` ([`Problem::response_to`](crate::Problem::response_to)).
/// - **Failures:** a 5xx response is a failure. A gRPC response is a failure if the `grpc-status` in its headers is
///   `UNKNOWN`, `DEADLINE_EXCEEDED`, `INTERNAL`, `UNAVAILABLE` or `DATA_LOSS`. A status in the trailers, after a part of the
///   response was sent, is ignored.
/// - **Permits** of a bulkhead are held until the response body has been sent; see [`until_head`](Self::until_head).
/// - **Time limits** apply until the response headers are available. A response body has no time limit.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # use tower::ServiceExt;
/// use axum::{Router, body::Body, http::Request, routing::get};
/// use resilient_runtime::Registry;
/// use resilient_http::layer::ServerLayer;
///
/// let registry = Registry::new();
/// let layer = ServerLayer::new(registry.pipeline("api").circuit_breaker("database").build()).unwrap();
/// let app: Router = Router::new().route("/", get(async || "hello")).layer(layer);
/// registry.circuit_breaker("database").force_open();
/// let rejected = app.oneshot(Request::new(Body::empty())).await.unwrap();
/// assert_eq!(rejected.status(), 503);
/// assert_eq!(rejected.headers()["content-type"], "application/problem+json");
/// # }
/// ```
#[derive(Clone)]
pub struct ServerLayer {
    pipeline: Arc<Pipeline>,
    priority: Arc<dyn Fn(&Parts) -> Priority + Send + Sync>,
    holds_body: bool,
}

impl ServerLayer {
    /// Creates a layer that runs every request through a pipeline.
    ///
    /// All requests have normal priority; see [`priority`](Self::priority).
    ///
    /// ```
    /// use resilient_runtime::Registry;
    /// use resilient_http::layer::ServerLayer;
    ///
    /// let registry = Registry::new();
    /// assert!(ServerLayer::new(registry.pipeline("api").bulkhead("api").build()).is_ok());
    /// assert!(ServerLayer::new(registry.pipeline("api").hedge("api").build()).is_err());
    /// ```
    ///
    /// # Errors
    /// Returns [`Repeats`] if the pipeline has a `retry` or `hedge` stage.
    pub fn new(pipeline: impl Into<Arc<Pipeline>>) -> Result<Self, Repeats> {
        let pipeline = pipeline.into();
        if pipeline.repeats() {
            return Err(Repeats(pipeline.name().to_owned()));
        }
        Ok(Self::around(pipeline))
    }

    /// Creates a layer from a pipeline that has no stage that repeats calls.
    pub(super) fn around(pipeline: Arc<Pipeline>) -> Self {
        Self { pipeline, priority: Arc::new(|_| Priority::Normal), holds_body: true }
    }

    /// Sets a function that returns the priority of each request.
    ///
    /// Load shedding and the queue of the bulkhead use the priority.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use tower::ServiceExt;
    /// use axum::{Router, body::Body, http::Request, routing::get};
    /// use resilient_runtime::{Component, Priority, Registry};
    /// use resilient_http::layer::ServerLayer;
    ///
    /// let registry = Registry::new();
    /// let layer = ServerLayer::new(registry.pipeline("api").load_shed("api").build()).unwrap();
    /// let layer = layer.priority(|parts| match parts.uri.path() {
    ///     "/pay" => Priority::Critical,
    ///     _ => Priority::Normal,
    /// });
    /// let app: Router = Router::new().route("/pay", get(async || "paid")).layer(layer);
    /// app.oneshot(Request::get("/pay").body(Body::empty()).unwrap()).await.unwrap();
    /// assert_eq!(registry.load_shedder("api").stats().classes.critical.admitted, 1);
    /// # }
    /// ```
    #[must_use]
    pub fn priority(self, of: impl Fn(&Parts) -> Priority + Send + Sync + 'static) -> Self {
        Self { priority: Arc::new(of), ..self }
    }

    /// Releases permits when the response headers are available.
    ///
    /// By default, permits are held until the response body has been sent. Use this for long response bodies that need few
    /// resources, such as event streams.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use tower::ServiceExt;
    /// use axum::{Router, body::Body, http::Request, routing::get};
    /// use resilient_runtime::{Component, Registry};
    /// use resilient_http::layer::ServerLayer;
    ///
    /// let registry = Registry::new();
    /// let layer = |name: &str| ServerLayer::new(registry.pipeline(name).bulkhead(name).build()).unwrap();
    /// let app = |layer| -> Router { Router::new().route("/", get(async || "a long body")).layer(layer) };
    /// let head = app(layer("head").until_head()).oneshot(Request::new(Body::empty())).await.unwrap();
    /// let body = app(layer("body")).oneshot(Request::new(Body::empty())).await.unwrap();
    /// assert_eq!(registry.bulkhead("head").stats().in_use, 0);
    /// assert_eq!(registry.bulkhead("body").stats().in_use, 1, "until the body is sent");
    /// # drop((head, body));
    /// # }
    /// ```
    #[must_use]
    pub fn until_head(self) -> Self {
        Self { holds_body: false, ..self }
    }
}

impl fmt::Debug for ServerLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerLayer")
            .field("pipeline", &self.pipeline.name())
            .field("holds_body", &self.holds_body)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for ServerLayer {
    type Service = Server<S>;

    fn layer(&self, inner: S) -> Server<S> {
        Server { inner, layer: self.clone() }
    }
}

/// The service of a [`ServerLayer`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # use axum::body::Body;
/// # use http::{Request, Response};
/// # use std::convert::Infallible;
/// # use tower::{Layer, ServiceExt, service_fn};
/// use resilient_runtime::Registry;
/// use resilient_http::layer::{Server, ServerLayer};
///
/// let hello = async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::from("hello")));
/// let layer = ServerLayer::new(Registry::new().pipeline("api").bulkhead("api").build()).unwrap();
/// let service: Server<_> = layer.layer(service_fn(hello));
/// assert_eq!(service.oneshot(Request::new(Body::empty())).await.unwrap().status(), 200);
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Server<S> {
    inner: S,
    layer: ServerLayer,
}

/// The outcome of a call: the result of the service, or the rejection of a stage.
type Outcome<R, E> = Result<Result<Response<R>, E>, Rejection>;

fn judge<R, E>(outcome: &Outcome<R, E>) -> Judgement {
    match outcome {
        Ok(Ok(response)) => {
            let (status, headers) = (response.status(), response.headers());
            if !is_failed_server(status, headers) {
                return Verdict::Success.into();
            }
            let grpc = of_grpc(headers).filter(|judgement| *judgement != Verdict::Success);
            grpc.unwrap_or_else(|| status.classify().into())
        }
        Ok(Err(_)) => Class::UNKNOWN.into(),
        Err(rejection) => of_error(rejection),
    }
}

impl<S, B, R> Service<Request<B>> for Server<S>
where
    S: Service<Request<B>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    B: http_body::Body + Send + 'static,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<GuardedBody<Body, HeldPermits>>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    /// Always returns ready.
    ///
    /// The call polls the inner service, within its own limits.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let ServerLayer { pipeline, priority, holds_body } = self.layer.clone();
        let unread = Unread::of(&request);
        let (parts, body) = request.into_parts();
        let priority = priority(&parts);
        let request = Request::from_parts(parts, body);
        let mut service = self.inner.clone();
        Box::pin(async move {
            let work = async move {
                std::future::poll_fn(|cx| service.poll_ready(cx))
                    .await
                    .map_or_else(|never| match never {}, Ok::<_, Rejection>)?;
                Ok(service.call(request).await)
            };
            let (outcome, permits) =
                pipeline.request().priority(priority).judge(judge).call_held_async(work).await;
            Ok(match outcome {
                Ok(Ok(response)) => {
                    let permits = Some(permits).filter(|_| holds_body);
                    response.map(|body| GuardedBody::new(Body::new(body), permits))
                }
                Ok(Err(never)) => match never {},
                Err(rejection) => unread.refused(rejection.into()).map(|body| GuardedBody::new(body, None)),
            })
        })
    }
}
