//! Several processes that share a limit, and the history of what it admitted.

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use resilient_runtime::rate_limit::{Algorithm, Mode};

use crate::rate::{Instance, rate};
use crate::server::Server;

const URL: &str = "RESILIENT_TEST_RATE_REDIS";
const LIMIT: &str = "RESILIENT_TEST_RATE_LIMIT";
const PROCESSES: usize = 3;
const SPAN: Duration = Duration::from_millis(600);

/// The time in microseconds. All processes are on one machine.
fn micros() -> u64 {
    u64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros()).unwrap()
}

fn limit(name: &str) -> (resilient_runtime::rate_limit::Config, u64, u64) {
    match name {
        "exact" => (rate("500/s").burst(50).mode(Mode::Exact), 500, 50),
        "lease" => (rate("3000/s").burst(100).mode(Mode::Lease), 3000, 100),
        _ => (rate("100/200ms").algorithm(Algorithm::SlidingWindow).mode(Mode::Exact), 500, 100),
    }
}

/// A process of the test below: prints when each call was admitted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let (Ok(url), Ok(name)) = (std::env::var(URL), std::env::var(LIMIT)) else { return };
    let instance = Instance::new(&url, limit(&name).0);
    let (start, mut admitted) = (Instant::now(), Vec::new());
    while start.elapsed() < SPAN {
        if instance.limiter.acquire().await.is_ok() {
            admitted.push(micros());
        }
        tokio::task::yield_now().await;
    }
    let mut output = std::io::stdout().lock();
    admitted.iter().for_each(|at| writeln!(output, "admitted {at}").unwrap());
    writeln!(output, "finished").unwrap();
}

#[tokio::test]
#[ignore = "needs redis-server: cargo xtask redis"]
async fn at_every_moment_all_processes_have_admitted_no_more_than_the_rate_and_the_burst() {
    // T173
    let server = Server::start(&[]).await;
    let this = std::env::current_exe().unwrap();
    for name in ["exact", "lease", "window"] {
        server.run("FLUSHALL").await;
        let began = micros();
        let start = || {
            let mut child = Command::new(&this);
            child
                .args(["rate_history::child", "--exact", "--nocapture"])
                .env(URL, server.url())
                .env(LIMIT, name);
            child.stdout(Stdio::piped()).spawn().unwrap()
        };
        let processes: Vec<_> = (0..PROCESSES).map(|_| start()).collect();
        let mut history = Vec::new();
        for process in processes {
            let output = String::from_utf8(process.wait_with_output().unwrap().stdout).unwrap();
            assert!(output.contains("finished"), "{output}");
            let times = output.lines().filter_map(|line| line.split_once("admitted "));
            history.extend(times.map(|(_, at)| at.parse::<u64>().unwrap()));
        }
        history.sort_unstable();
        let (_, per_second, burst) = limit(name);
        for (before, at) in history.iter().enumerate() {
            // Rounded up.
            let most = (at - began) * per_second / 1_000_000 + 1 + burst;
            assert!((before as u64) < most, "{name}: {} calls until {} us", before + 1, at - began);
        }
        assert!(history.len() as u64 >= burst, "{name}: {} calls", history.len());
    }
}
