//! Members of replica sets whose server is killed, old, or of another version.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use resilient_postgres::{Config, PostgresStore};
use resilient_runtime::store::{Expected, ReplicaKey, ReplicaPage, ReplicaStore, StoreError, Written};

use crate::claim;
use crate::pooled::Bouncer;
use crate::replica::{record, removed, version, write};
use crate::server::{PATIENCE, Server};
use crate::wire::Wire;
use resilient_runtime::idempotency::{Claimed, IdempotencyStore as _};

fn key(name: &str) -> ReplicaKey {
    ReplicaKey::new("profiles", name)
}

/// Performs every operation. Returns their errors.
async fn all_operations(store: &PostgresStore) -> Vec<StoreError> {
    let key = key("user 7");
    let written = async |expected| store.write(write(&key, record(9, "new"), expected)).await.map(drop);
    [
        store.read(key.clone()).await.map(drop),
        written(Expected::Older).await,
        written(Expected::Exactly(None)).await,
        written(Expected::Exactly(Some(version(1)))).await,
        store.forget(key.clone(), version(1)).await.map(drop),
        store.digest("profiles", 0).await.map(drop),
        store.list("profiles", 0, None, 10).await.map(drop),
    ]
    .map(Result::unwrap_err)
    .into()
}

pub(crate) async fn all_fail(store: &PostgresStore, server: &Server, expected: &str) {
    let name = format!("postgres store postgres://{}/postgres: ", server.address());
    for error in all_operations(store).await {
        let problem = error.to_string();
        assert!(problem.starts_with(&name) && problem.contains(expected), "{expected}: {problem}");
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn tables_of_another_version_are_an_error_and_stay_unchanged() {
    let server = Server::start_with(&[]).await;
    let store = server.store();
    server.run(include_str!("../../migrations/0001_create.sql")).await;
    server.run("INSERT INTO resilient_idempotency VALUES ('x', gen_random_uuid(), '', gen_random_uuid(), now(), 'infinity')")
        .await;
    let missing = "the table `public.resilient_idempotency_replica` does not exist, because the schema is older than version 2: \
                   run `PostgresStore::migrate`";
    all_fail(&store, &server, missing).await;
    let Err(StoreError::Unavailable(problem)) = store.claim(claim("k", 1)).await else { panic!() };
    assert!(
        problem.contains("schema version 1, this version of resilient-postgres needs 2: run"),
        "{problem}"
    );
    assert_eq!(store.migrate().await, Ok(()));
    assert_eq!(store.claim(claim("k", 1)).await, Ok(Claimed::Acquired));
    server.run("DO 'BEGIN ASSERT (SELECT count(*) = 2 FROM resilient_idempotency); END'").await;

    let old = removed(1);
    assert_eq!(store.write(write(&key("user 7"), old.clone(), Expected::Older)).await, Ok(Written::Applied));
    server.run("INSERT INTO resilient_idempotency_version VALUES (3)").await;
    let newer = "the tables have schema version 3, this version of resilient-postgres needs 2: update";
    all_fail(&store, &server, newer).await;
    server.run("UPDATE resilient_idempotency_version SET version = version - 2").await;
    all_fail(&store, &server, "schema version 1, this version of resilient-postgres needs 2: run `Pos").await;
    server.run("UPDATE resilient_idempotency_version SET version = 2 WHERE version = 1").await;
    assert_eq!(store.read(key("user 7")).await, Ok(Some(old)), "no operation changed it");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_server_before_version_14_is_refused_without_a_change() {
    let server = Server::start().await;
    let store = server.store();
    let old = removed(1);
    assert_eq!(store.write(write(&key("user 7"), old.clone(), Expected::Older)).await, Ok(Written::Applied));
    // The functions of an old server.
    server
        .run(
            "CREATE SCHEMA old; CREATE FUNCTION old.current_setting(name text) RETURNS text LANGUAGE sql \
             AS $$ SELECT CASE name WHEN 'server_version_num' THEN '130022' ELSE pg_catalog.current_setting(name) END $$; \
             ALTER FUNCTION pg_catalog.bit_xor(bigint) RENAME TO xor_of_14; \
             ALTER DATABASE postgres SET search_path = old, pg_catalog, public",
        )
        .await;
    let store = server.store();
    all_fail(&store, &server, "needs PostgreSQL 14 or later: update the server").await;
    let refused = store.write(write(&key("user 7"), record(9, ""), Expected::Older)).await;
    assert!(matches!(refused, Err(StoreError::Refused(_))), "the store works for other roles");
    assert_eq!(store.claim(claim("k", 1)).await, Ok(Claimed::Acquired));
    server.run("ALTER DATABASE postgres RESET search_path").await;
    assert_eq!(server.store().read(key("user 7")).await, Ok(Some(old)));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn an_operation_takes_one_round_trip() {
    let server = Server::start().await;
    let wire = Wire::start(&server).await;
    let store = PostgresStore::new(Config::new(wire.url()).timeout(PATIENCE)).unwrap();
    store.check().await.unwrap();
    let key = key("user 7");
    wire.round_trips();
    for (number, expected) in
        [(1, Expected::Exactly(None)), (2, Expected::Older), (3, Expected::Exactly(Some(version(2))))]
    {
        assert_eq!(store.write(write(&key, removed(number), expected)).await, Ok(Written::Applied));
        assert_eq!(wire.round_trips(), 1, "{expected:?}");
    }
    let conflict = store.write(write(&key, removed(2), Expected::Older)).await;
    assert_eq!((conflict, wire.round_trips()), (Ok(Written::Conflict(Some(removed(3)))), 1));
    assert_eq!((store.read(key.clone()).await, wire.round_trips()), (Ok(Some(removed(3))), 1));
    assert_eq!(store.list("profiles", key.range(), None, 9).await.unwrap().entries.len(), 1);
    assert_eq!(wire.round_trips(), 1);
    assert_ne!((store.digest("profiles", key.range()).await, wire.round_trips()), (Ok(0), 1));
    assert_eq!((store.forget(key, version(3)).await, wire.round_trips()), (Ok(true), 1));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_lost_response_changes_neither_the_record_nor_the_result() {
    let server = Server::start().await;
    let wire = Wire::start(&server).await;
    let store = PostgresStore::new(Config::new(wire.url()).timeout(PATIENCE)).unwrap();
    let key = key("user 7");
    let cut = || {
        assert!(wire.has_cut(), "the last response was not lost");
        wire.cut();
    };
    cut();
    assert_eq!(store.write(write(&key, record(1, "a"), Expected::Exactly(None))).await, Ok(Written::Applied));
    cut();
    assert_eq!(store.write(write(&key, record(2, "b"), Expected::Older)).await, Ok(Written::Applied));
    cut();
    let known = Expected::Exactly(Some(version(2)));
    assert_eq!(store.write(write(&key, removed(3), known)).await, Ok(Written::Applied));
    cut();
    let conflict = Ok(Written::Conflict(Some(removed(3))));
    assert_eq!(store.write(write(&key, removed(2), Expected::Older)).await, conflict);
    cut();
    let Err(StoreError::Unavailable(unknown)) = store.write(write(&key, removed(4), known)).await else {
        panic!("a conflict would make the caller repeat a change that may have taken effect");
    };
    assert!(unknown.contains("it is not known whether the write took effect"), "{unknown}");
    cut();
    assert_eq!(store.forget(key.clone(), version(3)).await, Ok(true));
    assert_eq!(store.read(key).await, Ok(None));
    assert!(wire.has_cut());
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn it_works_through_pgbouncer() {
    let server = Server::start().await;
    let bouncer = Bouncer::start(&server).await;
    let store = PostgresStore::new(Config::new(bouncer.url()).timeout(PATIENCE)).unwrap();
    resilient_runtime::testing::check_replica_store(&store).await.unwrap();
    let mut tasks = Vec::new();
    let store = Arc::new(store);
    for number in 1..=50_u128 {
        let store = Arc::clone(&store);
        tasks.push(tokio::spawn(async move {
            let (key, record) = (key(&number.to_string()), record(number, "value"));
            assert_eq!(store.write(write(&key, record.clone(), Expected::Older)).await, Ok(Written::Applied));
            assert_eq!(store.read(key.clone()).await, Ok(Some(record.clone())));
            let digest = store.digest("profiles", key.range()).await;
            let page = store.list("profiles", key.range(), None, 9).await;
            assert!(digest.is_ok() && page.is_ok_and(|page| page != ReplicaPage::default()));
            assert_eq!(
                store.write(write(&key, removed(number + 1), Expected::Older)).await,
                Ok(Written::Applied)
            );
            assert_eq!(store.forget(key.clone(), version(number + 1)).await, Ok(true));
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn the_documented_rights_are_enough_and_each_missing_one_is_an_error() {
    let server = Server::start().await;
    let grant = "GRANT SELECT, INSERT, UPDATE, DELETE ON resilient_idempotency_replica TO shop; \
                 GRANT SELECT ON resilient_idempotency_version TO shop";
    server.run(&format!("CREATE ROLE shop LOGIN; {grant}")).await;
    let url = format!("postgres://shop@{}/postgres?sslmode=disable", server.address());
    let store = PostgresStore::new(Config::new(url).timeout(PATIENCE)).unwrap();
    let key = key("user 7");
    let operate = async || {
        store.write(write(&key, record(1, ""), Expected::Older)).await?;
        store.write(write(&key, removed(2), Expected::Exactly(Some(version(1))))).await?;
        store.digest("profiles", 0).await?;
        store.list("profiles", 0, None, 9).await?;
        store.forget(key.clone(), version(2)).await
    };
    assert_eq!(operate().await, Ok(true));
    for (right, table) in [
        ("SELECT", "resilient_idempotency_replica"),
        ("INSERT", "resilient_idempotency_replica"),
        ("UPDATE", "resilient_idempotency_replica"),
        ("DELETE", "resilient_idempotency_replica"),
        ("SELECT", "resilient_idempotency_version"),
    ] {
        server
            .run(&format!("REVOKE {right} ON {table} FROM shop; TRUNCATE resilient_idempotency_replica"))
            .await;
        let Err(StoreError::Unavailable(problem)) = operate().await else { panic!("{right}") };
        let remedy = "and \"public\".\"resilient_idempotency_replica\", and SELECT ON";
        assert!(problem.contains("the user lacks a right: GRANT") && problem.contains(remedy), "{problem}");
        server.run(grant).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn twenty_kills_of_the_server_lose_no_write_that_was_applied() {
    // T211
    let mut server = Server::start().await;
    let store = Arc::new(server.store());
    let (next, ends) = (Arc::new(AtomicU32::new(1)), Arc::new(AtomicBool::new(false)));
    let applied = Arc::new(Mutex::new(Vec::new()));
    let tasks = (0..4).map(|task| {
        let (store, next, ends) = (Arc::clone(&store), Arc::clone(&next), Arc::clone(&ends));
        let applied = Arc::clone(&applied);
        tokio::spawn(async move {
            while !ends.load(Ordering::SeqCst) {
                let number = next.fetch_add(1, Ordering::SeqCst);
                let (key, record) = (key(&number.to_string()), record(number.into(), &number.to_string()));
                let expected = if task % 2 == 0 { Expected::Older } else { Expected::Exactly(None) };
                match store.write(write(&key, record.clone(), expected)).await {
                    Ok(Written::Applied) => applied.lock().unwrap().push((key, record)),
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                    other => panic!("{other:?}"),
                }
            }
        })
    });
    let tasks: Vec<_> = tasks.collect();
    for kill in 0..20 {
        let (before, start) = (applied.lock().unwrap().len(), std::time::Instant::now());
        while applied.lock().unwrap().len() < before + 20 {
            assert!(start.elapsed() < PATIENCE, "no write after kill {kill}");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        // With or without the processes of the connections.
        if kill % 2 == 0 {
            server.signal("KILL");
        }
        server.kill();
        server.start_again().await;
    }
    ends.store(true, Ordering::SeqCst);
    for task in tasks {
        task.await.unwrap();
    }
    let applied = applied.lock().unwrap().clone();
    assert!(applied.len() >= 400, "{}", applied.len());
    for (key, record) in applied {
        assert_eq!(store.read(key).await, Ok(Some(record)));
    }
}
