//! A pipeline around a client of any protocol.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderName, HeaderValue};
use resilient_runtime::correlation::CorrelationId;
use resilient_runtime::deadline::{self, Header};
use resilient_runtime::observe::Words;
use resilient_runtime::pipeline::Options;
use resilient_runtime::{Class, Judgement, Pipeline, Rejection, Verdict};
use tower::{BoxError, Layer, Service};

use super::HttpClientLayer;
use super::semantics::of_error;

/// Judges a response or an error of the service.
type Judge<R> = dyn Fn(&Result<R, BoxError>) -> Judgement + Send + Sync;

/// Returns the call options of a request.
type About<Q> = dyn Fn(&Q) -> Options + Send + Sync;

/// A [`Pipeline`] around any service whose requests implement `Clone`.
///
/// Each attempt sends a clone of the request, after the inner service has become ready. A rejection is an error with a
/// [`Rejection`] in its source chain. For HTTP and gRPC, use [`HttpClientLayer`].
///
/// ```
/// use std::convert::Infallible;
/// use resilient_runtime::Registry;
/// use resilient_http::layer::ClientLayer;
/// use tower::{ServiceBuilder, ServiceExt, service_fn};
///
/// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
/// let pipeline = Registry::new().pipeline("double").retry("double").timeout("double").build();
/// let double = service_fn(async |n: u32| Ok::<_, Infallible>(n * 2));
/// let double = ServiceBuilder::new().layer(ClientLayer::new(pipeline)).service(double);
/// assert_eq!(double.oneshot(21).await.unwrap(), 42);
/// # });
/// ```
pub struct ClientLayer<Q, R> {
    pipeline: Arc<Pipeline>,
    judge: Arc<Judge<R>>,
    about: Arc<About<Q>>,
}

impl<Q, R> ClientLayer<Q, R> {
    /// Creates a layer that counts every response as a success.
    ///
    /// Every error is a failure.
    /// Network errors and rejections have the class that [`Class::found_in`] returns. Any other error can be retried.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use std::cell::Cell;
    /// use resilient_runtime::{Registry, RejectionKind};
    /// use resilient_http::layer::ClientLayer;
    /// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
    ///
    /// let registry = Registry::new();
    /// registry.circuit_breaker("stock").force_open();
    /// let layer = ClientLayer::new(registry.pipeline("stock").circuit_breaker("stock").build());
    /// let stock = ServiceBuilder::new().layer(layer).service(service_fn(async |n: u32| Ok::<_, BoxError>(n)));
    /// let error = stock.oneshot(7).await.unwrap_err();
    /// assert!(matches!(RejectionKind::found_in(&*error), Some((RejectionKind::CircuitOpen, _))));
    /// # }
    /// ```
    pub fn new(pipeline: impl Into<Arc<Pipeline>>) -> Self {
        Self::judged(pipeline, |result| match result {
            Ok(_) => Judgement::from(Verdict::Success),
            Err(error) => Judgement::found_in(&**error).unwrap_or(Class::UNKNOWN.into()),
        })
    }

    /// Creates a layer with your own function that judges responses and errors.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Class, Component, Registry, Verdict};
    /// use resilient_http::layer::ClientLayer;
    /// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("find").circuit_breaker("index").build();
    /// let layer = ClientLayer::judged(pipeline, |found: &Result<u32, BoxError>| match found {
    ///     Ok(0) => Verdict::Failure(Class::Permanent), // the index is never empty
    ///     _ => Verdict::Success,
    /// });
    /// let find = ServiceBuilder::new().layer(layer).service(service_fn(async |_: &str| Ok::<_, BoxError>(0)));
    /// assert_eq!(find.oneshot("book").await.unwrap(), 0);
    /// assert_eq!(registry.circuit_breaker("index").stats().failed, 1);
    /// # }
    /// ```
    pub fn judged<J: Into<Judgement>>(
        pipeline: impl Into<Arc<Pipeline>>,
        judge: impl Fn(&Result<R, BoxError>) -> J + Send + Sync + 'static,
    ) -> Self {
        let about = Arc::new(|_: &Q| Options::default());
        let judge = Arc::new(move |result: &Result<R, BoxError>| judge(result).into());
        Self { pipeline: pipeline.into(), judge, about }
    }

    /// Sets a function that returns the call options of each request.
    ///
    /// The options are, for example, the priority, the key of the rate limit, and whether the request is idempotent.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Priority, Registry, pipeline::Options};
    /// use resilient_http::layer::ClientLayer;
    /// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
    ///
    /// let registry = Registry::new();
    /// let layer = ClientLayer::new(registry.pipeline("send").load_shed("api").build());
    /// let layer = layer.about(|cents: &u32| {
    ///     Options::default().priority(if *cents > 10_000 { Priority::Critical } else { Priority::Normal })
    /// });
    /// let send = ServiceBuilder::new().layer(layer).service(service_fn(async |_: u32| Ok::<_, BoxError>(())));
    /// send.oneshot(99_500).await.unwrap();
    /// assert_eq!(registry.load_shedder("api").stats().classes.critical.admitted, 1);
    /// # }
    /// ```
    #[must_use]
    pub fn about(self, about: impl Fn(&Q) -> Options + Send + Sync + 'static) -> Self {
        Self { about: Arc::new(about), ..self }
    }
}

