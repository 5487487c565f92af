//! A Redis Cluster: failed nodes and slots that move.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use resilient_redis::{Config, RedisStore};
use resilient_runtime::Rejection;
use resilient_runtime::idempotency::{Claimed, Fingerprint, IdempotencyStore, Owner};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, watch};

use crate::fleet::component;
use crate::group::Nodes;
use crate::server::{PATIENCE, Server};
use crate::wait::until;
use crate::{HOUR, claim, problem};

/// A time limit that a working server keeps, also on a busy machine.
const LIMIT: Duration = Duration::from_millis(400);

/// The longest failover, also on a busy machine. Otherwise it takes less than 10 seconds.
const FAILOVER: Duration = Duration::from_mins(1);

const WRITERS: usize = 8;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn slots_that_move_change_no_result() {
    let nodes = Nodes::start().await;
    let config = Config::new(nodes.cluster_url()).timeout(PATIENCE).wait(1, PATIENCE / 2);
    let store = RedisStore::new(config).unwrap();
    let pass = async |span| tokio::time::sleep(span).await;
    resilient_runtime::testing::check_idempotency_store(&store, pass).await.unwrap();

    // T164
    let once = [component(&nodes.cluster_url()), component(&nodes.cluster_url())];
    let executed = Arc::new(Mutex::new(BTreeMap::new()));
    for round in 0..12 {
        let key = format!("order {round}");
        let record = store.record_key(&format!("charge\0{key}"));
        let from = nodes.owner(0, &record);
        let to = if round % 2 == 0 { nodes.owner(0, &store.record_key("other")) } else { (from + 1) % 3 };
        let to = if to == from { (from + 1) % 3 } else { to };
        let slot = nodes.slot(&record);
        // In the other rounds, at any time.
        let is_moved_during_work = round % 3 == 0;
        let has_moved = watch::Sender::new(!is_moved_during_work);
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (once, key) = (Arc::clone(&once[writer % 2]), key.clone());
                let (executed, has_moved) = (Arc::clone(&executed), has_moved.subscribe());
                tokio::spawn(async move {
                    let call = once.call_async(&key, Fingerprint(7), async || {
                        *executed.lock().unwrap().entry(round).or_insert(0) += 1;
                        tokio::time::sleep(Duration::from_millis(20)).await;
                        has_moved.clone().wait_for(|has_moved| *has_moved).await.unwrap();
                        Ok::<_, Rejection>(round)
                    });
                    assert_eq!(call.await, Ok(round), "every caller gets the result");
                })
            })
            .collect();
        if is_moved_during_work {
            until("it runs", async || executed.lock().unwrap().contains_key(&round)).await;
        }
        nodes.move_slot(slot, (from, to)).await;
        has_moved.send_replace(true);
        for writer in writers {
            writer.await.unwrap();
        }
    }
    assert_eq!(*executed.lock().unwrap(), (0..12).map(|round| (round, 1)).collect());
    let errors: String = nodes.0.iter().map(|node| node.cli("", &["INFO", "errorstats"])).collect();
    assert!(
        errors.contains("errorstat_MOVED") || errors.contains("errorstat_ASK"),
        "the slots moved: {errors}"
    );

    // A slot that is between two nodes for a longer time: new keys are on the new node, which is said by `ASK`.
    let record = store.record_key("between");
    let (from, slot) = (nodes.owner(0, &record), nodes.slot(&record));
    let to = (from + 1) % 3;
    nodes.move_keys(slot, (from, to)).await;
    assert_eq!(store.claim(claim("between", 1)).await, Ok(Claimed::Acquired));
    assert!(matches!(store.claim(claim("between", 2)).await, Ok(Claimed::InProgress { .. })));
    assert_eq!(store.complete("between", Owner(1), vec![1], HOUR).await, Ok(true));
    assert!(nodes.0[from].cli("", &["INFO", "errorstats"]).contains("errorstat_ASK"));
    nodes.move_slot(slot, (from, to)).await;
    assert_eq!(store.claim(claim("between", 2)).await, Ok(Claimed::Done(vec![1])));
}

