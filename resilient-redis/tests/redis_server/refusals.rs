//! A server that refuses: each refusal is an error with its remedy, and none changes a record.

use std::time::Duration;

use resilient_redis::{Config, RedisStore};
use resilient_runtime::circuit_breaker::shared::{CircuitStore, Report, Rule};
use resilient_runtime::fallback::{CacheEntry, CacheStore};
use resilient_runtime::idempotency::{Claimed, IdempotencyStore, Owner, StoreError};
use resilient_runtime::rate_limit::{self, RateRequest, RateRule, RateStore, ReturnedTokens};
use resilient_runtime::store::{
    Expected, InstanceStore, ReplicaKey, ReplicaRecord, ReplicaStore, ReplicaVersion, ReplicaWrite,
};

use crate::group::Nodes;
use crate::server::{PATIENCE, Server, run};
use crate::{HOUR, claim, problem};

fn store(server: &Server, login: &str) -> RedisStore {
    let url = format!("redis://{login}127.0.0.1:{}", server.port());
    RedisStore::new(Config::new(url).timeout(PATIENCE)).unwrap()
}

/// The message of an error that does not count as a failure of the store.
#[track_caller]
fn refusal<T: std::fmt::Debug>(found: Result<T, StoreError>) -> String {
    match found {
        Err(StoreError::Refused(problem)) => problem,
        found => panic!("{found:?}"),
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_result_that_is_too_large_is_refused_and_its_key_does_not_become_free() {
    let server = Server::start(&[]).await;
    let store = server.store();
    assert_eq!(store.claim(claim("k", 1)).await, Ok(Claimed::Acquired));
    let large = vec![0; resilient_redis::LARGEST_RESULT + 1];
    let problem = refusal(store.complete("k", Owner(1), large, HOUR).await);
    assert!(problem.contains("the result has 16777217 bytes"), "{problem}");
    assert_eq!(store.claim(claim("k", 2)).await, Ok(Claimed::Lost));
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_wrong_password_is_an_error_until_it_is_right_and_is_never_shown() {
    let server = Server::start(&["--requirepass", "right"]).await;
    for login in [":s3cret@", "unknown:s3cret@", ""] {
        let store = store(&server, login);
        for _ in 0..2 {
            let problem = problem(store.claim(claim("k", 1)).await);
            assert!(problem.contains("refused the login: check the user and the password"), "{problem}");
            assert!(!problem.contains("s3cret") && !format!("{store:?}").contains("s3cret"), "{problem}");
        }
    }
    let store = store(&server, ":s3cret@");
    problem(store.claim(claim("k", 1)).await);
    let client = redis::Client::open(format!("redis://:right@{}", server.address())).unwrap();
    let mut admin = client.get_multiplexed_async_connection().await.unwrap();
    run(&mut admin, "CONFIG SET requirepass s3cret").await.unwrap();
    assert_eq!(store.claim(claim("k", 1)).await, Ok(Claimed::Acquired), "without a restart");
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_replica_is_an_error_until_it_is_promoted() {
    let server = Server::start(&[]).await;
    let store = server.store();
    assert_eq!(store.claim(claim("k", 1)).await, Ok(Claimed::Acquired));
    server.run("REPLICAOF 127.0.0.1 1").await;
    for found in [
        store.claim(claim("new", 2)).await.map(drop),
        store.renew("k", Owner(1), HOUR).await.map(drop),
        store.complete("k", Owner(1), vec![1], HOUR).await.map(drop),
        store.abandon("k", Owner(1)).await.map(drop),
    ] {
        let problem = problem(found);
        assert!(problem.contains("read-only replica: use the address of the primary"), "{problem}");
    }
    server.run("REPLICAOF NO ONE").await;
    assert_eq!(store.complete("k", Owner(1), vec![1], HOUR).await, Ok(true));
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_full_server_refuses_new_records_and_running_calls_store_their_results() {
    let server = Server::start(&[]).await;
    let store = server.store();
    for (key, owner) in [("a", 1), ("b", 2), ("c", 3), ("d", 4)] {
        assert_eq!(store.claim(claim(key, owner)).await, Ok(Claimed::Acquired));
    }
    server.run("CONFIG SET maxmemory 1").await;
    let problem = refusal(store.claim(claim("new", 5)).await);
    assert!(problem.contains("has reached `maxmemory` and accepts no new record"), "{problem}");
    assert!(matches!(store.claim(claim("a", 5)).await, Ok(Claimed::InProgress { .. })));
    assert_eq!(store.renew("a", Owner(1), HOUR).await, Ok(true));
    assert_eq!(store.complete("a", Owner(1), vec![7; 5000], HOUR).await, Ok(true));
    assert_eq!(store.lose("b", Owner(2)).await, Ok(true));
    assert_eq!(store.abandon("c", Owner(3)).await, Ok(true));
    assert_eq!(store.claim(claim("a", 5)).await, Ok(Claimed::Done(vec![7; 5000])));
    assert_eq!(store.claim(claim("b", 5)).await, Ok(Claimed::Lost));
    server.run("CONFIG SET maxmemory 0").await;
    assert_eq!(store.claim(claim("c", 5)).await, Ok(Claimed::Acquired));
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn too_few_replicas_are_an_error() {
    let server = Server::start(&[]).await;
    let store = server.store();
    server.run("CONFIG SET min-replicas-to-write 1").await;
    let problem = problem(store.claim(claim("k", 1)).await);
    assert!(
        problem.contains("fewer replicas are connected than `min-replicas-to-write` demands"),
        "{problem}"
    );
    server.run("CONFIG SET min-replicas-to-write 0").await;
    assert_eq!(store.claim(claim("k", 2)).await, Ok(Claimed::Acquired));
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_foreign_value_at_the_key_of_a_record_is_an_error_and_stays() {
    let server = Server::start(&[]).await;
    // T161
    let (store, mut admin) = (server.store(), server.admin().await);
    let key = store.record_key("k");
    for (write, expected) in [
        ("SET {} hello", "another program has written to the key"),
        ("RPUSH {} hello", "another program has written to the key"),
        ("HSET {} name Ada", "another program has written to the key"),
        ("HSET {} format 1 name Ada", "another program has written to the key"),
        ("HSET {} format 1 owner x until x over x", "another program has written to the key"),
        ("HSET {} format 2 owner x", "a later version of resilient-redis wrote this record"),
    ] {
        run(&mut admin, &format!("DEL {key}")).await.unwrap();
        run(&mut admin, &write.replace("{}", &key)).await.unwrap();
        let before = run(&mut admin, &format!("DUMP {key}")).await.unwrap();
        for found in [
            store.claim(claim("k", 1)).await.map(drop),
            store.renew("k", Owner(1), HOUR).await.map(drop),
            store.complete("k", Owner(1), vec![1], HOUR).await.map(drop),
            store.abandon("k", Owner(1)).await.map(drop),
            store.lose("k", Owner(1)).await.map(drop),
        ] {
            let problem = refusal(found);
            assert!(problem.contains(expected), "{write}: {problem}");
        }
        assert_eq!(run(&mut admin, &format!("DUMP {key}")).await.unwrap(), before, "{write}");
    }
}

/// The rights in the documentation of `RedisStore`, for one server.
#[rustfmt::skip]
const RIGHTS: [&str; 22] = [
    "eval", "evalsha", "time", "exists", "hmget", "hexists", "hset", "hdel", "del", "pexpireat", "hget", "hlen",
    "hscan", "zadd", "zrem",
    "zcard", "zrange", "zremrangebyscore", "hgetall", "get", "getrange", "set",
];

/// Makes every operation, so that each command is used.
async fn operate(store: &RedisStore) -> Result<(), StoreError> {
    for (key, owner) in [("a", 1), ("b", 2)] {
        store.claim(claim(key, owner)).await?;
    }
    store.renew("a", Owner(1), HOUR).await?;
    store.complete("a", Owner(1), vec![1], HOUR).await?;
    store.lose("b", Owner(2)).await?;
    store.abandon("b", Owner(2)).await?;
    let limit = "api\0".to_owned();
    let rate = "1/h".parse::<rate_limit::Rate>().unwrap();
    let rule = RateRule::of(&rate_limit::Config::default().rate(rate)).unwrap();
    let (tokens, max_wait) = (1, std::time::Duration::ZERO);
    let taken = store.take(RateRequest { limit: limit.clone(), rule, tokens, at_least: 1, max_wait }).await?;
    store.give_back(ReturnedTokens { limit, rule, tokens, mark: taken.mark }).await?;
    store.announce(1, HOUR).await?;
    store.leave(1).await?;
    store.report("payment", Report::new(1, Rule::default())).await?;
    store.reset("payment").await?;
    store.put("a", CacheEntry::new(vec![1], Duration::ZERO), HOUR).await?;
    store.get("a").await?;
    CacheStore::remove(store, "a").await?;
    let (key, version) = (ReplicaKey::new("profiles", "a"), ReplicaVersion(1));
    let write = |version, value| {
        let record = ReplicaRecord { version, value };
        ReplicaWrite { key: key.clone(), record, expected: Expected::Older, max_ahead: HOUR }
    };
    store.write(write(version, Some(vec![1]))).await?;
    store.write(write(ReplicaVersion(2), None)).await?;
    ReplicaStore::read(store, key.clone()).await?;
    store.list(key.set(), key.range(), None, 9).await?;
    store.forget(key.clone(), ReplicaVersion(2)).await.map(drop)
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn the_documented_rights_are_enough_and_each_missing_one_is_an_error() {
    let server = Server::start(&[]).await;
    let granted: Vec<_> = RIGHTS.iter().map(|right| format!("+{right}")).collect();
    server.run(&format!("ACL SETUSER enough on >pw ~resilient:* {}", granted.join(" "))).await;
    assert_eq!(operate(&store(&server, "enough:pw@")).await, Ok(()));
    for right in RIGHTS {
        server.run("FLUSHALL").await;
        // Otherwise the server knows the scripts, and `eval` is not used.
        server.run("SCRIPT FLUSH").await;
        server
            .run(&format!("ACL SETUSER less on >pw resetkeys ~resilient:* {} -{right}", granted.join(" ")))
            .await;
        let problem = problem(operate(&store(&server, "less:pw@")).await);
        assert!(problem.contains("the user lacks a right: grant `~resilient:* +eval"), "{right}: {problem}");
    }
    server.run(&format!("ACL SETUSER enough on >pw ~resilient:* {}", granted.join(" "))).await;
    let waiting = format!("redis://enough:pw@{}", server.address());
    let waiting = RedisStore::new(Config::new(waiting).timeout(PATIENCE).wait(1, PATIENCE / 2)).unwrap();
    let refused = problem(waiting.claim(claim("w", 1)).await);
    assert!(refused.contains("the user lacks a right") && refused.contains("`+wait`"), "{refused}");
    server.run(&format!("ACL SETUSER elsewhere on >pw ~other:* {}", granted.join(" "))).await;
    let refused = problem(operate(&store(&server, "elsewhere:pw@")).await);
    assert!(refused.contains("the user lacks a right"), "{refused}");
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn the_documented_rights_are_enough_in_a_cluster_and_each_missing_one_is_an_error() {
    let nodes = Nodes::pair().await;
    let all = RIGHTS.map(|right| format!("+{right}")).join(" ");
    let all = format!("{all} +cluster|slots +asking");
    for (rights, is_enough) in [(all.clone(), true), (all.replace("+cluster|slots", ""), false)] {
        for node in &nodes.0 {
            node.run(&format!("ACL SETUSER shop reset on >pw ~resilient:* {rights}")).await;
        }
        let config = Config::new(nodes.cluster_url()).login("shop", "pw").timeout(PATIENCE);
        let found = operate(&RedisStore::new(config).unwrap()).await;
        if is_enough {
            assert_eq!(found, Ok(()));
        } else {
            let refused = problem(found);
            assert!(
                refused.contains("the user lacks a right") && refused.contains("+cluster|slots"),
                "{refused}"
            );
        }
    }
}
