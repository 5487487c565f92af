//! Routes of the HTTP API.

use std::future::Future;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Path, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Map, Value, json};

use super::access::guard;
use super::wire::{self, NewToxic, ProxyChange, ToxicChange, parse};
use crate::proxy::proxy::Change;
use crate::proxy::{Proxies, ProxyError, ProxySpec, Toxic};

/// Clients check the major version. The part after `+` is build metadata of semantic versioning.
const VERSION: &str = concat!("2.12.0+resilient.", env!("CARGO_PKG_VERSION"));
/// Maximum length of a request body in bytes. 256 proxies need about 50 kB.
const BODY: usize = 1 << 20;
/// Time limit of a request, including its body.
const TIME: Duration = Duration::from_secs(25);

type Answer = Result<Response, ProxyError>;

pub(super) fn router(proxies: Proxies) -> Router {
    Router::new()
        .route("/version", get(version))
        .route("/proxies", get(list).post(create))
        .route("/populate", post(populate))
        .route("/reset", post(reset))
        .route("/proxies/{proxy}", get(show).post(change).patch(change).delete(remove))
        .route("/proxies/{proxy}/toxics", get(toxics).post(add_toxic))
        .route(
            "/proxies/{proxy}/toxics/{toxic}",
            get(show_toxic).post(change_toxic).patch(change_toxic).delete(remove_toxic),
        )
        .fallback(async || problem(StatusCode::NOT_FOUND, "no such path"))
        .method_not_allowed_fallback(async || {
            problem(StatusCode::METHOD_NOT_ALLOWED, "no such method for this path")
        })
        .layer(DefaultBodyLimit::max(BODY))
        .layer(middleware::from_fn_with_state(proxies.clone(), guard))
        .layer(middleware::from_fn(limit_time))
        .layer(middleware::map_response(as_json))
        .with_state(proxies)
}

/// An error as JSON.
pub(super) fn problem(status: StatusCode, error: &str) -> Response {
    (status, Json(json!({ "error": error, "status": status.as_u16() }))).into_response()
}

async fn limit_time(request: Request, next: Next) -> Response {
    let late = |_| problem(StatusCode::SERVICE_UNAVAILABLE, "the request took longer than 25 s");
    tokio::time::timeout(TIME, next.run(request)).await.unwrap_or_else(late)
}

/// Replaces errors of the framework, such as a body that is too large, by the JSON of all errors.
async fn as_json(response: Response) -> Response {
    let status = response.status();
    let is_json = response
        .headers()
        .get(header::CONTENT_TYPE)
        .is_some_and(|it| it.as_bytes().starts_with(b"application/json"));
    if is_json || !(status.is_client_error() || status.is_server_error()) {
        return response;
    }
    problem(status, status.canonical_reason().unwrap_or("error"))
}

impl ProxyError {
    fn status(&self) -> StatusCode {
        match self {
            Self::ProxyNotFound { .. } | Self::ToxicNotFound { .. } => StatusCode::NOT_FOUND,
            Self::ProxyExists { .. } | Self::ToxicExists { .. } | Self::TooMany { .. } => {
                StatusCode::CONFLICT
            }
            Self::NotLoopback { .. } => StatusCode::FORBIDDEN,
            // As in Toxiproxy.
            Self::Listen { .. } => StatusCode::INTERNAL_SERVER_ERROR,
            _ => StatusCode::BAD_REQUEST,
        }
    }
}

impl IntoResponse for ProxyError {
    fn into_response(self) -> Response {
        problem(self.status(), &self.to_string())
    }
}

/// Completes an action even if the client disconnects, because a half-done change would surprise the next client.
async fn to_the_end<T: Send + 'static>(
    action: impl Future<Output = Result<T, ProxyError>> + Send + 'static,
) -> Result<T, ProxyError> {
    let failed = |error: tokio::task::JoinError| ProxyError::InvalidBody { reason: error.to_string() };
    tokio::spawn(action).await.unwrap_or_else(|error| Err(failed(error)))
}

