//! Requests that are carried out once.

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
/// The longest key of a client. With what it is scoped by it must fit into a record's key.
const LONGEST_KEY: usize = 255;
/// The largest body of a request, in bytes, unless it is said otherwise.
const MOST_BODY: usize = 1 << 20;
/// How long a request may take to send its body, unless it is said otherwise.
const BODY_TIME: Duration = Duration::from_secs(20);
/// How long an answer is kept that says that the request was wrong.
const WRONG_FOR: Duration = Duration::from_mins(1);

/// Carries a `POST` or `PATCH` with an `Idempotency-Key` out once, and gives a repeated one the answer of the first, with
/// `Idempotency-Replayed: true`. After the IETF draft `httpapi-idempotency-key-header`: 400 for a key that is missing where
/// it is required, or malformed; 409 while the first is under way, when nobody knows what became of it, or when its answer
/// cannot be read any more, at once; 422 for a key that was used with another request.
///
/// The key is a string of a structured field (RFC 9651), `"8e03978e"`: 1 to 255 printable ASCII characters in quotes, in
/// which `\"` and `\\` are the only escapes, without parameters. A bare text, as most clients send it, stands for the
/// string of the same text; it has no spaces, quotes, backslashes, commas or semicolons. Everything else is malformed.
///
/// A request is the same as an earlier one if its method, scheme, authority, whole path (of a nested router too), query,
/// `Content-Type`, `Content-Encoding` and body are.
///
/// Keys are those of a client, so that nobody can ask for the answers of others. It is told by its `Authorization`; where
/// clients show who they are in another way, such as a cookie, say so with [`of_client`](Self::of_client), or all are one.
/// Those without it are one client, with one bounded part of the store: if that is full, only they are refused.
///
/// What becomes of the key when the request was answered:
///
/// | answer | key |
/// |---|---|
/// | 2xx, 3xx | is kept with its answer, for the `ttl` of the settings |
/// | 4xx | is kept with its answer, for a minute: what is wrong costs little to find out again |
/// | 408, 409, 425, 429, 501 and 505 | is free: nothing was done yet |
/// | a [`Problem`] made of a [`Rejection`](resilient_runtime::Rejection) that says that the call was not carried out, or one that is [`unexecuted`](Problem::unexecuted) | is free, whatever its status |
/// | any other 5xx | nobody knows what was done: `on_unknown` of the settings holds from then on, and refuses a repeat with 409 unless it is `reexecute` |
/// | any in which a fallback level has a part ([`Degradation`]) | is free, whether a [`DegradedLayer`](super::DegradedLayer) marks it or not: the next one gets the real answer, if that is there again |
/// | none, as the handler has panicked or the client has gone | likewise: nobody knows what was done |
/// | one that is too large, or sent as it comes so that nobody knows its size | likewise: it cannot be given again |
///
/// An answer of gRPC counts as the status of HTTP that its code stands for, and is free where the code says that nothing was
/// done ([`Judgement::of_grpc`](resilient_runtime::Judgement::of_grpc)). The rule is that of `idempotent(key = ..)` for the error of a function: what remains unknown
/// frees no key. A 500 is not replayed: a repeated request gets 409, because the outcome of the first one is unknown.
///
/// An answer is kept in `max_value` bytes at most, 64 KiB unless the settings say otherwise: status, headers and body, byte
/// by byte, headers with several values in their order. Not kept are the headers of the connection (`Connection` and what
/// it names, `Keep-Alive`, `Proxy-*`, `TE`, `Trailer`, `Transfer-Encoding`, `Upgrade`, `Content-Length`), of the moment
/// (`Date`, `X-Correlation-Id`) and of the first client's session (`Set-Cookie`).
///
/// An answer that is good but could not be saved has an `Idempotency-Unsaved` header that says why
/// ([`Unsaved`](resilient_runtime::idempotency::Unsaved), or `streamed`): a repeat will not get it.
///
/// The body of a request is read before anything else, within 20 s ([`body_time`](Self::body_time)); all of them together
/// take 64 MiB at most, large ones 48 MiB ([`BodyBudget`]).
///
/// A store in memory gives each client a share of its room ([`MemoryStore`](resilient_runtime::idempotency::MemoryStore)), so that
/// none can take all of it; who can be many clients, as anybody can who is not asked for a password, is held off by a
/// [`RateLimitLayer`](super::RateLimitLayer) around this.
///
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
    whose: Whose,
    is_required: bool,
    waits: bool,
    most_body: usize,
    body_time: Duration,
    bodies: BodyBudget,
}

