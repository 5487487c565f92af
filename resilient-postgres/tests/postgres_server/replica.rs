//! The store as a member of replica sets, compared with the one in memory.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use resilient_postgres::{LARGEST_RECORD, PostgresStore};
use resilient_replica::MemoryReplica;
use resilient_runtime::store::{
    Backend, Expected, ReplicaEntry, ReplicaKey, ReplicaRecord, ReplicaStore, ReplicaVersion, ReplicaWrite,
    StoreError, Written,
};

use crate::server::{PATIENCE, Server, run};

/// A version whose time is long ago.
pub(crate) fn version(number: u128) -> ReplicaVersion {
    ReplicaVersion(number << 64 | 7)
}

pub(crate) fn record(number: u128, value: &str) -> ReplicaRecord {
    ReplicaRecord { version: version(number), value: Some(value.as_bytes().to_vec()) }
}

pub(crate) fn removed(number: u128) -> ReplicaRecord {
    ReplicaRecord { version: version(number), value: None }
}

pub(crate) fn write(key: &ReplicaKey, record: ReplicaRecord, expected: Expected) -> ReplicaWrite {
    ReplicaWrite { key: key.clone(), record, expected, max_ahead: Duration::from_secs(1) }
}

/// All records of a range, in pages of two.
async fn listed(store: &dyn ReplicaStore, set: &str, range: u16) -> Vec<ReplicaEntry> {
    let (mut entries, mut from) = (Vec::new(), None);
    loop {
        let page = store.list(set, range, from, 2).await.unwrap();
        assert!(page.entries.len() <= 2, "{page:?}");
        entries.extend(page.entries);
        match page.next {
            Some(next) => from = Some(next),
            None => break,
        }
    }
    entries.sort_by(|one, other| one.key.cmp(&other.key));
    entries
}

/// Six keys of a set in two ranges.
fn keys(set: &str) -> Vec<ReplicaKey> {
    let keys = (0_u32..).map(|number| ReplicaKey::new(set, number.to_string()));
    keys.filter(|key| key.range() < 2).take(6).collect()
}

/// A time that is so far in the future.
fn ahead(span: Duration) -> ReplicaVersion {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    ReplicaVersion((now + span).as_millis() << 80)
}

