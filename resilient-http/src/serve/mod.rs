//! HTTP server with limits for slow, idle and hostile clients.

mod accept;
mod connection;
mod connections;
mod conversation;
mod lag;
mod sent_body;
mod slow_body;
mod socket;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;

use crate::layer::{BodyBudget, ClientIp};
use accept::{accept, watch};
use connections::{BESIDE, Connections, SMALL_SHARE};

/// Serves a router over HTTP/1.1 and HTTP/2, with limits for slow, idle and hostile clients.
///
/// # Time limits
/// - A client must send the head of a request within 10 s, and the next request on a connection within 10 s. A head may
///   have 64 headers and about 32 KiB.
/// - A client must send the body within 30 s; otherwise the response is 408.
/// - A client must read part of a response at least every 30 s; otherwise the connection is closed.
///
/// # Connection limits
/// - The server has at most 1000 open connections, or half the file descriptor limit of the process (`ulimit -n`) if
///   that is lower. A connection counts until its socket is closed.
/// - One address (IPv6: one /64 network) can use at most half of all connections, and not more than are still free for
///   others, but at least 16. One address alone can therefore use half of all connections, two addresses a third each.
/// - When all connections are in use, a new connection replaces an open one: a slow one if any, otherwise one that
///   never sent a request, otherwise the one that has been idle longest. A connection whose request is being processed
///   is never replaced, unless its client is slow. If none can be replaced, the new connection waits, and the server
///   closes connections of the address with the most connections on which it waits for the client.
/// - The same rules apply to an address that uses its full share. Its new connection waits for at most one second and
///   then gets 503; connections of other addresses do not wait for it. Open and waiting connections together are limited to
///   nine eighths of the maximum. Above this limit, a new connection of such an address gets 503 at once.
/// - A request is slow if the server waits for the client one second longer than a rate of 1 KiB per second allows,
///   either to receive the body or to send the response. Only the last one to two seconds count. If one address has
///   many slow requests, they are closed even if connections are free. A response that has no data to send is not slow.
///
/// # Memory limit
/// The bodies of all requests in flight use at most 64 MiB, large bodies together at most 48 MiB. A request whose body
/// does not fit gets 503 with `Retry-After`. At most 2 MiB of a body are counted; the extractors of axum reject larger
/// bodies by default.
///
/// # Protocols
/// - HTTP/2 needs prior knowledge of the client (h2c, as gRPC uses without TLS). A connection has at most 64 concurrent
///   requests, and counts as one connection. It is closed if its client opens and resets requests faster than the
///   server accepts them ("rapid reset"), or if no response data can be sent for 30 s. A client stream of gRPC is a
///   request body, so it must end within 30 s.
/// - TLS and upgrades (WebSocket) are not supported: use a reverse proxy or `axum::serve`.
/// - A handler that panics results in a 500 response.
/// - The peer address is available as [`ConnectInfo<SocketAddr>`](axum::extract::ConnectInfo).
///
/// # Examples
/// ```no_run
/// use axum::{Router, routing::get};
/// use resilient_http::HttpServer;
/// use tokio::net::TcpListener;
///
/// # async fn run() -> std::io::Result<()> {
/// let router = Router::new().route("/", get(async || "hello"));
/// let stop = async { drop(tokio::signal::ctrl_c().await) };
/// HttpServer::new(router).run(TcpListener::bind("127.0.0.1:8080").await?, stop).await;
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct HttpServer {
    router: Router,
    connections: usize,
    per_address: Option<usize>,
    proxies: ClientIp,
    header_time: Duration,
    body_time: Duration,
    write_time: Duration,
    grace: Duration,
    bodies: BodyBudget,
}

