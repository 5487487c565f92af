//! A server of its own for the admin API.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::Admin;
use crate::HttpServer;

/// Connections at once.
const CONNECTIONS: usize = 256;

/// Why the admin API is not served.
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
            eprintln!("the admin token of {address}: {token}");
        }
        let server = HttpServer::new(admin.router()).connections(CONNECTIONS);
        server.run(listener, std::future::pending()).await;
        Ok(())
    }
}