/// What tells clients apart.
type Whose = Arc<dyn Fn(&Parts) -> Vec<u8> + Send + Sync>;

impl IdempotencyLayer {
    /// For requests that have a key; others are carried out as they come.
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
        let (whose, bodies) = (Arc::new(credentials), BodyBudget::of_process());
        let (is_required, waits) = (false, false);
        Self { once, whose, is_required, waits, most_body: MOST_BODY, body_time: BODY_TIME, bodies }
    }

    /// Tells clients apart by this, such as the user of a session. It is kept as a digest.
    ///
    /// Where nothing is said that is all of the `Authorization` header: who comes back with a token that was refreshed is
    /// another client then, and its repeated request is carried out once more. With tokens that change say here who the
    /// token is for. Do not go by what is not verified yet, or anybody can have the answers of others.
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
    ///     let answer = app.clone().oneshot(request(user).body(Body::empty()).unwrap()).await.unwrap();
    ///     assert!(!answer.headers().contains_key("idempotency-replayed"), "each has keys of their own");
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn of_client(self, whose: impl Fn(&Parts) -> Vec<u8> + Send + Sync + 'static) -> Self {
        Self { whose: Arc::new(whose), ..self }
    }

    /// A `POST` or `PATCH` without a key is refused.
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

    /// A request whose key is that of one that is under way waits for its answer, for as long as `max_wait` of the settings
    /// and its deadline are. Where nothing is said it gets 409 at once.
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

    /// The largest body of a request with a key, in bytes; 1 MiB where nothing is said. It is read before anything else.
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

    /// How long a request with a key may take to send its body; 20 s where nothing is said. One that takes longer gets 408.
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

    /// Bounds the memory of the bodies of all requests under way; [`BodyBudget::of_process`] where nothing is said.
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
    /// let refused = app.oneshot(large).await.unwrap();
    /// assert_eq!((refused.status().as_u16(), refused.headers()["retry-after"].as_bytes()), (503, &b"1"[..]));
    /// # }
    /// ```
    #[must_use]
    pub fn body_budget(self, budget: &BodyBudget) -> Self {
        Self { bodies: budget.clone(), ..self }
    }

    /// Whose key it is, and that of a record, where the request is one to carry out once.
    fn key(&self, parts: &Parts) -> Result<Option<(ClientId, String)>, Problem> {
        if !matches!(parts.method, Method::POST | Method::PATCH) {
            return Ok(None);
        }
        let bad = |what: &str| Problem::new(StatusCode::BAD_REQUEST, what);
        let mut values = parts.headers.get_all(KEY).iter();
        let value = match (values.next(), values.next()) {
            (None, _) if self.is_required => return Err(bad("this needs an `Idempotency-Key`")),
            (None, _) => return Ok(None),
            (Some(_), Some(_)) => return Err(bad("there are several `Idempotency-Key` headers")),
            (Some(value), None) => value,
        };
        let key = value.to_str().ok().and_then(parse).ok_or_else(|| {
            bad("`Idempotency-Key` is 1 to 255 printable characters in quotes, as in `\"8e03978e-40d5-43e8-bc93\"`")
        })?;
        let whose = (self.whose)(parts);
        let whose = u128::from_be_bytes(Sha256::digest(&whose)[..16].try_into().unwrap_or_default());
        Ok(Some((ClientId(whose), format!("{whose:032x} {key}"))))
    }
}

/// What the `Authorization` headers say, all of them where there are several: each part of the program may go by another one.
fn credentials(parts: &Parts) -> Vec<u8> {
    let all = parts.headers.get_all(header::AUTHORIZATION).iter().map(one_credential);
    // No value of a header contains a zero.
    all.collect::<Vec<_>>().join(&0)
}