const CONNECTIONS: usize = 1000;
/// File descriptors reserved for the application, if the limit is large enough.
const SPARE: usize = 64;
const HEADER_TIME: Duration = Duration::from_secs(10);
const BODY_TIME: Duration = Duration::from_secs(30);
const WRITE_TIME: Duration = Duration::from_secs(30);
/// Memory for the bodies of all requests in flight, in bytes.
const BODY_BYTES: usize = 64 << 20;
const GRACE: Duration = Duration::from_secs(5);

impl HttpServer {
    /// Creates a server for a router, with the default limits.
    ///
    /// ```
    /// use axum::Router;
    /// use resilient_http::HttpServer;
    ///
    /// let server = HttpServer::new(Router::new());
    /// assert!(format!("{server:?}").contains("connections: "));
    /// ```
    pub fn new(router: Router) -> Self {
        Self {
            router,
            connections: CONNECTIONS.min(descriptors() / 2).max(1),
            per_address: None,
            proxies: ClientIp::direct(),
            header_time: HEADER_TIME,
            body_time: BODY_TIME,
            write_time: WRITE_TIME,
            grace: GRACE,
            bodies: BodyBudget::new(BODY_BYTES),
        }
    }

    /// Sets the maximum number of open connections, at least 1.
    ///
    /// If the file descriptor limit of the process is too low, the server uses a lower maximum and logs a warning.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use axum::{Router, routing::get};
    /// # use tokio::{io::{AsyncReadExt, AsyncWriteExt}, net::{TcpListener, TcpStream}};
    /// # use resilient_http::HttpServer;
    /// let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    /// let address = listener.local_addr().unwrap();
    /// let clients = async {
    ///     let mut idle = TcpStream::connect(address).await.unwrap();
    ///     let mut busy = TcpStream::connect(address).await.unwrap();
    ///     busy.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    ///     let mut response = String::new();
    ///     busy.read_to_string(&mut response).await.unwrap();
    ///     assert!(response.ends_with("hello"));
    ///     assert_eq!(idle.read(&mut [0; 9]).await.unwrap(), 0, "closed for the second connection");
    /// };
    /// let router = Router::new().route("/", get(async || "hello"));
    /// HttpServer::new(router).connections(1).run(listener, clients).await;
    /// # }
    /// ```
    #[must_use]
    pub fn connections(self, most: usize) -> Self {
        Self { connections: most.max(1), ..self }
    }

    /// Sets the maximum number of connections of one address (IPv6: of one /64 network), at least 1.
    ///
    /// The default is half of all connections, but at least 16.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use axum::Router;
    /// # use tokio::{io::AsyncReadExt, net::{TcpListener, TcpStream}};
    /// # use resilient_http::HttpServer;
    /// let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    /// let address = listener.local_addr().unwrap();
    /// let clients = async {
    ///     let mut first = TcpStream::connect(address).await.unwrap();
    ///     let second = TcpStream::connect(address).await.unwrap();
    ///     assert_eq!(first.read(&mut [0; 9]).await.unwrap(), 0, "replaced by the second connection");
    ///     # drop(second);
    /// };
    /// HttpServer::new(Router::new()).connections(10).per_address(1).run(listener, clients).await;
    /// # }
    /// ```
    #[must_use]
    pub fn per_address(self, most: usize) -> Self {
        Self { per_address: Some(most.max(1)), ..self }
    }

    /// Exempts the proxies that `clients` trusts from the limit per address.
    ///
    /// A proxy opens the connections of many clients from one address.
    ///
    /// ```
    /// use axum::Router;
    /// use resilient_http::{HttpServer, layer::ClientIp};
    ///
    /// let behind = ClientIp::behind(["10.0.0.0/8", "127.0.0.1"])?;
    /// let server = HttpServer::new(Router::new()).proxies(behind);
    /// # let _ = server;
    /// # Ok::<_, resilient_http::layer::BadNetwork>(())
    /// ```
    #[must_use]
    pub fn proxies(self, clients: ClientIp) -> Self {
        Self { proxies: clients, ..self }
    }

