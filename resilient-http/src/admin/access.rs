//! Access control of the admin API.

use std::net::{IpAddr, SocketAddr};

use axum::extract::{ConnectInfo, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};

use super::App;
use super::token::{self, Shown};
use crate::Problem;
use crate::layer::{Unread, is_port};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
const FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// Middleware that rejects requests that may not read or write.
pub(super) async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let unread = Unread::of(&request);
    let (mut parts, body) = request.into_parts();
    match admit(&app, &parts).await {
        Ok(shown) => {
            if let Some(shown) = shown {
                parts.extensions.insert(shown);
            }
            next.run(Request::from_parts(parts, body)).await
        }
        Err(problem) => refused(problem, unread),
    }
}

/// Request extension: the request carries a valid token.
#[derive(Clone, Copy, Debug)]
pub(super) struct WithToken;

async fn admit(app: &App, parts: &Parts) -> Result<Option<WithToken>, Problem> {
    let reads = matches!(parts.method, Method::GET | Method::HEAD);
    let is_foreign = is_of_another_site(parts);
    if is_foreign && !reads {
        return Err(Problem::new(StatusCode::FORBIDDEN, "requests from a page of another site cannot write"));
    }
    match bearer(&parts.headers) {
        Some(shown) => {
            let token = app.token.as_ref().ok_or_else(no_token)?;
            let client = app.clients.of(parts);
            let (found, pause) = token.show(shown, client);
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
            match found {
                Shown::Right => Ok(Some(WithToken)),
                Shown::Wrong { should_log } => {
                    if should_log {
                        tracing::warn!(target: "resilient_runtime::audit", ?client, "wrong admin token");
                    }
                    Err(Problem::new(StatusCode::UNAUTHORIZED, "wrong admin token"))
                }
                Shown::Locked => Err(Problem::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "too many wrong admin tokens from this address; try again later",
                )
                .after(token::PER_GUESS)),
            }
        }
        None if reads && app.is_open && !is_foreign && is_local(parts) => Ok(None),
        None if app.token.is_none() => Err(no_token()),
        None => Err(Problem::new(
            StatusCode::UNAUTHORIZED,
            "the admin token is required: send `Authorization: Bearer <token>`",
        )),
    }
}

fn no_token() -> Problem {
    Problem::new(StatusCode::FORBIDDEN, "this needs an admin token, but none is set: use `Admin::token`")
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
    let value = match one(headers, &header::AUTHORIZATION) {
        Values::None => return None,
        Values::One(value) => value,
        // Another component that reads the headers might use a different one of them.
        Values::Many => "",
    };
    let (scheme, token) = value.split_once(' ').unwrap_or((value, ""));
    // Another scheme counts as a wrong token.
    Some(if scheme.eq_ignore_ascii_case("bearer") { token.trim() } else { "" })
}

/// The values of a header that may occur once.
enum Values<'h> {
    None,
    /// Empty if the value is not visible ASCII.
    One(&'h str),
    Many,
}

fn one<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Values<'h> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Values::None,
        (Some(value), None) => Values::One(value.to_str().unwrap_or_default()),
        (Some(_), Some(_)) => Values::Many,
    }
}

fn peer(parts: &Parts) -> Option<SocketAddr> {
    parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0)
}

/// Whether a program or user on this machine sent the request.
///
/// This excludes requests through a local proxy, and requests of a page of another site whose DNS name points to this
/// machine (DNS rebinding).
fn is_local(parts: &Parts) -> bool {
    let is_near = peer(parts).is_some_and(|peer| peer.ip().to_canonical().is_loopback());
    // Some proxies add no header, but use HTTP/1.0.
    let is_direct =
        parts.version > Version::HTTP_10 && !parts.headers.keys().any(|name| is_of_proxy(name.as_str()));
    is_near && is_direct && names_this_machine(parts)
}

