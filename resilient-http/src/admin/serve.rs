//! A server of its own for the admin API, with limits that a hostile client meets.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::connect_info::ConnectInfo;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tower::ServiceExt;

use super::Admin;

/// Connections at once; further ones wait to be accepted.
const CONNECTIONS: usize = 256;
const HEADER_TIME: Duration = Duration::from_secs(5);
const HEADERS: usize = 64;
const BUFFER: usize = 32 * 1024;

/// Why the admin API is not served.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// Whoever can reach the address could read, and guess.
    #[error(
        "the admin API is not served at {address} without a token: `Admin::token`, or listen at 127.0.0.1"
    )]
    Open {
        /// Where it was to be.
        address: SocketAddr,
    },
    /// The listener does not work.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Admin {
    /// Serves the routes until the future is dropped. Without a token it makes one and prints it to the standard error.
    ///
    /// # Cancel safety
    /// Dropping the future stops accepting; connections end with the runtime.
    ///
    /// # Errors
    /// When there is no token and the listener can be reached from other machines.
    pub async fn serve(self, listener: TcpListener) -> Result<(), ServeError> {
        let address = listener.local_addr()?;
        let mut admin = self;
        if admin.token.is_none() {
            if !address.ip().to_canonical().is_loopback() {
                return Err(ServeError::Open { address });
            }
            let (with_token, token) = admin.random_token()?;
            admin = with_token;
            eprintln!("the admin token of {address}: {token}");
        }
        accept(listener, admin.router()).await;
        Ok(())
    }
}

async fn accept(listener: TcpListener, router: Router) {
    let places = std::sync::Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(place) = std::sync::Arc::clone(&places).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, peer)) => {
                let router = router.clone();
                tokio::spawn(async move {
                    converse(stream, peer, router).await;
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(target: "resilient::admin", %error, "a connection was not accepted");
                // Out of file descriptors, most likely: at once it would fail again.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, peer: SocketAddr, router: Router) {
    let service = router.map_request(move |mut request: http::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.map(axum::body::Body::new)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIME)
        .max_headers(HEADERS)
        .max_buf_size(BUFFER)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    if let Err(error) = connection.await {
        tracing::debug!(target: "resilient::admin", %peer, %error, "a connection ended");
    }
}