    /// Sets how long a client may take to send the request head, and how long a connection may be idle.
    ///
    /// The default is 10 s.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use std::time::Duration;
    /// # use axum::Router;
    /// # use tokio::{io::AsyncReadExt, net::{TcpListener, TcpStream}};
    /// # use resilient_http::HttpServer;
    /// let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    /// let address = listener.local_addr().unwrap();
    /// let client = async {
    ///     let mut silent = TcpStream::connect(address).await.unwrap();
    ///     assert_eq!(silent.read(&mut [0; 9]).await.unwrap(), 0);
    /// };
    /// HttpServer::new(Router::new()).header_time(Duration::from_millis(20)).run(listener, client).await;
    /// # }
    /// ```
    #[must_use]
    pub fn header_time(self, span: Duration) -> Self {
        Self { header_time: span, ..self }
    }

    /// Sets how long a client may take to send the request body. The default is 30 s.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use std::time::Duration;
    /// # use axum::{Router, routing::post};
    /// # use tokio::{io::{AsyncReadExt, AsyncWriteExt}, net::{TcpListener, TcpStream}};
    /// # use resilient_http::HttpServer;
    /// let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    /// let address = listener.local_addr().unwrap();
    /// let client = async {
    ///     let mut stream = TcpStream::connect(address).await.unwrap();
    ///     // The client never sends the body.
    ///     stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n").await.unwrap();
    ///     let mut status = [0; 12];
    ///     stream.read_exact(&mut status).await.unwrap();
    ///     assert_eq!(&status, b"HTTP/1.1 408");
    /// };
    /// let router = Router::new().route("/", post(async |body: String| body));
    /// HttpServer::new(router).body_time(Duration::from_millis(20)).run(listener, client).await;
    /// # }
    /// ```
    #[must_use]
    pub fn body_time(self, span: Duration) -> Self {
        Self { body_time: span, ..self }
    }

    /// Sets how long a client may read nothing of a response before the connection is closed.
    ///
    /// The default is 30 s.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use std::time::Duration;
    /// # use axum::{Router, routing::get};
    /// # use tokio::{io::{AsyncReadExt, AsyncWriteExt}, net::{TcpListener, TcpStream}};
    /// # use resilient_http::HttpServer;
    /// const LARGE: usize = 64 << 20;
    /// let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    /// let address = listener.local_addr().unwrap();
    /// let client = async {
    ///     let mut stream = TcpStream::connect(address).await.unwrap();
    ///     stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    ///     tokio::time::sleep(Duration::from_millis(100)).await;
    ///     let mut response = Vec::new();
    ///     let _ = stream.read_to_end(&mut response).await;
    ///     assert!(response.len() < LARGE);
    /// };
    /// let router = Router::new().route("/", get(async || vec![0; LARGE]));
    /// HttpServer::new(router).write_time(Duration::from_millis(20)).run(listener, client).await;
    /// # }
    /// ```
    #[must_use]
    pub fn write_time(self, span: Duration) -> Self {
        Self { write_time: span, ..self }
    }

    /// Sets how long requests in flight may take when the server stops. The default is 5 s.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use std::{sync::Arc, time::Duration};
    /// # use axum::{Router, routing::get};
    /// # use tokio::{io::AsyncWriteExt, net::{TcpListener, TcpStream}, sync::Notify};
    /// # use resilient_http::HttpServer;
    /// let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    /// let mut stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
    /// stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    /// let begun = Arc::new(Notify::new());
    /// let signal = begun.clone();
    /// let hangs = async move || {
    ///     signal.notify_one();
    ///     std::future::pending::<&str>().await
    /// };
    /// let server = HttpServer::new(Router::new().route("/", get(hangs))).grace(Duration::from_millis(20));
    /// let began = std::time::Instant::now();
    /// server.run(listener, begun.notified()).await;
    /// assert!(began.elapsed() < Duration::from_secs(5), "the server does not wait for the hanging request");
    /// # }
    /// ```
    #[must_use]
    pub fn grace(self, span: Duration) -> Self {
        Self { grace: span, ..self }
    }