fn random_record(random: &mut SmallRng) -> ReplicaRecord {
    let version = match random.random_range(0..20) {
        0 => ahead(Duration::from_hours(1)),
        _ => version(random.random_range(1..12)),
    };
    let value = random.random_range(0..3_u8);
    ReplicaRecord { version, value: (value > 0).then(|| vec![value; 3]) }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn it_answers_as_the_member_in_memory() {
    let server = Server::start().await;
    let (store, memory) = (server.store(), MemoryReplica::new());
    let keys: Vec<_> = ["profiles", "carts"].into_iter().flat_map(keys).collect();
    let mut random = SmallRng::seed_from_u64(7);
    let (mut applied, mut conflicts, mut refused, mut forgotten) = (0, 0, 0, 0);
    for step in 0..1000 {
        let key = &keys[random.random_range(0..keys.len())];
        let found = memory.read(key.clone()).await.unwrap();
        assert_eq!(store.read(key.clone()).await, Ok(found.clone()), "{step}");
        let known = found.as_ref().map(|found| found.version);
        let record = match (random.random_range(0..8), found) {
            (0, Some(same)) => same,
            _ => random_record(&mut random),
        };
        if random.random_range(0..6) == 0 {
            let version = known.filter(|_| random.random()).unwrap_or(record.version);
            let expected = memory.forget(key.clone(), version).await;
            assert_eq!(store.forget(key.clone(), version).await, expected, "{step}");
            forgotten += u32::from(expected == Ok(true));
        } else {
            let expected = match random.random_range(0..4) {
                0 | 1 => Expected::Older,
                2 => Expected::Exactly(known),
                _ => Expected::Exactly(random.random::<bool>().then(|| version(random.random_range(1..12)))),
            };
            let write = write(key, record, expected);
            let (one, other) =
                (memory.write(write.clone()).await.unwrap(), store.write(write).await.unwrap());
            match (one, other) {
                (Written::Ahead(one), Written::Ahead(other)) => {
                    assert!(one.abs_diff(other) < PATIENCE, "{step}: {one:?} {other:?}");
                    refused += 1;
                }
                (one, other) => {
                    assert_eq!(other, one, "{step}");
                    applied += u32::from(one == Written::Applied);
                    conflicts += u32::from(one != Written::Applied);
                }
            }
        }
        if step % 20 == 0 {
            for (set, range) in [("profiles", 0), ("profiles", 1), ("carts", 0), ("carts", 1), ("none", 0)] {
                assert_eq!(store.digest(set, range).await, memory.digest(set, range).await, "{step}");
                assert_eq!(listed(&store, set, range).await, listed(&memory, set, range).await, "{step}");
            }
        }
    }
    let counts = [applied, conflicts, refused, forgotten];
    assert!(counts.iter().all(|count| *count > 10), "{counts:?}");
    // Another process finds the same.
    let other = server.store();
    for key in &keys {
        assert_eq!(other.read(key.clone()).await, memory.read(key.clone()).await);
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_version_may_be_ahead_by_exactly_the_limit() {
    let server = Server::start().await;
    let store = server.store();
    let key = ReplicaKey::new("profiles", "user 7");
    let record = |span| ReplicaRecord { version: ahead(span), value: None };
    let far = write(&key, record(Duration::from_hours(1)), Expected::Older);
    let Ok(Written::Ahead(by)) = store.write(far.clone()).await else { panic!() };
    assert!(by <= Duration::from_hours(1) && by + PATIENCE > Duration::from_hours(1), "{by:?}");
    assert_eq!(store.read(key.clone()).await, Ok(None));
    assert_eq!(store.write(ReplicaWrite { max_ahead: Duration::MAX, ..far }).await, Ok(Written::Applied));
    for expected in [Expected::Exactly(None), Expected::Exactly(Some(version(1)))] {
        let write = write(&key, record(Duration::from_hours(2)), expected);
        assert!(matches!(store.write(write).await, Ok(Written::Ahead(_))), "before the condition");
    }
    let last = ReplicaRecord { version: ReplicaVersion(u128::MAX), value: None };
    let write = ReplicaWrite { max_ahead: Duration::MAX, ..write(&key, last.clone(), Expected::Older) };
    assert_eq!(store.write(write).await, Ok(Written::Applied));
    assert_eq!(store.read(key).await, Ok(Some(last)));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn every_key_can_be_stored_and_listed() {
    let server = Server::start().await;
    let (store, memory) = (server.store(), MemoryReplica::new());
    // The bytes of a long key do not compress, because an index has a limit for compressed values.
    let mut random = SmallRng::seed_from_u64(7);
    let mut long = |length| -> String { (0..length).map(|_| random.random_range('a'..='z')).collect() };
    let names = [
        String::new(),
        "\0".into(),
        "a\0b".into(),
        "'; DROP".into(),
        "é日\u{10FFFF}".into(),
        long(10_000),
        long(2_000_000),
    ];
    for set in [String::new(), "\0'é".into(), long(10_000)] {
        for (number, name) in (1_u32..).zip(&names) {
            let key = ReplicaKey::new(&*set, name);
            let write = write(&key, record(number.into(), name), Expected::Exactly(None));
            memory.write(write.clone()).await.unwrap();
            assert_eq!(store.write(write).await, Ok(Written::Applied), "{} {}", set.len(), name.len());
            let range = key.range();
            assert_eq!(store.read(key.clone()).await, memory.read(key).await);
            assert_eq!(store.digest(&set, range).await, memory.digest(&set, range).await);
            assert_eq!(listed(&store, &set, range).await, listed(&memory, &set, range).await);
        }
    }
    assert_eq!(store.digest("none", u16::MAX).await, Ok(0));
    assert!(store.list("none", u16::MAX, None, u32::MAX).await.unwrap().entries.is_empty());
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_page_is_limited_in_records_and_in_bytes() {
    let server = Server::start().await;
    let (store, pool) = (server.store(), server.pool());
    let key = keys("profiles").into_iter().find(|key| key.range() == 0).unwrap();
    store.write(write(&key, removed(1), Expected::Older)).await.unwrap();
    let more = |records: u32, bytes: u32| {
        format!(
            "INSERT INTO resilient_idempotency_replica SELECT set_hash, range, sha256(name), set_name, name, version, 0, NULL \
             FROM resilient_idempotency_replica, \
             (SELECT convert_to(lpad(n::text, {bytes}, 'x'), 'UTF8') AS name FROM generate_series(1, {records}) n) names"
        )
    };
    let all = async |limit| {
        let (mut pages, mut from) = (Vec::new(), None);
        loop {
            let page = store.list("profiles", 0, from, limit).await.unwrap();
            pages.push(page.entries.len());
            match page.next {
                Some(next) => from = Some(next),
                None => return pages,
            }
        }
    };
    run(&pool, &more(1999, 5)).await.unwrap();
    assert_eq!(all(u32::MAX).await, [1000, 1000], "and no empty page");
    assert_eq!(all(0).await.len(), 2000, "each page has a record");
    run(&pool, "DELETE FROM resilient_idempotency_replica WHERE octet_length(key) = 5").await.unwrap();
    run(&pool, &more(9, 300_000)).await.unwrap();
    let pages = all(500).await;
    assert!(pages.len() >= 3 && pages.iter().all(|page| *page <= 5), "{pages:?}");
    assert_eq!(pages.iter().sum::<usize>(), 10);
    for wrong in ["user 7", "00", ""] {
        let Err(StoreError::Refused(problem)) = store.list("profiles", 0, Some(wrong.into()), 9).await else {
            panic!("{wrong}")
        };
        assert!(
            problem.contains(&server.address()) && problem.contains("`from` is not the `next`"),
            "{problem}"
        );
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_record_that_is_too_large_is_refused_and_one_of_the_largest_size_is_stored() {
    let server = Server::start().await;
    let store = server.store();
    let key = ReplicaKey::new("sets", "keys");
    let record = |bytes| ReplicaRecord { version: version(1), value: Some(vec![7; bytes]) };
    let large = write(&key, record(LARGEST_RECORD - 7), Expected::Older);
    let Err(StoreError::Refused(problem)) = store.write(large).await else { panic!() };
    let expected =
        format!("postgres store postgres://{}/postgres: the record has 16777217 bytes", server.address());
    assert!(problem.starts_with(&expected), "{problem}");
    let largest = record(LARGEST_RECORD - 8);
    let write = write(&key, largest.clone(), Expected::Older);
    assert_eq!(store.write(write.clone()).await, Ok(Written::Applied));
    assert_eq!(store.write(write).await, Ok(Written::Applied));
    assert!(store.read(key).await.unwrap() == Some(largest));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn one_of_64_concurrent_writes_wins_for_each_version() {
    let server = Server::start().await;
    let store = Arc::new(PostgresStore::new(server.config().connections(32)).unwrap());
    let key = ReplicaKey::new("profiles", "user 7");
    let mut known = None;
    for round in 1..=20_u128 {
        let writes = (0..64).map(|writer| {
            let record = record(round << 16 | writer, &writer.to_string());
            let (store, key) = (Arc::clone(&store), key.clone());
            tokio::spawn(async move {
                (record.clone(), store.write(write(&key, record, Expected::Exactly(known))).await)
            })
        });
        let (mut winner, mut found) = (None, Vec::new());
        for write in writes.collect::<Vec<_>>() {
            match write.await.unwrap() {
                (record, Ok(Written::Applied)) => assert_eq!(winner.replace(record), None, "round {round}"),
                (_, Ok(Written::Conflict(there))) => found.push(there),
                (_, other) => panic!("{other:?}"),
            }
        }
        assert!(winner.is_some() && found.len() == 63);
        assert!(found.iter().all(|found| *found == winner), "each loser gets the record of the winner");
        assert_eq!(store.read(key.clone()).await, Ok(winner.clone()));
        known = winner.map(|winner| winner.version);
    }
    // The newest one remains, in any order.
    let writes = (0..64).map(|number| {
        let (store, key) = (Arc::clone(&store), key.clone());
        let record = record(1 << 32 | (number * 37 % 64), "");
        tokio::spawn(async move { (record.clone(), store.write(write(&key, record, Expected::Older)).await) })
    });
    for write in writes.collect::<Vec<_>>() {
        match write.await.unwrap() {
            (_, Ok(Written::Applied)) => {}
            (record, Ok(Written::Conflict(Some(there)))) => assert!(there.version > record.version),
            (_, other) => panic!("{other:?}"),
        }
    }
    assert_eq!(store.read(key).await.unwrap().map(|found| found.version), Some(version(1 << 32 | 63)));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_conflict_has_the_record_that_another_transaction_wrote_meanwhile() {
    let server = Server::start().await;
    let (store, pool) = (Arc::new(server.store()), server.pool());
    let key = ReplicaKey::new("profiles", "user 7");
    let newest = record(9, "newest");
    store.write(write(&key, newest.clone(), Expected::Older)).await.unwrap();
    run(&pool, "CREATE TABLE newest AS TABLE resilient_idempotency_replica").await.unwrap();
    let replace = "DELETE FROM resilient_idempotency_replica; \
                   INSERT INTO resilient_idempotency_replica TABLE newest";
    let update = "UPDATE resilient_idempotency_replica r SET version = newest.version, value = newest.value FROM newest";
    for (number, change, expected) in [
        (2, "INSERT INTO resilient_idempotency_replica TABLE newest", Expected::Exactly(None)),
        (2, "INSERT INTO resilient_idempotency_replica TABLE newest", Expected::Older),
        (2, update, Expected::Older),
        (2, update, Expected::Exactly(Some(version(1)))),
        (10, update, Expected::Exactly(Some(version(1)))),
        (10, replace, Expected::Exactly(Some(version(1)))),
    ] {
        run(&pool, "TRUNCATE resilient_idempotency_replica").await.unwrap();
        if !change.starts_with("INSERT") {
            store.write(write(&key, record(1, "old"), Expected::Older)).await.unwrap();
        }
        let mut tx = pool.begin().await.unwrap();
        run(&mut *tx, change).await.unwrap();
        let (writer, write) = (Arc::clone(&store), write(&key, record(number, "own"), expected));
        let written = tokio::spawn(async move { writer.write(write).await });
        let start = std::time::Instant::now();
        let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'";
        while sqlx::query_scalar::<_, i64>(waits).fetch_one(&pool).await.unwrap() == 0 {
            assert!(start.elapsed() < PATIENCE && !written.is_finished(), "{change}: {:?}", written.await);
        }
        tx.commit().await.unwrap();
        let conflict = Written::Conflict(Some(newest.clone()));
        assert_eq!(written.await.unwrap(), Ok(conflict), "{change} {expected:?}");
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_conflict_does_not_wait_for_a_transaction_that_uses_the_record() {
    let server = Server::start().await;
    let (store, pool) = (server.store(), server.pool());
    let key = ReplicaKey::new("profiles", "user 7");
    store.write(write(&key, record(9, "a"), Expected::Older)).await.unwrap();
    let mut tx = pool.begin().await.unwrap();
    run(&mut *tx, "SELECT FROM resilient_idempotency_replica FOR UPDATE").await.unwrap();
    for (record, expected) in [
        (record(8, "b"), Expected::Older),
        (record(10, "b"), Expected::Exactly(None)),
        (record(10, "b"), Expected::Exactly(Some(version(8)))),
    ] {
        let conflict = Ok(Written::Conflict(Some(crate::replica::record(9, "a"))));
        assert_eq!(store.write(write(&key, record, expected)).await, conflict, "{expected:?}");
    }
    assert_eq!(store.write(write(&key, record(9, "a"), Expected::Older)).await, Ok(Written::Applied));
    assert_eq!(store.forget(key, version(8)).await, Ok(false));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_write_is_tried_again_if_the_record_that_was_in_its_way_is_gone() {
    let server = Server::start().await;
    let store = server.store();
    let key = ReplicaKey::new("profiles", "user 7");
    store.write(write(&key, removed(9), Expected::Older)).await.unwrap();
    // Deletes the record after the write has seen it.
    server
        .run(
            "CREATE FUNCTION vanish() RETURNS trigger LANGUAGE plpgsql AS \
             'BEGIN DELETE FROM resilient_idempotency_replica; RETURN NULL; END'; \
             CREATE TRIGGER vanish BEFORE INSERT ON resilient_idempotency_replica EXECUTE FUNCTION vanish()",
        )
        .await;
    assert_eq!(store.write(write(&key, record(1, "a"), Expected::Older)).await, Ok(Written::Applied));
    assert_eq!(store.read(key).await, Ok(Some(record(1, "a"))));
}

#[test]
fn the_store_has_the_role() {
    assert!(PostgresStore::connect_lazily("postgres://localhost/shop").unwrap().replica().is_some());
}
