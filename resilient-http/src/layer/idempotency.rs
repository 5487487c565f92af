//! Idempotency keys for HTTP requests.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::OriginalUri;
use axum::response::IntoResponse;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri, header};
use resilient_runtime::idempotency::{ClaimOutcome, ClientId, Fingerprint, Lease, Unsaved};
use resilient_runtime::{Class, Component, Degradation};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};
use tower::{BoxError, Layer, Service};

use super::body::{self, Unread};
use super::body_budget::BodyBudget;
use super::semantics::{of_answer, status_of_answer};
use crate::Problem;
use crate::problem::Unexecuted;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const UNSAVED: HeaderName = HeaderName::from_static("idempotency-unsaved");
/// The maximum length of a client's key. Together with the client id it must fit into the key of a record.
const MAX_KEY: usize = 255;
/// The default maximum size of a request body, in bytes.
const MAX_BODY: usize = 1 << 20;
/// The default time limit for a request body to arrive.
const BODY_TIME: Duration = Duration::from_secs(20);
/// How long a 4xx response is stored.
const CLIENT_ERROR_TTL: Duration = Duration::from_mins(1);

/// Executes a request with an `Idempotency-Key` once and replays its response.
///
/// The layer applies to `POST` and `PATCH` requests with a key. A repeated request gets the response of the first one, with
/// the header `Idempotency-Replayed: true`. Requests with other methods, and requests without a key unless it is
/// [`required`](Self::required), pass through. The layer implements the IETF draft `httpapi-idempotency-key-header` and
/// rejects requests with these statuses:
///
/// | status | reason |
/// |---|---|
/// | 400 | the key is malformed, or it is missing but required |
/// | 409 | the first request is in progress (at once, unless the layer [`waits`](Self::waits)), its outcome is unknown, or its stored response cannot be read |
/// | 422 | the key was used with another request |
/// | 408, 413, 503 | the request body is too slow, is too large, or exceeds the memory limit |
///
/// # Keys
/// A key is a string of a structured field (RFC 9651), such as `"8e03978e"`: 1 to 255 printable ASCII characters in quotes,
/// with `\"` and `\\` as the only escapes and without parameters. Bare text, as most clients send it, is accepted as the
/// string with the same text if it contains no spaces, quotes, backslashes, commas or semicolons. Any other value is
/// malformed.
///
/// Two requests with one key are the same request if these parts are equal: method, scheme, authority, path (including the
/// prefix of a nested router), query, `Content-Type`, `Content-Encoding` and body.
///
/// # Clients
/// Each client has keys of its own and cannot read the responses of other clients. By default the `Authorization` header
/// identifies the client. If clients authenticate in another way, such as a cookie, set [`of_client`](Self::of_client).
/// All requests without an identity count as one client. That client has a bounded share of the store, and if the share is
/// full, only requests without an identity are rejected.
///
/// # Outcomes
///
/// | response | key |
/// |---|---|
/// | 2xx, 3xx | stored with the response, for the `ttl` of the component |
/// | 4xx | stored with the response, for one minute |
/// | 408, 409, 425, 429, 501, 505 | freed, because the request had no effect |
/// | a [`Problem`] for a [`Rejection`](resilient_runtime::Rejection) of a call that was not executed, or an [`unexecuted`](Problem::unexecuted) problem | freed, whatever its status is |
/// | any other 5xx | the outcome is unknown: `on_unknown` of the component applies, and a repeated request gets 409 unless it is `reexecute` |
/// | a response that a fallback level took part in ([`Degradation`]), with or without a [`DegradedLayer`](super::DegradedLayer) | freed, so that the next request can get the real response |
/// | no response, because the handler panicked or the client disconnected | the outcome is unknown, as for 5xx |
/// | a response that is too large to store, or streamed without a known size | the outcome is unknown, as for 5xx, because the response cannot be replayed |
///
/// A 500 is never replayed. These are the rules that `idempotent(key = ..)` applies to the errors of a function.
///
/// A gRPC response counts as the HTTP status that corresponds to its code. It frees the key if the code shows that the call
/// had no effect ([`Judgement::of_grpc`](resilient_runtime::Judgement::of_grpc)).
///
/// # Stored responses
/// Status, headers and body are stored unchanged, up to `max_value` bytes (64 KiB by default). A header with several values
/// keeps their order. These headers are not stored:
///
/// - connection headers: `Connection` and the headers that it names, `Keep-Alive`, `Proxy-*`, `TE`, `Trailer`,
///   `Transfer-Encoding`, `Upgrade`, `Content-Length`;
/// - headers of a single response: `Date`, `X-Correlation-Id`;
/// - the session of the first client: `Set-Cookie`.
///
/// A successful response that could not be stored has an `Idempotency-Unsaved` header with the reason
/// ([`Unsaved`](resilient_runtime::idempotency::Unsaved), or `streamed`). A repeated request does not get that response.
///
/// # Memory
/// The request body is read completely before the key is claimed, within 20 s ([`body_time`](Self::body_time)). All bodies
/// in progress together use at most 64 MiB, and large ones at most 48 MiB of that ([`BodyBudget`]).
///
/// An in-memory store gives each client a share of its capacity
/// ([`MemoryStore`](resilient_runtime::idempotency::MemoryStore)), so that one client cannot fill it. If a client can create
/// many identities, for example because it can register without a password, put a
/// [`RateLimitLayer`](super::RateLimitLayer) around this layer.
///
/// # Examples
/// ```
/// use axum::{Router, routing::post};
/// use resilient_http::layer::IdempotencyLayer;
///
/// let once = IdempotencyLayer::new(resilient_runtime::registry().idempotency("orders")).required();
/// let app: Router = Router::new().route("/orders", post(async || "done")).layer(once);
/// ```
#[derive(Clone)]
pub struct IdempotencyLayer {
    once: Arc<resilient_runtime::Idempotency>,
    identify: Identify,
    is_required: bool,
    waits: bool,
    most_body: usize,
    body_time: Duration,
    bodies: BodyBudget,
}