/// Waits until the store works again. Returns how long it took, and the longest time of a failed operation.
///
/// A key of another node works all the time.
async fn recovered(
    store: &RedisStore,
    key: &str,
    (patient, other): (&RedisStore, &str),
) -> (Duration, Duration) {
    let (start, mut longest) = (Instant::now(), Duration::ZERO);
    loop {
        let began = Instant::now();
        let renewed = store.renew(key, Owner(1), HOUR).await;
        let took = began.elapsed();
        assert_eq!(patient.renew(other, Owner(1), HOUR).await, Ok(true), "the other nodes work");
        if renewed == Ok(true) {
            return (start.elapsed(), longest);
        }
        problem(renewed);
        longest = longest.max(took);
        assert!(start.elapsed() < FAILOVER, "the store does not recover");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_failed_node_affects_only_its_keys_until_its_replica_is_promoted() {
    // T162, T163
    let mut nodes = Nodes::start().await;
    let confirmed =
        RedisStore::new(Config::new(nodes.cluster_url()).timeout(PATIENCE).wait(1, PATIENCE / 2)).unwrap();
    let store = RedisStore::new(Config::new(nodes.cluster_url()).timeout(LIMIT)).unwrap();
    let mut of_node = BTreeMap::new();
    for key in 0..40 {
        let key = format!("k{key}");
        assert_eq!(confirmed.claim(claim(&key, 1)).await, Ok(Claimed::Acquired));
        while store.renew(&key, Owner(1), HOUR).await != Ok(true) {}
        of_node.entry(nodes.owner(0, &store.record_key(&key))).or_insert_with(Vec::new).push(key);
    }
    let key = |node: usize| of_node[&node][0].clone();
    let (first, second, third) = (key(0), key(1), key(2));

    let patient = RedisStore::new(Config::new(nodes.cluster_url()).timeout(PATIENCE)).unwrap();
    assert_eq!(patient.renew(&third, Owner(1), HOUR).await, Ok(true));
    nodes.expect_failover().await;
    nodes.0[0].kill();
    let failed = problem(store.renew(&first, Owner(1), HOUR).await);
    assert!(
        failed.contains(&format!("server {}: the connection was refused", nodes.0[0].address())),
        "{failed}"
    );
    let (time, longest) = recovered(&store, &first, (&patient, &third)).await;
    eprintln!("measured: failover of a killed node in {time:?}, longest failed operation {longest:?}");
    assert!(longest < LIMIT + Duration::from_secs(5), "{longest:?}");
    // The first address in the URL is not there. The replica had every confirmed claim.
    let new = RedisStore::new(Config::new(nodes.cluster_url()).timeout(PATIENCE)).unwrap();
    for key in &of_node[&0] {
        assert!(matches!(new.claim(claim(key, 2)).await, Ok(Claimed::InProgress { .. })), "{key}");
    }

    nodes.0[1].signal("STOP");
    let (time, longest) = recovered(&store, &second, (&patient, &third)).await;
    eprintln!("measured: failover of a hung node in {time:?}, longest failed operation {longest:?}");
    assert!(longest < LIMIT + Duration::from_secs(5), "{longest:?}");
    nodes.0[1].signal("CONT");
    for key in of_node.values().flatten() {
        assert!(matches!(new.claim(claim(key, 2)).await, Ok(Claimed::InProgress { .. })), "{key}");
    }
}

/// Forwards to a node under another port, and holds the next response to a script back when `executed` is awaited.
async fn hold(listener: TcpListener, server: String, executed: Arc<Notify>, release: Arc<Notify>) {
    let is_armed = Arc::new(AtomicBool::new(true));
    loop {
        let (mut client, _) = listener.accept().await.unwrap();
        let mut server = TcpStream::connect(&server).await.unwrap();
        let (executed, release, is_armed) =
            (Arc::clone(&executed), Arc::clone(&release), Arc::clone(&is_armed));
        tokio::spawn(async move {
            let (mut request, mut response) = (vec![0; 65536], vec![0; 65536]);
            let mut runs_script = false;
            loop {
                tokio::select! {
                    Ok(bytes) = client.read(&mut request) => {
                        if bytes == 0 { return }
                        runs_script |= request[..bytes].windows(4).any(|word| word == b"EVAL");
                        server.write_all(&request[..bytes]).await.unwrap();
                    }
                    Ok(bytes) = server.read(&mut response) => {
                        if bytes == 0 { return }
                        let is_result = runs_script && !response[..bytes].starts_with(b"-NOSCRIPT");
                        if is_result && is_armed.swap(false, Ordering::SeqCst) {
                            executed.notify_one();
                            release.notified().await;
                            return;
                        }
                        if client.write_all(&response[..bytes]).await.is_err() { return }
                    }
                }
            }
        });
    }
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_lost_response_is_recognized_on_the_node_that_the_key_has_moved_to() {
    // T165
    let nodes = Nodes::pair().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    nodes.0[0].run(&format!("CONFIG SET cluster-announce-port {port}")).await;
    let (executed, release) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let held = hold(listener, nodes.0[0].address(), Arc::clone(&executed), Arc::clone(&release));
    let held = tokio::spawn(held);
    let store = RedisStore::new(Config::cluster([nodes.0[0].address()]).timeout(PATIENCE)).unwrap();
    let store = Arc::new(store);
    let key =
        (0..1000).map(|key| format!("k{key}")).find(|key| nodes.slot(&store.record_key(key)) < 8192).unwrap();
    let (claimed, name) = (Arc::clone(&store), key.clone());
    let claimed = tokio::spawn(async move { claimed.claim(claim(&name, 1)).await });
    tokio::time::timeout(PATIENCE, executed.notified())
        .await
        .expect("the node is used under its announced port");
    let slot = nodes.slot(&store.record_key(&key));
    // The first node is still the known one, and redirects to the other one.
    nodes.move_keys(slot, (0, 1)).await;
    release.notify_one();
    assert_eq!(claimed.await.unwrap(), Ok(Claimed::Acquired), "not in progress by itself");
    nodes.move_slot(slot, (0, 1)).await;
    assert!(matches!(store.claim(claim(&key, 2)).await, Ok(Claimed::InProgress { .. })));
    held.abort();
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_wrong_password_and_a_wrong_kind_of_server_are_errors() {
    let server = Server::start(&["--cluster-enabled", "yes", "--requirepass", "right"]).await;
    let of = |config: Config| RedisStore::new(config.timeout(PATIENCE)).unwrap();
    let address = server.address();
    for (config, part) in [
        (Config::cluster([&address]).login("", "s3cret"), "refused the login"),
        (Config::cluster([&address]), "refused the login"),
        (Config::cluster([&address]).login("", "right"), "knows no slots: is it part of a cluster?"),
        (Config::new(server.url()).login("", "right"), "the cluster does not serve the key"),
    ] {
        let problem = problem(of(config).claim(claim("k", 1)).await);
        assert!(problem.contains(part) && !problem.contains("s3cret"), "{part}: {problem}");
    }
    let nodes = Nodes::pair().await;
    let single = RedisStore::new(Config::new(nodes.0[0].url()).timeout(PATIENCE)).unwrap();
    let mut problems = Vec::new();
    for key in 0..20 {
        if let Err(error) = single.claim(claim(&key.to_string(), 1)).await {
            problems.push(error.to_string());
        }
    }
    assert!(problems.iter().all(|problem| problem.contains("use `redis+cluster://")) && !problems.is_empty());
}
