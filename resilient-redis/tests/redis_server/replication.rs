//! A primary with a replica: changes that the replica has, and changes that are lost.

use std::time::{Duration, Instant};

use resilient_redis::{Config, RedisStore};
use resilient_runtime::idempotency::{Claimed, IdempotencyStore, Owner};

use crate::server::{PATIENCE, Server, run};
use crate::{HOUR, claim, problem};

pub(crate) async fn replicated() -> (Server, Server) {
    let server = Server::start(&["--repl-diskless-sync-delay", "0"]).await;
    let port = server.port().to_string();
    let replica = Server::start(&["--replicaof", "127.0.0.1", &port]).await;
    let start = Instant::now();
    while !server.cli("", &["INFO", "replication"]).contains("state=online") {
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (server, replica)
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_change_that_too_few_replicas_confirm_is_an_error_and_its_claim_is_given_up() {
    // T163
    let (server, replica) = replicated().await;
    let waiting = |replicas, timeout| {
        RedisStore::new(Config::new(server.url()).timeout(PATIENCE).wait(replicas, timeout)).unwrap()
    };
    let (one, two) = (waiting(1, PATIENCE / 2), waiting(2, Duration::from_millis(20)));
    let plain = server.store();
    for (key, owner) in [("a", 1), ("b", 2)] {
        assert_eq!(one.claim(claim(key, owner)).await, Ok(Claimed::Acquired));
    }
    let problem = problem(two.claim(claim("c", 3)).await);
    assert!(problem.contains("1 of 2 replicas confirmed the change in time"), "{problem}");
    let start = Instant::now();
    while plain.claim(claim("c", 4)).await != Ok(Claimed::Acquired) {
        assert!(start.elapsed() < PATIENCE, "the claim of 3 is given up");
    }
    assert!(two.complete("a", Owner(1), vec![1], HOUR).await.is_err());
    assert_eq!(plain.claim(claim("a", 4)).await, Ok(Claimed::Done(vec![1])), "the change was made");
    // Operations without a change do not wait.
    assert_eq!(two.claim(claim("a", 4)).await, Ok(Claimed::Done(vec![1])));
    assert!(matches!(two.claim(claim("b", 4)).await, Ok(Claimed::InProgress { .. })));
    assert_eq!(two.renew("b", Owner(9), HOUR).await, Ok(false));
    replica.signal("STOP");
    let hung = waiting(1, Duration::from_millis(20)).renew("b", Owner(2), HOUR).await;
    assert!(hung.is_err_and(|hung| hung.to_string().contains("0 of 1 replicas confirmed")));
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_repeated_request_writes_again_so_that_replicas_confirm_it() {
    // T194. Redis 7.2 waits only for what the connection itself has written.
    let server = Server::start(&[]).await;
    let (store, mut admin) = (server.store(), server.admin().await);
    for memory in ["0", "1"] {
        server.run("CONFIG SET maxmemory 0").await;
        for key in ["claimed", "done"] {
            assert_eq!(store.claim(claim(&format!("{key}{memory}"), 1)).await, Ok(Claimed::Acquired));
        }
        assert_eq!(store.complete(&format!("done{memory}"), Owner(1), vec![1], HOUR).await, Ok(true));
        server.run(&format!("CONFIG SET maxmemory {memory}")).await;
        let (claims, changes) =
            (include_str!("../../src/scripts/claim.lua"), include_str!("../../src/scripts/change.lua"));
        let (fingerprint, owner) = (format!("{:032x}", 7), format!("{:032x}", 1));
        let claim = ["9999999999999999", &fingerprint, "shop::charge", &owner, "1", "1", "0"];
        let change = |change, span| [change, &*owner, span, "result"];
        for (key, script, arguments, status) in [
            ("claimed", claims, &claim[..], "acquired"),
            ("done", changes, &change("complete", "9")[..], "changed"),
            ("removed", changes, &change("complete", "0"), "changed"),
            ("removed", changes, &change("abandon", "0"), "changed"),
        ] {
            let key = store.record_key(&format!("{key}{memory}"));
            let before = (writes(&server), run(&mut admin, &format!("DUMP {key}")).await.unwrap());
            let mut eval = redis::cmd("EVAL");
            eval.arg(script).arg(1).arg(&key).arg("1").arg("1").arg(arguments);
            let (_, _, found, _): (u64, u64, String, String) = eval.query_async(&mut admin).await.unwrap();
            assert_eq!(found, status, "{arguments:?}");
            assert!(writes(&server) > before.0, "{arguments:?} with maxmemory {memory}");
            assert_eq!(run(&mut admin, &format!("DUMP {key}")).await.unwrap(), before.1, "{arguments:?}");
        }
    }
}

/// How many changes the server has made.
fn writes(server: &Server) -> u64 {
    let info = server.cli("", &["INFO", "persistence"]);
    let writes = info.lines().find_map(|line| line.strip_prefix("rdb_changes_since_last_save:"));
    writes.unwrap().trim().parse().unwrap()
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_failover_loses_an_acknowledged_change_that_the_replica_has_not_received() {
    let (mut server, replica) = replicated().await;
    let waiting = Config::new(server.url()).timeout(PATIENCE).wait(1, PATIENCE / 2);
    let (plain, waiting) = (server.store(), RedisStore::new(waiting).unwrap());
    assert_eq!(waiting.claim(claim("confirmed", 1)).await, Ok(Claimed::Acquired));
    // The connection of the replica is lost.
    replica.run("REPLICAOF 127.0.0.1 1").await;
    assert_eq!(plain.claim(claim("acknowledged", 1)).await, Ok(Claimed::Acquired));
    server.kill();
    replica.run("REPLICAOF NO ONE").await;
    let promoted = replica.store();
    assert!(matches!(promoted.claim(claim("confirmed", 2)).await, Ok(Claimed::InProgress { .. })));
    assert_eq!(promoted.claim(claim("acknowledged", 2)).await, Ok(Claimed::Acquired), "lost, as documented");
}
