//! Requests that are carried out once.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::response::IntoResponse;
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::LengthLimitError;
use resilient::idempotency::{Client, Fingerprint, Held, Lease};
use resilient::{Component, Degradation};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tower::{BoxError, Layer, Service};

use super::body::Unread;
use super::semantics::status_of_answer;
use crate::Problem;

const KEY: HeaderName = HeaderName::from_static("idempotency-key");
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
/// The longest key of a client. With what it is scoped by it must fit into a record's key.
const LONGEST_KEY: usize = 255;
/// The largest body of a request, in bytes, unless it is said otherwise.
const MOST_BODY: usize = 1 << 20;
/// How long an answer is kept that says that the request was wrong.
const WRONG_FOR: Duration = Duration::from_mins(1);

/// Carries a `POST` or `PATCH` with an `Idempotency-Key` out once, and gives a repeated one the answer of the first, with
/// `Idempotency-Replayed: true`. After the IETF draft `httpapi-idempotency-key-header`: 400 for a key that is missing where
/// it is required, or malformed; 409 while the first is under way, or when nobody knows what became of it, both at once;
/// 422 for a key that was used with another request.
///
/// Keys are those of a client, so that nobody can ask for the answers of others. It is told by its `Authorization`; where
/// clients show who they are in another way, such as a cookie, say so with [`of_client`](Self::of_client), or all are one.
///
/// What becomes of the key when the request was answered:
///
/// | answer | key |
/// |---|---|
/// | 2xx, 3xx | is kept with its answer, for the `ttl` of the settings |
/// | 4xx | is kept with its answer, for a minute: what is wrong costs little to find out again |
/// | 408, 409, 425, 429 | is free: nothing was done yet |
/// | 5xx but 504 | is free: the client may repeat it. A handler that fails and may have had its effect answers 504, or gives the effect a key of its own (`idempotent(key = ..)`) |
/// | any in which a fallback level has a part ([`Degradation`]) | is free, whether a [`DegradedLayer`](super::DegradedLayer) marks it or not: the next one gets the real answer, if that is there again |
/// | 504, none as the handler has panicked or the client has gone | nobody knows what was done: `on_unknown` of the settings holds from then on |
/// | one that is too large, or sent as it comes so that nobody knows its size | likewise: it cannot be given again |
///
/// An answer is kept as JSON of `max_value` bytes at most, 64 KiB unless the settings say otherwise: status, headers, and a
/// body that is text as a string, any other in base64. That is a body of some 48 KB where it is no text.
///
/// A store in memory gives each client a share of its room ([`MemoryStore`](resilient::idempotency::MemoryStore)), so that
/// none can take all of it; who can be many clients, as anybody can who is not asked for a password, is held off by a
/// [`RateLimitLayer`](super::RateLimitLayer) around this.
///
/// ```
/// use axum::{Router, routing::post};
/// use resilient_http::layer::IdempotencyLayer;
///
/// let once = IdempotencyLayer::new(resilient::registry().idempotency("orders")).required();
/// let app: Router = Router::new().route("/orders", post(async || "done")).layer(once);
/// ```
#[derive(Clone)]
pub struct IdempotencyLayer {
    once: Arc<resilient::Idempotency>,
    whose: Whose,
    is_required: bool,
    waits: bool,
    most_body: usize,
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
    /// let layer = IdempotencyLayer::new(resilient::Registry::new().idempotency("orders"));
    /// let app: Router = Router::new().route("/", post(order)).layer(layer);
    /// let request = || Request::post("/").header("idempotency-key", "cart-7").body(Body::empty()).unwrap();
    /// assert_eq!(app.clone().oneshot(request()).await.unwrap().status(), 200);
    /// assert_eq!(app.oneshot(request()).await.unwrap().headers()["idempotency-replayed"], "true");
    /// assert_eq!(ORDERS.load(Ordering::Relaxed), 1);
    /// # }
    /// ```
    pub fn new(once: Arc<resilient::Idempotency>) -> Self {
        Self { once, whose: Arc::new(credentials), is_required: false, waits: false, most_body: MOST_BODY }
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
    /// let layer = IdempotencyLayer::new(resilient::Registry::new().idempotency("notes")).of_client(user);
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
    /// let layer = IdempotencyLayer::new(resilient::Registry::new().idempotency("orders")).required();
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
    /// let layer = IdempotencyLayer::new(resilient::Registry::new().idempotency("orders")).waits();
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
    /// let layer = IdempotencyLayer::new(resilient::Registry::new().idempotency("orders")).most_body(8);
    /// let app: Router = Router::new().route("/", post(async || "ordered")).layer(layer);
    /// let large = Request::post("/").header("idempotency-key", "cart-7").body(Body::from("nine bytes")).unwrap();
    /// assert_eq!(app.oneshot(large).await.unwrap().status(), 413);
    /// # }
    /// ```
    #[must_use]
    pub fn most_body(self, bytes: usize) -> Self {
        Self { most_body: bytes, ..self }
    }

    /// Why a body could not be read: it is larger than it may be, or broke off, or is no body.
    fn unreadable(&self, error: &axum::Error) -> Problem {
        if error.source().is_some_and(<dyn Error>::is::<LengthLimitError>) {
            let what = format!("a request with an `Idempotency-Key` is {} bytes at most", self.most_body);
            return Problem::new(StatusCode::PAYLOAD_TOO_LARGE, what);
        }
        Problem::new(StatusCode::BAD_REQUEST, format!("the body of the request cannot be read: {error}"))
    }

    /// Whose key it is, and that of a record, where the request is one to carry out once.
    fn key(&self, parts: &Parts) -> Result<Option<(Client, String)>, Problem> {
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
            bad("`Idempotency-Key` is 1 to 255 printable characters, as in `\"8e03978e-40d5-43e8-bc93\"`")
        })?;
        let whose = (self.whose)(parts);
        let whose = u128::from_be_bytes(Sha256::digest(&whose)[..16].try_into().unwrap_or_default());
        Ok(Some((Client(whose), format!("{whose:032x} {key}"))))
    }
}