impl ClientLayer<(), ()> {
    /// Creates a layer for HTTP and gRPC; the same as [`HttpClientLayer::new`].
    ///
    /// Responses are judged by their status and `Retry-After`, and a call ends with the body of its response. For a client of
    /// several hosts, use [`HttpClientLayer::per_host`].
    ///
    /// ```
    /// use http::{Request, Response};
    /// use http_body_util::Empty;
    /// use resilient_runtime::Registry;
    /// use resilient_http::layer::ClientLayer;
    /// use tower::{ServiceBuilder, ServiceExt, service_fn};
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let pipeline = Registry::new().pipeline("stock").retry("stock").build();
    /// let stock = service_fn(async |_: Request<()>| Ok::<_, std::io::Error>(Response::new(Empty::<&[u8]>::new())));
    /// let stock = ServiceBuilder::new().layer(ClientLayer::http(pipeline)).service(stock);
    /// assert_eq!(stock.oneshot(Request::new(())).await.unwrap().status(), 200);
    /// # });
    /// ```
    pub fn http<A>(pipeline: impl Into<Arc<Pipeline>>) -> HttpClientLayer<A> {
        HttpClientLayer::new(pipeline)
    }
}

impl<Q, R> Clone for ClientLayer<Q, R> {
    fn clone(&self) -> Self {
        let Self { pipeline, judge, about } = self;
        Self { pipeline: Arc::clone(pipeline), judge: Arc::clone(judge), about: Arc::clone(about) }
    }
}

impl<Q, R> fmt::Debug for ClientLayer<Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientLayer").field("pipeline", &self.pipeline.name()).finish_non_exhaustive()
    }
}

impl<S, Q, R> Layer<S> for ClientLayer<Q, R> {
    type Service = Client<S, Q, R>;

    fn layer(&self, inner: S) -> Self::Service {
        Client { inner, layer: self.clone() }
    }
}

/// The service of a [`ClientLayer`].
///
/// ```
/// use resilient_runtime::Registry;
/// use resilient_http::layer::{Client, ClientLayer};
/// use tower::{BoxError, Layer, service_fn};
///
/// let layer = ClientLayer::new(Registry::new().pipeline("double").build());
/// let double: Client<_, u32, u32> = layer.layer(service_fn(async |n: u32| Ok::<u32, BoxError>(n * 2)));
/// assert!(format!("{layer:?}").contains("double"));
/// # drop(double);
/// ```
#[derive(Debug)]
pub struct Client<S, Q, R> {
    inner: S,
    layer: ClientLayer<Q, R>,
}

impl<S: Clone, Q, R> Clone for Client<S, Q, R> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S, Q, R> Service<Q> for Client<S, Q, R>
where
    S: Service<Q, Response = R> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError> + Send,
    S::Future: Send,
    Q: Clone + Send + Sync + 'static,
    R: Send + 'static,
{
    type Response = R;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<R, BoxError>> + Send>>;

    /// Always returns ready.
    ///
    /// Each attempt polls the inner service, within the limits of the call.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Q) -> Self::Future {
        let ClientLayer { pipeline, judge, about } = self.layer.clone();
        let service = self.inner.clone();
        Box::pin(async move {
            let attempt = || {
                let (mut service, request) = (service.clone(), request.clone());
                async move {
                    Ok::<_, Rejection>(match std::future::poll_fn(|cx| service.poll_ready(cx)).await {
                        Ok(()) => service.call(request).await.map_err(Into::into),
                        Err(error) => Err(error.into()),
                    })
                }
            };
            let judge = |outcome: &Result<Result<R, BoxError>, Rejection>| match outcome {
                Ok(result) => judge(result),
                Err(rejection) => of_error(rejection),
            };
            let describe = |outcome: &Result<Result<R, BoxError>, Rejection>, words: &mut Words| match outcome
            {
                Ok(Ok(_)) => words.display(&"the response was judged a failure"),
                Ok(Err(error)) => words.error(&**error),
                Err(rejection) => words.error(rejection),
            };
            let request = pipeline.request().options(about(&request)).judge(judge).describe_outcome(describe);
            request.call_async(attempt).await?
        })
    }
}

/// Adds the current correlation id and deadline to request headers.
///
/// The correlation id is written to `x-correlation-id`, unless the request already has that header. The remaining time is
/// written to `grpc-timeout`. Both come from the scope around the caller of this function.
///
/// Returns whether any time is left. If it returns `false`, do not send the request.
///
/// ```
/// use http::HeaderMap;
/// use resilient_runtime::correlation::CorrelationId;
///
/// let mut headers = HeaderMap::new();
/// let id = CorrelationId::parse("order-7").unwrap();
/// assert!(id.scope(|| resilient_http::layer::propagate(&mut headers)));
/// assert_eq!(headers["x-correlation-id"], "order-7");
/// ```
pub fn propagate(headers: &mut HeaderMap) -> bool {
    let id = CorrelationId::current().and_then(|id| HeaderValue::from_str(id.as_str()).ok());
    if let Some(id) = id {
        // A header that the caller has set takes precedence.
        headers.entry(HeaderName::from_static("x-correlation-id")).or_insert(id);
    }
    let Some(left) = deadline::remaining() else { return true };
    let written = Header::GrpcTimeout.write(left).and_then(|left| HeaderValue::try_from(left).ok());
    let Some(left) = written else { return false };
    headers.insert(HeaderName::from_static(Header::GrpcTimeout.name()), left);
    true
}
