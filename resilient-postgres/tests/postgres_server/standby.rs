//! A standby that takes over from its primary.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use resilient_postgres::{Config, PostgresStore};
use resilient_runtime::idempotency::IdempotencyStore as _;
use resilient_runtime::store::{Expected, ReplicaKey, ReplicaStore, StoreError, Written};

use crate::replica::{record, write};
use crate::replica_faults::all_fail;
use crate::server::{PATIENCE, Server};
use crate::wire::Wire;
use crate::{claim, problem};

const REFUSED: &str = "the server is read-only: use the address of the primary";

/// Makes the primary wait until the standby has applied each change.
async fn replicate_synchronously(primary: &Server) {
    for setting in ["synchronous_standby_names = '*'", "synchronous_commit = remote_apply"] {
        primary.run(&format!("ALTER SYSTEM SET {setting}")).await;
    }
    primary.run("SELECT pg_reload_conf()").await;
    let (pool, start) = (primary.pool(), Instant::now());
    let standbys = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
    while sqlx::query_scalar::<_, i64>(standbys).fetch_one(&pool).await.unwrap() == 0 {
        assert!(start.elapsed() < PATIENCE, "the standby is not synchronous");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn key(number: u32) -> ReplicaKey {
    ReplicaKey::new("profiles", number.to_string())
}

async fn put(store: &PostgresStore, number: u32) -> Result<Written, StoreError> {
    store.write(write(&key(number), record(number.into(), "value"), Expected::Older)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_standby_refuses_until_it_is_promoted_and_has_every_write_that_it_confirmed() {
    let mut primary = Server::start().await;
    let standby = primary.start_standby().await;
    replicate_synchronously(&primary).await;
    let (writer, reader) = (Arc::new(primary.store()), standby.store());
    assert_eq!(put(&writer, 7).await, Ok(Written::Applied));

    // Reads too: a standby can be behind, and a replica set counts the answer of a member that acknowledged a write.
    all_fail(&reader, &standby, REFUSED).await;
    for problem in [problem(reader.check().await), problem(reader.claim(claim("k", 1)).await)] {
        assert!(problem.contains(REFUSED), "{problem}");
    }

    let acknowledged = Arc::new(Mutex::new(vec![7]));
    let tasks = (0..4).map(|task| {
        let (writer, acknowledged) = (Arc::clone(&writer), Arc::clone(&acknowledged));
        tokio::spawn(async move {
            for number in (1000 * (task + 1)).. {
                match put(&writer, number).await {
                    Ok(Written::Applied) => acknowledged.lock().unwrap().push(number),
                    Err(_) => return,
                    other => panic!("{other:?}"),
                }
            }
        })
    });
    let (tasks, start) = (tasks.collect::<Vec<_>>(), Instant::now());
    while acknowledged.lock().unwrap().len() < 100 {
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    primary.signal("KILL");
    primary.kill();
    for task in tasks {
        task.await.unwrap();
    }
    all_fail(&reader, &standby, REFUSED).await;
    standby.run("SELECT pg_promote()").await;
    // The store finds out without a restart.
    let acknowledged = acknowledged.lock().unwrap().clone();
    for number in acknowledged {
        assert_eq!(reader.read(key(number)).await, Ok(Some(record(number.into(), "value"))), "{number}");
    }
    assert_eq!(put(&reader, 1).await, Ok(Written::Applied));
    assert_eq!(reader.check().await, Ok(()));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_write_that_no_standby_confirms_is_an_error() {
    let primary = Server::start().await;
    let mut standby = primary.start_standby().await;
    replicate_synchronously(&primary).await;
    standby.signal("KILL");
    standby.kill();
    let store = PostgresStore::new(primary.config().timeout(Duration::from_millis(500))).unwrap();
    let problem = problem(put(&store, 7).await);
    assert!(problem.contains("did not respond"), "{problem}");
    standby.start_again().await;
    // It takes effect later.
    let store = primary.store();
    assert_eq!(put(&store, 7).await, Ok(Written::Applied));
    assert_eq!(store.read(key(7)).await, Ok(Some(record(7, "value"))));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_primary_that_becomes_a_standby_refuses_reads_too() {
    let mut server = Server::start().await;
    let store = server.store();
    assert_eq!(put(&store, 7).await, Ok(Written::Applied));
    server.kill();
    server.demote();
    server.start_again().await;
    all_fail(&store, &server, REFUSED).await;
    server.run("SELECT pg_promote()").await;
    assert_eq!(store.read(key(7)).await, Ok(Some(record(7, "value"))));
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_store_leaves_a_standby_when_its_address_leads_to_the_primary() {
    let primary = Server::start().await;
    let standby = primary.start_standby().await;
    let wire = Wire::start(&standby).await;
    let store = PostgresStore::new(Config::new(wire.url()).timeout(PATIENCE)).unwrap();
    assert!(problem(store.read(key(7)).await).contains(REFUSED));
    wire.lead_to(&primary);
    assert_eq!(put(&store, 7).await, Ok(Written::Applied));
    assert_eq!(store.read(key(7)).await, Ok(Some(record(7, "value"))));
}