/// The `Authorization`, with its scheme spelled in one way, as most clients do: case makes no difference (RFC 9110, 11.1).
fn credentials(parts: &Parts) -> Vec<u8> {
    const SCHEMES: [&[u8]; 6] = [b"Bearer", b"Basic", b"Digest", b"Negotiate", b"DPoP", b"Token"];
    let value = parts.headers.get(header::AUTHORIZATION).map_or(&[][..], HeaderValue::as_bytes);
    let (scheme, rest) = value.split_at(value.iter().position(|byte| *byte == b' ').unwrap_or(value.len()));
    let scheme = SCHEMES.into_iter().find(|known| known.eq_ignore_ascii_case(scheme)).unwrap_or(scheme);
    let space: &[u8] = if rest.is_empty() { b"" } else { b" " };
    [scheme, space, rest.trim_ascii_start()].concat()
}

/// A string of a structured field (RFC 9651), or the bare text that most clients send.
fn parse(value: &str) -> Option<String> {
    let value = value.trim();
    let key = match value.strip_prefix('"') {
        Some(quoted) => {
            let quoted = quoted.strip_suffix('"')?;
            let plain = quoted.replace("\\\"", "").replace("\\\\", "");
            if plain.contains(['"', '\\']) {
                return None;
            }
            quoted.replace("\\\"", "\"").replace("\\\\", "\\")
        }
        None => value.to_owned(),
    };
    let is_printable = |c: char| c == ' ' || c.is_ascii_graphic();
    ((1..=LONGEST_KEY).contains(&key.len()) && key.chars().all(is_printable)).then_some(key)
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
/// use resilient::Registry;
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
            let body = match to_bytes(body, layer.most_body).await {
                Ok(body) => body,
                Err(error) => return Ok(unread.refused(layer.unreadable(&error))),
            };
            let fingerprint =
                Fingerprint::of(&(parts.method.as_str(), parts.uri.path(), parts.uri.query(), &body));
            let config = layer.once.config();
            let max_wait = if layer.waits { config.max_wait } else { Duration::ZERO };
            let lease = match layer.once.claim_of(client, &key, fingerprint, max_wait).await {
                Ok(Held::Run(lease)) => lease,
                Ok(Held::Replay(stored)) => {
                    return Ok(match stored.read::<Kept>() {
                        Ok(kept) => kept.again(),
                        Err(rejection) => unread.read().refused(rejection.into()),
                    });
                }
                Err(rejection) => return Ok(unread.read().refused(rejection.into())),
            };
            let answer = service.call(Request::from_parts(parts, Body::from(body)));
            let Some(lease) = lease else {
                return answer.await.map(|response| response.map(Body::new));
            };
            let (Ok(response), degradation) = lease.keep(Degradation::scope(answer)).await;
            Ok(concluded(lease, response, degradation.is_some(), config.max_value).await)
        })
    }
}

