//! Replica sets with databases as members.

use std::sync::Arc;
use std::time::{Duration, Instant};

use resilient_replica::resolve::{Actor, GCounter, HybridClock};
use resilient_replica::{Merging, ReplicaSet};
use resilient_runtime::store::Config;
use resilient_runtime::{Component as _, Registry};

use crate::server::{PATIENCE, Server, run};

type Visits = ReplicaSet<GCounter, Merging>;

/// Sweeps until all members have the same records.
async fn sweep(visits: &Visits) -> u64 {
    let (start, mut repaired) = (Instant::now(), 0);
    loop {
        let sweep = visits.sweep().await.unwrap();
        repaired += sweep.repaired;
        if sweep.different_ranges == 0 && sweep.unreachable.is_empty() {
            return repaired;
        }
        assert!(start.elapsed() < PATIENCE, "{sweep:?}");
    }
}

async fn visit(visits: &Visits, key: u32) {
    let visited = visits.update(&key.to_string(), |count, actor| count.add(actor, 1).map(drop)).await;
    visited.unwrap_or_else(|error| panic!("{key}: {error}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_replica_set_of_databases_loses_no_change_when_one_is_killed_and_one_is_emptied() {
    let mut servers = [Server::start().await, Server::start().await, Server::start().await];
    let registry = Arc::new(Registry::new());
    for (name, server) in ["eu", "us", "asia"].into_iter().zip(&servers) {
        let store = registry.use_store(name, server.store());
        store.reconfigure(Config::default().timeout(Duration::from_secs(10))).unwrap();
    }
    let clock = HybridClock::new(Actor::named("orders-0"));
    let visits = ReplicaSet::builder("visits", clock).member("eu").member("us").member("asia");
    let visits: Visits = visits.merging().build(&registry).unwrap();
    for key in 0..20 {
        visit(&visits, key).await;
    }
    servers[2].kill();
    for key in 0..30 {
        visit(&visits, key).await;
    }
    servers[2].start_again().await;
    sweep(&visits).await;
    run(&servers[0].pool(), "TRUNCATE resilient_idempotency_replica").await.unwrap();
    assert!(sweep(&visits).await >= 30, "it gets its records again");
    servers[1].kill();
    for key in 0..30 {
        let count = visits.read(&key.to_string()).await.unwrap().value.unwrap();
        assert_eq!(count.value(), if key < 20 { 2 } else { 1 }, "{key}");
    }
}
