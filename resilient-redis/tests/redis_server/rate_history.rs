//! Several processes that share limits and are killed at random, and the history of what the limits admitted.

use std::time::{Duration, Instant};

use resilient_redis::{Config, RedisStore};
use resilient_runtime::rate_limit::{self, Algorithm, Mode};
use resilient_runtime::store::InstanceStore as _;

use crate::history::{Bound, Outcome, check_limit, now};
use crate::process::{Process, Task, random};
use crate::rate::{Instance, rate};
use crate::server::{PATIENCE, Server};

const PROCESSES: u32 = 3;
const KILLS: u32 = 6;

/// The limits, each with its bound. Leased tokens are at most the calls of 75 ms.
fn limits() -> [(&'static str, rate_limit::Config, Bound); 3] {
    let (bucket, ms) = (Bound::bucket, Duration::from_millis);
    let window = || rate("100/200ms").algorithm(Algorithm::SlidingWindow);
    [
        ("exact", rate("500/s").burst(50).mode(Mode::Exact), bucket(50, ms(2))),
        ("lease", rate("1000/s").burst(100).mode(Mode::Lease), Bound { leased: 75, ..bucket(100, ms(1)) }),
        ("window", window().mode(Mode::Exact), Bound { burst: 100, tokens: 100, every: ms(200), leased: 0 }),
    ]
}

/// A process of the test below: writes each call that was admitted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(task) = Task::new() else { return };
    let instance = Instance::new(&task.url, rate("1/h"));
    let start = Instant::now();
    while instance.shared().instances < PROCESSES {
        assert!(start.elapsed() < PATIENCE, "the other processes are announced");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let callers = limits().map(|(name, config, _)| {
        let (limiter, task) = (instance.add(name, config), &task);
        async move {
            while task.goes_on() {
                let began = now();
                if limiter.acquire().await.is_ok() {
                    task.recorder.note(name, began, Outcome::Admitted);
                    tokio::task::yield_now().await;
                } else {
                    // Leaves the processor to the server.
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
    });
    futures_util::future::join_all(callers).await;
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn in_every_period_all_processes_have_admitted_no_more_than_the_rate_and_the_burst() {
    // T173
    let server = Server::start(&[]).await;
    // Each process knows from the start that there are others, so that their leases are small enough together.
    let store = RedisStore::new(Config::new(server.url()).timeout(PATIENCE)).unwrap();
    for other in 1..PROCESSES {
        store.announce(other.into(), Duration::from_hours(1)).await.unwrap();
    }
    let start = || Process::start("rate_history::child", &server);
    let mut processes: Vec<_> = (0..PROCESSES).map(|_| start()).collect();
    let mut calls = Vec::new();
    for _ in 0..KILLS {
        let mut killed = processes.swap_remove(usize::try_from(random(PROCESSES.into())).unwrap());
        killed.wait_for(usize::try_from(random(150)).unwrap() + 1).await;
        calls.extend(killed.kill());
        processes.push(start());
    }
    for mut process in processes {
        process.wait_for(300).await;
        calls.extend(process.end());
    }
    for (name, _, bound) in limits() {
        let of_limit: Vec<_> = calls.iter().filter(|call| call.of == name).collect();
        assert!(of_limit.len() as u64 >= bound.burst, "{name}: {} calls", of_limit.len());
        let calls = of_limit.len();
        let used = check_limit(of_limit, bound).unwrap();
        eprintln!("measured: {name}: {calls} calls, the largest burst {used} of {}", bound.burst);
    }
}
