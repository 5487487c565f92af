//! Who may read, and who may write.

use std::net::SocketAddr;
use std::sync::LazyLock;

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode, Version, header};
use resilient::clock::Clock;
use resilient::observe::LogLimit;

use super::App;
use super::token::Shown;
use crate::Problem;
use crate::layer::Unread;

/// Lets in who belongs.
pub(super) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let unread = Unread::of(&request);
    let (mut parts, body) = request.into_parts();
    match admit(&app, &parts) {
        Ok(shown) => {
            if let Some(shown) = shown {
                parts.extensions.insert(shown);
            }
            next.run(Request::from_parts(parts, body)).await
        }
        Err(problem) => refused(problem, unread),
    }
}

/// Of wrong tokens.
static WRONG_TOKENS: LazyLock<LogLimit> = LazyLock::new(LogLimit::new);

/// Who asks has shown the token.
#[derive(Clone, Copy, Debug)]
pub(super) struct WithToken;

fn admit(app: &App, parts: &Parts) -> Result<Option<WithToken>, Problem> {
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    match bearer(&parts.headers) {
        Some(shown) => {
            let token = app.token.as_ref().ok_or_else(no_token)?;
            let client = app.clients.of(parts);
            match token.show(shown, client) {
                Shown::Right => Ok(Some(WithToken)),
                Shown::Wrong => {
                    // Of one address five in a minute at most, and of all together one in a second.
                    if let Some(left_out) = WRONG_TOKENS.pass(&Clock::system()) {
                        let suppressed = (left_out > 0).then_some(left_out);
                        tracing::warn!(target: "resilient::audit", ?client, suppressed, "a wrong admin token was shown");
                    }
                    Err(Problem::new(StatusCode::UNAUTHORIZED, "that is not the admin token"))
                }
                Shown::Locked => Err(Problem::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "too many wrong admin tokens came from there",
                )
                .after(std::time::Duration::from_secs(12))),
            }
        }
        None if reads && app.is_open && is_local(parts) => Ok(None),
        None if app.token.is_none() => Err(no_token()),
        None => Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "this needs the admin token: `Authorization: Bearer ..`",
        )),
    }
}

fn no_token() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "there is no admin token, so nobody can do this: `Admin::token`")
}

fn refused(problem: Problem, unread: Unread) -> Response {
    let unauthorized = problem.status() == StatusCode::UNAUTHORIZED;
    let mut response = unread.refused(problem);
    if unauthorized {
        let challenge = HeaderValue::from_static("Bearer realm=\"resilient\"");
        response.headers_mut().insert(header::WWW_AUTHENTICATE, challenge);
    }
    response
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().unwrap_or_default();
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    // Of another scheme: shown, and wrong.
    Some(if scheme.eq_ignore_ascii_case("bearer") { token.trim() } else { "" })
}

fn peer(parts: &Parts) -> Option<SocketAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
}

/// Asked from this machine, by a program or a person on it: not through a proxy on it, and not by a page of another
/// site whose name was made to point here (DNS rebinding).
fn is_local(parts: &Parts) -> bool {
    const PROXIED: [&str; 3] = ["forwarded", "x-real-ip", "via"];
    let is_near = peer(parts).is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    let of_proxy = |name: &str| name.starts_with("x-forwarded") || PROXIED.contains(&name);
    // Some proxies say nothing of themselves, but speak the HTTP of 1996.
    let is_direct =
        parts.version > Version::HTTP_10 && !parts.headers.keys().any(|name| of_proxy(name.as_str()));
    is_near && is_direct && names_this_machine(parts)
}

fn names_this_machine(parts: &Parts) -> bool {
    let host = parts.headers.get(header::HOST).map(|host| host.to_str().unwrap_or_default());
    let target = parts.uri.authority().map(http::uri::Authority::as_str);
    // Where both are there, both must.
    let mut names = host.into_iter().chain(target).peekable();
    names.peek().is_some() && names.all(is_this_machine)
}

fn is_this_machine(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

/// Says to browsers what they may do with an answer.
pub(super) async fn hardened(mut response: Response) -> Response {
    const HEADERS: [(&str, &str); 7] = [
        (
            "content-security-policy",
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; frame-ancestors 'none'; form-action 'none'",
        ),
        ("x-content-type-options", "nosniff"),
        ("referrer-policy", "no-referrer"),
        ("cross-origin-opener-policy", "same-origin"),
        ("cross-origin-resource-policy", "same-origin"),
        ("x-frame-options", "DENY"),
        ("cache-control", "no-store"),
    ];
    for (name, value) in HEADERS {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}