/// Returns the identity of a client.
type Identify = Arc<dyn Fn(&Parts) -> Vec<u8> + Send + Sync>;

impl IdempotencyLayer {
    /// Creates a layer that stores responses in an idempotency component.
    ///
    /// Requests without a key pass through.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use std::sync::atomic::{AtomicU32, Ordering};
    /// # use tower::ServiceExt;
    /// use axum::{Router, body::Body, http::Request, routing::post};
    /// use resilient_http::layer::IdempotencyLayer;
    ///
    /// static ORDERS: AtomicU32 = AtomicU32::new(0);
    /// let order = async || (ORDERS.fetch_add(1, Ordering::Relaxed) + 1).to_string();
    /// let layer = IdempotencyLayer::new(resilient_runtime::Registry::new().idempotency("orders"));
    /// let app: Router = Router::new().route("/", post(order)).layer(layer);
    /// let request = || Request::post("/").header("idempotency-key", "cart-7").body(Body::empty()).unwrap();
    /// assert_eq!(app.clone().oneshot(request()).await.unwrap().status(), 200);
    /// assert_eq!(app.oneshot(request()).await.unwrap().headers()["idempotency-replayed"], "true");
    /// assert_eq!(ORDERS.load(Ordering::Relaxed), 1);
    /// # }
    /// ```
    pub fn new(once: Arc<resilient_runtime::Idempotency>) -> Self {
        let (identify, bodies) = (Arc::new(credentials), BodyBudget::of_process());
        let (is_required, waits) = (false, false);
        Self { once, identify, is_required, waits, most_body: MAX_BODY, body_time: BODY_TIME, bodies }
    }

