//! A response that is lost after the server has made the change.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use resilient_redis::{Config, RedisStore};
use resilient_runtime::idempotency::{Claimed, IdempotencyStore, Owner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::server::{PATIENCE, Server};
use crate::{HOUR, claim, problem};

/// Forwards to a server, and closes a connection instead of returning the response to a script while `cuts` is above 0.
struct Cutter {
    cuts: Arc<AtomicU32>,
    /// How many connections become silent at their next `WAIT`.
    mutes: Arc<AtomicU32>,
    url: String,
    task: JoinHandle<()>,
}

impl Cutter {
    async fn start(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let [cuts, mutes] = [const { AtomicU32::new(0) }; 2].map(Arc::new);
        let url = format!("redis://{}", listener.local_addr().unwrap());
        let (left, address) = ((Arc::clone(&cuts), Arc::clone(&mutes)), server.address());
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let server = TcpStream::connect(&address).await.unwrap();
                tokio::spawn(forward(client, server, left.clone()));
            }
        });
        Self { cuts, mutes, url, task }
    }
}

impl Drop for Cutter {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(
    mut client: TcpStream,
    mut server: TcpStream,
    (cuts, mutes): (Arc<AtomicU32>, Arc<AtomicU32>),
) {
    let one = |left: u32| left.checked_sub(1);
    let (mut request, mut response) = (vec![0; 65536], vec![0; 65536]);
    let mut runs_script = false;
    loop {
        tokio::select! {
            Ok(bytes) = client.read(&mut request) => {
                if bytes == 0 { return }
                let waits = request[..bytes].windows(4).any(|word| word == b"WAIT");
                if waits && mutes.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one).is_ok() {
                    std::future::pending::<()>().await;
                }
                runs_script |= request[..bytes].windows(4).any(|word| word == b"EVAL");
                server.write_all(&request[..bytes]).await.unwrap();
            }
            Ok(bytes) = server.read(&mut response) => {
                if bytes == 0 { return }
                let known = !response[..bytes].starts_with(b"-NOSCRIPT");
                if runs_script && known && cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one).is_ok() {
                    return;
                }
                if client.write_all(&response[..bytes]).await.is_err() { return }
            }
        }
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_lost_response_changes_neither_the_record_nor_the_result_of_the_operation() {
    // T160
    let server = Server::start(&[]).await;
    let cutter = Cutter::start(&server).await;
    let store = RedisStore::new(Config::new(&cutter.url).timeout(PATIENCE)).unwrap();
    let cut = || cutter.cuts.store(1, Ordering::SeqCst);
    for key in ["a", "b", "c", "d"] {
        cut();
        assert_eq!(store.claim(claim(key, 1)).await, Ok(Claimed::Acquired), "not in progress by itself");
        cut();
        assert!(matches!(store.claim(claim(key, 2)).await, Ok(Claimed::InProgress { .. })));
        cut();
        assert_eq!(store.renew(key, Owner(1), HOUR).await, Ok(true));
        cut();
        assert_eq!(store.renew(key, Owner(2), HOUR).await, Ok(false));
    }
    cut();
    assert_eq!(store.complete("a", Owner(1), vec![1], HOUR).await, Ok(true), "not taken over by itself");
    cut();
    assert_eq!(store.complete("a", Owner(1), vec![2], HOUR).await, Ok(true));
    cut();
    assert_eq!(store.complete("a", Owner(2), vec![2], HOUR).await, Ok(false));
    cut();
    assert_eq!(store.complete("b", Owner(1), vec![1], Duration::ZERO).await, Ok(true));
    cut();
    assert_eq!(store.abandon("c", Owner(1)).await, Ok(true));
    cut();
    assert_eq!(store.lose("d", Owner(1)).await, Ok(true));
    cut();
    assert_eq!(store.claim(claim("a", 3)).await, Ok(Claimed::Done(vec![1])));
    for key in ["b", "c"] {
        assert_eq!(store.claim(claim(key, 3)).await, Ok(Claimed::Acquired), "{key}");
    }
    assert_eq!(store.claim(claim("d", 3)).await, Ok(Claimed::Lost));
    assert_eq!(cutter.cuts.load(Ordering::SeqCst), 0, "all responses were lost once");
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_connection_that_is_silent_during_wait_is_replaced_at_once() {
    let server = Server::start(&[]).await;
    let cutter = Cutter::start(&server).await;
    let waiting = Config::new(&cutter.url).timeout(Duration::from_secs(2)).wait(1, Duration::from_millis(10));
    let store = RedisStore::new(waiting).unwrap();
    cutter.mutes.store(1, Ordering::SeqCst);
    let silent = problem(store.claim(claim("k", 1)).await);
    assert!(silent.contains("did not respond within 2s"), "{silent}");
    // There is no replica.
    let next = problem(store.claim(claim("next", 1)).await);
    assert!(next.contains("0 of 1 replicas confirmed"), "{next}");
}
