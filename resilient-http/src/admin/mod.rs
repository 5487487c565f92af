//! HTTP API that inspects and controls the components of a registry.
//!
//! | Endpoint | Purpose |
//! |---|---|
//! | `GET /health`, `/health/live`, `/health/ready`, `/health/deep` | [`application/health+json`](resilient_runtime::health); status 200 or 503 |
//! | `GET /stats`, `/stats/{kind}/{name}` | counters and current state |
//! | `GET /config` | every effective setting and the origin of its value |
//! | `GET /sites` | the annotated functions and their stages |
//! | `GET /alerts` | the state of the alerts |
//! | `GET /metrics` | Prometheus metrics |
//! | `GET /events` | events as server-sent events |
//! | `GET /openapi.json` | `OpenAPI` description of this API |
//! | `POST /reset/{kind}/{name}` | resets a component to its initial state; `?scope=cluster`: a circuit breaker in all instances |
//! | `PATCH /config/{kind}/{name}` | changes settings at run time; `DELETE` removes the changes |
//! | `POST /circuit_breaker/{name}/{open,close,disable,resume}` | controls a circuit breaker |
//! | `GET /chaos` | the armed faults, and the experiment and monkey that run (feature `chaos`, as all that follow) |
//! | `POST /chaos/stop` | ends all faults at once, aborts the experiment, stops the monkey |
//! | `GET`, `POST`, `DELETE /chaos/faults`, `DELETE /chaos/faults/{id}` | lists, arms and ends faults |
//! | `GET /chaos/scenarios` | the scenarios that can be started by name |
//! | `GET`, `POST /chaos/experiments`, `GET`, `DELETE /chaos/experiments/{id}` | lists, starts, shows and aborts experiments |
//! | `GET /chaos/experiments/{id}/journal`, `/report` | the journal as a stream, and the report |
//! | `GET`, `POST`, `DELETE /chaos/monkey`, `GET /chaos/monkey/journal` | the chaos monkey |
//! | `GET /chaos/annotations` | annotation data for Grafana |
//!
//! All endpoints are below a prefix, by default `/api/resilience`. The dashboard is at `/dashboard`, without the prefix.
//!
//! Alerts are evaluated once a second until the router is dropped, even if no client is connected.
//!
//! # Access control
//! - A client on the same machine can read without a token, unless the request comes through a proxy. Every other client
//!   needs the bearer token. A local proxy that adds no forwarding header and uses HTTP/1.1 is not recognized: set
//!   [`Admin::token_to_read`] behind such a proxy.
//! - A request counts as local only if its `Host` is `localhost` or a loopback address, with or without a port. The
//!   request must have exactly one host, and the authority of the request target must agree with it.
//! - A request that a page of another site sent (shown by `Sec-Fetch-Site`, or by `Origin` if that header is missing)
//!   needs the token to read, and cannot write even with the token.
//! - Every write needs the token. If no token is set, [`Admin::serve`] generates one and prints it.
//! - Without a token, [`Admin::serve`] refuses to listen on an address other than loopback.
//! - Five wrong tokens from one address (IPv6: from one /64 network) lock out that address for a while. Other addresses
//!   are not affected. Loopback is never locked out, because all local programs and all clients of a local proxy share
//!   it. After five wrong tokens from loopback, and while very many addresses send wrong tokens, each check takes one
//!   second, also for the right token.
//! - Each write emits an [`OperatorAction`](resilient_runtime::EventKind::OperatorAction) event and is logged with the
//!   target `resilient_runtime::audit`.

mod access;
mod api;
#[cfg(feature = "chaos")]
mod chaos;
mod openapi;
mod serve;
mod stream;
mod token;

use std::sync::Arc;

use axum::Router;
use resilient_runtime::Registry;
use serde_json::{Map, Value};

use crate::layer::ClientIp;

pub use serve::ServeError;
use token::Token;

/// The admin API and the dashboard of one registry. See the [module documentation](self).
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use resilient_http::Admin;
///
/// let admin = Admin::new(resilient_runtime::registry()).token(std::env::var("ADMIN_TOKEN")?)?;
/// admin.serve(tokio::net::TcpListener::bind("127.0.0.1:9000").await?).await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Admin {
    registry: Registry,
    prefix: String,
    token: Option<Token>,
    paths: Map<String, Value>,
    clients: ClientIp,
    is_open: bool,
    #[cfg(feature = "chaos")]
    environment: Option<String>,
}

/// State shared by the handlers.
#[derive(Debug)]
struct Shared {
    registry: Registry,
    prefix: String,
    token: Option<Token>,
    /// Paths that the application adds to the `OpenAPI` document.
    paths: Map<String, Value>,
    /// Finds the address of a client that sends a wrong token.
    clients: ClientIp,
    /// Local clients may read without the token.
    is_open: bool,
    viewers: stream::Viewers,
    #[cfg(feature = "chaos")]
    chaos: chaos::Control,
}

