//! A server that slow, idle and hostile clients do not harm.

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
/// - A client has 10 s for the head of a request, and between two requests; 64 headers and about 32 KiB. It has 30 s for the
///   body; then the answer is 408. It has to take some bytes of an answer each 30 s.
/// - There are 1 000 connections at once, or half as many as the process may have descriptors (`ulimit -n`). An address (IPv6:
///   a network of 64 bits) may have as many as are free for others, but 16 in any case: one alone half of them, two a third
///   each. A connection counts until its socket is closed.
/// - When all connections are in use, a new one replaces one that is slow, else one that has never sent a request, else the
///   one that is idle for longest; never one whose request is being answered. While there is none to replace, the new one
///   waits, and the address with the most connections gives up those of its requests whose client is waited for.
/// - The same holds for an address that uses its share, but there a new one waits for a second at most and then gets 503,
///   and nobody else waits for it. Connections with a place and those that wait are nine eighths of all together; what more
///   comes of such an address gets 503 at once.
/// - A request is slow when the server waits a second longer for its body, or for the client to take its answer, than 1 KiB
///   in a second takes. It is the last second or two that counts. When an address has many slow requests, they are given up
///   also when there are free connections. A response that has nothing to send for a while is not slow.
/// - The bodies of all requests under way take 64 MiB at most, large ones 48 MiB; a request for whose body there is no room
///   gets 503 and `Retry-After`. Of a body of more than 2 MiB, which the extractors of axum refuse by default, 2 MiB count.
/// - A handler that panics is answered for with 500.
/// - HTTP/2 is spoken with clients that know beforehand (h2c with prior knowledge, as gRPC does without TLS). There a
///   connection has 64 requests at once, and counts as one. It ends when its client opens and resets requests faster than
///   they are looked at ("rapid reset"), or lets nothing of an answer be sent for 30 s. Streams of a client (gRPC) are
///   bodies: they end within 30 s.
/// - There is no TLS and no upgrade (web sockets): that is for what stands before it, or for `axum::serve`.
/// - Who asks is in the request, as [`ConnectInfo<SocketAddr>`](axum::extract::ConnectInfo).
///
/// ```no_run
/// use axum::{Router, routing::get};
/// use resilient_http::HttpServer;
/// use tokio::net::TcpListener;
///
/// # async fn run() -> std::io::Result<()> {
/// let router = Router::new().route("/", get(async || "well"));
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
/// Descriptors that are not for connections, where their limit is large enough.
const SPARE: usize = 64;
const HEADER_TIME: Duration = Duration::from_secs(10);
const BODY_TIME: Duration = Duration::from_secs(30);
const WRITE_TIME: Duration = Duration::from_secs(30);
/// Bytes of the bodies of all requests under way.
const BODY_BYTES: usize = 64 << 20;
const GRACE: Duration = Duration::from_secs(5);

impl HttpServer {
    /// Of this router.
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

    /// Sets the maximum number of connections at once, at least 1. It is lowered to what the limit of descriptors allows.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use axum::{Router, routing::get};
    /// # use tokio::{io::{AsyncReadExt, AsyncWriteExt}, net::{TcpListener, TcpStream}};
    /// # use resilient_http::HttpServer;
    /// let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    /// let address = listener.local_addr().unwrap();
    /// let until_both_are_done = async {
    ///     let mut idle = TcpStream::connect(address).await.unwrap();
    ///     let mut busy = TcpStream::connect(address).await.unwrap();
    ///     busy.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    ///     let mut answer = String::new();
    ///     busy.read_to_string(&mut answer).await.unwrap();
    ///     assert!(answer.ends_with("well"));
    ///     assert_eq!(idle.read(&mut [0; 9]).await.unwrap(), 0, "it had to make room");
    /// };
    /// let router = Router::new().route("/", get(async || "well"));
    /// HttpServer::new(router).connections(1).run(listener, until_both_are_done).await;
    /// # }
    /// ```
    #[must_use]
    pub fn connections(self, most: usize) -> Self {
        Self { connections: most.max(1), ..self }
    }

    /// Sets the maximum number of connections of one address (IPv6: of a network of 64 bits); at least 1. The default is half
    /// of all connections, or 16 if that is more.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// # use axum::Router;
    /// # use tokio::{io::AsyncReadExt, net::{TcpListener, TcpStream}};
    /// # use resilient_http::HttpServer;
    /// let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    /// let address = listener.local_addr().unwrap();
    /// let until_refused = async {
    ///     let mut first = TcpStream::connect(address).await.unwrap();
    ///     let second = TcpStream::connect(address).await.unwrap();
    ///     assert_eq!(first.read(&mut [0; 9]).await.unwrap(), 0, "it was replaced by the second");
    ///     # drop(second);
    /// };
    /// HttpServer::new(Router::new()).connections(10).per_address(1).run(listener, until_refused).await;
    /// # }
    /// ```
    #[must_use]
    pub fn per_address(self, most: usize) -> Self {
        Self { per_address: Some(most.max(1)), ..self }
    }

    /// Lets the proxies that `clients` trusts use all connections: many clients come by the address of a proxy.
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

