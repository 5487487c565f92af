//! Time from the abort of fault injection to the last released call, with 10 000 calls in flight that a fault holds.
//!
//! `cargo run --release -p resilient-benches --features chaos --bin chaos_abort`

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use resilient_chaos::{Runner, Scenario, runner};
use resilient_runtime::chaos::Fault;
use resilient_runtime::{Component, Pipeline, Registry, alert};
use tokio::task::JoinHandle;
use tokio::time::sleep;

const CALLS: u32 = 10_000;
const ROUNDS: usize = 21;
/// The longest accepted time.
const MOST: Duration = Duration::from_millis(100);
/// Time between two checks of an experiment, by default.
const INTERVAL: Duration = Duration::from_millis(100);

const SCENARIO: &str = r#"
[scenario]
version = 1
name = "abort"
hypothesis = "All calls are released at once."
owner = "benchmarks"
environment = ["bench"]
observe_before = "300ms"
max_duration = "10m"

[[steady_state]]
probe = "success_rate"
operation = "order"
min = 0.01
when = "edges"
window = "1s"
min_samples = 1

[[abort_when]]
probe = "alert"
alert = "orders_failing"

[[abort_when]]
probe = "custom"
name = "problem"
max = 0

[[step]]
id = "hang"
fault = { type = "hang", on = "report" }
rate = 1.0
for = "5m"

[recovery]
steady_state_within = "10s"
"#;

/// The event that ends the fault injection.
#[derive(Clone, Copy, Debug)]
enum Trigger {
    StopAll,
    Stop,
    Alert,
    Rule,
}

/// A registry with calls that end when the fault does.
struct Calls {
    registry: Registry,
    began: Instant,
    /// When the last call was released, in nanoseconds after `began`.
    last: Arc<AtomicU64>,
    report: Arc<Pipeline>,
    order: Arc<Pipeline>,
}

impl Calls {
    fn new() -> Self {
        let registry = Registry::new();
        let [report, order] = ["report", "order"].map(|name| Arc::new(registry.pipeline(name).build()));
        Self { began: Instant::now(), last: Arc::default(), registry, report, order }
    }

    /// Starts the calls, and waits until the fault holds all of them.
    async fn hold(&self) -> Vec<JoinHandle<()>> {
        let call = |_| {
            let (report, last, began) = (Arc::clone(&self.report), Arc::clone(&self.last), self.began);
            tokio::spawn(async move {
                report.call_async(async || Some(())).await;
                let now = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
                last.fetch_max(now, Ordering::Relaxed);
            })
        };
        let calls: Vec<_> = (0..CALLS).map(call).collect();
        while self.registry.chaos().faults().first().is_none_or(|fault| fault.active < CALLS) {
            sleep(Duration::from_millis(1)).await;
        }
        calls
    }

    /// Waits for all calls. Returns the time from the trigger to the release of the last one.
    async fn released(&self, calls: Vec<JoinHandle<()>>, trigger: Instant) -> Duration {
        for call in calls {
            let _ = call.await;
        }
        let last = self.began + Duration::from_nanos(self.last.load(Ordering::Relaxed));
        last.saturating_duration_since(trigger)
    }
}

async fn stop_all() -> Result<Duration, String> {
    let calls = Calls::new();
    let fault =
        calls.registry.chaos().inject(Fault::hang().on("report")).map_err(|error| error.to_string())?;
    let held = calls.hold().await;
    let trigger = Instant::now();
    calls.registry.chaos().stop_all();
    let took = calls.released(held, trigger).await;
    drop(fault);
    Ok(took)
}

/// The longest time of a round. A round that takes longer has a mistake.
const LONGEST: Duration = Duration::from_secs(30);

/// Aborts an experiment.
async fn abort(how: Trigger) -> Result<Duration, String> {
    let calls = Calls::new();
    let config = alert::Config::default().operation("order").critical(0.5).window(Duration::from_secs(1));
    let alert = calls.registry.alert("orders_failing");
    alert.reconfigure(config.hold(Duration::ZERO).min_samples(1)).map_err(|error| error.to_string())?;
    let is_failing = Arc::new(AtomicBool::new(false));
    let (order, fails) = (Arc::clone(&calls.order), Arc::clone(&is_failing));
    let load = tokio::spawn(async move {
        loop {
            order.call(|| (!fails.load(Ordering::Relaxed)).then_some(()));
            sleep(Duration::from_millis(5)).await;
        }
    });
    let problem = Arc::new(AtomicBool::new(false));
    let read = Arc::clone(&problem);
    let experiment =
        Runner::new(&calls.registry, Scenario::parse(SCENARIO).map_err(|error| error.to_string())?)
            .environment("bench")
            .lease(Duration::from_secs(10))
            .probe("problem", move |_| Some(f64::from(u8::from(read.load(Ordering::Relaxed)))));
    let experiment = tokio::spawn(experiment.run(std::future::pending()));
    while !calls.registry.chaos().is_armed() {
        if experiment.is_finished() {
            return Err(format!("{:?}", experiment.await.map(|report| report.reasons)));
        }
        sleep(Duration::from_millis(1)).await;
    }
    let held = calls.hold().await;
    let trigger = match how {
        Trigger::Alert => {
            // An alert compares two evaluations.
            calls.registry.evaluate_alerts();
            is_failing.store(true, Ordering::Relaxed);
            sleep(Duration::from_millis(500)).await;
            let trigger = Instant::now();
            calls.registry.evaluate_alerts();
            trigger
        }
        Trigger::Rule => {
            let trigger = Instant::now();
            problem.store(true, Ordering::Relaxed);
            trigger
        }
        Trigger::Stop | Trigger::StopAll => {
            let trigger = Instant::now();
            runner::running(&calls.registry).ok_or("no experiment runs")?.stop("the benchmark stops it");
            trigger
        }
    };
    let took = calls.released(held, trigger).await;
    load.abort();
    experiment.abort();
    Ok(took)
}

async fn measure(how: Trigger) -> Result<Duration, String> {
    let round = async {
        match how {
            Trigger::StopAll => stop_all().await,
            _ => abort(how).await,
        }
    };
    let late = |_| Err(format!("the calls were not released within {LONGEST:?}"));
    tokio::time::timeout(LONGEST, round).await.unwrap_or_else(late)
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start the runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    println!(
        "{CALLS} asynchronous calls held by a fault, {ROUNDS} rounds: time from the trigger to the last released call\n"
    );
    println!("| trigger | median | longest | limit |\n|---|--:|--:|---|");
    let mut is_met = true;
    for (how, name, most) in [
        (Trigger::StopAll, "`Chaos::stop_all`", MOST),
        (Trigger::Stop, "`Running::stop` of an experiment", MOST),
        (Trigger::Alert, "abort rule: an alert is evaluated as critical", MOST),
        (Trigger::Rule, "abort rule: a value changes, found at the next check", MOST + INTERVAL),
    ] {
        let rounds: Result<Vec<_>, _> = (0..ROUNDS).map(|_| runtime.block_on(measure(how))).collect();
        match rounds {
            Ok(mut times) => {
                times.sort_unstable();
                let longest = times[ROUNDS - 1];
                is_met &= longest <= most;
                let verdict = if longest <= most { "met" } else { "**missed**" };
                println!("| {name} | {:.1?} | {longest:.1?} | {most:?}: {verdict} |", times[ROUNDS / 2]);
            }
            Err(problem) => {
                eprintln!("{name}: {problem}");
                is_met = false;
            }
        }
    }
    if is_met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