type App = Arc<Shared>;

/// The token is too short or contains characters other than visible ASCII.
///
/// ```
/// use resilient_http::{Admin, admin::WeakToken};
///
/// let weak = Admin::new(&resilient_runtime::Registry::new()).token("admin").unwrap_err();
/// assert_eq!(weak, WeakToken);
/// assert!(weak.to_string().contains("at least 16 bytes"));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid admin token: it must be at least {} bytes of visible ASCII; generate one with `openssl rand -hex 24`",
    token::SHORTEST
)]
pub struct WeakToken;

impl Admin {
    /// Creates the admin API of this registry without a token, so that it rejects all writes.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use tower::ServiceExt;
    /// use axum::{body::Body, http::{Request, StatusCode}};
    /// use resilient_http::Admin;
    ///
    /// let router = Admin::new(&resilient_runtime::Registry::new()).router();
    /// let request = Request::post("/api/resilience/circuit_breaker/payment/open").body(Body::empty()).unwrap();
    /// assert_eq!(router.oneshot(request).await.unwrap().status(), StatusCode::FORBIDDEN);
    /// # }
    /// ```
    pub fn new(registry: &Registry) -> Self {
        Self {
            registry: registry.clone(),
            prefix: "/api/resilience".into(),
            token: None,
            paths: Map::new(),
            clients: ClientIp::direct(),
            is_open: true,
            #[cfg(feature = "chaos")]
            environment: None,
        }
    }

    /// Sets the bearer token, of at least 16 bytes.
    ///
    /// Only a digest of the token is stored.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use tower::ServiceExt;
    /// # use axum::{body::Body, http::Request};
    /// # use resilient_http::Admin;
    /// let admin = Admin::new(&resilient_runtime::Registry::new()).token("a token of 24 characters").unwrap();
    /// let read = Request::get("/api/resilience/stats").header("authorization", "Bearer a token of 24 characters");
    /// let response = admin.router().oneshot(read.body(Body::empty()).unwrap()).await.unwrap();
    /// assert_eq!(response.status(), 200);
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns [`WeakToken`] if the token is shorter than 16 bytes or contains a character other than visible ASCII or a
    /// space. Spaces at both ends are removed first.
    pub fn token(mut self, token: impl AsRef<str>) -> Result<Self, WeakToken> {
        let token = token.as_ref().trim();
        // Clients cannot send other characters in a header.
        let can_be_shown = token.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if token.len() < token::SHORTEST || !can_be_shown {
            return Err(WeakToken);
        }
        self.token = Some(Token::new(token));
        Ok(self)
    }

    /// Sets a random token and returns it.
    ///
    /// Print the token where only the user of the program can read it.
    ///
    /// ```
    /// use resilient_http::Admin;
    ///
    /// let registry = resilient_runtime::Registry::new();
    /// let (_, token) = Admin::new(&registry).random_token()?;
    /// let (_, other) = Admin::new(&registry).random_token()?;
    /// assert!(token.len() >= 16 && token != other);
    /// # Ok::<_, std::io::Error>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error if the random number generator of the operating system fails.
    pub fn random_token(mut self) -> std::io::Result<(Self, String)> {
        let token = Token::random().ok_or_else(|| {
            std::io::Error::other("cannot generate an admin token: no randomness from the operating system")
        })?;
        self.token = Some(Token::new(&token));
        Ok((self, token))
    }