    /// Sets the identity of the client of a request, such as the user of a session.
    ///
    /// The default is the whole `Authorization` header. A client that refreshes its token then counts as another client, and
    /// its repeated request is executed again. If tokens change, return the user of the token here. Only the digest of the
    /// identity is stored.
    ///
    /// Use only verified data: with an identity that a client can choose freely, it can read the responses of other clients.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use tower::ServiceExt;
    /// use axum::{Router, body::Body, http::Request, routing::post};
    /// use resilient_http::layer::IdempotencyLayer;
    ///
    /// let user = |parts: &http::request::Parts| {
    ///     parts.headers.get("x-user").map(|user| user.as_bytes().to_vec()).unwrap_or_default()
    /// };
    /// let layer = IdempotencyLayer::new(resilient_runtime::Registry::new().idempotency("notes")).of_client(user);
    /// let app: Router = Router::new().route("/", post(async || "noted")).layer(layer);
    /// let request = |user| Request::post("/").header("x-user", user).header("idempotency-key", "note-1");
    /// for user in ["ada", "bob"] {
    ///     let response = app.clone().oneshot(request(user).body(Body::empty()).unwrap()).await.unwrap();
    ///     assert!(!response.headers().contains_key("idempotency-replayed"), "each client has its own keys");
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn of_client(self, identify: impl Fn(&Parts) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self { identify: Arc::new(identify), ..self }
    }

    /// Rejects a `POST` or `PATCH` without a key, with 400.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use tower::ServiceExt;
    /// use axum::{Router, body::Body, http::Request, routing::post};
    /// use resilient_http::layer::IdempotencyLayer;
    ///
    /// let layer = IdempotencyLayer::new(resilient_runtime::Registry::new().idempotency("orders")).required();
    /// let app: Router = Router::new().route("/", post(async || "ordered")).layer(layer);
    /// let keyless = Request::post("/").body(Body::empty()).unwrap();
    /// assert_eq!(app.oneshot(keyless).await.unwrap().status(), 400);
    /// # }
    /// ```
    #[must_use]
    pub fn required(self) -> Self {
        Self { is_required: true, ..self }
    }

    /// Lets a repeated request wait for the first request to finish.
    ///
    /// It waits up to `max_wait` of the component and its own deadline. By default it gets 409 at once.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use tower::ServiceExt;
    /// use axum::{Router, body::Body, http::Request, routing::post};
    /// use resilient_http::layer::IdempotencyLayer;
    ///
    /// let order = async || tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    /// let layer = IdempotencyLayer::new(resilient_runtime::Registry::new().idempotency("orders")).waits();
    /// let app: Router = Router::new().route("/", post(order)).layer(layer);
    /// let send = || app.clone().oneshot(Request::post("/").header("idempotency-key", "7").body(Body::empty()).unwrap());
    /// let (first, second) = tokio::join!(send(), send());
    /// assert_eq!((first.unwrap().status().as_u16(), second.unwrap().status().as_u16()), (200, 200));
    /// # }
    /// ```
    #[must_use]
    pub fn waits(self) -> Self {
        Self { waits: true, ..self }
    }

    /// Sets the maximum body size of a request with a key, in bytes; 1 MiB by default.
    ///
    /// A larger request gets 413. The body is read completely before the request is executed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use tower::ServiceExt;
    /// use axum::{Router, body::Body, http::Request, routing::post};
    /// use resilient_http::layer::IdempotencyLayer;
    ///
    /// let layer = IdempotencyLayer::new(resilient_runtime::Registry::new().idempotency("orders")).most_body(8);
    /// let app: Router = Router::new().route("/", post(async || "ordered")).layer(layer);
    /// let large = Request::post("/").header("idempotency-key", "cart-7").body(Body::from("nine bytes")).unwrap();
    /// assert_eq!(app.oneshot(large).await.unwrap().status(), 413);
    /// # }
    /// ```
    #[must_use]
    pub fn most_body(self, bytes: usize) -> Self {
        Self { most_body: bytes, ..self }
    }

