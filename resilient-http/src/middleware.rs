//! Middleware for `reqwest` clients.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use http::Extensions;
use reqwest::{Request, Response, ResponseBuilderExt};
use reqwest_middleware::{Error, Middleware, Next, Result};
use resilient_runtime::observe::Words;
use resilient_runtime::pipeline::{OpenCall, Options};
use resilient_runtime::registry::PipelineBuilder;
use resilient_runtime::{Judgement, Pipeline, Registry, Rejection};

use crate::layer::semantics::{describe_answer, is_idempotent, of_answer, of_error};
use crate::layer::{CallBody, propagate};
use crate::per_host::{PerHost, Pipelines};

/// Runs each request of a `reqwest` client through a [`Pipeline`].
///
/// Prefer [one pipeline per host](Self::per_host), so that a failing host does not open the circuit breaker of the others.
///
/// - **Failures:** 5xx, 408, 425 and 429 are failures, and all except 501 and 505 can be retried. Other 4xx are mistakes of
///   the caller and do not count as failures of the host. Errors are classified by [`Classify`](resilient_runtime::Classify).
/// - **`Retry-After`:** a retry waits as long as the response asks for, in seconds or as a date on the server's clock, up to
///   `max_retry_after` of the retry (60 s by default).
/// - **Retries and hedges:** a request that might have been executed is repeated or hedged only if its method is idempotent
///   ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2)) or it has an `Idempotency-Key`. A request with a
///   streaming body is sent once.
/// - **Propagation:** each attempt sends the correlation id and the remaining time ([`propagate`]).
/// - **Response bodies:** a call ends with the body of its response ([`CallBody`]). Until then the call holds its permit. Its
///   deadline and `timeout(read = ..)` limit the body, and a body that ends with an error is a failure. A call is not
///   retried after the response has been returned. If the response is dropped before its body is read, its status and headers
///   decide the outcome; if the body is dropped half read, the call counts as cancelled. For endless bodies, such as event
///   streams, use [`until_head`](Self::until_head).
/// - **Rejections:** a rejection is an error with a [`Rejection`] in its source chain. Find it with
///   [`RejectionKind::found_in`](resilient_runtime::RejectionKind::found_in).
///
/// ```
/// use reqwest_middleware::ClientBuilder;
/// use resilient_runtime::{Registry, RejectionKind};
/// use resilient_http::ReqwestMiddleware;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let registry = Registry::new();
/// let middleware = ReqwestMiddleware::per_host(&registry, |pipeline, host| {
///     pipeline.retry("web").circuit_breaker(host).timeout("web")
/// });
/// let client = ClientBuilder::new(reqwest::Client::new()).with(middleware).build();
///
/// registry.circuit_breaker("127.0.0.1:1").force_open();
/// let error = client.get("http://127.0.0.1:1/").send().await.unwrap_err();
/// assert!(matches!(RejectionKind::found_in(&error), Some((RejectionKind::CircuitOpen, _))));
/// # });
/// ```
#[derive(Clone)]
pub struct ReqwestMiddleware {
    pipelines: Pipelines,
    until_head: bool,
}

impl ReqwestMiddleware {
    /// Creates a middleware with one pipeline for all hosts.
    ///
    /// Use this for a client of a single service.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use reqwest_middleware::ClientBuilder;
    /// use resilient_runtime::{Registry, Component};
    /// use resilient_http::ReqwestMiddleware;
    ///
    /// let registry = Registry::new();
    /// let middleware = ReqwestMiddleware::new(registry.pipeline("stock").circuit_breaker("stock").build());
    /// let client = ClientBuilder::new(reqwest::Client::new()).with(middleware).build();
    /// assert!(client.get("http://127.0.0.1:1/").send().await.is_err());
    /// assert_eq!(registry.circuit_breaker("stock").stats().failed, 1);
    /// # }
    /// ```
    pub fn new(pipeline: impl Into<Arc<Pipeline>>) -> Self {
        Self { pipelines: Pipelines::One(pipeline.into()), until_head: false }
    }

    /// Creates a middleware with a separate pipeline for each host; see [`PerHost`].
    ///
    /// `build` receives an empty builder and the name of the host (`example.com:443`). A redirected request counts for the
    /// host that it was sent to first.
    ///
    /// ```
    /// use resilient_runtime::Registry;
    /// use resilient_http::ReqwestMiddleware;
    ///
    /// let middleware = ReqwestMiddleware::per_host(&Registry::new(), |pipeline, host| {
    ///     pipeline.retry("web").circuit_breaker(host).bulkhead(host).timeout("web")
    /// });
    /// # drop(middleware);
    /// ```
    pub fn per_host(
        registry: &Registry,
        build: impl Fn(PipelineBuilder, &str) -> PipelineBuilder + Send + Sync + 'static,
    ) -> Self {
        Self::of_hosts(PerHost::new(registry, build))
    }

    /// Creates a middleware with the pipelines of an existing [`PerHost`].
    ///
    /// Use this instead of [`per_host`](Self::per_host) to set [the maximum number of hosts](PerHost::at_most), or to share
    /// the pipelines with other clients.
    ///
    /// ```
    /// use resilient_runtime::Registry;
    /// use resilient_http::{PerHost, ReqwestMiddleware};
    ///
    /// let hosts = PerHost::new(&Registry::new(), |pipeline, host| pipeline.circuit_breaker(host)).at_most(100);
    /// let middleware = ReqwestMiddleware::of_hosts(hosts);
    /// # drop(middleware);
    /// ```
    pub fn of_hosts(hosts: impl Into<Arc<PerHost>>) -> Self {
        Self { pipelines: Pipelines::PerHost(hosts.into()), until_head: false }
    }