    /// Sets the path prefix of the API. The default is `/api/resilience`.
    ///
    /// Slashes at both ends of `prefix` are ignored. An empty prefix mounts the endpoints at the root.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use tower::ServiceExt;
    /// # use axum::{body::Body, http::Request};
    /// # use resilient_http::Admin;
    /// let admin = Admin::new(&resilient_runtime::Registry::new()).token("0123456789abcdef").unwrap();
    /// let router = admin.prefix("/internal").router();
    /// let get = |path: &str| {
    ///     let request = Request::get(path).header("authorization", "Bearer 0123456789abcdef");
    ///     router.clone().oneshot(request.body(Body::empty()).unwrap())
    /// };
    /// assert_eq!(get("/internal/health").await.unwrap().status(), 200);
    /// assert_eq!(get("/api/resilience/health").await.unwrap().status(), 404);
    /// # }
    /// ```
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        let prefix = prefix.into();
        let prefix = prefix.trim_matches('/');
        self.prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
        self
    }

    /// Requires the token for reads, even from loopback.
    ///
    /// Call this if a proxy on the same machine forwards the requests of other machines.
    ///
    /// ```
    /// use axum::{body::Body, extract::ConnectInfo, http::Request};
    /// use resilient_http::Admin;
    /// use tower::ServiceExt;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let admin = || Admin::new(&resilient_runtime::Registry::new()).token("a-token-of-the-docs").unwrap();
    /// let local = || {
    ///     let request = Request::get("/api/resilience/stats").header("host", "localhost");
    ///     let peer = ConnectInfo(std::net::SocketAddr::from(([127, 0, 0, 1], 9)));
    ///     request.extension(peer).body(Body::empty()).unwrap()
    /// };
    /// assert_eq!(admin().router().oneshot(local()).await.unwrap().status(), 200);
    /// assert_eq!(admin().token_to_read().router().oneshot(local()).await.unwrap().status(), 401);
    /// # });
    /// ```
    #[must_use]
    pub fn token_to_read(self) -> Self {
        Self { is_open: false, ..self }
    }

    /// Sets how to find the address of a client that sends a wrong token.
    ///
    /// The default is the peer address. All clients of a proxy have the same peer address, so that wrong tokens of one
    /// client lock out all of them. If the proxy is on this machine, they slow down all clients instead.
    ///
    /// ```
    /// use resilient_http::{Admin, layer::ClientIp};
    ///
    /// let behind = ClientIp::behind(["10.0.0.0/8"]).unwrap();
    /// let admin = Admin::new(&resilient_runtime::Registry::new()).clients(behind);
    /// # let _ = admin.router();
    /// ```
    #[must_use]
    pub fn clients(self, clients: ClientIp) -> Self {
        Self { clients, ..self }
    }

    /// Sets the name of the environment, instead of the variable `RESILIENT_ENVIRONMENT`.
    ///
    /// An experiment or a monkey is refused if its settings do not list the environment, or if the name is not known.
    ///
    /// ```
    /// use resilient_http::Admin;
    ///
    /// let admin = Admin::new(&resilient_runtime::Registry::new()).environment("staging");
    /// # let _ = admin.router();
    /// ```
    #[cfg(feature = "chaos")]
    #[must_use]
    pub fn environment(self, name: impl Into<String>) -> Self {
        Self { environment: Some(name.into()), ..self }
    }

    /// Adds a path of the application, below the prefix, to `/openapi.json`.
    ///
    /// `item` is a [path item object](https://spec.openapis.org/oas/v3.1.0#path-item-object) of `OpenAPI`.
    ///
    /// ```
    /// use resilient_http::Admin;
    /// use serde_json::json;
    ///
    /// let order = json!({ "post": { "summary": "Orders", "responses": { "200": { "description": "ordered" } } } });
    /// let admin = Admin::new(&resilient_runtime::Registry::new()).path("/orders", order);
    /// # let _ = admin.router();
    /// ```
    #[must_use]
    pub fn path(mut self, path: &str, item: Value) -> Self {
        self.paths.insert(path.to_owned(), item);
        self
    }

    /// Returns the routes, for merging into another [`Router`].
    ///
    /// If the router is dropped, the experiment and the monkey that were started over the API are aborted, and their
    /// faults end.
    ///
    /// To allow local reads without a token, the server must provide the peer address: serve the router with
    /// `into_make_service_with_connect_info::<SocketAddr>()`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use std::net::SocketAddr;
    /// # use axum::{Extension, body::Body, extract::ConnectInfo, http::Request};
    /// # use tower::ServiceExt;
    /// use axum::{Router, routing::get};
    /// use resilient_http::Admin;
    ///
    /// let own = Router::new().route("/", get(async || "my shop"));
    /// let all = own.merge(Admin::new(&resilient_runtime::Registry::new()).router());
    /// # let all = all.layer(Extension(ConnectInfo(SocketAddr::from(([127, 0, 0, 1], 7)))));
    /// # let request = |path: &str| Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
    /// # let get_local = |path: &str| all.clone().oneshot(request(path));
    /// // The client is on the same machine as the server.
    /// assert_eq!(get_local("/").await.unwrap().status(), 200);
    /// assert_eq!(get_local("/api/resilience/stats").await.unwrap().status(), 200);
    /// # }
    /// ```
    pub fn router(self) -> Router {
        #[cfg(feature = "chaos")]
        let chaos = chaos::Control::new(self.environment);
        let Self { registry, prefix, token, paths, clients, is_open, .. } = self;
        let shared = Arc::new(Shared {
            registry,
            prefix,
            token,
            paths,
            clients,
            is_open,
            viewers: stream::Viewers::default(),
            #[cfg(feature = "chaos")]
            chaos,
        });
        api::routes(shared)
    }
}