    /// Sets the memory limit for the bodies of all requests in flight. The default is 64 MiB.
    ///
    /// A body counts until its request has been processed.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use axum::{Router, routing::post};
    /// # use tokio::{io::{AsyncReadExt, AsyncWriteExt}, net::{TcpListener, TcpStream}};
    /// use resilient_http::{HttpServer, layer::BodyBudget};
    ///
    /// # let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    /// # let address = listener.local_addr().unwrap();
    /// let client = async {
    ///     let mut stream = TcpStream::connect(address).await.unwrap();
    ///     stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nnine byte").await.unwrap();
    ///     let mut status = [0; 12];
    ///     stream.read_exact(&mut status).await.unwrap();
    ///     assert_eq!(&status, b"HTTP/1.1 503");
    /// };
    /// let router = Router::new().route("/", post(async |body: String| body));
    /// HttpServer::new(router).body_budget(&BodyBudget::new(8)).run(listener, client).await;
    /// # }
    /// ```
    #[must_use]
    pub fn body_budget(self, budget: &BodyBudget) -> Self {
        Self { bodies: budget.clone(), ..self }
    }

    /// Serves connections of `listener` until `stop` completes.
    ///
    /// When `stop` completes, the server closes idle connections, and requests in flight have the
    /// [grace period](Self::grace) to complete.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use tokio::{io::{AsyncReadExt, AsyncWriteExt}, net::{TcpListener, TcpStream}};
    /// use axum::{Router, routing::get};
    /// use resilient_http::HttpServer;
    ///
    /// let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    /// let address = listener.local_addr().unwrap();
    /// let client = async {
    ///     let mut stream = TcpStream::connect(address).await.unwrap();
    ///     stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    ///     let mut response = String::new();
    ///     stream.read_to_string(&mut response).await.unwrap();
    ///     assert!(response.ends_with("hello"));
    /// };
    /// HttpServer::new(Router::new().route("/", get(async || "hello"))).run(listener, client).await;
    /// assert!(TcpStream::connect(address).await.is_err(), "the server has stopped");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future stops accepting connections. Open connections end with the runtime.
    pub async fn run(self, listener: TcpListener, stop: impl Future<Output = ()>) {
        let most = self.most_connections();
        let per_address = self.per_address.unwrap_or((most / 2).max(SMALL_SHARE)).min(most);
        let connections = Arc::new(Connections::new(most, per_address));
        let server = Arc::new(self);
        tokio::select! {
            biased;
            () = stop => {}
            () = accept(&listener, &server, &connections) => {}
            () = watch(&connections, &server) => {}
        }
        drop(listener);
        connections.close();
        // Connections that are still open after the grace period end with the runtime.
        let _ = tokio::time::timeout(server.grace, connections.closed()).await;
    }

    /// The maximum number of connections, lowered to what the file descriptor limit allows.
    fn most_connections(&self) -> usize {
        let limit = descriptors();
        // The application needs some descriptors, for example for outgoing connections.
        let free = limit.saturating_sub((limit / 4).min(SPARE));
        // Connections that wait for a slot need a descriptor, too.
        let most = (free - free / (BESIDE + 1)).max(1);
        if self.connections > most {
            tracing::warn!(
                target: "resilient_http",
                "the maximum of {} connections is lowered to {most}: the file descriptor limit is {limit} (`ulimit -n`)",
                self.connections
            );
        }
        self.connections.min(most)
    }
}

/// The file descriptor limit of the process.
fn descriptors() -> usize {
    #[cfg(unix)]
    let limit = rlimit::Resource::NOFILE.get().map_or(u64::MAX, |(soft, _hard)| soft);
    #[cfg(not(unix))]
    let limit = u64::MAX;
    usize::try_from(limit).unwrap_or(usize::MAX)
}
