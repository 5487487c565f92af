//! A pipeline around an HTTP or gRPC client.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use resilient_runtime::observe::Words;
use resilient_runtime::pipeline::{OpenCall, Options};
use resilient_runtime::registry::PipelineBuilder;
use resilient_runtime::{Judgement, Pipeline, Registry, Rejection};
use tower::{BoxError, Layer, Service};

use super::CallBody;
use super::client::propagate;
use super::semantics::{describe_answer, is_idempotent, of_answer, of_error};
use crate::per_host::{PerHost, Pipelines};

/// Returns the call options of a request.
type About<A> = dyn Fn(&Request<A>) -> Options + Send + Sync;

/// A [`Pipeline`] around an HTTP or gRPC client.
///
/// Requests must implement `Clone`: each attempt sends a clone, after the inner service has become ready. For bodies that
/// are not `Clone`, use [`ReplayBody`](super::ReplayBody). Prefer [one pipeline per host](Self::per_host): a failing host
/// then does not open the circuit breaker of the others.
///
/// - **Failures:** 5xx, 408, 425 and 429 are failures, and all except 501 and 505 can be retried. Other 4xx are mistakes of
///   the caller and do not count as failures of the host. A gRPC response is judged by its `grpc-status`, in the headers or
///   in the trailers, and by `grpc-retry-pushback-ms`. Network errors and rejections have the class that
///   [`Class::found_in`](resilient_runtime::Class::found_in) returns; other errors are uncertain.
/// - **`Retry-After`:** a retry waits as long as the response asks for, in seconds or as a date on the server's clock.
/// - **Retries and hedges:** a request that might have been executed is repeated only if its method is idempotent
///   ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2)) or it has an `Idempotency-Key`. Set
///   [`about`](Self::about) to use another rule.
/// - **Propagation:** each attempt sends the correlation id and the remaining time ([`propagate`]).
/// - **Response bodies:** a call ends with the body of its response; see [`CallBody`]. A call is not retried after the
///   response has been returned.
/// - **Rejections:** a rejection is an error with a [`Rejection`] in its source chain.
///
/// ```
/// use http::{Request, Response};
/// use http_body_util::{BodyExt, Empty};
/// use resilient_runtime::Registry;
/// use resilient_http::layer::HttpClientLayer;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let registry = Registry::new();
/// let layer = HttpClientLayer::per_host(&registry, |pipeline, host| {
///     pipeline.retry("web").circuit_breaker(host).timeout("web")
/// });
/// let web = service_fn(async |_: Request<()>| Ok::<_, std::io::Error>(Response::new(Empty::<&[u8]>::new())));
/// let web = ServiceBuilder::new().layer(layer).service(web);
/// let request = Request::get("https://example.com/books").body(()).unwrap();
/// let response = web.oneshot(request).await.unwrap();
/// assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 0);
/// assert_eq!(registry.stats().circuit_breaker["example.com:443"].successful, 1);
/// # });
/// ```
pub struct HttpClientLayer<A> {
    pipelines: Pipelines,
    about: Arc<About<A>>,
    until_head: bool,
}

impl<A> HttpClientLayer<A> {
    /// Creates a layer with one pipeline for all hosts.
    ///
    /// Use this for a client of a single service.
    ///
    /// ```
    /// use http::{Request, Response};
    /// use http_body_util::Empty;
    /// use resilient_runtime::Registry;
    /// use resilient_runtime::correlation::CorrelationId;
    /// use resilient_http::layer::HttpClientLayer;
    /// use tower::{ServiceBuilder, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let pipeline = Registry::new().pipeline("stock").retry("stock").build();
    /// let stock = service_fn(async |request: Request<()>| {
    ///     assert_eq!(request.headers()["x-correlation-id"], "order-7");
    ///     Ok::<_, std::io::Error>(Response::new(Empty::<&[u8]>::new()))
    /// });
    /// let stock = ServiceBuilder::new().layer(HttpClientLayer::new(pipeline)).service(stock);
    /// let id = CorrelationId::parse("order-7").unwrap();
    /// assert_eq!(id.scope_async(stock.oneshot(Request::new(()))).await.unwrap().status(), 200);
    /// # });
    /// ```
    pub fn new(pipeline: impl Into<Arc<Pipeline>>) -> Self {
        Self::through(Pipelines::One(pipeline.into()))
    }

