//! Rate limits for each client of a server.

use std::fmt::{self, Write as _};
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use pin_project_lite::pin_project;
use resilient_runtime::rate_limit::Decision;
use resilient_runtime::{Component, RateLimiter};
use tower::{BoxError, Layer, Service};

use super::body::Unread;
use super::client_ip::{ClientIp, client_of};
use crate::Problem;

const LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Limits the request rate of each client.
///
/// If the setting `store` of the limiter names a store, each client has one limit at all instances of the service. A request
/// then waits for the store, at most for its `timeout`; `on_store_failure` applies without it.
///
/// A request above the limit gets 429 and `Retry-After`. While the limiter has a rate, every response contains the
/// remaining quota of the client, in the headers `RateLimit` and `RateLimit-Policy` of the IETF draft
/// `httpapi-ratelimit-headers`.
///
/// ```
/// use resilient_runtime::Registry;
/// use resilient_http::layer::{ClientIp, RateLimitLayer};
///
/// let registry = Registry::new();
/// let per_address = RateLimitLayer::new(registry.rate_limiter("addresses"), ClientIp::direct());
/// let per_key = RateLimitLayer::by(registry.rate_limiter("keys"), |parts| {
///     parts.headers.get("x-api-key").map(|key| key.as_bytes().to_vec())
/// });
/// ```
#[derive(Clone)]
pub struct RateLimitLayer {
    limiter: Arc<RateLimiter>,
    /// Returns the hash of the client's identity; the limiter hashes it again with a key of its own.
    client: Arc<dyn Fn(&Parts) -> u64 + Send + Sync>,
    headers: Arc<LimitHeaders>,
}

impl RateLimitLayer {
    /// Limits each client address; for IPv6, each /64 network.
    ///
    /// All requests for which the server does not provide a peer address (see [`ClientIp::of`]) share one limit.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use tower::ServiceExt;
    /// use axum::{Router, body::Body, http::Request, routing::get};
    /// use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
    /// use resilient_http::layer::{ClientIp, RateLimitLayer};
    ///
    /// let limiter = Registry::new().rate_limiter("addresses");
    /// limiter.reconfigure(Config::default().rate("1/h".parse::<Rate>().unwrap())).unwrap();
    /// let layer = RateLimitLayer::new(limiter, ClientIp::direct());
    /// let app: Router = Router::new().route("/", get(async || "hello")).layer(layer);
    /// assert_eq!(app.clone().oneshot(Request::new(Body::empty())).await.unwrap().status(), 200);
    /// let rejected = app.oneshot(Request::new(Body::empty())).await.unwrap();
    /// assert_eq!(rejected.status(), 429);
    /// assert!(rejected.headers().contains_key("retry-after"));
    /// # }
    /// ```
    pub fn new(limiter: Arc<RateLimiter>, clients: ClientIp) -> Self {
        Self::by(limiter, move |parts| clients.of(parts).map(client_of))
    }

    /// Limits each client by an identity of your choice, such as an API key or a user.
    ///
    /// All requests for which `client` returns `None` share one limit.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use tower::ServiceExt;
    /// use axum::{Router, body::Body, http::Request, routing::get};
    /// use resilient_runtime::{Component, Registry, rate_limit::{Config, Rate}};
    /// use resilient_http::layer::RateLimitLayer;
    ///
    /// let limiter = Registry::new().rate_limiter("keys");
    /// limiter.reconfigure(Config::default().rate("1/h".parse::<Rate>().unwrap())).unwrap();
    /// let layer = RateLimitLayer::by(limiter, |parts| parts.headers.get("x-api-key").cloned());
    /// let app: Router = Router::new().route("/", get(async || "hello")).layer(layer);
    /// for (key, status) in [("a", 200), ("a", 429), ("b", 200)] {
    ///     let request = Request::get("/").header("x-api-key", key).body(Body::empty()).unwrap();
    ///     assert_eq!(app.clone().oneshot(request).await.unwrap().status(), status);
    /// }
    /// # }
    /// ```
    pub fn by<K: Hash>(
        limiter: Arc<RateLimiter>,
        client: impl Fn(&Parts) -> Option<K> + Send + Sync + 'static,
    ) -> Self {
        // The hash is keyed, so that a client cannot construct an identity that collides with another client.
        let hasher = Arc::clone(&limiter);
        let client = move |parts: &Parts| hasher.hash_of_key(&client(parts));
        let headers = Arc::new(LimitHeaders::of(limiter.name()));
        Self { limiter, client: Arc::new(client), headers }
    }
}