async fn version() -> Response {
    let body = format!("{{\"version\": \"{VERSION}\"}}\n");
    ([(header::CONTENT_TYPE, "application/json;charset=utf-8")], Body::from(body)).into_response()
}

async fn list(State(proxies): State<Proxies>) -> Json<Value> {
    let all = proxies.list();
    Json(all.iter().map(|proxy| (proxy.name().to_owned(), wire::proxy(proxy))).collect::<Map<_, _>>().into())
}

async fn create(State(proxies): State<Proxies>, body: Bytes) -> Answer {
    let spec: ProxySpec = parse(&body)?;
    let proxy = to_the_end(async move { proxies.create(spec).await }).await?;
    Ok((StatusCode::CREATED, Json(wire::proxy(&proxy))).into_response())
}

async fn populate(State(proxies): State<Proxies>, body: Bytes) -> Answer {
    let specs: Vec<ProxySpec> = parse(&body)?;
    let (created, error) = to_the_end(async move { Ok(proxies.populate(specs).await) }).await?;
    let created: Vec<Value> = created.iter().map(|proxy| wire::proxy(proxy)).collect();
    Ok(match error {
        None => (StatusCode::CREATED, Json(json!({ "proxies": created }))).into_response(),
        Some(error) => {
            let status = error.status();
            let body = json!({ "error": error.to_string(), "status": status.as_u16(), "proxies": created });
            (status, Json(body)).into_response()
        }
    })
}

async fn reset(State(proxies): State<Proxies>) -> Answer {
    to_the_end(async move { proxies.reset().await }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn show(State(proxies): State<Proxies>, Path(name): Path<String>) -> Answer {
    Ok(Json(wire::proxy(&*proxies.get(&name)?)).into_response())
}

async fn change(State(proxies): State<Proxies>, Path(name): Path<String>, body: Bytes) -> Answer {
    // An unknown name is reported before an invalid body.
    proxies.get(&name)?;
    let ProxyChange { listen, upstream, enabled } = parse(&body)?;
    let proxy = to_the_end(async move {
        let change = Change { listen: listen.as_deref(), upstream: upstream.as_deref(), enabled };
        proxies.change(&name, change).await
    });
    Ok(Json(wire::proxy(&*proxy.await?)).into_response())
}

async fn remove(State(proxies): State<Proxies>, Path(name): Path<String>) -> Answer {
    to_the_end(async move { proxies.remove(&name).await }).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn toxics(State(proxies): State<Proxies>, Path(name): Path<String>) -> Answer {
    let toxics = proxies.get(&name)?.toxics();
    Ok(Json(toxics.iter().map(wire::toxic).collect::<Vec<_>>()).into_response())
}

async fn add_toxic(State(proxies): State<Proxies>, Path(name): Path<String>, body: Bytes) -> Answer {
    let proxy = proxies.get(&name)?;
    let toxic = Toxic::try_from(parse::<NewToxic>(&body)?)?;
    let entry = proxy.shared().toxics.add(toxic)?;
    Ok(Json(wire::toxic(&entry.toxic)).into_response())
}

async fn show_toxic(State(proxies): State<Proxies>, Path((proxy, name)): Path<(String, String)>) -> Answer {
    let toxics = proxies.get(&proxy)?.toxics();
    let toxic = toxics.iter().find(|toxic| toxic.name() == name).ok_or(ProxyError::ToxicNotFound { name })?;
    Ok(Json(wire::toxic(toxic)).into_response())
}

async fn change_toxic(
    State(proxies): State<Proxies>,
    Path((proxy, name)): Path<(String, String)>,
    body: Bytes,
) -> Answer {
    let proxy = proxies.get(&proxy)?;
    let entry =
        proxy.shared().toxics.update(&name, None, |toxic| parse::<ToxicChange>(&body)?.apply(toxic))?;
    Ok(Json(wire::toxic(&entry.toxic)).into_response())
}

async fn remove_toxic(State(proxies): State<Proxies>, Path((proxy, name)): Path<(String, String)>) -> Answer {
    proxies.get(&proxy)?.remove(&name)?;
    Ok(StatusCode::NO_CONTENT.into_response())
}
