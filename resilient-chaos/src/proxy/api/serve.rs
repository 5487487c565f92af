//! Server of the HTTP API.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::routes::router;
use crate::proxy::Proxies;

/// Maximum number of open connections. Further ones wait.
const CONNECTIONS: usize = 128;
/// How long a client may take to send the head of a request, and how long a connection may be idle.
const HEADER_TIME: Duration = Duration::from_mins(1);
/// Pause after a failed accept. Most likely there are no file descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// Error returned by [`Proxies::serve`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient_chaos::proxy::{Proxies, ServeError};
/// use tokio::net::TcpListener;
///
/// let everywhere = TcpListener::bind("0.0.0.0:0").await.unwrap();
/// let open = Proxies::new().serve(everywhere).await;
/// assert!(matches!(open, Err(ServeError::Open { .. })), "without a token");
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The listener is reachable from other machines, and no token is set.
    #[error(
        "refused to serve the proxy API at {address} without a token: set `Proxies::token` or listen on 127.0.0.1"
    )]
    Open {
        /// Address of the listener.
        address: SocketAddr,
    },
    /// The address of the listener is unknown.
    #[error("the listener of the proxy API failed")]
    Io(#[from] std::io::Error),
}

impl Proxies {
    /// Serves the HTTP API of Toxiproxy 2 until the future is dropped.
    ///
    /// # Errors
    /// Returns [`ServeError::Open`] if no token is set and the listener is reachable from other machines.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connections of the API. The proxies continue as long as another clone of `self` exists.
    ///
    /// ```
    /// use resilient_chaos::proxy::Proxies;
    /// use tokio::net::TcpListener;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let listener = TcpListener::bind("127.0.0.1:0").await?;
    /// println!("toxiproxy API at http://{}", listener.local_addr()?);
    /// let proxies = Proxies::new();
    /// let api = tokio::spawn(proxies.clone().serve(listener));
    /// // .. clients create proxies and toxics ..
    /// api.abort();
    /// # Ok(()) }
    /// ```
    pub async fn serve(self, listener: TcpListener) -> Result<(), ServeError> {
        let address = listener.local_addr()?;
        if self.access().is_none() && !address.ip().to_canonical().is_loopback() {
            return Err(ServeError::Open { address });
        }
        let service = TowerToHyperService::new(router(self));
        let mut server = http1::Builder::new();
        server.timer(TokioTimer::new()).header_read_timeout(HEADER_TIME);
        let slots = Arc::new(Semaphore::new(CONNECTIONS));
        let mut connections = JoinSet::new();
        loop {
            // The semaphore is never closed.
            let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return Ok(()) };
            while connections.try_join_next().is_some() {}
            match listener.accept().await {
                Ok((stream, _)) => {
                    let connection = server.serve_connection(TokioIo::new(stream), service.clone());
                    connections.spawn(async move {
                        // An error means that the client sent no HTTP or disconnected.
                        let _ = connection.await;
                        drop(slot);
                    });
                }
                Err(error) => {
                    tracing::warn!(target: "resilient_chaos", %error, "accepting a connection of the proxy API failed");
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}
