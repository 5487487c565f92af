//! Access control of the HTTP API.

use std::fmt;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use subtle::ConstantTimeEq;

use super::routes::problem;
use crate::proxy::{Proxies, ProxyError};

/// Minimum length of a token in bytes.
const SHORTEST: usize = 16;
/// Pause after a wrong token. The number of connections bounds the guesses per second.
const PAUSE: Duration = Duration::from_millis(200);

/// The bearer token.
pub(in crate::proxy) struct Token(Box<[u8]>);

impl Token {
    pub(in crate::proxy) fn new(token: &str) -> Result<Self, ProxyError> {
        if token.len() < SHORTEST {
            return Err(ProxyError::ShortToken { length: token.len(), shortest: SHORTEST });
        }
        Ok(Self(token.as_bytes().into()))
    }

    fn admits(&self, headers: &HeaderMap) -> bool {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let Some((scheme, token)) = value.and_then(|value| value.split_once(' ')) else { return false };
        scheme.eq_ignore_ascii_case("bearer") && bool::from(token.trim().as_bytes().ct_eq(&self.0))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// Middleware that rejects requests of browsers and requests without the token.
pub(super) async fn guard(State(proxies): State<Proxies>, request: Request, next: Next) -> Response {
    if is_of_browser(request.headers()) {
        return problem(StatusCode::FORBIDDEN, "browsers have no access: use a client of Toxiproxy or curl");
    }
    if proxies.access().is_some_and(|token| !token.admits(request.headers())) {
        tokio::time::sleep(PAUSE).await;
        let refused =
            problem(StatusCode::UNAUTHORIZED, "missing or wrong token: send `Authorization: Bearer ..`");
        return ([(header::WWW_AUTHENTICATE, "Bearer")], refused).into_response();
    }
    next.run(request).await
}

/// Whether a browser sent the request. A page of any site could otherwise control the proxies of its visitors.
fn is_of_browser(headers: &HeaderMap) -> bool {
    let agent =
        headers.get(header::USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(b"Mozilla/"));
    // A page can change `User-Agent` in some browsers, and none of these headers.
    agent || headers.contains_key(header::ORIGIN) || headers.contains_key("sec-fetch-site")
}
