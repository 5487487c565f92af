//! Several processes and runtimes that share a server.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use resilient_redis::{Config, RedisStore};
use resilient_runtime::idempotency::{self, Fingerprint};
use resilient_runtime::{Component, Idempotency, Registry, Rejection, RejectionKind};

use crate::history::{Call, Outcome, check_keys, now};
use crate::process::{Process, Task, random};
use crate::server::{PATIENCE, Server};

const PROCESSES: usize = 4;
const TASKS: usize = 4;
const KILLS: usize = 30;
/// The time from one key to the next, in microseconds.
const KEY_EVERY: u64 = 2000;

pub(crate) fn component(url: &str) -> Arc<Idempotency> {
    let once = Registry::new().idempotency("charge");
    once.set_store(Arc::new(RedisStore::new(Config::new(url).timeout(PATIENCE)).unwrap()));
    once.reconfigure(idempotency::Config::default().max_wait(PATIENCE).store_timeout(PATIENCE)).unwrap();
    once
}

/// A process of the tests below: several tasks ask for the newest keys, which are the same in all processes.
async fn execute_keys(max_wait: Duration) {
    let Some(task) = &Task::new() else { return };
    let once = &component(&task.url);
    let config = idempotency::Config::default().max_wait(max_wait).store_timeout(PATIENCE);
    once.reconfigure(config).unwrap();
    let tasks = (0..TASKS).map(|_| async move {
        while task.goes_on() {
            let (began, number) = (now(), random(u64::MAX));
            let key = (began / KEY_EVERY - random(2) * random(50)).to_string();
            let call = once.call_async(&key, Fingerprint(7), async || {
                task.recorder.note(&key, now(), Outcome::Executed(number));
                // Most processes are killed here.
                tokio::time::sleep(Duration::from_millis(1)).await;
                Ok::<_, Rejection>(number)
            });
            match call.await {
                Ok(result) => task.recorder.note(&key, began, Outcome::Answered(result)),
                Err(rejection) if rejection.kind() == RejectionKind::OutcomeUnknown => {
                    task.recorder.note(&key, began, Outcome::Unknown);
                }
                // The process that executed it was killed.
                Err(rejection) => {
                    let is_expected = rejection.kind() == RejectionKind::InProgress && max_wait < PATIENCE;
                    assert!(is_expected, "every caller gets the result: {rejection}");
                }
            }
        }
    });
    futures_util::future::join_all(tasks).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    execute_keys(PATIENCE).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn impatient_child() {
    execute_keys(Duration::from_millis(20)).await;
}

fn executed(calls: &[Call]) -> usize {
    calls.iter().filter(|call| matches!(call.outcome, Outcome::Executed(_))).count()
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn several_processes_execute_each_key_once() {
    // T104
    let server = Server::start(&[]).await;
    let mut processes: Vec<_> = (0..PROCESSES).map(|_| Process::start("fleet::child", &server)).collect();
    let mut calls = Vec::new();
    for process in &mut processes {
        process.wait_for(100).await;
    }
    for process in processes {
        let of_process = process.end();
        assert!(executed(&of_process) > 0, "each process gets keys");
        calls.extend(of_process);
    }
    check_keys(&calls).unwrap();
    assert!(calls.iter().all(|call| call.outcome != Outcome::Unknown), "every caller gets the result");
    assert!(executed(&calls) < calls.len() / 2, "most calls got the result of another one");
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn processes_that_are_killed_at_random_execute_no_key_twice_and_lose_no_result() {
    // T104
    let server = Server::start(&[]).await;
    let start = || Process::start("fleet::impatient_child", &server);
    let mut processes: Vec<_> = (0..PROCESSES).map(|_| start()).collect();
    let mut calls = Vec::new();
    for _ in 0..KILLS {
        let mut killed = processes.swap_remove(usize::try_from(random(PROCESSES as u64)).unwrap());
        killed.wait_for(usize::try_from(random(60)).unwrap() + 1).await;
        calls.extend(killed.kill());
        processes.push(start());
    }
    processes.into_iter().for_each(|process| calls.extend(process.end()));
    check_keys(&calls).unwrap();
    // Every key is asked for again. The work does not run for those with a result.
    let once = component(&server.url());
    once.reconfigure(idempotency::Config::default().max_wait(Duration::ZERO).store_timeout(PATIENCE))
        .unwrap();
    let keys: BTreeSet<_> = calls.iter().map(|call| call.of.clone()).collect();
    let mut unfinished = 0;
    for key in &keys {
        let began = now();
        let call = once.call_async(key, Fingerprint(7), async || Ok::<_, Rejection>(0));
        let answer = call.await.map_err(|rejection| rejection.kind());
        match answer {
            Ok(0) => calls.push(Call::ended(key, began, Outcome::Executed(0))),
            Ok(result) => calls.push(Call::ended(key, began, Outcome::Answered(result))),
            Err(RejectionKind::InProgress | RejectionKind::OutcomeUnknown) => {
                unfinished += 1;
                calls.push(Call::ended(key, began, Outcome::Unknown));
            }
            other => panic!("{key}: {other:?}"),
        }
    }
    check_keys(&calls).unwrap();
    eprintln!("measured: {} keys, {unfinished} of killed processes, {} calls", keys.len(), calls.len());
    assert!(unfinished > 0, "some processes were killed while they executed a key");
}

#[test]
#[ignore = "needs redis-server: cargo xtask redis"]
fn a_store_works_in_every_runtime_and_without_one() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let server = first.block_on(Server::start(&[]));
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
#[ignore = "needs redis-server: cargo xtask redis"]
async fn a_process_that_ends_leaves_an_unknown_outcome() {
    // T105
    let server = Server::start(&[]).await;
    let config = idempotency::Config::default().max_wait(Duration::ZERO).lease(Duration::from_secs(1));
    let (one, two) = (component(&server.url()), component(&server.url()));
    one.reconfigure(config.clone()).unwrap();
    two.reconfigure(config.clone().max_wait(PATIENCE)).unwrap();
    let lease = one.claim("order 7", Fingerprint(7)).await.unwrap();
    drop(lease);
    let call = || two.call_async("order 7", Fingerprint(7), async || Ok::<_, Rejection>(7));
    assert_eq!(call().await.unwrap_err().kind(), RejectionKind::OutcomeUnknown);
    two.reconfigure(config.on_unknown(idempotency::OnUnknown::Reexecute)).unwrap();
    assert_eq!(call().await, Ok(7));
}
