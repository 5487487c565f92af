//! Servers and connections that fail. T116: no operation waits longer than the time limit of the store.

use std::time::{Duration, Instant};

use resilient_chaos::proxy::{Proxy, Toxic};
use resilient_postgres::{Config, PostgresStore};
use resilient_runtime::idempotency::{Claimed, IdempotencyStore, Owner, StoreError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::server::{PATIENCE, Server, free_port, url};
use crate::{HOUR, claim, problem};

/// A time limit that a working server keeps, also on a busy machine.
const LIMIT: Duration = Duration::from_millis(500);

/// How late an error may be on a busy machine.
const LATE: Duration = Duration::from_secs(5);

fn limited(address: &str) -> PostgresStore {
    PostgresStore::new(Config::new(url(address)).timeout(LIMIT).expire_every(None)).unwrap()
}

/// Claims a key as owner 1, and opens the connection of a store with a short limit.
async fn connected(store: &PostgresStore, server: &Server, key: &str) {
    assert_eq!(server.store().claim(claim(key, 1)).await, Ok(Claimed::Acquired));
    recovered(store, key).await;
}

/// Waits until the store works.
async fn recovered(store: &PostgresStore, key: &str) {
    let start = Instant::now();
    while store.renew(key, Owner(1), HOUR).await != Ok(true) {
        assert!(start.elapsed() < PATIENCE, "the store does not recover");
    }
}

/// Performs every operation. Returns their errors, each with the time that it took.
async fn all_operations(store: &PostgresStore) -> Vec<(Duration, String)> {
    let mut problems = Vec::new();
    for number in 0..5 {
        let start = Instant::now();
        let failed: Result<(), StoreError> = match number {
            0 => store.claim(claim("k", 9)).await.map(drop),
            1 => store.renew("k", Owner(9), HOUR).await.map(drop),
            2 => store.complete("k", Owner(9), vec![1], HOUR).await.map(drop),
            3 => store.abandon("k", Owner(9)).await.map(drop),
            _ => store.lose("k", Owner(9)).await.map(drop),
        };
        problems.push((start.elapsed(), problem(failed)));
    }
    problems
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn the_program_starts_without_the_server_and_connects_when_it_is_there() {
    let store = limited(&format!("127.0.0.1:{}", free_port()));
    for (time, problem) in all_operations(&store).await {
        assert!(problem.contains("the connection was refused: check that the server runs"), "{problem}");
        assert!(time < PATIENCE);
    }
    let mut server = Server::start().await;
    let store = server.store();
    server.kill();
    problem(store.claim(claim("k", 1)).await);
    server.start_again().await;
    assert_eq!(store.claim(claim("k", 1)).await, Ok(Claimed::Acquired));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn acknowledged_changes_survive_a_crash_and_a_restart_is_not_an_error() {
    // Without the setting of the store, this server would lose them.
    let settings = ["synchronous_commit=off", "wal_writer_delay=10s"];
    let mut server = Server::start_with(&settings).await;
    let store = server.store();
    store.migrate().await.unwrap();
    assert_eq!(store.claim(claim("running", 2)).await, Ok(Claimed::Acquired));
    for round in 0..3 {
        let key = round.to_string();
        assert_eq!(store.claim(claim(&key, 1)).await, Ok(Claimed::Acquired));
        assert_eq!(store.complete(&key, Owner(1), b"995".to_vec(), HOUR).await, Ok(true));
        server.signal("KILL");
        server.kill();
        server.start_again().await;
        assert_eq!(store.claim(claim(&key, 3)).await, Ok(Claimed::Done(b"995".to_vec())));
        assert_eq!(store.renew("running", Owner(2), HOUR).await, Ok(true));
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_hung_server_delays_no_operation_beyond_the_limit_and_makes_no_late_claim() {
    let server = Server::start().await;
    let store = limited(&server.address());
    connected(&store, &server, "other").await;
    server.signal("STOP");
    for (time, problem) in all_operations(&store).await {
        assert!(problem.contains("within 500ms"), "{problem}");
        assert!((LIMIT..LIMIT + LATE).contains(&time), "{time:?}");
    }
    server.signal("CONT");
    // T159
    let patient = server.store();
    assert_eq!(patient.claim(claim("k", 10)).await, Ok(Claimed::Acquired), "the claim of 9 was not made");
    assert_eq!(patient.renew("other", Owner(1), HOUR).await, Ok(true));
    recovered(&store, "other").await;
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_slow_statement_is_cancelled_on_the_server_too() {
    let server = Server::start().await;
    let store = limited(&server.address());
    connected(&store, &server, "other").await;
    let slow = "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(600); RETURN NEW; END'; \
                CREATE TRIGGER slow BEFORE INSERT ON resilient_idempotency FOR EACH ROW EXECUTE FUNCTION slow()";
    server.run(slow).await;
    let problem = problem(store.claim(claim("k", 9)).await);
    assert!(problem.contains("500ms") || problem.contains("cancelled the statement"), "{problem}");
    let pool = server.pool();
    let active = "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%INSERT%' \
                  AND pid <> pg_backend_pid()";
    let start = Instant::now();
    while sqlx::query_scalar::<_, i64>(active).fetch_one(&pool).await.unwrap() > 0 {
        assert!(start.elapsed() < PATIENCE);
    }
    server.run("DROP TRIGGER slow ON resilient_idempotency").await;
    assert_eq!(server.store().claim(claim("k", 10)).await, Ok(Claimed::Acquired));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_connection_that_is_slow_cut_or_silent_is_replaced() {
    let server = Server::start().await;
    let proxy = Proxy::start("127.0.0.1:0", &server.address()).await.unwrap();
    let store = limited(&proxy.address().to_string());
    connected(&store, &server, "k").await;
    for toxic in [
        Toxic::latency(LIMIT * 3),
        Toxic::reset_peer(Duration::ZERO),
        Toxic::black_hole(),
        Toxic::limit_data(0),
    ] {
        let start = Instant::now();
        let fault = proxy.add(toxic).unwrap();
        problem(store.renew("k", Owner(1), HOUR).await);
        assert!(start.elapsed() < LIMIT + LATE);
        drop(fault);
        recovered(&store, "k").await;
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn operations_continue_when_their_future_or_the_store_is_dropped() {
    let server = Server::start().await;
    let (store, other) = (server.store(), server.store());
    for key in 0..20 {
        assert_eq!(store.claim(claim(&key.to_string(), 1)).await, Ok(Claimed::Acquired));
    }
    for key in 0..20 {
        drop(store.abandon(&key.to_string(), Owner(1)));
    }
    drop(store);
    let start = Instant::now();
    for key in 0..20 {
        while other.claim(claim(&key.to_string(), 2)).await != Ok(Claimed::Acquired) {
            assert!(start.elapsed() < PATIENCE, "{key} was abandoned");
        }
    }
}

#[tokio::test]
async fn a_server_that_is_not_postgres_is_an_error() {
    for response in ["HTTP/1.1 400 Bad Request\r\n\r\n", "+OK\r\n", "E", ""] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let lying = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                tokio::spawn(lie(stream, response));
            }
        });
        let store = limited(&address);
        for (time, problem) in all_operations(&store).await {
            let is_known =
                problem.contains("within 500ms") || problem.contains("not the PostgreSQL protocol");
            assert!(problem.contains(&address) && is_known, "{response:?}: {problem}");
            assert!(time < LIMIT + LATE, "{time:?}");
        }
        lying.abort();
    }
}

/// Sends the same response to everything, until the client closes the connection.
async fn lie(mut stream: TcpStream, response: &str) {
    while stream.read(&mut [0; 4096]).await.is_ok_and(|bytes| bytes > 0) {
        if stream.write_all(response.as_bytes()).await.is_err() {
            return;
        }
    }
}