impl fmt::Debug for RateLimitLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimitLayer").field("limiter", &self.limiter.name()).finish_non_exhaustive()
    }
}

impl<S> Layer<S> for RateLimitLayer {
    type Service = RateLimited<S>;

    fn layer(&self, inner: S) -> RateLimited<S> {
        RateLimited { inner, layer: self.clone() }
    }
}

/// The service of a [`RateLimitLayer`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # use axum::body::Body;
/// # use http::{Request, Response};
/// # use tower::{BoxError, Layer, ServiceExt, service_fn};
/// use resilient_runtime::Registry;
/// use resilient_http::layer::{ClientIp, RateLimitLayer, RateLimited};
///
/// let hello = async |_: Request<Body>| Ok::<_, BoxError>(Response::new(Body::from("hello")));
/// let layer = RateLimitLayer::new(Registry::new().rate_limiter("all"), ClientIp::direct());
/// let service: RateLimited<_> = layer.layer(service_fn(hello));
/// assert_eq!(service.oneshot(Request::new(Body::empty())).await.unwrap().status(), 200, "no rate is set");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RateLimited<S> {
    inner: S,
    layer: RateLimitLayer,
}

impl<S, B, R> Service<Request<B>> for RateLimited<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    B: http_body::Body + Send + 'static,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = S::Error;
    type Future = RateLimitFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let unread = Unread::of(&request);
        let (parts, body) = request.into_parts();
        let client = (self.layer.client)(&parts);
        if self.layer.limiter.is_shared() {
            // The service that is ready. The clone must become ready for the next request.
            let clone = self.inner.clone();
            let mut ready = std::mem::replace(&mut self.inner, clone);
            let layer = self.layer.clone();
            let decided = async move {
                let decision = layer.limiter.check_key_async(&client).await;
                layer.decided(&decision, unread, || ready.call(Request::from_parts(parts, body)))
            };
            return RateLimitFuture::Asking { decided: Box::pin(decided) };
        }
        let decision = self.layer.limiter.check_key(&client);
        let call = || self.inner.call(Request::from_parts(parts, body));
        match self.layer.decided(&decision, unread, call) {
            Decided::Admitted(answer, standing) => RateLimitFuture::Admitted { answer, standing },
            Decided::Refused(refusal, standing) => {
                RateLimitFuture::Refused { refusal: Some(refusal), standing }
            }
        }
    }
}

/// The values of the headers `RateLimit` and `RateLimit-Policy`.
type Standing = [Option<HeaderValue>; 2];

/// A request after the decision of the limiter, with the values of the headers.
#[derive(Debug)]
#[doc(hidden)]
pub enum Decided<F> {
    Admitted(F, Standing),
    Refused(Response<Body>, Standing),
}

impl RateLimitLayer {
    fn decided<F>(&self, decision: &Decision, unread: Unread, call: impl FnOnce() -> F) -> Decided<F> {
        let standing = self.headers.values(&self.limiter, decision);
        if decision.allowed {
            return Decided::Admitted(call(), standing);
        }
        let problem = Problem::new(StatusCode::TOO_MANY_REQUESTS, "the rate limit is exceeded")
            .with("component", self.limiter.name())
            .after(decision.retry_after);
        Decided::Refused(unread.refused(problem), standing)
    }
}

/// The decision of a store, and then the call.
type Deciding<F> = Pin<Box<dyn Future<Output = Decided<F>> + Send>>;

/// The values of the rate limit headers, as structured fields.
#[derive(Debug)]
struct LimitHeaders {
    /// The limiter's name, without the characters that a header value cannot contain.
    name: Box<str>,
    /// The policy at the first request; it is reused until the limiter is reconfigured.
    policy: OnceLock<(Policy, HeaderValue)>,
}

/// The limit of calls in a period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Policy {
    limit: u32,
    seconds: u128,
}

impl LimitHeaders {
    fn of(name: &str) -> Self {
        let name: String = name.chars().filter(|c| c.is_ascii_graphic() && !"\"\\".contains(*c)).collect();
        Self { name: name.into(), policy: OnceLock::new() }
    }