    /// With so long for the head of a request, and for a connection to be idle.
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
    /// let until_closed = async {
    ///     let mut says_nothing = TcpStream::connect(address).await.unwrap();
    ///     assert_eq!(says_nothing.read(&mut [0; 9]).await.unwrap(), 0);
    /// };
    /// HttpServer::new(Router::new()).header_time(Duration::from_millis(20)).run(listener, until_closed).await;
    /// # }
    /// ```
    #[must_use]
    pub fn header_time(self, span: Duration) -> Self {
        Self { header_time: span, ..self }
    }

    /// With so long for the body of a request.
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
    /// let until_told = async {
    ///     let mut sends_no_body = TcpStream::connect(address).await.unwrap();
    ///     sends_no_body.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n").await.unwrap();
    ///     let mut status = [0; 12];
    ///     sends_no_body.read_exact(&mut status).await.unwrap();
    ///     assert_eq!(&status, b"HTTP/1.1 408");
    /// };
    /// let router = Router::new().route("/", post(async |body: String| body));
    /// HttpServer::new(router).body_time(Duration::from_millis(20)).run(listener, until_told).await;
    /// # }
    /// ```
    #[must_use]
    pub fn body_time(self, span: Duration) -> Self {
        Self { body_time: span, ..self }
    }

    /// With so long for a client to take a part of an answer that it does not read; then the connection ends.
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
    /// let until_cut_off = async {
    ///     let mut reads_late = TcpStream::connect(address).await.unwrap();
    ///     reads_late.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    ///     tokio::time::sleep(Duration::from_millis(100)).await;
    ///     let mut answer = Vec::new();
    ///     let _ = reads_late.read_to_end(&mut answer).await;
    ///     assert!(answer.len() < LARGE);
    /// };
    /// let router = Router::new().route("/", get(async || vec![0; LARGE]));
    /// HttpServer::new(router).write_time(Duration::from_millis(20)).run(listener, until_cut_off).await;
    /// # }
    /// ```
    #[must_use]
    pub fn write_time(self, span: Duration) -> Self {
        Self { write_time: span, ..self }
    }

    /// With so long for requests to end when the server stops; 5 s where nothing is said.
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
    /// let told = begun.clone();
    /// let hangs = async move || {
    ///     told.notify_one();
    ///     std::future::pending::<&str>().await
    /// };
    /// let server = HttpServer::new(Router::new().route("/", get(hangs))).grace(Duration::from_millis(20));
    /// let began = std::time::Instant::now();
    /// server.run(listener, begun.notified()).await;
    /// assert!(began.elapsed() < Duration::from_secs(5), "it waits no longer for what hangs");
    /// # }
    /// ```
    #[must_use]
    pub fn grace(self, span: Duration) -> Self {
        Self { grace: span, ..self }
    }

    /// Bounds the memory of the bodies of all requests under way, which the handlers hold until they have answered; 64 MiB
    /// where nothing is said.
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
    /// let until_refused = async {
    ///     let mut stream = TcpStream::connect(address).await.unwrap();
    ///     stream.write_all(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nnine byte").await.unwrap();
    ///     let mut status = [0; 12];
    ///     stream.read_exact(&mut status).await.unwrap();
    ///     assert_eq!(&status, b"HTTP/1.1 503");
    /// };
    /// let router = Router::new().route("/", post(async |body: String| body));
    /// HttpServer::new(router).body_budget(&BodyBudget::new(8)).run(listener, until_refused).await;
    /// # }
    /// ```
    #[must_use]
    pub fn body_budget(self, budget: &BodyBudget) -> Self {
        Self { bodies: budget.clone(), ..self }
    }

    /// Serves until `stop` is there; then idle connections are closed, and the others have a grace to end.
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
    /// let until_asked = async {
    ///     let mut stream = TcpStream::connect(address).await.unwrap();
    ///     stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    ///     let mut answer = String::new();
    ///     stream.read_to_string(&mut answer).await.unwrap();
    ///     assert!(answer.ends_with("well"));
    /// };
    /// HttpServer::new(Router::new().route("/", get(async || "well"))).run(listener, until_asked).await;
    /// assert!(TcpStream::connect(address).await.is_err(), "it has stopped");
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future stops accepting; connections end with the runtime.
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
        // Those that have not ended by then end with the runtime.
        let _ = tokio::time::timeout(server.grace, connections.closed()).await;
    }

    /// The bound, lowered where there are not as many descriptors.
    fn most_connections(&self) -> usize {
        let limit = descriptors();
        // The application needs some of them, as for what it calls.
        let free = limit.saturating_sub((limit / 4).min(SPARE));
        // Some more wait without a place.
        let most = (free - free / (BESIDE + 1)).max(1);
        if self.connections > most {
            tracing::warn!(
                target: "resilient_http",
                "{} connections are more than a limit of {limit} descriptors allows: at most {most} (`ulimit -n`)",
                self.connections
            );
        }
        self.connections.min(most)
    }
}

/// How many files the process may have open.
fn descriptors() -> usize {
    #[cfg(unix)]
    let limit = rlimit::Resource::NOFILE.get().map_or(u64::MAX, |(soft, _hard)| soft);
    #[cfg(not(unix))]
    let limit = u64::MAX;
    usize::try_from(limit).unwrap_or(usize::MAX)
}
