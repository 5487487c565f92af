//! Requests for the same limit that one process combines.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use resilient_runtime::rate_limit::{RateRequest, RateRule, RateStore, Taken};
use resilient_runtime::store::StoreError;

use crate::rate::rate;
use crate::server::{PATIENCE, Server};

const CALLS: usize = 200;

fn one(limit: &str, text: &str, burst: u32) -> RateRequest {
    let rule = RateRule::of(&rate(text).burst(burst)).unwrap();
    RateRequest { limit: limit.to_owned(), rule, tokens: 1, at_least: 1, max_wait: Duration::ZERO }
}

/// Number of requests that took tokens.
fn requests(server: &Server) -> u64 {
    let commands = server.cli("", &["INFO", "commandstats"]);
    let calls = |name: &str| {
        let line = commands.lines().find_map(|line| line.strip_prefix(&format!("cmdstat_{name}:calls=")));
        line.and_then(|rest| rest.split(',').next()?.parse().ok()).unwrap_or(0_u64)
    };
    calls("eval") + calls("evalsha")
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn concurrent_calls_share_requests_and_get_exactly_the_tokens() {
    // T173
    let server = Server::start(&[]).await;
    let store = server.store();
    for burst in [1, 50, 199] {
        let (limit, before) = (format!("api{burst}\0"), requests(&server));
        let calls: Vec<_> = (0..CALLS).map(|_| store.take(one(&limit, "1/h", burst))).collect();
        let taken: Result<Vec<Taken>, StoreError> = join_all(calls).await.into_iter().collect();
        let taken = taken.unwrap();
        let sent = requests(&server) - before;
        assert!(sent < CALLS as u64 / 2, "{sent} requests");
        // If a request is slow, the next one is sent before it has ended, and can arrive first.
        let (mut granted, refused): (Vec<&Taken>, Vec<&Taken>) =
            taken.iter().partition(|taken| taken.granted == 1);
        granted.sort_by_key(|taken| taken.remaining);
        let remaining: Vec<u32> = granted.iter().map(|taken| taken.remaining).collect();
        assert_eq!(remaining, (0..burst).collect::<Vec<_>>());
        assert!(granted.iter().all(|taken| taken.wait.is_zero()));
        // Each token is refilled in an hour.
        for taken in refused {
            let hours = taken.wait.as_secs_f64() / 3600.0;
            assert!(taken.granted == 0 && (hours - 1.0).abs() < 0.1, "{taken:?}");
        }
        let next = store.take(one(&limit, "1/h", burst)).await.unwrap();
        assert_eq!((next.granted, next.remaining), (0, 0));
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn calls_that_wait_for_a_request_that_fails_end_in_time_and_the_next_ones_are_sent() {
    let server = Server::start(&[]).await;
    let limit = Duration::from_millis(300);
    let store = resilient_redis::RedisStore::new(resilient_redis::Config::new(server.url()).timeout(limit));
    let store = store.unwrap();
    assert_eq!(store.take(one("api\0", "1/h", 1000)).await.unwrap().remaining, 999);
    server.signal("STOP");
    let start = Instant::now();
    let mut waiting = Vec::new();
    while start.elapsed() < limit / 2 {
        waiting.push(store.take(one("api\0", "1/h", 1000)));
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for ended in join_all(waiting).await {
        let Err(StoreError::Unavailable(problem)) = ended else { panic!("{ended:?}") };
        assert!(problem.contains("check the network"), "{problem}");
    }
    server.signal("CONT");
    let start = Instant::now();
    while store.take(one("api\0", "1/h", 1000)).await.is_err() {
        assert!(start.elapsed() < PATIENCE);
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn calls_with_other_rules_and_weights_keep_their_own_requests() {
    let server = Server::start(&[]).await;
    let store = server.store();
    let heavy = RateRequest { tokens: 7, at_least: 7, ..one("api\0", "1/h", 100) };
    let calls = join_all([
        store.take(one("api\0", "1/h", 100)),
        store.take(one("api\0", "1/h", 100)),
        store.take(heavy),
        store.take(one("api\0", "2/h", 100)),
        store.take(one("other\0", "1/h", 100)),
    ]);
    let taken: Vec<_> = calls.await.into_iter().map(|taken| taken.unwrap().granted).collect();
    assert_eq!(taken, [1, 1, 7, 1, 1]);
    assert_eq!(store.take(one("api\0", "1/h", 100)).await.unwrap().remaining, 100 - 11);
    assert_eq!(store.take(one("other\0", "1/h", 100)).await.unwrap().remaining, 100 - 2);
}