    /// Returns `limiter;r=REMAINING;t=SECONDS` and `limiter;q=LIMIT;w=SECONDS`.
    fn values(&self, limiter: &RateLimiter, decision: &Decision) -> [Option<HeaderValue>; 2] {
        if limiter.config().rate.is_none() {
            // The limiter has no rate, so nothing is limited.
            return [None, None];
        }
        let seconds = whole_seconds(decision.reset_after.as_nanos());
        // The exact length, so that the text becomes a header value without a reallocation.
        let digits = digits(decision.remaining.into()) + digits(seconds);
        let mut text = String::with_capacity(self.name.len() + "\"\";r=;t=".len() + digits);
        let _ = write!(text, "\"{}\";r={};t={seconds}", self.name, decision.remaining);
        [HeaderValue::from_maybe_shared(Bytes::from(text)).ok(), self.policy(limiter, decision.limit)]
    }

    fn policy(&self, limiter: &RateLimiter, limit: u32) -> Option<HeaderValue> {
        let now =
            Policy { limit, seconds: whole_seconds(per_call(limiter).saturating_mul(limit.into())).max(1) };
        let text = || {
            let Policy { limit, seconds } = now;
            HeaderValue::from_str(&format!("\"{}\";q={limit};w={seconds}", self.name)).ok()
        };
        match self.policy.get() {
            Some((policy, value)) if *policy == now => Some(value.clone()),
            // The limiter was reconfigured.
            Some(_) => text(),
            None => {
                let value = text()?;
                let _ = self.policy.set((now, value.clone()));
                Some(value)
            }
        }
    }
}

fn digits(number: u128) -> usize {
    number.checked_ilog10().unwrap_or(0) as usize + 1
}

fn whole_seconds(nanos: u128) -> u128 {
    nanos.div_ceil(1_000_000_000)
}

/// The nanoseconds until the quota of one call is restored.
fn per_call(limiter: &RateLimiter) -> u128 {
    let rate = limiter.config().rate;
    rate.map_or(0, |rate| rate.per().as_nanos() / u128::from(rate.count().max(1)))
}

fn add_headers(headers: &mut HeaderMap, standing: &mut [Option<HeaderValue>; 2]) {
    for (name, value) in [LIMIT, POLICY].into_iter().zip(standing) {
        if let Some(value) = value.take() {
            // With several rate limit layers, each adds a value.
            headers.append(name, value);
        }
    }
}

pin_project! {
    /// The future of a [`RateLimited`].
    ///
    /// ```
    /// # use axum::body::Body;
    /// # use http::{Request, Response};
    /// # use tower::{BoxError, Layer, Service, service_fn};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::Registry;
    /// use resilient_http::layer::{RateLimitFuture, RateLimitLayer};
    ///
    /// let hello = async |_: Request<Body>| Ok::<_, BoxError>(Response::new(Body::from("hello")));
    /// let shared = RateLimitLayer::by(Registry::new().rate_limiter("all"), |_| None::<u32>);
    /// let mut service = shared.layer(service_fn(hello));
    /// let response: RateLimitFuture<_> = service.call(Request::new(Body::empty()));
    /// assert_eq!(response.await.unwrap().status(), 200);
    /// # }
    /// ```
    #[project = Project]
    #[allow(missing_docs)]
    pub enum RateLimitFuture<F> {
        Asking { decided: Deciding<F> },
        Admitted { #[pin] answer: F, standing: [Option<HeaderValue>; 2] },
        Refused { refusal: Option<Response<Body>>, standing: [Option<HeaderValue>; 2] },
    }
}

impl<F> fmt::Debug for RateLimitFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self {
            Self::Asking { .. } => "Asking",
            Self::Admitted { .. } => "Admitted",
            Self::Refused { .. } => "Refused",
        };
        f.debug_tuple("RateLimitFuture").field(&state).finish()
    }
}

impl<F, R, E> Future for RateLimitFuture<F>
where
    F: Future<Output = Result<Response<R>, E>>,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Output = Result<Response<Body>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let Project::Asking { decided } = self.as_mut().project() {
            let next = match ready!(decided.as_mut().poll(cx)) {
                Decided::Admitted(answer, standing) => Self::Admitted { answer, standing },
                Decided::Refused(refusal, standing) => Self::Refused { refusal: Some(refusal), standing },
            };
            self.set(next);
        }
        let (mut response, standing) = match self.project() {
            // It has just been replaced.
            Project::Asking { .. } => return Poll::Pending,
            Project::Admitted { answer, standing } => match ready!(answer.poll(cx)) {
                Ok(response) => (response.map(Body::new), standing),
                Err(error) => return Poll::Ready(Err(error)),
            },
            Project::Refused { refusal, standing } => (refusal.take().unwrap_or_default(), standing),
        };
        add_headers(response.headers_mut(), standing);
        Poll::Ready(Ok(response))
    }
}
