//! A pipeline around `reqwest`.

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

/// A [`Pipeline`] around each request of a `reqwest` client. Prefer [one for each host](Self::per_host), so that one dead
/// host does not open the circuit of the others.
///
/// - 5xx, 408, 425 and 429 are failures that are worth a retry, other 4xx are the caller's own; `Retry-After` is honoured,
///   as seconds or as a date on the server's clock, up to `max_retry_after` of the retry (60 s by default).
///   Errors are what their [`Classify`](resilient_runtime::Classify) says.
/// - A request that may have been carried out is repeated, or hedged, only if its method is idempotent
///   ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2)), or it has an `Idempotency-Key`. One whose body is a
///   stream is sent once.
/// - Each attempt carries the correlation id and the time that is left ([`propagate`]).
/// - A call ends with the body of its response ([`CallBody`]): until then it holds its permit, its deadline and
///   `timeout(read = ..)` bound the body, and a body that breaks off is a failure. Once the response was handed out nothing is
///   repeated. A response that is dropped unread is counted by its head, one that is dropped half read as cancelled. Where
///   bodies have no end, as in event streams, use [`until_head`](Self::until_head).
/// - A refusal is an error with a [`Rejection`] in its chain of sources, which
///   [`RejectionKind::found_in`](resilient_runtime::RejectionKind::found_in) finds.
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
    /// One pipeline for all requests, whatever their host. For a client that talks to one service.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use reqwest_middleware::ClientBuilder;
    /// use resilient_runtime::{Registry, Component};
    /// use resilient_http::ReqwestMiddleware;
    ///
    /// let registry = Registry::new();
    /// let middleware = ReqwestMiddleware::new(registry.pipeline("ask").circuit_breaker("nobody").build());
    /// let client = ClientBuilder::new(reqwest::Client::new()).with(middleware).build();
    /// assert!(client.get("http://127.0.0.1:1/").send().await.is_err());
    /// assert_eq!(registry.circuit_breaker("nobody").stats().failed, 1);
    /// # }
    /// ```
    pub fn new(pipeline: impl Into<Arc<Pipeline>>) -> Self {
        Self { pipelines: Pipelines::One(pipeline.into()), until_head: false }
    }

    /// A pipeline for each host, built from an empty builder and the name of the host (`example.com:443`); see [`PerHost`].
    /// A request that is redirected is counted for the host that it was sent to first.
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

    /// As [`per_host`](Self::per_host), with hosts that are [bounded](PerHost::at_most) otherwise, or shared with other clients.
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

    /// Ends a call with the head of its response. Its body is then neither bounded in time nor judged, and holds no permit: for
    /// bodies without an end.
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

/// The same response with a body that is bounded by the call.
fn bounded(response: Response, call: OpenCall) -> Response {
    // A response that is made anew does not know its address otherwise.
    let url = http::Response::builder().url(response.url().clone()).body(());
    let (mut parts, body) = http::Response::<reqwest::Body>::from(response).into_parts();
    if let Ok(url) = url {
        parts.extensions.extend(url.into_parts().0.extensions);
    }
    let body = reqwest::Body::wrap(CallBody::new(body, &parts.headers, call));
    http::Response::from_parts(parts, body).into()
}

/// An error of the middleware shows the sources of what is in it, and not that itself: so it is one deeper.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refused(#[source] Rejection);

/// It was judged so that this never comes to pass.
#[derive(Debug, thiserror::Error)]
#[error("the body of the request is a stream, and cannot be sent again")]
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
            // Two attempts may run at the same time.
            let (next, mut extensions) = (next.clone(), extensions.clone());
            async move {
                let answer = match request {
                    Some(mut request) => {
                        // Where no time is left, the pipeline ends it.
                        propagate(request.headers_mut());
                        next.run(request, &mut extensions).await
                    }
                    None => Err(Error::middleware(SentAlready)),
                };
                Ok::<_, Rejection>((answer, extensions))
            }
        };
        let judge = |outcome: &std::result::Result<(Result<Response>, Extensions), Rejection>| match outcome {
            Ok((answer, _)) => judged(answer, can_repeat),
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
                Ok((answer, theirs)) => {
                    *extensions = theirs;
                    answer
                }
                Err(rejection) => Err(Error::middleware(Refused(rejection))),
            };
        }
        let request = pipeline.open_request().options(options).judge(judge).describe_outcome(describe);
        let (outcome, call) = request.call_open_async(attempt).await;
        match outcome {
            Ok((answer, theirs)) => {
                *extensions = theirs;
                answer.map(|response| bounded(response, call))
            }
            Err(rejection) => Err(Error::middleware(Refused(rejection))),
        }
    }
}

fn judged(answer: &Result<Response>, can_repeat: bool) -> Judgement {
    let judgement = match answer {
        Ok(response) => of_answer(response.status(), response.headers()),
        Err(Error::Reqwest(error)) => of_error(error),
        Err(Error::Middleware(error)) => of_error(error.as_ref()),
    };
    // Whatever it is, it could not be sent again.
    if can_repeat { judgement } else { judgement.retry_when(false) }
}
