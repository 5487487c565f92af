//! Accepts connections, and rejects those beyond the limits.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use resilient_runtime::clock::Clock;
use resilient_runtime::observe::LogLimit;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::MissedTickBehavior;

use super::HttpServer;
use super::connections::{Connections, Entry};
use crate::layer::network_of;

/// Interval between two checks for slow and idle connections. Shorter time limits shorten it.
const WATCH: Duration = Duration::from_millis(500);
/// First and longest pause after a failed accept.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(500);
/// How long a rejected client may take to read the response and close.
const LAST_WORD: Duration = Duration::from_millis(50);
const REFUSED: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
/// Limits the log to one line per second, because any client can cause the error.
static NOT_ACCEPTED: LazyLock<LogLimit> = LazyLock::new(LogLimit::new);

/// Accepts connections forever.
pub(super) async fn accept(listener: &TcpListener, server: &Arc<HttpServer>, connections: &Arc<Connections>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match listener.accept().await {
            Ok((stream, peer)) => {
                pause = FIRST_PAUSE;
                admit(stream, peer, server, connections).await;
                continue;
            }
            Err(error) => error,
        };
        // Errors of a single connection, which Linux reports here, do not affect other connections.
        let of_one = [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset, ErrorKind::ConnectionRefused];
        if of_one.contains(&error.kind()) {
            continue;
        }
        if let Some(left_out) = NOT_ACCEPTED.pass(&Clock::system()) {
            let suppressed = (left_out > 0).then_some(left_out);
            tracing::warn!(target: "resilient_http", %error, suppressed, "accepting a connection failed; closing idle connections");
        }
        // Most likely there are no file descriptors left, so that an immediate retry would fail again.
        connections.make_room();
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LAST_PAUSE);
    }
}

async fn admit(stream: TcpStream, peer: SocketAddr, server: &Arc<HttpServer>, all: &Arc<Connections>) {
    let address = peer.ip().to_canonical();
    let address = (!server.proxies.trusts(address)).then(|| network_of(address));
    let (server, entry) = (Arc::clone(server), all.enter(address).await);
    match entry {
        // The slot is dropped after the socket, which `converse` owns.
        Entry::Slot(slot) => {
            tokio::spawn(async move { server.converse(stream, peer, slot.connection()).await });
        }
        Entry::Waits(waiting) => {
            tokio::spawn(async move {
                let Some(slot) = waiting.slot(address).await else {
                    return refuse(stream, peer, waiting.linger()).await;
                };
                drop(waiting);
                server.converse(stream, peer, slot.connection()).await;
            });
        }
        Entry::Refused => match all.linger() {
            linger @ Some(_) => drop(tokio::spawn(refuse(stream, peer, linger))),
            // Not in a task, which could run late: its descriptor exceeds the limit.
            None => refuse(stream, peer, None).await,
        },
    }
}

/// Responds with 503 and closes the connection.
///
/// With a `linger` permit, reads until the client closes. Closing a socket with unread bytes resets the connection, and
/// the reset can overtake the response (RFC 9112, section 9.6).
async fn refuse(mut stream: TcpStream, peer: SocketAddr, linger: Option<OwnedSemaphorePermit>) {
    tracing::debug!(target: "resilient_http", %peer, "connection refused: its address uses its full share of connections");
    if linger.is_none() {
        // If the send buffer is full, the client only sees the connection close.
        let _ = stream.try_write(REFUSED);
        return;
    }
    let respond = async {
        stream.write_all(REFUSED).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    // A client that does not read the response only sees the connection close.
    let _ = tokio::time::timeout(LAST_WORD, respond).await;
}

/// Closes slow and idle connections, forever.
pub(super) async fn watch(connections: &Connections, server: &HttpServer) {
    let least = server.header_time.min(server.write_time) / 2;
    let mut clock = tokio::time::interval(WATCH.min(least).max(Duration::from_millis(1)));
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        connections.give_up(server.header_time, server.write_time);
    }
}
