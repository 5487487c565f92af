//! What is going on, and the levers, over HTTP.
//!
//! | | |
//! |---|---|
//! | `GET /health`, `/health/live`, `/health/ready`, `/health/deep` | [`application/health+json`](resilient_runtime::health); 200 or 503 |
//! | `GET /stats`, `/stats/{kind}/{name}` | what was counted, and where things stand |
//! | `GET /config` | every setting in force, and where its value came from |
//! | `GET /sites` | the annotated functions, with their stages |
//! | `GET /alerts` | how the alerts stand |
//! | `GET /metrics` | for Prometheus |
//! | `GET /events` | what happens, as server-sent events |
//! | `GET /openapi.json` | all this, for programs |
//! | `POST /reset/{kind}/{name}` | back to the state it had when it was new |
//! | `PATCH /config/{kind}/{name}` | changes settings, while calls run; `DELETE` takes the changes back |
//! | `POST /circuit_breaker/{name}/{open,close,disable,resume}` | by hand |
//!
//! All of it below a prefix, `/api/resilience`; the dashboard is at `/dashboard`.
//!
//! Alerts are looked at once a second as long as the router lives, whether anybody asks or not.
//!
//! # Who gets in
//! - A client on the same machine may read, unless it comes through a proxy. All others need the bearer token for it. A
//!   proxy on the machine that adds no header of its own, and speaks HTTP/1.1, is not recognized: then set
//!   [`Admin::token_to_read`].
//! - To look local, a request must be addressed to the machine: `Host` is `localhost` or a loopback address, with or without
//!   a port and without anything else, there is one, and the target of the request agrees with it.
//! - A browser that says that a page of another site asks (`Sec-Fetch-Site`, else `Origin`) may not read without the token,
//!   and may not write at all.
//! - To write, each client needs the token. If you set none, [`Admin::serve`] makes one and prints it.
//! - [`Admin::serve`] refuses to listen anywhere but on the machine itself without a token of yours.
//! - Five wrong tokens from an address (IPv6: a network of 64 bits) lock it out for a while, and no other. The address of the
//!   machine itself is never locked out, as its programs and the clients of a proxy on it share it: after five wrong tokens
//!   from there, and while very many addresses show wrong tokens, each token takes a second to be checked, the right one too.
//!   Each write is an event ([`OperatorAction`](resilient_runtime::EventKind::OperatorAction)), and logged (`resilient_runtime::audit`).

mod access;
mod api;
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

/// The admin API and the dashboard of one registry. See the [module](self).
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
}

/// What the handlers share.
#[derive(Debug)]
struct Shared {
    registry: Registry,
    prefix: String,
    token: Option<Token>,
    /// Of the application, in the document.
    paths: Map<String, Value>,
    /// Who guesses.
    clients: ClientIp,
    /// Who asks from this machine may read without the token.
    is_open: bool,
    viewers: stream::Viewers,
}

type App = Arc<Shared>;

/// A token that could be guessed, or not be shown.
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
    "the admin token cannot be used: at least {} bytes of visible ASCII, such as `openssl rand -hex 24` prints",
    token::SHORTEST
)]
pub struct WeakToken;

