//! Tokens of faults in server requests.

use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::extract::ConnectInfo;
use futures_util::future::Either;
use http::{HeaderName, Request};
use resilient_runtime::chaos::FaultToken;
use resilient_runtime::context::Scoped;
use tower::{Layer, Service};

use super::{BadNetwork, ClientIp};

const HEADER: HeaderName = HeaderName::from_static("resilient-fault");

/// Reads the token of faults from the header `resilient-fault` of requests from trusted peers.
///
/// Faults with [`Fault::header_token`](resilient_runtime::chaos::Fault::header_token) then affect the calls of this
/// request only: nested calls, retries, and tasks that got the context by [`carry`](resilient_runtime::carry). Put it
/// outside of a [`ServerLayer`](super::ServerLayer) whose pipeline is a target.
///
/// Trusted are the peers of the connection, which [`HttpServer`](crate::HttpServer) provides; with `axum::serve`, use
/// `into_make_service_with_connect_info::<SocketAddr>()`. If a proxy forwards the requests, the peer is the proxy: trust it only if it
/// removes the header from requests of clients that may not use it. The header of any other peer is ignored.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # use std::net::SocketAddr;
/// # use axum::extract::ConnectInfo;
/// # use tower::ServiceExt;
/// use axum::{Router, body::Body, http::Request, routing::get};
/// use resilient_runtime::{Class, Registry, chaos::Fault};
/// use resilient_http::layer::{FaultTokenLayer, ServerLayer};
///
/// let registry = Registry::new();
/// let server = ServerLayer::new(registry.pipeline("api").build()).unwrap();
/// let tokens = FaultTokenLayer::from_peers(["10.0.0.0/8"]).unwrap();
/// let app: Router = Router::new().route("/", get(async || "hello")).layer(server).layer(tokens);
/// let _fault = registry.chaos().inject(Fault::error(Class::TRANSIENT).on("api").header_token("ada-7")).unwrap();
/// let status = async |peer: [u8; 4]| {
///     let request = Request::get("/").header("resilient-fault", "ada-7").extension(ConnectInfo(SocketAddr::from((peer, 1))));
///     app.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status().as_u16()
/// };
/// assert_ne!(status([10, 0, 0, 7]).await, 200);
/// assert_eq!(status([203, 0, 113, 9]).await, 200, "not trusted");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FaultTokenLayer {
    trusted: Arc<ClientIp>,
}

impl FaultTokenLayer {
    /// Creates a layer that trusts the peers with these IP addresses or networks. With an empty list it trusts no peer.
    ///
    /// ```
    /// use resilient_http::layer::FaultTokenLayer;
    ///
    /// assert!(FaultTokenLayer::from_peers(["127.0.0.1", "10.0.0.0/8"]).is_ok());
    /// assert!(FaultTokenLayer::from_peers(["all"]).is_err());
    /// ```
    ///
    /// # Errors
    /// Returns [`BadNetwork`] for the first item that is not an IP address or network.
    pub fn from_peers<N: AsRef<str>>(peers: impl IntoIterator<Item = N>) -> Result<Self, BadNetwork> {
        Ok(Self { trusted: Arc::new(ClientIp::behind(peers)?) })
    }

    /// Returns the token of a request, if its peer is trusted.
    fn token<B>(&self, request: &Request<B>) -> Option<FaultToken> {
        let token = FaultToken::parse(request.headers().get(HEADER)?.to_str().ok()?)?;
        let ConnectInfo(peer) = request.extensions().get::<ConnectInfo<SocketAddr>>()?;
        self.trusted.trusts(peer.ip().to_canonical()).then_some(token)
    }
}

impl<S> Layer<S> for FaultTokenLayer {
    type Service = FaultTokens<S>;

    fn layer(&self, inner: S) -> FaultTokens<S> {
        FaultTokens { inner, layer: self.clone() }
    }
}

/// The service of a [`FaultTokenLayer`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// # use http::Request;
/// # use std::convert::Infallible;
/// # use tower::{Layer, ServiceExt, service_fn};
/// use resilient_runtime::chaos::FaultToken;
/// use resilient_http::layer::{FaultTokenLayer, FaultTokens};
///
/// let token = async |_: Request<()>| Ok::<_, Infallible>(FaultToken::current());
/// let service: FaultTokens<_> = FaultTokenLayer::from_peers(["10.0.0.0/8"]).unwrap().layer(service_fn(token));
/// let request = Request::get("/").header("resilient-fault", "ada-7").body(()).unwrap();
/// assert!(service.oneshot(request).await.unwrap().is_none(), "the peer is not known");
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct FaultTokens<S> {
    inner: S,
    layer: FaultTokenLayer,
}

impl<S: Service<Request<B>>, B> Service<Request<B>> for FaultTokens<S> {
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<Scoped<S::Future, FaultToken>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        match self.layer.token(&request) {
            Some(token) => {
                let answer = token.scope(|| self.inner.call(request));
                Either::Left(token.scope_async(answer))
            }
            None => Either::Right(self.inner.call(request)),
        }
    }
}