/// Whether proxies or content delivery networks add this header.
fn is_of_proxy(name: &str) -> bool {
    const NAMES: [&str; 6] = ["forwarded", "x-real-ip", "via", "cdn-loop", "x-proxyuser-ip", "x-host"];
    const BEGIN: [&str; 4] = ["x-forwarded", "x-original-", "x-envoy-", "x-amzn-"];
    const END: [&str; 3] = ["client-ip", "connecting-ip", "client-addr"];
    NAMES.contains(&name)
        || BEGIN.iter().any(|begin| name.starts_with(begin))
        || END.iter().any(|end| name.ends_with(end))
}

/// Whether `Host` and the authority of the request target, if any, name this machine and agree.
fn names_this_machine(parts: &Parts) -> bool {
    let target = parts.uri.authority().map(http::uri::Authority::as_str);
    let host = match one(&parts.headers, &header::HOST) {
        Values::None => None,
        Values::One(host) => Some(host),
        Values::Many => return false,
    };
    match (host, target) {
        (Some(host), Some(target)) => is_this_machine(host) && is_same(host, target, "80"),
        (Some(only), None) | (None, Some(only)) => is_this_machine(only),
        (None, None) => false,
    }
}

/// The name and the port of an authority without user information (RFC 3986, section 3.2).
fn name_and_port(authority: &str) -> Option<(&str, &str)> {
    let end = match authority.strip_prefix('[') {
        Some(rest) => rest.find(']')? + 2,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    let (name, port) = authority.split_at(end);
    is_port(port).then(|| (name, port.strip_prefix(':').unwrap_or(port)))
}

/// Whether two authorities are equal, with `default` for a missing port.
fn is_same(one: &str, other: &str, default: &str) -> bool {
    let parsed = |authority| {
        let (name, port) = name_and_port(authority)?;
        (!name.is_empty()).then_some((name, if port.is_empty() { default } else { port }))
    };
    match (parsed(one), parsed(other)) {
        (Some((name, port)), Some((other, its))) => name.eq_ignore_ascii_case(other) && port == its,
        _ => false,
    }
}

fn is_this_machine(host: &str) -> bool {
    let Some((name, _port)) = name_and_port(host) else { return false };
    let address: Option<IpAddr> = match name.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
        Some(v6) => v6.parse().ok().map(IpAddr::V6),
        None => name.parse().ok().map(IpAddr::V4),
    };
    address.is_some_and(|address| address.to_canonical().is_loopback())
        // A dot at the end does not change the name (RFC 6761, section 6.3).
        || name.strip_suffix('.').unwrap_or(name).eq_ignore_ascii_case("localhost")
}

/// Whether a browser marked the request as sent by a page of another site.
///
/// Browsers set `Sec-Fetch-Site`, and pages cannot change it. If it is missing (older browsers, sites without TLS), the
/// request is foreign if its `Origin` differs from the host that the request went to.
fn is_of_another_site(parts: &Parts) -> bool {
    match one(&parts.headers, &SEC_FETCH_SITE) {
        // `none`: the user entered the address.
        Values::One(site) => !["same-origin", "none"].contains(&site),
        Values::Many => true,
        Values::None => match one(&parts.headers, &header::ORIGIN) {
            Values::None => false,
            Values::One(origin) => !is_own(origin, parts),
            Values::Many => true,
        },
    }
}

/// Whether an origin equals `Host`, the host that a proxy forwards in `X-Forwarded-Host`, or the request target.
fn is_own(origin: &str, parts: &Parts) -> bool {
    let Some((scheme, authority)) = origin.split_once("://") else { return false };
    let default = match scheme {
        "http" => "80",
        "https" => "443",
        _ => return false,
    };
    let is_it = |host: &str| is_same(authority, host.trim(), default);
    [&header::HOST, &FORWARDED_HOST].into_iter().any(|name| match one(&parts.headers, name) {
        Values::One(host) => is_it(host),
        _ => false,
    }) || parts.uri.authority().is_some_and(|target| is_it(target.as_str()))
}

/// Adds security headers for browsers to a response.
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