/// With the scheme spelled in one way, as most clients do: case makes no difference (RFC 9110, 11.1).
fn one_credential(value: &HeaderValue) -> Vec<u8> {
    const SCHEMES: [&[u8]; 6] = [b"Bearer", b"Basic", b"Digest", b"Negotiate", b"DPoP", b"Token"];
    let value = value.as_bytes();
    let (scheme, rest) = value.split_at(value.iter().position(|byte| *byte == b' ').unwrap_or(value.len()));
    let scheme = SCHEMES.into_iter().find(|known| known.eq_ignore_ascii_case(scheme)).unwrap_or(scheme);
    let space: &[u8] = if rest.is_empty() { b"" } else { b" " };
    [scheme, space, rest.trim_ascii_start()].concat()
}

/// A string of a structured field (RFC 9651, 4.2.5), or the bare text that most clients send.
fn parse(value: &str) -> Option<String> {
    let value = value.trim_matches(' ');
    let key = match value.strip_prefix('"') {
        Some(quoted) => unquoted(quoted)?,
        None if value.contains([' ', '"', '\\', ',', ';']) => return None,
        None => value.to_owned(),
    };
    let is_printable = |c: char| c == ' ' || c.is_ascii_graphic();
    ((1..=LONGEST_KEY).contains(&key.len()) && key.chars().all(is_printable)).then_some(key)
}

/// What is in a string, from behind its first quote up to its last, with nothing behind that.
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

/// The fingerprint of a request as the client sent it. It uses the original URI, from which no router has cut a prefix.
fn fingerprint(parts: &Parts, body: &[u8]) -> Fingerprint {
    let uri = parts.extensions.get::<OriginalUri>().map_or(&parts.uri, |OriginalUri(uri)| uri);
    let header = |name: HeaderName| parts.headers.get(name).map(HeaderValue::as_bytes);
    let kind = [header::CONTENT_TYPE, header::CONTENT_ENCODING].map(header);
    let whom = (uri.scheme_str(), authority(uri, &parts.headers));
    Fingerprint::of(&(parts.method.as_str(), whom, uri.path(), uri.query(), kind, body))
}

/// The host that is asked, in the one form for all of its spellings.
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
        // The one that was asked whether it is ready.
        let clone = self.inner.clone();
        let mut service = std::mem::replace(&mut self.inner, clone);
        let layer = self.layer.clone();
        Box::pin(async move {
            let unread = Unread::of(&request);
            let (parts, body) = request.into_parts();
            let (client, key) = match layer.key(&parts) {
                Ok(Some(whose)) => whose,
                Ok(None) => {
                    let answer = service.call(Request::from_parts(parts, body)).await;
                    return answer.map(|response| response.map(Body::new));
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
                        Ok(kept) => kept.again(),
                        Err(rejection) => unread.read().refused(rejection.into()),
                    });
                }
                Err(rejection) => return Ok(unread.read().refused(rejection.into())),
            };
            // It is counted until the service has taken it over.
            let body = Body::new(body::GuardedBody::new(Body::from(body), Some(room)));
            let answer = service.call(Request::from_parts(parts, body));
            let Some(lease) = lease else {
                let answer = answer.await.map(|response| response.map(Body::new));
                return answer.map(|response| unsaved(response, Unsaved::NoRecord.as_str()));
            };
            let (Ok(response), degradation) = lease.hold_async(Degradation::scope(answer)).await;
            Ok(concluded(lease, response, degradation.is_some(), config.max_value).await)
        })
    }
}

/// What becomes of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It is kept with the answer, for so long at most.
    Kept(Duration),
    Free,
    /// The outcome is unknown.
    Lost,
}

impl Fate {
    fn of<B>(response: &Response<B>, is_degraded: bool) -> Self {
        if is_degraded || response.extensions().get::<Unexecuted>().is_some() {
            return Self::Free;
        }
        match of_answer(response.status(), response.headers()).class() {
            None => Self::Kept(Duration::MAX),
            Some(Class::Uncertain { .. } | Class::Unknown { .. }) => Self::Lost,
            Some(Class::Permanent | Class::Ignored) => {
                let status = status_of_answer(response.status(), response.headers());
                let is_wrong = status.is_client_error() && status != StatusCode::CONFLICT;
                if is_wrong { Self::Kept(WRONG_FOR) } else { Self::Free }
            }
            Some(_) => Self::Free,
        }
    }
}

