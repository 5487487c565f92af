//! A pipeline around a client of HTTP.

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

/// What one request says about itself.
type About<A> = dyn Fn(&Request<A>) -> Options + Send + Sync;

/// A [`Pipeline`] around a client of HTTP or gRPC whose requests can be cloned: each attempt sends a clone, once the service is
/// ready for it. Prefer [one for each host](Self::per_host), so that one dead host does not open the circuit of the others.
///
/// - 5xx, 408, 425 and 429 are failures that are worth a retry, other 4xx are the caller's own; `Retry-After` is honoured,
///   as seconds or as a date on the server's clock. An answer of gRPC is judged by its `grpc-status`, in the head or in the
///   trailers, and by `grpc-retry-pushback-ms`. Errors of the network and refusals are what they say
///   ([`Class::found_in`](resilient_runtime::Class::found_in)), others are uncertain.
/// - A request that may have been carried out is repeated only if its method is idempotent
///   ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2)), or it has an `Idempotency-Key`;
///   [`about`](Self::about) says otherwise.
/// - Each attempt carries the correlation id and the time that is left ([`propagate`]).
/// - A call ends with the body of its response; see [`CallBody`]. Once the response was handed out nothing is repeated.
/// - A refusal is an error with a [`Rejection`] in its chain of sources.
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
/// let answer = web.oneshot(request).await.unwrap();
/// assert_eq!(answer.into_body().collect().await.unwrap().to_bytes().len(), 0);
/// assert_eq!(registry.stats().circuit_breaker["example.com:443"].successful, 1);
/// # });
/// ```
pub struct HttpClientLayer<A> {
    pipelines: Pipelines,
    about: Arc<About<A>>,
    until_head: bool,
}

impl<A> HttpClientLayer<A> {
    /// One pipeline for all requests, whatever their host. For a client that talks to one service.
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

    /// A pipeline for each host, built from an empty builder and the name of the host (`example.com:443`); see [`PerHost`].
    /// The host is that of the request's target, or of its `Host` header.
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

    /// As [`per_host`](Self::per_host), with hosts that are [bounded](PerHost::at_most) otherwise, or shared with other clients.
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

    /// With what each request says about itself: its priority, the key of its rate limit, whether it may run twice. It takes the
    /// place of the rule that the method decides whether it may run twice.
    ///
    /// ```
    /// use http::{Method, Request};
    /// use resilient_runtime::{Priority, Registry, pipeline::Options};
    /// use resilient_http::layer::HttpClientLayer;
    ///
    /// let layer = HttpClientLayer::new(Registry::new().pipeline("search").retry("index").build());
    /// // Searching changes nothing, though it is a `POST`.
    /// let layer = layer.about(|_: &Request<String>| Options::default().idempotent(true).priority(Priority::Low));
    /// # drop(layer);
    /// ```
    #[must_use]
    pub fn about(self, about: impl Fn(&Request<A>) -> Options + Send + Sync + 'static) -> Self {
        Self { about: Arc::new(about), ..self }
    }

    /// Ends a call with the head of its response. Its body is then neither bounded in time nor judged, and holds no permit: for
    /// bodies without an end.
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

    /// Always: each attempt asks whether the service is ready, within the limits of the call.
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
                    // Where no time is left, the pipeline ends it.
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