    /// Ends each call when the response headers have arrived, for endless bodies.
    ///
    /// The response body then holds no permit, has no time limit, and does not affect the outcome of the call.
    ///
    /// ```
    /// use resilient_runtime::Registry;
    /// use resilient_http::ReqwestMiddleware;
    ///
    /// let events = Registry::new().pipeline("events").circuit_breaker("feed").timeout("feed").build();
    /// let middleware = ReqwestMiddleware::new(events).until_head();
    /// # drop(middleware);
    /// ```
    #[must_use]
    pub fn until_head(self) -> Self {
        Self { until_head: true, ..self }
    }

    fn pipeline(&self, url: &reqwest::Url) -> Arc<Pipeline> {
        match &self.pipelines {
            Pipelines::One(pipeline) => Arc::clone(pipeline),
            Pipelines::PerHost(hosts) => {
                hosts.pipeline(url.scheme(), url.host_str().unwrap_or_default(), url.port_or_known_default())
            }
        }
    }
}

impl fmt::Debug for ReqwestMiddleware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestMiddleware")
            .field("pipeline", &self.pipelines)
            .field("until_head", &self.until_head)
            .finish()
    }
}

/// Replaces the body of the response with a [`CallBody`].
fn bounded(response: Response, call: OpenCall) -> Response {
    // The URL is not part of `http::Response`; it would be lost without this extension.
    let url = http::Response::builder().url(response.url().clone()).body(());
    let (mut parts, body) = http::Response::<reqwest::Body>::from(response).into_parts();
    if let Ok(url) = url {
        parts.extensions.extend(url.into_parts().0.extensions);
    }
    let body = reqwest::Body::wrap(CallBody::new(body, &parts.headers, call));
    http::Response::from_parts(parts, body).into()
}

/// Makes the rejection a source: `Error::middleware` exposes the sources of the error that it wraps, but not that error.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(#[source] Rejection);

/// Unreachable: requests whose body cannot be cloned are never retried.
#[derive(Debug, thiserror::Error)]
#[error("the request body is a stream and cannot be sent again")]
struct SentAlready;

#[async_trait]
impl Middleware for ReqwestMiddleware {
    async fn handle(
        &self,
        request: Request,
        extensions: &mut Extensions,
        next: Next<'_>,
    ) -> Result<Response> {
        let pipeline = self.pipeline(request.url());
        let template = request.try_clone();
        let can_repeat = template.is_some();
        let is_idempotent = can_repeat && is_idempotent(request.method(), request.headers());
        let mut first = Some(request);
        let attempt = || {
            let request = first.take().or_else(|| template.as_ref()?.try_clone());
            // With a hedge, two attempts run at the same time.
            let (next, mut extensions) = (next.clone(), extensions.clone());
            async move {
                let result = match request {
                    Some(mut request) => {
                        // If no time is left, the pipeline ends the attempt.
                        propagate(request.headers_mut());
                        next.run(request, &mut extensions).await
                    }
                    None => Err(Error::middleware(SentAlready)),
                };
                Ok::<_, Rejection>((result, extensions))
            }
        };
        let judge = |outcome: &std::result::Result<(Result<Response>, Extensions), Rejection>| match outcome {
            Ok((result, _)) => judged(result, can_repeat),
            Err(rejection) => of_error(rejection),
        };
        let describe = |outcome: &std::result::Result<(Result<Response>, Extensions), Rejection>,
                        words: &mut Words| {
            match outcome {
                Ok((Ok(response), _)) => describe_answer(response.status(), response.headers(), words),
                Ok((Err(error), _)) => words.error(error),
                Err(rejection) => words.error(rejection),
            }
        };
        let options = Options::default().idempotent(is_idempotent);
        if self.until_head {
            let request = pipeline.request().options(options).judge(judge).describe_outcome(describe);
            return match request.call_async(attempt).await {
                Ok((result, attempt_extensions)) => {
                    *extensions = attempt_extensions;
                    result
                }
                Err(rejection) => Err(Error::middleware(Refused(rejection))),
            };
        }
        let request = pipeline.open_request().options(options).judge(judge).describe_outcome(describe);
        let (outcome, call) = request.call_open_async(attempt).await;
        match outcome {
            Ok((result, attempt_extensions)) => {
                *extensions = attempt_extensions;
                result.map(|response| bounded(response, call))
            }
            Err(rejection) => Err(Error::middleware(Refused(rejection))),
        }
    }
}

fn judged(result: &Result<Response>, can_repeat: bool) -> Judgement {
    let judgement = match result {
        Ok(response) => of_answer(response.status(), response.headers()),
        Err(Error::Reqwest(error)) => of_error(error),
        Err(Error::Middleware(error)) => of_error(error.as_ref()),
    };
    // A body that cannot be cloned cannot be sent again, whatever the outcome.
    if can_repeat { judgement } else { judgement.retry_when(false) }
}