    /// Sets how long a request with a key may take to send its body; 20 s by default.
    ///
    /// A slower request gets 408.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_http::layer::IdempotencyLayer;
    ///
    /// let uploads = resilient_runtime::Registry::new().idempotency("uploads");
    /// let layer = IdempotencyLayer::new(uploads).most_body(8 << 20).body_time(Duration::from_mins(1));
    /// # drop(layer);
    /// ```
    #[must_use]
    pub fn body_time(self, span: Duration) -> Self {
        Self { body_time: span, ..self }
    }

    /// Sets the memory limit for all request bodies in progress.
    ///
    /// The default is [`BodyBudget::of_process`]. A request that exceeds the limit gets 503.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use tower::ServiceExt;
    /// use axum::{Router, body::Body, http::Request, routing::post};
    /// use resilient_http::layer::{BodyBudget, IdempotencyLayer};
    ///
    /// let layer = IdempotencyLayer::new(resilient_runtime::Registry::new().idempotency("orders"));
    /// let layer = layer.body_budget(&BodyBudget::new(4096));
    /// let app: Router = Router::new().route("/", post(async || "ordered")).layer(layer);
    /// let large = Request::post("/").header("idempotency-key", "cart-7").body(Body::from(vec![0; 5000])).unwrap();
    /// let rejected = app.oneshot(large).await.unwrap();
    /// assert_eq!((rejected.status().as_u16(), rejected.headers()["retry-after"].as_bytes()), (503, &b"1"[..]));
    /// # }
    /// ```
    #[must_use]
    pub fn body_budget(self, budget: &BodyBudget) -> Self {
        Self { bodies: budget.clone(), ..self }
    }

    /// Returns the client and the record key of a request, or `None` if the request passes through.
    fn key(&self, parts: &Parts) -> Result<Option<(ClientId, String)>, Problem> {
        if !matches!(parts.method, Method::POST | Method::PATCH) {
            return Ok(None);
        }
        let bad = |what: &str| Problem::new(StatusCode::BAD_REQUEST, what);
        let mut values = parts.headers.get_all(KEY).iter();
        let value = match (values.next(), values.next()) {
            (None, _) if self.is_required => return Err(bad("an `Idempotency-Key` header is required")),
            (None, _) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(bad("the request has several `Idempotency-Key` headers; send one"));
            }
            (Some(value), None) => value,
        };
        let key = value.to_str().ok().and_then(parse).ok_or_else(|| {
            bad("malformed `Idempotency-Key`; use 1 to 255 printable ASCII characters in quotes, such as `\"8e03978e-40d5\"`")
        })?;
        let identity = (self.identify)(parts);
        let client = u128::from_be_bytes(Sha256::digest(&identity)[..16].try_into().unwrap_or_default());
        Ok(Some((ClientId(client), format!("{client:032x} {key}"))))
    }
}

/// Returns all `Authorization` headers, because different parts of a program can use different ones.
fn credentials(parts: &Parts) -> Vec<u8> {
    let all = parts.headers.get_all(header::AUTHORIZATION).iter().map(one_credential);
    // A header value never contains a zero byte.
    all.collect::<Vec<_>>().join(&0)
}

/// Normalizes the case of the scheme, which is case-insensitive (RFC 9110, section 11.1).
fn one_credential(value: &HeaderValue) -> Vec<u8> {
    const SCHEMES: [&[u8]; 6] = [b"Bearer", b"Basic", b"Digest", b"Negotiate", b"DPoP", b"Token"];
    let value = value.as_bytes();
    let (scheme, rest) = value.split_at(value.iter().position(|byte| *byte == b' ').unwrap_or(value.len()));
    let scheme = SCHEMES.into_iter().find(|known| known.eq_ignore_ascii_case(scheme)).unwrap_or(scheme);
    let space: &[u8] = if rest.is_empty() { b"" } else { b" " };
    [scheme, space, rest.trim_ascii_start()].concat()
}

