//! Members of replica sets on real servers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use resilient_redis::{Config, RedisStore};
use resilient_replica::MemoryReplica;
use resilient_runtime::store::{
    Expected, ReplicaKey, ReplicaRecord, ReplicaStore, ReplicaVersion, ReplicaWrite, StoreError, Written,
};

use crate::group::Nodes;
use crate::problem;
use crate::server::{PATIENCE, Server};

const MINUTE: Duration = Duration::from_mins(1);

fn version(number: u64) -> ReplicaVersion {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    ReplicaVersion(now.as_millis() << 80 | u128::from(number))
}

fn write(key: &str, version: ReplicaVersion, value: Option<&str>, expected: Expected) -> ReplicaWrite {
    let record = ReplicaRecord { version, value: value.map(|value| value.as_bytes().to_vec()) };
    ReplicaWrite { key: ReplicaKey::new("profiles", key), record, expected, max_ahead: MINUTE }
}

/// All records of a set, by key: version, and whether it is a tombstone.
async fn listed(store: &dyn ReplicaStore, set: &str) -> BTreeMap<String, (ReplicaVersion, bool)> {
    let mut all = BTreeMap::new();
    for range in 0..ReplicaKey::RANGES {
        let mut from = None;
        loop {
            let page = store.list(set, range, from, 5).await.unwrap();
            all.extend(page.entries.into_iter().map(|entry| (entry.key, (entry.version, entry.is_removed))));
            from = page.next;
            if from.is_none() {
                break;
            }
        }
    }
    all
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn it_keeps_every_rule_of_a_member() {
    let server = Server::start(&[]).await;
    resilient_runtime::testing::check_replica_store(&server.store()).await.unwrap();
    let nodes = Nodes::pair().await;
    let cluster = RedisStore::new(Config::new(nodes.cluster_url()).timeout(PATIENCE)).unwrap();
    resilient_runtime::testing::check_replica_store(&cluster).await.unwrap();
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn it_does_what_a_member_in_memory_does() {
    let server = Server::start(&[]).await;
    let (store, memory) = (server.store(), MemoryReplica::new());
    let mut state = 7_u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let start = version(0).0;
    for _ in 0..1500 {
        let key = format!("user {}", random(40));
        let version = |number| ReplicaVersion(start + u128::from(number) * ((1 << 64) / 3));
        let new = version(random(30));
        if random(8) == 0 {
            let key = ReplicaKey::new("profiles", key);
            let forgotten = store.forget(key.clone(), new).await;
            assert_eq!(forgotten, memory.forget(key, new).await);
            continue;
        }
        let value = (random(3) > 0).then(|| format!("value {}", random(3)));
        let expected = match random(4) {
            0 => Expected::Exactly(None),
            1 => Expected::Exactly(Some(version(random(30)))),
            _ => Expected::Older,
        };
        let write = write(&key, new, value.as_deref(), expected);
        assert_eq!(store.write(write.clone()).await, memory.write(write.clone()).await, "{write:?}");
        assert_eq!(store.read(write.key.clone()).await, memory.read(write.key).await);
    }
    for range in 0..ReplicaKey::RANGES {
        let digest = store.digest("profiles", range).await;
        assert_eq!(digest, memory.digest("profiles", range).await, "range {range}");
    }
    let all = listed(&store, "profiles").await;
    assert_eq!(all, listed(&memory, "profiles").await);
    for (key, (version, is_removed)) in all {
        let key = ReplicaKey::new("profiles", key);
        let tombstone = ReplicaRecord { version, value: None };
        let remove = ReplicaWrite {
            key: key.clone(),
            record: tombstone,
            expected: Expected::Exactly(Some(version)),
            max_ahead: MINUTE,
        };
        if !is_removed {
            assert_eq!(store.write(remove).await, Ok(Written::Applied));
        }
        assert_eq!(store.forget(key, version).await, Ok(true));
    }
    let keys: Vec<String> = redis::cmd("KEYS").arg("*").query_async(&mut server.admin().await).await.unwrap();
    assert_eq!(keys, [""; 0], "an empty range takes no memory");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn of_conditional_writes_of_several_clients_none_is_lost() {
    let server = Server::start(&[]).await;
    let stores = [Arc::new(server.store()), Arc::new(server.store())];
    let key = ReplicaKey::new("profiles", "counter");
    let numbers = Arc::new(AtomicU64::new(1));
    let writers = (0..32).map(|writer| {
        let (store, key, numbers) = (Arc::clone(&stores[writer % 2]), key.clone(), Arc::clone(&numbers));
        tokio::spawn(async move {
            for _ in 0..5 {
                loop {
                    let found = store.read(key.clone()).await.unwrap();
                    let count = found.as_ref().map_or(0, |found| {
                        String::from_utf8(found.value.clone().unwrap()).unwrap().parse::<u64>().unwrap()
                    });
                    // Two writes with one version would not conflict.
                    let number = numbers.fetch_add(1, Ordering::Relaxed);
                    let expected = Expected::Exactly(found.map(|found| found.version));
                    let write = write("counter", version(number), Some(&(count + 1).to_string()), expected);
                    match store.write(write).await.unwrap() {
                        Written::Applied => break,
                        Written::Conflict(_) => tokio::task::yield_now().await,
                        ahead @ Written::Ahead(_) => panic!("{ahead:?}"),
                    }
                }
            }
        })
    });
    futures_util::future::try_join_all(writers.collect::<Vec<_>>()).await.unwrap();
    let found = stores[0].read(key).await.unwrap().unwrap().value.unwrap();
    assert_eq!(String::from_utf8(found).unwrap(), "160");
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn records_that_were_acknowledged_survive_a_kill_with_appendfsync_always() {
    let mut server = Server::start(&["--appendonly", "yes", "--appendfsync", "always"]).await;
    let store = server.store();
    let mut acknowledged = BTreeMap::new();
    for round in 0..3_u64 {
        for number in 0..20_u64 {
            let (key, value) = (format!("user {number}"), format!("{round} {number}"));
            let write = write(&key, version(round), Some(&value), Expected::Older);
            assert_eq!(store.write(write.clone()).await, Ok(Written::Applied));
            acknowledged.insert(key, write.record);
        }
        server.kill();
        assert!(problem(store.read(ReplicaKey::new("profiles", "user 1")).await).contains("redis store"));
        server.start_again().await;
        for (key, record) in &acknowledged {
            assert_eq!(
                store.read(ReplicaKey::new("profiles", key)).await.as_ref(),
                Ok(&Some(record.clone()))
            );
        }
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_write_that_is_refused_changes_nothing() {
    let server = Server::start(&[]).await;
    let store = server.store();
    let first = write("user 7", version(1), Some("ada"), Expected::Older);
    assert_eq!(store.write(first.clone()).await, Ok(Written::Applied));
    let digest = store.digest("profiles", first.key.range()).await;
    let second = write("user 7", version(2), Some("eve"), Expected::Older);

    server.run("CONFIG SET maxmemory 1").await;
    let full = store.write(second.clone()).await;
    assert!(matches!(&full, Err(StoreError::Refused(problem)) if problem.contains("maxmemory")), "{full:?}");
    assert_eq!(store.read(first.key.clone()).await, Ok(Some(first.record.clone())));
    assert_eq!(store.digest("profiles", first.key.range()).await, digest);
    server.run("CONFIG SET maxmemory 0").await;

    let mut large = second.clone();
    large.record.value = Some(vec![0; resilient_redis::LARGEST_RECORD]);
    let refused = problem(store.write(large).await);
    assert!(refused.contains("more than 16777216"), "{refused}");

    let at = store.replica_key("profiles", first.key.range());
    let mut admin = server.admin().await;
    let writer = admin.clone();
    let set = async |field: &str, value: &str| {
        let _: () =
            redis::cmd("HSET").arg(&at).arg(field).arg(value).query_async(&mut writer.clone()).await.unwrap();
    };
    let head: String = redis::cmd("HGET").arg(&at).arg("vuser 7").query_async(&mut admin).await.unwrap();
    for (field, value, reason) in [
        ("d", "digest", "another program"),
        ("vuser 7", "RV2 new", "another program"),
        ("vuser 7", &head.replace("RV1", "RV2"), "a later version of resilient-redis"),
        ("vuser 7", "RV1abcv", "another program"),
    ] {
        set(field, value).await;
        let refused = problem(store.write(second.clone()).await);
        assert!(refused.contains(reason) && refused.contains(&server.address()), "{refused}");
        set("vuser 7", &head).await;
        set("d", &format!("{:016x}", digest.clone().unwrap())).await;
        assert_eq!(store.read(first.key.clone()).await, Ok(Some(first.record.clone())), "nothing is lost");
    }
    let _: () = redis::cmd("SET").arg(&at).arg("text").query_async(&mut admin).await.unwrap();
    for refused in [
        problem(store.read(first.key.clone()).await),
        problem(store.write(second.clone()).await),
        problem(store.digest("profiles", first.key.range()).await),
        problem(store.list("profiles", first.key.range(), None, 9).await),
        problem(store.forget(first.key.clone(), version(1)).await),
    ] {
        assert!(refused.contains("another program has written"), "{refused}");
    }
}
