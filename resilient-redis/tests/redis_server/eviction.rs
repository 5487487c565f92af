//! The warnings about a server that evicts records, and about clocks that differ.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use resilient_redis::{Config, RedisStore};
use resilient_runtime::idempotency::{Claimed, IdempotencyStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tracing_core::field::{Field, Visit};
use tracing_core::span::{Attributes, Id, Record};
use tracing_core::{Event, Metadata, Subscriber};

use crate::claim;
use crate::group::{MASTER, Nodes, Watched};
use crate::server::{PATIENCE, Server};

static LOGGED: Mutex<String> = Mutex::new(String::new());

/// Keeps the events of the store. They come from another thread.
struct Log;

impl Visit for Log {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let mut logged = LOGGED.lock().unwrap_or_else(PoisonError::into_inner);
        write!(logged, "{field}={value:?} ").unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "resilient_redis"
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        LOGGED.lock().unwrap_or_else(PoisonError::into_inner).push_str(event.metadata().level().as_str());
        event.record(&mut Log);
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The events that a new store logs, with the address of the server.
async fn logged(server: &Server) -> String {
    used(&server.store()).await
}

async fn used(store: &RedisStore) -> String {
    assert!(matches!(store.claim(claim("k", 1)).await, Ok(Claimed::Acquired | Claimed::InProgress { .. })));
    assert!(matches!(store.claim(claim("k", 1)).await, Ok(Claimed::InProgress { .. })));
    std::mem::take(&mut LOGGED.lock().unwrap_or_else(PoisonError::into_inner))
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn an_eviction_policy_is_a_warning_at_the_first_connection() {
    tracing_core::dispatcher::set_global_default(tracing_core::Dispatch::new(Log)).unwrap();
    let server = Server::start(&[]).await;
    assert!(!logged(&server).await.contains(&server.address()));
    server.run("CONFIG SET maxmemory-policy volatile-lru").await;
    let warning = logged(&server).await;
    assert_eq!(warning.matches("WARN").count(), 1, "once: {warning}");
    for part in [&*server.address(), "policy=\"volatile-lru\"", "set `maxmemory-policy noeviction`"] {
        assert!(warning.contains(part), "{warning}");
    }
    of_a_cluster().await;
    of_a_primary().await;
    of_another_clock().await;
}

/// Each node is checked when it is used first.
async fn of_a_cluster() {
    let nodes = Nodes::pair().await;
    for node in &nodes.0 {
        node.run("CONFIG SET maxmemory-policy allkeys-lru").await;
    }
    let store = RedisStore::new(Config::new(nodes.cluster_url()).timeout(PATIENCE)).unwrap();
    let mut warnings = String::new();
    for key in 0..40 {
        assert_eq!(store.claim(claim(&key.to_string(), 1)).await, Ok(Claimed::Acquired));
        warnings += &std::mem::take(&mut *LOGGED.lock().unwrap_or_else(PoisonError::into_inner));
    }
    for node in &nodes.0 {
        let of_node = format!("address=\"{}\"", node.address());
        assert_eq!(warnings.matches(&of_node).count(), 1, "once for each node: {warnings}");
    }
}

/// A new primary is checked too.
async fn of_a_primary() {
    let watched = Watched::start(&["--maxmemory-policy", "volatile-ttl"], "", "").await;
    let store = RedisStore::new(Config::sentinel(MASTER, watched.addresses()).timeout(PATIENCE)).unwrap();
    let of_server = |server: &Server| format!("address=\"{}\"", server.address());
    let warnings = used(&store).await;
    assert_eq!(warnings.matches(&of_server(&watched.servers[0])).count(), 1, "{warnings}");
    watched.sentinels[0].cli("", &["SENTINEL", "FAILOVER", MASTER]);
    let start = std::time::Instant::now();
    let mut warnings = String::new();
    while !watched.servers[1..].iter().any(|server| warnings.contains(&of_server(server))) {
        let _ = store.claim(claim("k", 1)).await;
        warnings += &std::mem::take(&mut *LOGGED.lock().unwrap_or_else(PoisonError::into_inner));
        assert!(start.elapsed() < PATIENCE, "{warnings}");
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// A server whose clock is five seconds ahead of the one before it. Both have the same address, like the primary of a name.
async fn of_another_clock() {
    let server = Server::start(&[]).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (is_ahead, of_server) = (Arc::new(AtomicBool::new(false)), server.address());
    let shifted = Arc::clone(&is_ahead);
    let task = tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            tokio::spawn(shift(client, TcpStream::connect(&of_server).await.unwrap(), Arc::clone(&shifted)));
        }
    });
    let store = RedisStore::new(Config::new(format!("redis://{address}")).timeout(PATIENCE)).unwrap();
    assert_eq!(used(&store).await.matches("WARN").count(), 0);
    server.run("CLIENT KILL TYPE normal").await;
    assert_eq!(used(&store).await.matches("WARN").count(), 0, "the same clock");
    is_ahead.store(true, Ordering::SeqCst);
    server.run("CLIENT KILL TYPE normal").await;
    let warning = used(&store).await;
    assert_eq!(warning.matches("WARN").count(), 1, "{warning}");
    for part in [&*format!("address=\"{address}\" other=\"{address}\""), "is ahead of", "expire earlier"] {
        assert!(warning.contains(part), "{warning}");
    }
    task.abort();
}

/// Forwards, and adds five seconds to the responses to `TIME`.
async fn shift(mut client: TcpStream, mut server: TcpStream, is_ahead: Arc<AtomicBool>) {
    let (mut request, mut response) = (vec![0; 65536], vec![0; 65536]);
    loop {
        tokio::select! {
            Ok(bytes) = client.read(&mut request) => {
                if bytes == 0 || server.write_all(&request[..bytes]).await.is_err() { return }
            }
            Ok(bytes) = server.read(&mut response) => {
                let time = response[..bytes].starts_with(b"*2\r\n$10\r\n");
                if time && is_ahead.load(Ordering::SeqCst) {
                    let seconds: u64 = std::str::from_utf8(&response[9..19]).unwrap().parse().unwrap();
                    response[9..19].copy_from_slice((seconds + 5).to_string().as_bytes());
                }
                if bytes == 0 || client.write_all(&response[..bytes]).await.is_err() { return }
            }
            else => return,
        }
    }
}