/// Parses a string of a structured field (RFC 9651, section 4.2.5), or the bare text that most clients send.
fn parse(value: &str) -> Option<String> {
    let value = value.trim_matches(' ');
    let key = match value.strip_prefix('"') {
        Some(quoted) => unquoted(quoted)?,
        None if value.contains([' ', '"', '\\', ',', ';']) => return None,
        None => value.to_owned(),
    };
    let is_printable = |c: char| c == ' ' || c.is_ascii_graphic();
    ((1..=MAX_KEY).contains(&key.len()) && key.chars().all(is_printable)).then_some(key)
}

/// Unescapes a string after its opening quote. Nothing may follow the closing quote.
fn unquoted(quoted: &str) -> Option<String> {
    let (mut text, mut rest) = (String::with_capacity(quoted.len()), quoted.chars());
    loop {
        match rest.next()? {
            '"' => return rest.as_str().is_empty().then_some(text),
            '\\' => text.push(rest.next().filter(|c| matches!(c, '"' | '\\'))?),
            c => text.push(c),
        }
    }
}

/// Returns the fingerprint of a request as the client sent it: with the original URI, before a nested router cut its prefix.
fn fingerprint(parts: &Parts, body: &[u8]) -> Fingerprint {
    let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |OriginalUri(uri)| uri);
    let header = |name: HeaderName| parts.headers.get(name).map(HeaderValue::as_bytes);
    let kind = [header::CONTENT_TYPE, header::CONTENT_ENCODING].map(header);
    let target = (uri.scheme_str(), authority(uri, &parts.headers));
    Fingerprint::of(&(parts.method.as_str(), target, uri.path(), uri.query(), kind, body))
}

/// Returns the normalized authority of the request target.
fn authority(uri: &Uri, headers: &HeaderMap) -> Option<Vec<u8>> {
    let host = || headers.get(header::HOST).map(HeaderValue::as_bytes);
    let mut authority = uri.authority().map(|it| it.as_str().as_bytes()).or_else(host)?.to_ascii_lowercase();
    let port: &[u8] = match uri.scheme_str() {
        Some("http") => b":80",
        Some("https") => b":443",
        _ => b"",
    };
    if authority.ends_with(port) {
        authority.truncate(authority.len() - port.len());
    }
    Some(authority)
}

impl fmt::Debug for IdempotencyLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdempotencyLayer")
            .field("idempotency", &self.once.name())
            .field("is_required", &self.is_required)
            .field("waits", &self.waits)
            .finish_non_exhaustive()
    }
}

impl<S> Layer<S> for IdempotencyLayer {
    type Service = Idempotent<S>;

    fn layer(&self, inner: S) -> Idempotent<S> {
        Idempotent { inner, layer: self.clone() }
    }
}

/// The service of an [`IdempotencyLayer`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # use axum::body::Body;
/// # use http::{Request, Response};
/// # use std::convert::Infallible;
/// # use tower::{Layer, ServiceExt, service_fn};
/// use resilient_runtime::Registry;
/// use resilient_http::layer::{Idempotent, IdempotencyLayer};
///
/// let hello = async |_: Request<Body>| Ok::<_, Infallible>(Response::new(Body::from("hello")));
/// let layer = IdempotencyLayer::new(Registry::new().idempotency("orders")).required();
/// let service: Idempotent<_> = layer.layer(service_fn(hello));
/// let read = service.oneshot(Request::get("/").body(Body::empty()).unwrap()).await.unwrap();
/// assert_eq!(read.status(), 200, "a `GET` needs no key");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Idempotent<S> {
    inner: S,
    layer: IdempotencyLayer,
}

