//! Several processes and runtimes that share a server.

use std::collections::BTreeMap;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use resilient_postgres::{Config, PostgresStore};
use resilient_runtime::idempotency::{self, Fingerprint};
use resilient_runtime::{Component, Idempotency, Registry, Rejection};

use crate::server::{PATIENCE, Server};

const URL: &str = "RESILIENT_TEST_POSTGRES_FLEET";
const PROCESSES: usize = 3;
const KEYS: usize = 50;
const TASKS: usize = 4;

fn component(url: &str) -> Arc<Idempotency> {
    let once = Registry::new().idempotency("charge");
    once.set_store(Arc::new(PostgresStore::new(Config::new(url).timeout(PATIENCE)).unwrap()));
    once.reconfigure(idempotency::Config::default().max_wait(PATIENCE).store_timeout(PATIENCE)).unwrap();
    once
}

/// A process of the test below: several tasks execute each key, and print which were executed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Ok(url) = std::env::var(URL) else { return };
    let once = component(&url);
    let tasks = (0..TASKS).map(|_| {
        let once = Arc::clone(&once);
        tokio::spawn(async move {
            for key in 0..KEYS {
                let name = key.to_string();
                let call = once.call_async(&name, Fingerprint(7), async || {
                    println!("executed {key}");
                    Ok::<_, Rejection>(key * 2)
                });
                assert_eq!(call.await, Ok(key * 2), "every caller gets the result");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    println!("finished");
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn several_processes_execute_each_key_once() {
    // T104
    let server = Server::start().await;
    let this = std::env::current_exe().unwrap();
    let start = || {
        let mut child = Command::new(&this);
        child.args(["fleet::child", "--exact", "--nocapture"]).env(URL, server.url());
        child.stdout(Stdio::piped()).spawn().unwrap()
    };
    let processes: Vec<_> = (0..PROCESSES).map(|_| start()).collect();
    let mut executed = BTreeMap::new();
    for process in processes {
        let output = process.wait_with_output().unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        assert!(output.contains("finished"), "{output}");
        for key in output.lines().filter_map(|line| line.split_once("executed ")) {
            *executed.entry(key.1.parse::<usize>().unwrap()).or_insert(0) += 1;
        }
    }
    assert_eq!(executed, (0..KEYS).map(|key| (key, 1)).collect());
}

#[test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
fn a_store_works_in_every_runtime_and_without_one() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let server = first.block_on(Server::start());
    let once = component(&server.url());
    let execute = |key: u32| once.call(&key.to_string(), Fingerprint::NONE, || Ok::<_, Rejection>(key));
    assert_eq!(execute(1), Ok(1), "without a runtime");
    assert_eq!(first.block_on(async { execute(2) }), Ok(2), "a synchronous call blocks the only thread");
    for key in 3..6 {
        let second = runtime();
        let name = key.to_string();
        let call = once.call_async(&name, Fingerprint::NONE, async || Ok::<_, Rejection>(key));
        assert_eq!(second.block_on(call), Ok(key), "a runtime that ends");
    }
    assert_eq!(once.stats().executed, 5);
    assert_eq!(execute(1), Ok(1));
    assert_eq!(once.stats().replayed, 1);
}

#[tokio::test]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn a_process_that_ends_leaves_an_unknown_outcome() {
    // T105
    let server = Server::start().await;
    let config = idempotency::Config::default().max_wait(Duration::ZERO).lease(Duration::from_secs(1));
    let (one, two) = (component(&server.url()), component(&server.url()));
    one.reconfigure(config.clone()).unwrap();
    two.reconfigure(config.clone().max_wait(PATIENCE)).unwrap();
    let lease = one.claim("order 7", Fingerprint(7)).await.unwrap();
    drop(lease);
    let call = || two.call_async("order 7", Fingerprint(7), async || Ok::<_, Rejection>(7));
    assert_eq!(call().await.unwrap_err().kind(), resilient_runtime::RejectionKind::OutcomeUnknown);
    two.reconfigure(config.on_unknown(idempotency::OnUnknown::Reexecute)).unwrap();
    assert_eq!(call().await, Ok(7));
}