    /// Creates a layer with a separate pipeline for each host; see [`PerHost`].
    ///
    /// `build` receives an empty builder and the name of the host (`example.com:443`). The host comes from the request target,
    /// or from the `Host` header if the target is only a path.
    ///
    /// ```
    /// use resilient_runtime::Registry;
    /// use resilient_http::layer::HttpClientLayer;
    ///
    /// let layer: HttpClientLayer<String> = HttpClientLayer::per_host(&Registry::new(), |pipeline, host| {
    ///     pipeline.retry("web").circuit_breaker(host).bulkhead(host).timeout("web")
    /// });
    /// # drop(layer);
    /// ```
    pub fn per_host(
        registry: &Registry,
        build: impl Fn(PipelineBuilder, &str) -> PipelineBuilder + Send + Sync + 'static,
    ) -> Self {
        Self::of_hosts(PerHost::new(registry, build))
    }

    /// Creates a layer with the pipelines of an existing [`PerHost`].
    ///
    /// Use this instead of [`per_host`](Self::per_host) to set [the maximum number of hosts](PerHost::at_most), or to share
    /// the pipelines with other clients.
    ///
    /// ```
    /// use resilient_runtime::Registry;
    /// use resilient_http::{PerHost, layer::HttpClientLayer};
    ///
    /// let hosts = PerHost::new(&Registry::new(), |pipeline, host| pipeline.circuit_breaker(host)).at_most(100);
    /// let layer: HttpClientLayer<String> = HttpClientLayer::of_hosts(hosts);
    /// # drop(layer);
    /// ```
    pub fn of_hosts(hosts: impl Into<Arc<PerHost>>) -> Self {
        Self::through(Pipelines::PerHost(hosts.into()))
    }

    fn through(pipelines: Pipelines) -> Self {
        let about = |request: &Request<A>| {
            Options::default().idempotent(is_idempotent(request.method(), request.headers()))
        };
        Self { pipelines, about: Arc::new(about), until_head: false }
    }

    /// Sets a function that returns the call options of each request.
    ///
    /// The options are, for example, the priority, the key of the rate limit, and whether the request is idempotent. They
    /// replace the default rule, which decides by the method and the `Idempotency-Key` header whether a request is idempotent.
    ///
    /// ```
    /// use http::{Method, Request};
    /// use resilient_runtime::{Priority, Registry, pipeline::Options};
    /// use resilient_http::layer::HttpClientLayer;
    ///
    /// let layer = HttpClientLayer::new(Registry::new().pipeline("search").retry("index").build());
    /// // A search changes nothing, although it is a `POST`.
    /// let layer = layer.about(|_: &Request<String>| Options::default().idempotent(true).priority(Priority::Low));
    /// # drop(layer);
    /// ```
    #[must_use]
    pub fn about(self, about: impl Fn(&Request<A>) -> Options + Send + Sync + 'static) -> Self {
        Self { about: Arc::new(about), ..self }
    }

    /// Ends each call when the response headers have arrived, for endless bodies.
    ///
    /// The response body then holds no permit, has no time limit, and does not affect the outcome of the call.
    ///
    /// ```
    /// use resilient_runtime::Registry;
    /// use resilient_http::layer::HttpClientLayer;
    ///
    /// let events = Registry::new().pipeline("events").circuit_breaker("feed").timeout("feed").build();
    /// let layer: HttpClientLayer<String> = HttpClientLayer::new(events).until_head();
    /// # drop(layer);
    /// ```
    #[must_use]
    pub fn until_head(self) -> Self {
        Self { until_head: true, ..self }
    }
}