impl<S, R> Service<Request<Body>> for Idempotent<S>
where
    S: Service<Request<Body>, Response = Response<R>, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // Call the instance that `poll_ready` was called on, and keep the clone.
        let clone = self.inner.clone();
        let mut service = std::mem::replace(&mut self.inner, clone);
        let layer = self.layer.clone();
        Box::pin(async move {
            let unread = Unread::of(&request);
            let (parts, body) = request.into_parts();
            let (client, key) = match layer.key(&parts) {
                Ok(Some(client_and_key)) => client_and_key,
                Ok(None) => {
                    let result = service.call(Request::from_parts(parts, body)).await;
                    return result.map(|response| response.map(Body::new));
                }
                Err(problem) => return Ok(unread.refused(problem)),
            };
            let (body, room) = match layer.bodies.read(body, layer.most_body, layer.body_time).await {
                Ok(read) => read,
                Err(problem) => return Ok(unread.refused(problem)),
            };
            let fingerprint = fingerprint(&parts, &body);
            let config = layer.once.config();
            let max_wait = if layer.waits { config.max_wait } else { Duration::ZERO };
            let lease = match layer.once.claim_of(client, &key, fingerprint, max_wait).await {
                Ok(ClaimOutcome::Run(lease)) => lease,
                Ok(ClaimOutcome::Replay(stored)) => {
                    return Ok(match stored.read::<StoredOutcome>() {
                        Ok(stored) => stored.replay(),
                        Err(rejection) => unread.read().refused(rejection.into()),
                    });
                }
                Err(rejection) => return Ok(unread.read().refused(rejection.into())),
            };
            // The body counts against the budget until the service has read it.
            let body = Body::new(body::GuardedBody::new(Body::from(body), Some(room)));
            let call = service.call(Request::from_parts(parts, body));
            let Some(lease) = lease else {
                let result = call.await.map(|response| response.map(Body::new));
                return result.map(|response| unsaved(response, Unsaved::NoRecord.as_str()));
            };
            let (Ok(response), degradation) = lease.hold_async(Degradation::scope(call)).await;
            Ok(concluded(lease, response, degradation.is_some(), config.max_value).await)
        })
    }
}

/// The effect of a response on its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// Stored with the response, for at most this time.
    Stored(Duration),
    Free,
    /// The outcome is unknown.
    Unknown,
}

impl Fate {
    fn of<B>(response: &Response<B>, is_degraded: bool) -> Self {
        if is_degraded || response.extensions().get::<Unexecuted>().is_some() {
            return Self::Free;
        }
        match of_answer(response.status(), response.headers()).class() {
            None => Self::Stored(Duration::MAX),
            Some(Class::Uncertain { .. } | Class::Unknown { .. }) => Self::Unknown,
            Some(Class::Permanent | Class::Ignored) => {
                let status = status_of_answer(response.status(), response.headers());
                let is_client_error = status.is_client_error() && status != StatusCode::CONFLICT;
                if is_client_error { Self::Stored(CLIENT_ERROR_TTL) } else { Self::Free }
            }
            Some(_) => Self::Free,
        }
    }
}

/// Stores the response, frees the key or marks its outcome as unknown; then returns the response.
async fn concluded<R>(
    lease: Lease<'_>,
    response: Response<R>,
    is_degraded: bool,
    max_value: u32,
) -> Response<Body>
where
    R: http_body::Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let most = match Fate::of(&response, is_degraded) {
        Fate::Stored(most) => most,
        Fate::Free => {
            lease.give_up().await;
            return response.map(Body::new);
        }
        Fate::Unknown => {
            lease.lose().await;
            return response.map(Body::new);
        }
    };
    let (parts, body) = response.into_parts();
    let is_known = body.size_hint().exact().is_some_and(|bytes| bytes <= max_value.into());
    if !is_known {
        // The response is streamed or too large, and cannot be replayed.
        lease.lose().await;
        let is_large = body.size_hint().lower() > max_value.into();
        let why = if is_large { Unsaved::TooLarge.as_str() } else { "streamed" };
        return unsaved(Response::from_parts(parts, Body::new(body)), why);
    }
    match lease.hold_async(to_bytes(Body::new(body), usize::MAX)).await {
        Ok(body) => {
            lease.complete_for(&StoredOutcome::of(parts.status, &parts.headers, &body), most).await;
            let why = resilient_runtime::unsaved();
            let response = Response::from_parts(parts, Body::from(body));
            match why {
                Some(why) => unsaved(response, why.as_str()),
                None => response,
            }
        }
        Err(error) => {
            lease.lose().await;
            Problem::new(StatusCode::BAD_GATEWAY, format!("the response body failed: {error}"))
                .into_response()
        }
    }
}