/// What comes of the key when the request was answered.
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
        Fate::Kept(most) => most,
        Fate::Free => {
            lease.give_up().await;
            return response.map(Body::new);
        }
        Fate::Lost => {
            lease.lose().await;
            return response.map(Body::new);
        }
    };
    let (parts, body) = response.into_parts();
    let is_known = body.size_hint().exact().is_some_and(|bytes| bytes <= max_value.into());
    if !is_known {
        // It is sent as it comes, and cannot be given again.
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
            Problem::new(StatusCode::BAD_GATEWAY, format!("the answer broke off: {error}")).into_response()
        }
    }
}

/// An answer that a repeat will not get.
fn unsaved(mut response: Response<Body>, why: &'static str) -> Response<Body> {
    response.headers_mut().insert(UNSAVED, HeaderValue::from_static(why));
    response
}

/// An answer as it is kept.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct StoredOutcome {
    status: u16,
    headers: Vec<(String, Blob)>,
    body: Blob,
}

/// Bytes as they are.
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

/// Headers that are of the connection, of the moment, or of the session of the first client.
const NOT_KEPT: [HeaderName; 15] = [
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

/// Whether `Connection` names this header: then it is of the connection, too.
fn is_of_connection(headers: &HeaderMap, name: &HeaderName) -> bool {
    let values = headers.get_all(header::CONNECTION).iter();
    let mut names = values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(','));
    names.any(|it| it.trim().eq_ignore_ascii_case(name.as_str()))
}

impl StoredOutcome {
    fn of(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Self {
        let is_kept = |name: &HeaderName| !NOT_KEPT.contains(name) && !is_of_connection(headers, name);
        let kept = headers.iter().filter(|(name, _)| is_kept(name));
        let bytes = |value: &HeaderValue| Blob(Bytes::copy_from_slice(value.as_bytes()));
        Self {
            status: status.as_u16(),
            headers: kept.map(|(name, value)| (name.as_str().to_owned(), bytes(value))).collect(),
            body: Blob(body.clone()),
        }
    }

    fn again(self) -> Response<Body> {
        let mut response = Response::new(Body::from(self.body.0));
        // What cannot be read was not written by this: a store keeps what it was given, or says that it is damaged.
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

    // G10: one client, however it spells the scheme.
    #[test]
    fn credentials_do_not_depend_on_the_spelling_of_their_scheme() {
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
    fn a_key_is_a_string_of_a_structured_field_or_a_bare_text_and_else_none() {
        // G10
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
    async fn a_stored_value_that_is_no_answer_is_a_conflict_and_is_not_shown() {
        // C2
        use tower::ServiceExt;
        let once = resilient_runtime::Registry::new().idempotency("orders");
        let layer = IdempotencyLayer::new(Arc::clone(&once));
        let request = || Request::post("/").header(KEY, "k");
        let parts = request().body(()).unwrap().into_parts().0;
        let (client, key) = layer.key(&parts).unwrap().unwrap();
        let held = once.claim_of(client, &key, fingerprint(&parts, b""), Duration::ZERO).await.unwrap();
        let ClaimOutcome::Run(Some(lease)) = held else { panic!("{held:?}") };
        assert!(lease.complete("a secret").await);
        let app = axum::Router::new().route("/", axum::routing::post(async || "carried out")).layer(layer);
        let answer = app.oneshot(request().body(Body::empty()).unwrap()).await.unwrap();
        assert_eq!((answer.status().as_u16(), answer.headers().get("retry-after")), (409, None));
        let body = to_bytes(answer.into_body(), 10_000).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["type"], "urn:resilient:stored_value_mismatch");
        assert_eq!(
            body["detail"],
            "what `orders` has stored under the idempotency key is no answer of this call"
        );
    }

    #[test]
    fn requests_are_told_apart_by_all_that_they_ask_for() {
        // G3
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
            "a nested router cuts the path"
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
