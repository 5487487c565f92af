//! A pipeline around `reqwest`.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use http::Extensions;
use reqwest::{Request, Response};
use reqwest_middleware::{Error, Middleware, Next, Result};
use resilient::pipeline::Options;
use resilient::{Class, Classify, Judgement, Pipeline, Rejection, Verdict};

use crate::layer::propagate;
use crate::layer::semantics::{is_idempotent, of_answer};

/// A [`Pipeline`] around each request of a `reqwest` client.
///
/// - 5xx, 408, 425 and 429 are failures that are worth a retry, other 4xx are the caller's own; `Retry-After` is honoured.
///   Errors are what their [`Classify`] says.
/// - A request that may have been carried out is repeated, or hedged, only if its method is idempotent
///   ([RFC 9110](https://www.rfc-editor.org/rfc/rfc9110#section-9.2.2)), or it has an `Idempotency-Key`. One whose body is a
///   stream is sent once.
/// - Each attempt carries the correlation id and the time that is left ([`propagate`]).
/// - A permit is held until the head of the answer is there. A refusal is an error with a [`Rejection`] in its chain of
///   sources, which [`RejectionKind::found_in`](resilient::RejectionKind::found_in) finds.
///
/// ```
/// use reqwest_middleware::ClientBuilder;
/// use resilient::{Registry, RejectionKind};
/// use resilient_http::ReqwestMiddleware;
///
/// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
/// let registry = Registry::new();
/// let pipeline = registry.pipeline("stock").retry("stock").circuit_breaker("stock").timeout("stock").build();
/// let client = ClientBuilder::new(reqwest::Client::new()).with(ReqwestMiddleware::new(pipeline)).build();
///
/// registry.circuit_breaker("stock").force_open();
/// let error = client.get("http://127.0.0.1:1/").send().await.unwrap_err();
/// assert!(matches!(RejectionKind::found_in(&error), Some((RejectionKind::CircuitOpen, _))));
/// # });
/// ```
#[derive(Clone)]
pub struct ReqwestMiddleware {
    pipeline: Arc<Pipeline>,
}

impl ReqwestMiddleware {
    /// Of this pipeline.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use reqwest_middleware::ClientBuilder;
    /// use resilient::{Registry, Component};
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
        Self { pipeline: pipeline.into() }
    }
}

impl fmt::Debug for ReqwestMiddleware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestMiddleware").field("pipeline", &self.pipeline.name()).finish_non_exhaustive()
    }
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
            Err(rejection) => Judgement::from(rejection.classify()),
        };
        let options = Options::default().idempotent(is_idempotent);
        match self.pipeline.call_judged_async(options, attempt, judge).await {
            Ok((answer, theirs)) => {
                *extensions = theirs;
                answer
            }
            Err(rejection) => Err(Error::middleware(Refused(rejection))),
        }
    }
}

fn judged(answer: &Result<Response>, can_repeat: bool) -> Judgement {
    let verdict = match answer {
        Ok(response) => of_answer(response.status(), response.headers()),
        Err(Error::Reqwest(error)) => Verdict::Failure(error.classify()),
        Err(Error::Middleware(error)) => {
            Verdict::Failure(Class::found_in(error.as_ref()).unwrap_or(Class::UNCERTAIN))
        }
    };
    let judgement = Judgement::from(verdict);
    // Whatever it is, it could not be sent again.
    if can_repeat { judgement } else { judgement.retry_when(false) }
}