/// Marks a response that is not replayed.
fn unsaved(mut response: Response<Body>, why: &'static str) -> Response<Body> {
    response.headers_mut().insert(UNSAVED, HeaderValue::from_static(why));
    response
}

/// A response in the form in which it is stored.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct StoredOutcome {
    status: u16,
    headers: Vec<(String, Blob)>,
    body: Blob,
}

/// Raw bytes.
#[derive(Debug, PartialEq)]
struct Blob(Bytes);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Blob;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Blob, E> {
                Ok(Blob(Bytes::copy_from_slice(bytes)))
            }
        }
        deserializer.deserialize_bytes(Visitor)
    }
}

/// Headers of the connection, of a single response, or of the session of the first client. They are not stored.
const NOT_STORED: [HeaderName; 15] = [
    header::CONNECTION,
    HeaderName::from_static("keep-alive"),
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::CONTENT_LENGTH,
    header::DATE,
    header::SET_COOKIE,
    HeaderName::from_static("x-correlation-id"),
    REPLAYED,
    UNSAVED,
];

/// Whether `Connection` names this header, which makes it a connection header.
fn is_of_connection(headers: &HeaderMap, name: &HeaderName) -> bool {
    let values = headers.get_all(header::CONNECTION).iter();
    let mut names = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    names.any(|it| it.trim().eq_ignore_ascii_case(name.as_str()))
}