impl Admin {
    /// Of this registry, without a token: nobody can write.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use tower::ServiceExt;
    /// use axum::{body::Body, http::{Request, StatusCode}};
    /// use resilient_http::Admin;
    ///
    /// let router = Admin::new(&resilient_runtime::Registry::new()).router();
    /// let order = Request::post("/api/resilience/circuit_breaker/payment/open").body(Body::empty()).unwrap();
    /// assert_eq!(router.oneshot(order).await.unwrap().status(), StatusCode::FORBIDDEN);
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
        }
    }

    /// With the token that opens it, of at least 16 bytes. Only its digest is kept.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use tower::ServiceExt;
    /// # use axum::{body::Body, http::Request};
    /// # use resilient_http::Admin;
    /// let admin = Admin::new(&resilient_runtime::Registry::new()).token("a token of 24 characters").unwrap();
    /// let read = Request::get("/api/resilience/stats").header("authorization", "Bearer a token of 24 characters");
    /// let answer = admin.router().oneshot(read.body(Body::empty()).unwrap()).await.unwrap();
    /// assert_eq!(answer.status(), 200);
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the token is shorter, or has other characters than visible ones of ASCII.
    pub fn token(mut self, token: impl AsRef<str>) -> Result<Self, WeakToken> {
        let token = token.as_ref().trim();
        // Other than that could not be shown in a header.
        let can_be_shown = token.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
        if token.len() < token::SHORTEST || !can_be_shown {
            return Err(WeakToken);
        }
        self.token = Some(Token::new(token));
        Ok(self)
    }

    /// With a new random token; the token. For programs that print it where only their user sees it.
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
    /// When the operating system has no randomness to give.
    pub fn random_token(mut self) -> std::io::Result<(Self, String)> {
        let token = Token::random().ok_or_else(|| std::io::Error::other("no randomness can be had"))?;
        self.token = Some(Token::new(&token));
        Ok((self, token))
    }

    /// Below another prefix than `/api/resilience`; without a slash at its end.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use tower::ServiceExt;
    /// # use axum::{body::Body, http::Request};
    /// # use resilient_http::Admin;
    /// let admin = Admin::new(&resilient_runtime::Registry::new()).token("0123456789abcdef").unwrap();
    /// let router = admin.prefix("/internal").router();
    /// let look = |path: &str| {
    ///     let request = Request::get(path).header("authorization", "Bearer 0123456789abcdef");
    ///     router.clone().oneshot(request.body(Body::empty()).unwrap())
    /// };
    /// assert_eq!(look("/internal/health").await.unwrap().status(), 200);
    /// assert_eq!(look("/api/resilience/health").await.unwrap().status(), 404);
    /// # }
    /// ```
    #[must_use]
    pub fn prefix(mut self, prefix: impl Into<String>) -> Self {
        let prefix = prefix.into();
        let prefix = prefix.trim_matches('/');
        self.prefix = if prefix.is_empty() { String::new() } else { format!("/{prefix}") };
        self
    }

    /// Lets nobody read without the token, from the machine itself neither: where a proxy on it passes requests of others on.
    ///
    /// ```
    /// use axum::{body::Body, extract::ConnectInfo, http::Request};
    /// use resilient_http::Admin;
    /// use tower::ServiceExt;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
    /// let admin = || Admin::new(&resilient_runtime::Registry::new()).token("a-token-of-the-docs").unwrap();
    /// let from_here = || {
    ///     let request = Request::get("/api/resilience/stats").header("host", "localhost");
    ///     let peer = ConnectInfo(std::net::SocketAddr::from(([127, 0, 0, 1], 9)));
    ///     request.extension(peer).body(Body::empty()).unwrap()
    /// };
    /// assert_eq!(admin().router().oneshot(from_here()).await.unwrap().status(), 200);
    /// assert_eq!(admin().token_to_read().router().oneshot(from_here()).await.unwrap().status(), 401);
    /// # });
    /// ```
    #[must_use]
    pub fn token_to_read(self) -> Self {
        Self { is_open: false, ..self }
    }

    /// Sets how the address of a client that shows a wrong token is found. The default is the peer, which behind a proxy is the
    /// same for all: then one client that guesses locks out all, or, where the proxy is on this machine, slows down all.
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

    /// Puts a path of yours into the document of the API: below the prefix, as a path item of
    /// [OpenAPI](https://spec.openapis.org/oas/v3.1.0#path-item-object).
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

    /// The routes, to be merged into a router of your own. For reading without a token the server must tell who asks:
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
    /// # let look = |path: &str| all.clone().oneshot(request(path));
    /// // As a server answers who asks from its own machine.
    /// assert_eq!(look("/").await.unwrap().status(), 200);
    /// assert_eq!(look("/api/resilience/stats").await.unwrap().status(), 200);
    /// # }
    /// ```
    pub fn router(self) -> Router {
        let Self { registry, prefix, token, paths, clients, is_open } = self;
        let shared = Arc::new(Shared {
            registry,
            prefix,
            token,
            paths,
            clients,
            is_open,
            viewers: stream::Viewers::default(),
        });
        api::routes(shared)
    }
}