impl<A> Clone for HttpClientLayer<A> {
    fn clone(&self) -> Self {
        let Self { pipelines, about, until_head } = self;
        Self { pipelines: pipelines.clone(), about: Arc::clone(about), until_head: *until_head }
    }
}

impl<A> fmt::Debug for HttpClientLayer<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpClientLayer")
            .field("pipeline", &self.pipelines)
            .field("until_head", &self.until_head)
            .finish_non_exhaustive()
    }
}

impl<S, A> Layer<S> for HttpClientLayer<A> {
    type Service = HttpClient<S, A>;

    fn layer(&self, inner: S) -> Self::Service {
        HttpClient { inner, layer: self.clone() }
    }
}

/// The service of an [`HttpClientLayer`].
///
/// ```
/// use http::{Request, Response};
/// use resilient_runtime::Registry;
/// use resilient_http::layer::{HttpClient, HttpClientLayer};
/// use tower::{BoxError, Layer, service_fn};
///
/// let layer = HttpClientLayer::new(Registry::new().pipeline("stock").build());
/// let stock = service_fn(async |_: Request<String>| Ok::<_, BoxError>(Response::new(String::new())));
/// let stock: HttpClient<_, String> = layer.layer(stock);
/// # drop(stock);
/// ```
#[derive(Debug)]
pub struct HttpClient<S, A> {
    inner: S,
    layer: HttpClientLayer<A>,
}

impl<S: Clone, A> Clone for HttpClient<S, A> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S, A, B> Service<Request<A>> for HttpClient<S, A>
where
    S: Service<Request<A>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
    A: Clone + Send + Sync + 'static,
    B: Body + Send + 'static,
{
    type Response = Response<CallBody<B>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    /// Always returns ready.
    ///
    /// Each attempt polls the inner service, within the limits of the call.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let HttpClientLayer { pipelines, about, until_head } = self.layer.clone();
        let service = self.inner.clone();
        Box::pin(async move {
            let pipeline = match pipelines {
                Pipelines::One(pipeline) => pipeline,
                Pipelines::PerHost(hosts) => hosts.of_request(&request),
            };
            let attempt = || {
                let (mut service, mut request) = (service.clone(), request.clone());
                async move {
                    // If no time is left, the pipeline ends the attempt.
                    let _ = propagate(request.headers_mut());
                    Ok::<_, Rejection>(match std::future::poll_fn(|cx| service.poll_ready(cx)).await {
                        Ok(()) => service.call(request).await.map_err(Into::into),
                        Err(error) => Err(error.into()),
                    })
                }
            };
            let options = about(&request);
            if until_head {
                let request = pipeline.request().options(options).judge(judge).describe_outcome(describe);
                let response = request.call_async(attempt).await??;
                return Ok(response.map(CallBody::unbounded));
            }
            let request = pipeline.open_request().options(options).judge(judge).describe_outcome(describe);
            let (outcome, call) = request.call_open_async(attempt).await;
            Ok(bounded(outcome??, call))
        })
    }
}

fn judge<B>(outcome: &Result<Result<Response<B>, BoxError>, Rejection>) -> Judgement {
    match outcome {
        Ok(Ok(response)) => of_answer(response.status(), response.headers()),
        Ok(Err(error)) => of_error(&**error),
        Err(rejection) => of_error(rejection),
    }
}

fn describe<B>(outcome: &Result<Result<Response<B>, BoxError>, Rejection>, words: &mut Words) {
    match outcome {
        Ok(Ok(response)) => describe_answer(response.status(), response.headers(), words),
        Ok(Err(error)) => words.error(&**error),
        Err(rejection) => words.error(rejection),
    }
}

fn bounded<B: Body>(response: Response<B>, call: OpenCall) -> Response<CallBody<B>> {
    let (parts, body) = response.into_parts();
    let body = CallBody::new(body, &parts.headers, call);
    Response::from_parts(parts, body)
}
