//! Dedicated server for the admin API.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::Admin;
use crate::HttpServer;

/// Maximum number of open connections.
const CONNECTIONS: usize = 256;

/// Error returned by [`Admin::serve`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use resilient_http::{Admin, admin::ServeError};
/// use tokio::net::TcpListener;
///
/// let everywhere = TcpListener::bind("0.0.0.0:0").await.unwrap();
/// let open = Admin::new(&resilient_runtime::Registry::new()).serve(everywhere).await;
/// assert!(matches!(open, Err(ServeError::Open { .. })), "without a token");
/// # }
/// ```
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The listener is reachable from other machines, and no token is set.
    #[error(
        "refused to serve the admin API at {address} without a token: set `Admin::token` or listen on 127.0.0.1"
    )]
    Open {
        /// Address of the listener.
        address: SocketAddr,
    },
    /// The listener failed, or no random token could be generated.
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

impl Admin {
    /// Serves the routes until the future is dropped.
    ///
    /// If no token is set, generates one and prints it to standard error.
    ///
    /// # Cancel safety
    /// Dropping the future stops accepting connections. Open connections end with the runtime.
    ///
    /// # Errors
    /// Returns [`ServeError::Open`] if no token is set and the listener is reachable from other machines, and
    /// [`ServeError::Io`] if the listener fails or no random token can be generated.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
    /// use resilient_http::Admin;
    ///
    /// let (admin, token) = Admin::new(resilient_runtime::registry()).random_token()?;
    /// println!("{token}");
    /// admin.serve(tokio::net::TcpListener::bind("127.0.0.1:9000").await?).await?;
    /// # Ok(()) }
    /// ```
    pub async fn serve(self, listener: TcpListener) -> Result<(), ServeError> {
        let address = listener.local_addr()?;
        let mut admin = self;
        if admin.token.is_none() {
            if !address.ip().to_canonical().is_loopback() {
                return Err(ServeError::Open { address });
            }
            let (with_token, token) = admin.random_token()?;
            admin = with_token;
            eprintln!("admin token for {address}: {token}");
        }
        let server = HttpServer::new(admin.router()).connections(CONNECTIONS);
        server.run(listener, std::future::pending()).await;
        Ok(())
    }
}
