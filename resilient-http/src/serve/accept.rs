//! Who is let in.

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

/// How often slow and idle connections are looked for, or more often where they have less time.
const WATCH: Duration = Duration::from_millis(500);
/// The pauses after a connection could not be accepted, from the first to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(500);
/// How long a refused client has to read its answer and to close.
const LAST_WORD: Duration = Duration::from_millis(50);
const REFUSED: &[u8] =
    b"HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
/// Any client can cause it: it is logged at most once per second.
static NOT_ACCEPTED: LazyLock<LogLimit> = LazyLock::new(LogLimit::new);

/// Never ends.
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
        // That one connection is gone already (Linux reports errors of it here) concerns no other.
        let of_one = [ErrorKind::ConnectionAborted, ErrorKind::ConnectionReset, ErrorKind::ConnectionRefused];
        if of_one.contains(&error.kind()) {
            continue;
        }
        if let Some(left_out) = NOT_ACCEPTED.pass(&Clock::system()) {
            let suppressed = (left_out > 0).then_some(left_out);
            tracing::warn!(target: "resilient_http", %error, suppressed, "connections cannot be accepted; closing idle ones");
        }
        // Out of file descriptors, most likely. At once it would fail again.
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
        // The place is dropped after the socket, which is part of the conversation.
        Entry::Place(place) => {
            tokio::spawn(async move { server.converse(stream, peer, place.connection()).await });
        }
        Entry::Waits(waiting) => {
            tokio::spawn(async move {
                let Some(place) = waiting.place(address).await else {
                    return refuse(stream, peer, waiting.linger()).await;
                };
                drop(waiting);
                server.converse(stream, peer, place.connection()).await;
            });
        }
        Entry::Refused => match all.linger() {
            linger @ Some(_) => drop(tokio::spawn(refuse(stream, peer, linger))),
            // At once, and not in a task that may come late: its descriptor is one too many.
            None => refuse(stream, peer, None).await,
        },
    }
}

/// Answers. Who may `linger` reads until the client closes: closing while bytes are unread resets the connection, and the reset
/// may overtake the answer (RFC 9112, 9.6).
async fn refuse(mut stream: TcpStream, peer: SocketAddr, linger: Option<OwnedSemaphorePermit>) {
    tracing::debug!(target: "resilient_http", %peer, "refused: its address has its share of the connections");
    if linger.is_none() {
        // If the kernel does not take so little, the client learns it by the end of the connection.
        let _ = stream.try_write(REFUSED);
        return;
    }
    let told = async {
        stream.write_all(REFUSED).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream, &mut tokio::io::sink()).await
    };
    // A client that does not read it learns it by the end of the connection.
    let _ = tokio::time::timeout(LAST_WORD, told).await;
}

/// Gives up slow and idle connections, for ever.
pub(super) async fn watch(connections: &Connections, server: &HttpServer) {
    let least = server.header_time.min(server.write_time) / 2;
    let mut clock = tokio::time::interval(WATCH.min(least).max(Duration::from_millis(1)));
    clock.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        connections.give_up(server.header_time, server.write_time);
    }
}
