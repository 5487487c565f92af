//! A primary that Sentinel names, and its failover.

use std::time::{Duration, Instant};

use resilient_redis::{Config, RedisStore};
use resilient_runtime::idempotency::{Claimed, IdempotencyStore, Owner};

use crate::group::{MASTER, Watched};
use crate::server::{PATIENCE, free_port};
use crate::{HOUR, claim, problem};

/// A time limit that a working server keeps, also on a busy machine.
const LIMIT: Duration = Duration::from_millis(400);

/// The longest failover, also on a busy machine. Otherwise it takes less than 10 seconds.
const FAILOVER: Duration = Duration::from_mins(1);

/// Waits until the store works again. Returns how long it took, and the longest time of a failed operation.
async fn recovered(store: &RedisStore, key: &str) -> (Duration, Duration) {
    let (start, mut longest) = (Instant::now(), Duration::ZERO);
    loop {
        let began = Instant::now();
        if store.renew(key, Owner(1), HOUR).await == Ok(true) {
            return (start.elapsed(), longest);
        }
        longest = longest.max(began.elapsed());
        assert!(start.elapsed() < FAILOVER, "the store does not recover");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
#[ignore = "needs redis-sentinel: cargo xtask redis"]
async fn a_store_follows_the_primary_after_a_failover() {
    // T162, T163
    let mut watched = Watched::start(&["--appendonly", "no"], "", "").await;
    let mut addresses = watched.addresses();
    // A sentinel that is not there does not matter.
    addresses.insert(0, format!("127.0.0.1:{}", free_port()));
    let url = format!("redis+sentinel://{}/{MASTER}", addresses.join(","));
    let config = Config::new(&url).timeout(PATIENCE).wait(2, PATIENCE / 2);
    let store = RedisStore::new(config).unwrap();
    let quick = RedisStore::new(Config::sentinel(MASTER, &addresses).timeout(LIMIT)).unwrap();
    let pass = async |span| tokio::time::sleep(span).await;
    resilient_runtime::testing::check_idempotency_store(&store, pass).await.unwrap();
    for key in 0..50 {
        let key = format!("confirmed {key}");
        assert_eq!(store.claim(claim(&key, 1)).await, Ok(Claimed::Acquired));
        assert_eq!(store.complete(&key, Owner(1), key.clone().into_bytes(), HOUR).await, Ok(true));
    }
    assert_eq!(store.claim(claim("k", 1)).await, Ok(Claimed::Acquired));
    recovered(&quick, "k").await;
    watched.expect_failover();
    watched.servers[0].kill();
    let failed = problem(quick.renew("k", Owner(1), HOUR).await);
    assert!(failed.starts_with(&format!("redis store {url}/0: ")), "{failed}");
    let (time, longest) = recovered(&quick, "k").await;
    eprintln!("measured: failover by Sentinel in {time:?}, longest failed operation {longest:?}");
    assert!(longest < LIMIT + Duration::from_secs(5), "{longest:?}");
    // Only one replica is left, so two cannot confirm.
    let store = RedisStore::new(Config::new(&url).timeout(PATIENCE)).unwrap();
    for key in 0..50 {
        let key = format!("confirmed {key}");
        assert_eq!(store.claim(claim(&key, 2)).await, Ok(Claimed::Done(key.clone().into_bytes())), "{key}");
    }

    // The next primary hangs. Its connections stay open.
    watched.servers[0].start_again().await;
    let hung = watched.primary_after(0).await;
    watched.servers[hung].signal("STOP");
    let (time, longest) = recovered(&quick, "k").await;
    eprintln!("measured: failover of a hung primary in {time:?}, longest failed operation {longest:?}");
    assert!(longest < LIMIT + Duration::from_secs(5), "{longest:?}");
    watched.servers[hung].signal("CONT");
    assert_eq!(store.claim(claim("confirmed 7", 2)).await, Ok(Claimed::Done(b"confirmed 7".to_vec())));
}

#[tokio::test]
#[ignore = "needs redis-sentinel: cargo xtask redis"]
async fn each_problem_of_sentinel_is_an_error_with_its_remedy() {
    let watched = Watched::start(&[], "right", "secret").await;
    let addresses = watched.addresses();
    let of = |config: Config| RedisStore::new(config.timeout(PATIENCE)).unwrap();
    let right = || Config::sentinel(MASTER, &addresses).login("", "right").sentinel_login("", "secret");
    assert_eq!(of(right()).claim(claim("k", 1)).await, Ok(Claimed::Acquired));
    let url = format!("redis+sentinel://:right@{}/{MASTER}?sentinel_password=secret", addresses.join(","));
    assert_eq!(of(Config::new(url)).renew("k", Owner(1), HOUR).await, Ok(true));
    // The documented rights.
    let rights = "+eval +evalsha +time +exists +hmget +hexists +hset +hdel +del +pexpireat";
    let sentinel_rights = "+sentinel|get-master-addr-by-name +subscribe +ping &+switch-master";
    for sentinel in &watched.sentinels {
        let words = format!("ACL SETUSER shop reset on >pw {sentinel_rights}");
        let granted = sentinel.cli("secret", &words.split(' ').collect::<Vec<_>>());
        assert!(granted.starts_with("OK"), "{granted}");
    }
    for (role, is_enough) in [("+role", true), ("", false)] {
        let words = format!("ACL SETUSER shop reset on >pw ~resilient:* {rights} {role}");
        watched.servers[0].cli("right", &words.split_whitespace().collect::<Vec<_>>());
        let limited = Config::sentinel(MASTER, &addresses).login("shop", "pw").sentinel_login("shop", "pw");
        let found = of(limited).claim(claim("limited", 1)).await;
        if is_enough {
            assert_eq!(found, Ok(Claimed::Acquired));
        } else {
            let refused = problem(found);
            assert!(refused.contains("the user lacks a right") && refused.contains("`+role`"), "{refused}");
        }
    }
    let unused = format!("127.0.0.1:{}", free_port());
    let data = watched.servers[0].address();
    let role = watched.servers[1].address();
    for (config, part) in [
        (right().login("", "s3cret"), "refused the login: check the user and the password"),
        (right().sentinel_login("", "s3cret"), "it refused the login: check `sentinel_login`"),
        (
            Config::sentinel(MASTER, &addresses).login("", "s3cret"),
            "it refused the login: check `sentinel_login`",
        ),
        (
            Config::sentinel("other", &addresses).sentinel_login("", "secret"),
            "the sentinels know no master `other`: check the name",
        ),
        (Config::sentinel(MASTER, [&unused]), "the connection was refused"),
        (
            Config::sentinel(MASTER, [&data]).sentinel_login("", "right"),
            "it is not a sentinel: check the ports",
        ),
        (
            Config::new(format!("redis://:secret@{}", addresses[0])),
            "it is a Sentinel (use `redis+sentinel://",
        ),
        (Config::new(format!("redis+cluster://:right@{data}")), "the server is not part of a cluster: use"),
        (Config::new(format!("redis://:right@{role}")), "read-only replica"),
    ] {
        let problem = problem(of(config).claim(claim("new", 2)).await);
        assert!(problem.contains(part) && !problem.contains("s3cret"), "{part}: {problem}");
    }
    // The sentinels still name this server.
    watched.servers[0].cli("right", &["REPLICAOF", "127.0.0.1", "1"]);
    let problem = problem(of(right()).claim(claim("new", 2)).await);
    assert!(problem.contains("says that it is a slave: a failover is in progress"), "{problem}");
}
