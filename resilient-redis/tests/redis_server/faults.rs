//! Servers and connections that fail. T116: no operation waits longer than the time limit of the store.

use std::time::{Duration, Instant};

use resilient_chaos::proxy::{Proxy, Toxic};
use resilient_redis::{Config, RedisStore};
use resilient_runtime::idempotency::{Claimed, IdempotencyStore, Owner, StoreError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::server::{PATIENCE, Server, free_port};
use crate::{HOUR, claim, problem};

/// A time limit that a working server keeps, also on a busy machine.
const LIMIT: Duration = Duration::from_millis(400);

/// How late an error may be on a busy machine.
const LATE: Duration = Duration::from_secs(5);

/// Claims a key as owner 1, and opens the connection of a store with a short limit.
async fn connected(store: &RedisStore, server: &Server, key: &str) {
    assert_eq!(server.store().claim(claim(key, 1)).await, Ok(Claimed::Acquired));
    recovered(store, key).await;
}

/// Waits until the store works.
async fn recovered(store: &RedisStore, key: &str) {
    let start = Instant::now();
    while store.renew(key, Owner(1), HOUR).await != Ok(true) {
        assert!(start.elapsed() < PATIENCE, "the store does not recover");
    }
}

/// Performs every operation. Returns their errors, each with the time that it took.
async fn all_operations(store: &RedisStore) -> Vec<(Duration, String)> {
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
#[ignore = "needs redis-server: cargo xtask redis"]
async fn the_program_starts_without_the_server_and_connects_when_it_is_there() {
    let store = RedisStore::new(Config::new(format!("redis://127.0.0.1:{}", free_port()))).unwrap();
    for (time, problem) in all_operations(&store).await {
        assert!(problem.contains("the connection was refused: check that the server runs"), "{problem}");
        assert!(time < PATIENCE);
    }
    let mut server = Server::start(&[]).await;
    let store = server.store();
    server.kill();
    problem(store.claim(claim("k", 1)).await);
    server.start_again().await;
    assert_eq!(store.claim(claim("k", 1)).await, Ok(Claimed::Acquired));
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_killed_server_is_an_error_at_once_and_its_durable_records_are_used_after_a_restart() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let store = server.store();
    assert_eq!(store.claim(claim("done", 1)).await, Ok(Claimed::Acquired));
    assert_eq!(store.complete("done", Owner(1), b"995".to_vec(), HOUR).await, Ok(true));
    assert_eq!(store.claim(claim("running", 2)).await, Ok(Claimed::Acquired));
    server.kill();
    for (time, problem) in all_operations(&store).await {
        assert!(problem.starts_with(&format!("redis store redis://{}/0: ", server.address())), "{problem}");
        assert!(time < PATIENCE / 2, "not the whole time limit: {time:?}");
    }
    server.start_again().await;
    assert_eq!(store.claim(claim("done", 3)).await, Ok(Claimed::Done(b"995".to_vec())));
    assert!(matches!(store.claim(claim("running", 3)).await, Ok(Claimed::InProgress { .. })));
    assert_eq!(
        store.complete("running", Owner(2), vec![1], HOUR).await,
        Ok(true),
        "the lease is still valid"
    );
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_restart_between_two_operations_is_not_an_error() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let store = server.store();
    assert_eq!(store.claim(claim("k", 1)).await, Ok(Claimed::Acquired));
    for _ in 0..3 {
        server.kill();
        server.start_again().await;
        assert_eq!(store.renew("k", Owner(1), HOUR).await, Ok(true));
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_hung_server_delays_no_operation_beyond_the_limit_and_makes_no_late_claim() {
    let server = Server::start(&[]).await;
    let store = RedisStore::new(Config::new(server.url()).timeout(LIMIT)).unwrap();
    connected(&store, &server, "other").await;
    server.signal("STOP");
    for (time, problem) in all_operations(&store).await {
        assert!(problem.contains("within 400ms"), "{problem}");
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
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_slow_connection_is_an_error_within_the_limit_and_works_when_it_is_fast() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::start("127.0.0.1:0", &server.address()).await.unwrap();
    let store = RedisStore::new(Config::new(format!("redis://{}", proxy.address())).timeout(LIMIT)).unwrap();
    connected(&store, &server, "other").await;
    let slow = proxy.add(Toxic::latency(LIMIT * 3)).unwrap();
    for (time, problem) in all_operations(&store).await {
        assert!(problem.contains("within 400ms"), "{problem}");
        assert!((LIMIT..LIMIT + LATE).contains(&time), "{time:?}");
    }
    drop(slow);
    recovered(&store, "other").await;
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_connection_that_is_cut_or_silent_is_replaced() {
    let server = Server::start(&[]).await;
    let proxy = Proxy::start("127.0.0.1:0", &server.address()).await.unwrap();
    let store = RedisStore::new(Config::new(format!("redis://{}", proxy.address())).timeout(LIMIT)).unwrap();
    connected(&store, &server, "k").await;
    for toxic in [Toxic::reset_peer(Duration::ZERO), Toxic::black_hole(), Toxic::limit_data(0)] {
        let cut = proxy.add(toxic).unwrap();
        problem(store.renew("k", Owner(1), HOUR).await);
        drop(cut);
        recovered(&store, "k").await;
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn flushed_scripts_are_sent_again() {
    let server = Server::start(&[]).await;
    let store = server.store();
    for round in 0..3 {
        server.run("SCRIPT FLUSH").await;
        let key = round.to_string();
        assert_eq!(store.claim(claim(&key, 1)).await, Ok(Claimed::Acquired));
        server.run("SCRIPT FLUSH").await;
        assert_eq!(store.complete(&key, Owner(1), vec![1], HOUR).await, Ok(true));
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn operations_continue_when_their_future_or_the_store_is_dropped() {
    let server = Server::start(&[]).await;
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
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_claim_whose_caller_left_is_undone_although_its_end_overtook_it() {
    // T193
    let server = Server::start(&[]).await;
    let (store, other) = (server.store(), server.store());
    for end_overtakes in [true, false] {
        let (start, mut number) = (Instant::now(), 0);
        let key = loop {
            server.run("SCRIPT FLUSH").await;
            // The server knows the script of the end now. The script of the claim is sent after its first response.
            assert_eq!(store.renew("other", Owner(1), HOUR).await, Ok(false));
            server.run("CONFIG RESETSTAT").await;
            number += 1;
            let key = format!("k{end_overtakes}{number}");
            drop(store.claim(claim(&key, 1)));
            // If this thread has to wait for a processor, the claim is first.
            if !end_overtakes || store.abandon(&key, Owner(1)).await == Ok(false) {
                break key;
            }
            assert!(start.elapsed() < PATIENCE, "the end overtakes a claim");
        };
        let is_claimed = async || {
            let keys = server.run(&format!("EXISTS {}", store.record_key(&key))).await;
            let calls = server.cli("", &["INFO", "commandstats"]);
            keys == redis::Value::Int(0) && calls.contains("cmdstat_del:")
        };
        while !is_claimed().await {
            assert!(start.elapsed() < PATIENCE, "the claim of the caller that left is kept");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(other.claim(claim(&key, 2)).await, Ok(Claimed::Acquired));
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_running_call_ends_although_1024_claims_wait_for_a_hung_server() {
    let server = Server::start(&[]).await;
    let store = server.store();
    assert_eq!(store.claim(claim("running", 1)).await, Ok(Claimed::Acquired));
    server.signal("STOP");
    let waiting: Vec<_> = (0..1024).map(|key| store.claim(claim(&key.to_string(), 1))).collect();
    let refused = problem(store.claim(claim("more", 1)).await);
    assert!(refused.contains("1024 operations are already waiting"), "{refused}");
    let renewed = store.renew("running", Owner(1), HOUR);
    let ended = store.complete("running", Owner(1), b"995".to_vec(), HOUR);
    server.signal("CONT");
    assert_eq!(renewed.await, Ok(true));
    assert_eq!(ended.await, Ok(true));
    for claimed in waiting {
        assert_eq!(claimed.await, Ok(Claimed::Acquired));
    }
}

#[tokio::test]
async fn a_server_that_is_not_redis_is_an_error() {
    let forms = ["redis://", "redis+sentinel://", "redis+cluster://"].map(|form| {
        tokio::spawn(async move {
            for response in ["HTTP/1.1 400 Bad Request\r\n\r\n", "+OK\r\n+OK\r\n+OK\r\n", "?garbage\r\n", ""]
            {
                is_not_redis(form, response).await;
            }
        })
    });
    for form in forms {
        form.await.unwrap();
    }
}

async fn is_not_redis(form: &str, response: &'static str) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let lying = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(lie(stream, response));
        }
    });
    let path = if form.contains("sentinel") { "/mymaster" } else { "" };
    let store = RedisStore::new(Config::new(format!("{form}{address}{path}")).timeout(LIMIT)).unwrap();
    for (time, problem) in all_operations(&store).await {
        let expected: &[&str] = if response.is_empty() {
            &["within 400ms", "did not respond in time"]
        } else {
            &["not the Redis protocol"]
        };
        let is_expected = expected.iter().any(|expected| problem.contains(expected));
        assert!(problem.contains(&address) && is_expected, "{form} {response:?}: {problem}");
        assert!(time < LIMIT + LATE, "{time:?}");
    }
    lying.abort();
}

/// Sends the same response to everything, until the client closes the connection.
async fn lie(mut stream: TcpStream, response: &str) {
    while stream.read(&mut [0; 4096]).await.is_ok_and(|bytes| bytes > 0) {
        if stream.write_all(response.as_bytes()).await.is_err() {
            return;
        }
    }
}
