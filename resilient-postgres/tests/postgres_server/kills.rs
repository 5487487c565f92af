//! Payments while their process or the server is killed.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use resilient_postgres::{Config, PostgresStore};

use crate::payments::{STEPS, check, create_tables, pay};
use crate::server::{PATIENCE, Server, pool};

const URL: &str = "RESILIENT_TEST_POSTGRES";
const FIRST: &str = "RESILIENT_TEST_POSTGRES_FIRST";
/// Processes at the same time, and kills of each.
const LANES: i32 = 4;
const KILLS: i32 = 50;
/// Orders that all processes try to pay, over and over.
const ORDERS: i32 = 60;

/// A process of the test below: pays orders, and writes each step.
#[tokio::test]
async fn child() {
    let Ok(url) = std::env::var(URL) else { return };
    let first: i32 = std::env::var(FIRST).unwrap().parse().unwrap();
    let pool = pool(&url);
    let store = PostgresStore::new(Config::of_pool(&pool).expire_every(None)).unwrap();
    let say = |text: &str| writeln!(std::io::stdout(), "> {text}").unwrap();
    for order in (first..ORDERS).chain(0..first) {
        let number = pay(&store, &pool, order, say).await.unwrap();
        say(&format!("paid {order} {number}"));
    }
    say("finished");
}

/// Starts a process, and kills it after a number of steps. Returns the payments that it has acknowledged, and the last step.
fn run_child(url: &str, first: i32, steps: Option<usize>) -> (Vec<(i32, i64)>, String) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["kills::child", "--exact", "--nocapture"]).env(URL, url).env(FIRST, first.to_string());
    let mut child = child.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let (mut paid, mut last, mut left) = (Vec::new(), String::new(), steps);
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let Some(step) = line.split_once("> ").map(|(_, step)| step.to_owned()) else { continue };
        if let Some(payment) = step.strip_prefix("paid ") {
            let (order, number) = payment.split_once(' ').unwrap();
            paid.push((order.parse().unwrap(), number.parse().unwrap()));
        } else {
            last = step;
        }
        left = left.map(|left| left.saturating_sub(1));
        if left == Some(0) {
            // It may be further by now. The rest of its output counts too.
            child.kill().unwrap();
            left = None;
        }
    }
    child.wait().unwrap();
    (paid, last)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn two_hundred_kills_of_the_program_lose_no_payment_and_make_none_twice() {
    // T167
    let server = Server::start().await;
    let pool = server.pool();
    create_tables(&pool).await;
    let lanes = (0..LANES).map(|lane| {
        let url = server.url();
        tokio::task::spawn_blocking(move || {
            let (mut paid, mut killed_at) = (Vec::new(), BTreeMap::new());
            for kill in 0..KILLS {
                // Every step is the last one of some process, at different orders.
                let steps = usize::try_from(kill + lane).unwrap() % (STEPS.len() + 1) + 1;
                let (acknowledged, last) = run_child(&url, (lane * 15 + kill) % ORDERS, Some(steps));
                paid.extend(acknowledged);
                *killed_at.entry(last).or_insert(0) += 1;
            }
            (paid, killed_at)
        })
    });
    let (mut acknowledged, mut killed_at) = (BTreeMap::new(), BTreeMap::new());
    for lane in lanes.collect::<Vec<_>>() {
        let (paid, at) = lane.await.unwrap();
        paid.into_iter().for_each(|(order, number)| add(&mut acknowledged, order, number));
        at.into_iter().for_each(|(step, count)| *killed_at.entry(step).or_insert(0) += count);
    }
    for step in STEPS {
        assert!(killed_at.contains_key(step), "no process was killed at `{step}`: {killed_at:?}");
    }
    check(&pool, &acknowledged).await;
    let (paid, last) = run_child(&server.url(), 0, None);
    assert_eq!(last, "finished");
    paid.into_iter().for_each(|(order, number)| add(&mut acknowledged, order, number));
    assert_eq!(acknowledged.len(), usize::try_from(ORDERS).unwrap(), "every order can be paid");
    check(&pool, &acknowledged).await;
}

/// Notes a receipt. Every process gets the same one.
fn add(acknowledged: &mut BTreeMap<i32, i64>, order: i32, number: i64) {
    let before = acknowledged.insert(order, number);
    assert!(before.is_none_or(|before| before == number), "order {order}: {before:?} and {number}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs PostgreSQL: cargo xtask postgres"]
async fn twenty_kills_of_the_server_lose_no_payment_and_make_none_twice() {
    // T168
    let mut server = Server::start().await;
    let pool = server.pool();
    create_tables(&pool).await;
    let store = Arc::new(server.store());
    let (next, ends) = (Arc::new(AtomicI32::new(0)), Arc::new(AtomicBool::new(false)));
    let acknowledged = Arc::new(Mutex::new(BTreeMap::new()));
    let tasks = (0..3).map(|_| {
        let (store, pool, next) = (Arc::clone(&store), pool.clone(), Arc::clone(&next));
        let (ends, acknowledged) = (Arc::clone(&ends), Arc::clone(&acknowledged));
        tokio::spawn(async move {
            while !ends.load(Ordering::SeqCst) {
                let order = next.fetch_add(1, Ordering::SeqCst);
                let number = loop {
                    // Each error is followed by the same payment with the same key.
                    let paid = pay(&store, &pool, order, |_| ()).await.map_err(|error| error.to_string());
                    match paid {
                        Ok(number) => break number,
                        Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                    }
                };
                add(&mut acknowledged.lock().unwrap(), order, number);
            }
        })
    });
    let tasks: Vec<_> = tasks.collect();
    for kill in 0..20 {
        let before = next.load(Ordering::SeqCst);
        let start = std::time::Instant::now();
        while next.load(Ordering::SeqCst) < before + 5 {
            assert!(start.elapsed() < PATIENCE, "no payment after kill {kill}");
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
    let acknowledged = acknowledged.lock().unwrap().clone();
    assert!(acknowledged.len() >= 60, "{}", acknowledged.len());
    check(&pool, &acknowledged).await;
}