impl StoredOutcome {
    fn of(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Self {
        let is_stored = |name: &HeaderName| !NOT_STORED.contains(name) && !is_of_connection(headers, name);
        let stored = headers.iter().filter(|(name, _)| is_stored(name));
        let bytes = |value: &HeaderValue| Blob(Bytes::copy_from_slice(value.as_bytes()));
        Self {
            status: status.as_u16(),
            headers: stored.map(|(name, value)| (name.as_str().to_owned(), bytes(value))).collect(),
            body: Blob(body.clone()),
        }
    }

    fn replay(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body.0));
        // `of` writes only valid statuses and headers, and a store returns what was written or reports that it is damaged.
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(&value.0)) {
                response.headers_mut().append(name, value);
            }
        }
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_ignore_the_case_of_the_scheme() {
        let of = |value: &str| {
            let request = Request::get("/").header("authorization", value).body(()).unwrap();
            String::from_utf8(credentials(&request.into_parts().0)).unwrap()
        };
        for value in ["Bearer aB", "bearer aB", "BEARER  aB"] {
            assert_eq!(of(value), "Bearer aB");
        }
        assert_eq!((&*of("Custom  x"), &*of("bearer"), &*of("")), ("Custom x", "Bearer", ""));
        assert_ne!(of("Bearer ab"), of("Bearer aB"));
    }

    #[test]
    fn a_key_is_a_structured_field_string_or_bare_text() {
        for (value, key) in [
            ("\"8e03978e\"", "8e03978e"),
            ("8e03978e-40d5_x.y:z/w+a=", "8e03978e-40d5_x.y:z/w+a="),
            (r#"  "a \"b\" \\"  "#, r#"a "b" \"#),
            (r#""\\""#, r"\"),
            (r#""\\\"""#, r#"\""#),
            ("\" \"", " "),
        ] {
            assert_eq!(parse(value).as_deref(), Some(key), "{value}");
        }
        let long = "a".repeat(256);
        for bad in [
            "",
            " ",
            "\"",
            "\"\"",
            "\"a",
            "a\"",
            "a\u{7f}",
            "\"a\"b\"",
            "\"a\" b",
            "\"a\", \"b\"",
            "a, b",
            "a,b",
            "a b",
            "\"a\";p=1",
            "a;p=1",
            r#""a\""#,
            r#""\a""#,
            r#""\"#,
            r#""a\\"b""#,
            r"a\b",
            "\"a\tb\"",
            "a\tb",
            "\tq",
            "ä",
            "\"ä\"",
            &long,
            &format!("\"{long}\""),
        ] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn each_of_several_credentials_counts() {
        let of = |values: &[&str]| {
            let mut request = Request::get("/");
            for value in values {
                request = request.header("authorization", *value);
            }
            credentials(&request.body(()).unwrap().into_parts().0)
        };
        assert_eq!(of(&["bearer a", "BASIC b"]), of(&["Bearer a", "Basic b"]));
        let all = [of(&[]), of(&["a"]), of(&["a", "b"]), of(&["b", "a"]), of(&["ab"])];
        for (i, one) in all.iter().enumerate() {
            assert!(!all[..i].contains(one), "{one:?}");
        }
    }

    #[tokio::test]
    async fn a_stored_value_that_is_not_a_response_is_a_conflict_and_is_not_sent() {
        use tower::ServiceExt;
        let once = resilient_runtime::Registry::new().idempotency("orders");
        let layer = IdempotencyLayer::new(Arc::clone(&once));
        let request = || Request::post("/").header(KEY, "k");
        let parts = request().body(()).unwrap().into_parts().0;
        let (client, key) = layer.key(&parts).unwrap().unwrap();
        let held = once.claim_of(client, &key, fingerprint(&parts, b""), Duration::ZERO).await.unwrap();
        let ClaimOutcome::Run(Some(lease)) = held else { panic!("{held:?}") };
        assert!(lease.complete("a secret").await);
        let app = axum::Router::new().route("/", axum::routing::post(async || "executed")).layer(layer);
        let response = app.oneshot(request().body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!((response.status().as_u16(), response.headers().get("retry-after")), (409, None));
        let body = to_bytes(response.into_body(), 10_000).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["type"], "urn:resilient:stored_value_mismatch");
        assert_eq!(
            body["detail"],
            "the value that `orders` stored under the idempotency key is not a result of this call"
        );
    }

    #[test]
    fn the_fingerprint_covers_all_parts_of_a_request() {
        let of = |uri: &str, headers: &[(&str, &str)], original: Option<&str>| {
            let mut request = Request::post(uri);
            for (name, value) in headers {
                request = request.header(*name, *value);
            }
            let mut parts = request.body(()).unwrap().into_parts().0;
            parts.extensions.extend(
                original
                    .map(|uri| {
                        let mut extensions = http::Extensions::new();
                        extensions.insert(OriginalUri(uri.parse().unwrap()));
                        extensions
                    })
                    .unwrap_or_default(),
            );
            fingerprint(&parts, b"body")
        };
        let plain = of("/charges", &[("host", "a.example")], None);
        assert_eq!(
            of("/", &[("host", "A.Example")], Some("/charges")),
            plain,
            "a nested router cuts the path prefix"
        );
        for other in [
            of("/", &[("host", "a.example")], Some("/refunds")),
            of("/charges", &[("host", "b.example")], None),
            of("/charges", &[], None),
            of("/charges?x=1", &[("host", "a.example")], None),
            of("/charges?", &[("host", "a.example")], None),
            of("/charges", &[("host", "a.example"), ("content-type", "text/plain")], None),
            of("/charges", &[("host", "a.example"), ("content-encoding", "text/plain")], None),
            of("/charges", &[("host", "a.example:81")], None),
        ] {
            assert_ne!(other, plain);
        }
        let secure = of("https://a.example/charges", &[], None);
        assert_eq!(of("https://A.example:443/charges", &[("host", "other")], None), secure);
        assert_ne!(of("http://a.example/charges", &[], None), secure);
        assert_ne!(of("https://a.example:80/charges", &[], None), secure);
    }
}