/// What a service says that has done nothing yet, besides 5xx.
const NOT_DONE: [u16; 4] = [408, 409, 425, 429];

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
    let status = status_of_answer(response.status(), response.headers());
    if status == StatusCode::GATEWAY_TIMEOUT {
        // It was cut off, and nobody knows how far it had come.
        lease.lose().await;
        return response.map(Body::new);
    }
    if is_degraded || status.is_server_error() || NOT_DONE.contains(&status.as_u16()) {
        lease.give_up().await;
        return response.map(Body::new);
    }
    let (parts, body) = response.into_parts();
    let is_known = body.size_hint().exact().is_some_and(|bytes| bytes <= max_value.into());
    if !is_known {
        // It is sent as it comes, and cannot be given again.
        lease.lose().await;
        return Response::from_parts(parts, Body::new(body));
    }
    match lease.keep(to_bytes(Body::new(body), usize::MAX)).await {
        Ok(body) => {
            let most = if status.is_client_error() { WRONG_FOR } else { Duration::MAX };
            lease.complete_for(&Kept::of(parts.status, &parts.headers, &body), most).await;
            Response::from_parts(parts, Body::from(body))
        }
        Err(error) => {
            lease.lose().await;
            Problem::new(StatusCode::BAD_GATEWAY, format!("the answer broke off: {error}")).into_response()
        }
    }
}

/// An answer as it is kept.
#[derive(Debug, Deserialize, Serialize)]
struct Kept {
    status: u16,
    headers: Vec<(String, String)>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    text: Option<String>,
    /// Of what is no text.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    base64: Option<String>,
}

/// Headers that are of the connection, or of the moment.
const NOT_KEPT: [HeaderName; 6] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::CONTENT_LENGTH,
    header::DATE,
    header::SET_COOKIE,
    HeaderName::from_static("x-correlation-id"),
];

impl Kept {
    fn of(status: StatusCode, headers: &HeaderMap, body: &Bytes) -> Self {
        let headers = headers.iter().filter(|(name, _)| !NOT_KEPT.contains(name));
        let text = |(name, value): (&HeaderName, &HeaderValue)| {
            Some((name.as_str().to_owned(), value.to_str().ok()?.to_owned()))
        };
        let (text_of_body, base64) = match std::str::from_utf8(body) {
            Ok(text) => (Some(text.to_owned()), None),
            Err(_) => (None, Some(BASE64.encode(body))),
        };
        Self {
            status: status.as_u16(),
            headers: headers.filter_map(text).collect(),
            text: text_of_body,
            base64,
        }
    }

    fn again(self) -> Response<Body> {
        // What cannot be read was not written by this: a store keeps what it was given, or says that it is damaged.
        let bytes = self.base64.and_then(|base64| BASE64.decode(base64).ok());
        let body = bytes.or(self.text.map(String::into_bytes)).unwrap_or_default();
        let mut response = Response::new(Body::from(body));
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::OK);
        for (name, value) in self.headers {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
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
    fn a_key_is_quoted_or_bare_and_else_none() {
        assert_eq!(parse("\"8e03978e\"").as_deref(), Some("8e03978e"));
        assert_eq!(parse("8e03978e").as_deref(), Some("8e03978e"));
        assert_eq!(parse(r#""a \"b\" \\""#).as_deref(), Some(r#"a "b" \"#));
        for bad in ["", "\"", "\"\"", "\"a", "a\u{7f}", "\"a\"b\"", "ä", &"a".repeat(256)] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}
