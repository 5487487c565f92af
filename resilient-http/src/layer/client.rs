//! A pipeline around a client.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderName, HeaderValue};
use resilient::correlation::CorrelationId;
use resilient::deadline::{self, Header};
use resilient::pipeline::Options;
use resilient::{Class, Classify, Pipeline, Rejection, Verdict};
use tower::{BoxError, Layer, Service};

/// What a service gives, in whose eyes it is to be judged.
type Judge<R, E> = Arc<dyn Fn(&Result<R, E>) -> Verdict + Send + Sync>;

/// A [`Pipeline`] around a client, or any service whose requests can be cloned: each attempt sends a clone, once the service
/// is ready for it. Refusals come as errors, which a [`Rejection`] can be found in.
///
/// ```
/// use std::convert::Infallible;
/// use resilient::Registry;
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
pub struct ClientLayer<R, E> {
    pipeline: Arc<Pipeline>,
    judge: Judge<R, E>,
}

impl<R, E> ClientLayer<R, E> {
    /// Every error is a failure, and worth a retry; every answer a success.
    pub fn new(pipeline: impl Into<Arc<Pipeline>>) -> Self {
        Self::judged(pipeline, |answer| match answer {
            Ok(_) => Verdict::Success,
            Err(_) => Verdict::Failure(Class::TRANSIENT),
        })
    }

    /// Judged by a function of yours, such as [`Verdict::by_class`].
    pub fn judged(
        pipeline: impl Into<Arc<Pipeline>>,
        judge: impl Fn(&Result<R, E>) -> Verdict + Send + Sync + 'static,
    ) -> Self {
        Self { pipeline: pipeline.into(), judge: Arc::new(judge) }
    }
}

impl<B, E> ClientLayer<http::Response<B>, E> {
    /// Judged by the status of HTTP: 5xx, 408 and 429 are failures that are worth a retry, other 4xx are the caller's own.
    /// `Retry-After` is honoured, as seconds.
    pub fn http(pipeline: impl Into<Arc<Pipeline>>) -> Self {
        Self::judged(pipeline, |answer| match answer {
            Ok(response) => of_status(response.status(), response.headers()),
            Err(_) => Verdict::Failure(Class::TRANSIENT),
        })
    }
}

/// What an answer is worth.
pub(crate) fn of_status(status: http::StatusCode, headers: &HeaderMap) -> Verdict {
    if !status.is_client_error() && !status.is_server_error() {
        return Verdict::Success;
    }
    let seconds =
        headers.get(http::header::RETRY_AFTER).and_then(|wish| wish.to_str().ok()?.trim().parse().ok());
    let wish = seconds.map(std::time::Duration::from_secs);
    Verdict::Failure(match status.classify() {
        Class::Transient { retry_after } => Class::Transient { retry_after: wish.or(retry_after) },
        Class::Overload { retry_after } => Class::Overload { retry_after: wish.or(retry_after) },
        other => other,
    })
}

impl<R, E> Clone for ClientLayer<R, E> {
    fn clone(&self) -> Self {
        Self { pipeline: Arc::clone(&self.pipeline), judge: Arc::clone(&self.judge) }
    }
}

impl<R, E> fmt::Debug for ClientLayer<R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientLayer").field("pipeline", &self.pipeline.name()).finish_non_exhaustive()
    }
}

impl<S, R, E> Layer<S> for ClientLayer<R, E> {
    type Service = Client<S, R, E>;

    fn layer(&self, inner: S) -> Self::Service {
        Client { inner, layer: self.clone() }
    }
}

/// The service of a [`ClientLayer`].
#[derive(Debug)]
pub struct Client<S, R, E> {
    inner: S,
    layer: ClientLayer<R, E>,
}

impl<S: Clone, R, E> Clone for Client<S, R, E> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), layer: self.layer.clone() }
    }
}

impl<S, Q, R, E> Service<Q> for Client<S, R, E>
where
    S: Service<Q, Response = R, Error = E> + Clone + Send + Sync + 'static,
    S::Future: Send,
    Q: Clone + Send + Sync + 'static,
    R: Send + 'static,
    E: Into<BoxError> + Send + 'static,
{
    type Response = R;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<R, BoxError>> + Send>>;

    /// Always: each attempt asks whether the service is ready, within the limits of the call.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Q) -> Self::Future {
        let ClientLayer { pipeline, judge } = self.layer.clone();
        let service = self.inner.clone();
        Box::pin(async move {
            let attempt = || {
                let (mut service, request) = (service.clone(), request.clone());
                async move {
                    Ok::<_, Rejection>(match std::future::poll_fn(|cx| service.poll_ready(cx)).await {
                        Ok(()) => service.call(request).await,
                        Err(error) => Err(error),
                    })
                }
            };
            let judge = |outcome: &Result<Result<R, E>, Rejection>| match outcome {
                Ok(answer) => judge(answer),
                Err(rejection) => Verdict::Failure(rejection.classify()),
            };
            match pipeline.call_judged_async(Options::default(), attempt, judge).await {
                Ok(answer) => answer.map_err(Into::into),
                Err(rejection) => Err(rejection.into()),
            }
        })
    }
}

/// Writes what the next service should know into the headers of a request: the correlation id of the scope around this
/// code, and how long its caller waits (`grpc-timeout`). Whether there is any time left: else do not send it.
///
/// ```
/// use http::HeaderMap;
/// use resilient::correlation::CorrelationId;
///
/// let mut headers = HeaderMap::new();
/// let id = CorrelationId::parse("order-7").unwrap();
/// let entered = id.enter();
/// assert!(resilient_http::layer::propagate(&mut headers));
/// assert_eq!(headers["x-correlation-id"], "order-7");
/// # drop(entered);
/// ```
pub fn propagate(headers: &mut HeaderMap) -> bool {
    let id = CorrelationId::current().and_then(|id| HeaderValue::from_str(id.as_str()).ok());
    if let Some(id) = id {
        headers.insert(HeaderName::from_static("x-correlation-id"), id);
    }
    let Some(left) = deadline::remaining() else { return true };
    let written = Header::GrpcTimeout.write(left).and_then(|left| HeaderValue::try_from(left).ok());
    let Some(left) = written else { return false };
    headers.insert(HeaderName::from_static(Header::GrpcTimeout.name()), left);
    true
}
