//! Load while the gateway fails: checks that every request is answered and counted, and that memory does not grow.

use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::program::{Program, agent};
use super::spent;

const CLIENTS: u64 = 16;
/// Number of orders that are sent repeatedly; the others are new.
const KNOWN: u64 = 500;
/// Faults of the gateway, for one second each.
const FAULTS: [&str; 8] = [
    r#"{"error_rate": 0.5}"#,
    "{}",
    r#"{"hang_rate": 0.3}"#,
    r#"{"reset_rate": 0.5}"#,
    r#"{"latency_ms": 100}"#,
    "{}",
    r#"{"error_rate": 1}"#,
    r#"{"error_rate": 0.2, "hang_rate": 0.1, "reset_rate": 0.1, "latency_ms": 20}"#,
];
/// Short lifetimes, so that remaining memory is a leak, and no limit per client.
const SETTINGS: &str = "
[idempotency.orders]
ttl = \"2s\"
[rate_limit.addresses]
rate = \"1000000/s\"
burst = 1000000
[circuit_breaker.payment]
open_for = \"500ms\"
[timeout.payment]
attempt = \"400ms\"
";
/// Maximum growth of memory from the first quarter to the end.
const LEVEL: f64 = 1.25;

/// Result of the load.
#[derive(Debug)]
pub struct Load {
    /// Number of sent requests.
    pub requests: u64,
    /// Number of requests without a response.
    pub unanswered: u64,
    /// Memory after a quarter of the time, in bytes.
    pub early_memory: u64,
    /// Memory at the end, in bytes.
    pub late_memory: u64,
    /// Responses by the first digit of their status.
    classes: [u64; 6],
    times: Vec<Duration>,
}

impl Load {
    /// The quantile `share` of the response times.
    pub fn at(&self, share: f64) -> Duration {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let index = (self.times.len() as f64 * share) as usize;
        self.times.get(index).copied().unwrap_or_default()
    }

    /// Memory at the end relative to memory after a quarter of the time.
    pub fn growth(&self) -> f64 {
        self.late_memory as f64 / self.early_memory.max(1) as f64
    }

    /// Whether memory does not grow.
    pub fn is_level(&self) -> bool {
        self.growth() < LEVEL
    }

    /// Numbers of responses with 2xx, 4xx and 5xx.
    pub fn by_class(&self) -> String {
        format!("{}, {}, {}", self.classes[2], self.classes[4], self.classes[5])
    }
}

/// Sends requests for `span` while the gateway has changing faults.
///
/// # Errors
/// Returns an error if the program does not start, panics, or counts a different number of requests.
pub fn under_load(path: &Path, span: Duration) -> Result<Load, String> {
    let settings = std::env::temp_dir().join(format!("resilient-load-{}.toml", std::process::id()));
    std::fs::write(&settings, SETTINGS).map_err(|error| error.to_string())?;
    let arguments = ["--load", "0", "--config", settings.to_str().ok_or("the path is not UTF-8")?];
    let program = Program::start(path, &arguments);
    let measured = program.and_then(|program| {
        let load = sent(&program, span)?;
        counted(&program, &load)?;
        Ok(load)
    });
    let _ = std::fs::remove_file(&settings);
    measured
}

fn sent(program: &Program, span: Duration) -> Result<Load, String> {
    let (stop, fresh) = (AtomicBool::new(false), AtomicU64::new(KNOWN));
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn({
                    let (stop, fresh) = (&stop, &fresh);
                    move || ask(program, client, fresh, stop)
                })
            })
            .collect();
        let watched = watch(program, span);
        stop.store(true, Ordering::Relaxed);
        let mut load = Load {
            requests: 0,
            unanswered: 0,
            early_memory: 0,
            late_memory: 0,
            classes: [0; 6],
            times: Vec::new(),
        };
        for client in clients {
            let Ok((classes, unanswered, mut times)) = client.join() else {
                return Err("a client panicked".to_owned());
            };
            load.requests += classes.iter().sum::<u64>() + unanswered;
            load.unanswered += unanswered;
            load.classes.iter_mut().zip(classes).for_each(|(all, more)| *all += more);
            load.times.append(&mut times);
        }
        (load.early_memory, load.late_memory) = watched?;
        load.times.sort_unstable();
        Ok(load)
    })
}

/// Changes the faults of the gateway. Returns the memory after a quarter of the time and at the end.
fn watch(program: &Program, span: Duration) -> Result<(u64, u64), String> {
    let began = Instant::now();
    let mut early = None;
    for fault in FAULTS.iter().cycle() {
        let passed = began.elapsed();
        if passed >= span {
            break;
        }
        if passed >= span / 4 && early.is_none() {
            early = Some(spent(program.id())?.1);
        }
        program.set_faults(fault)?;
        std::thread::sleep((span / 8).min(Duration::from_secs(1)).min(span.saturating_sub(passed)));
    }
    let late = spent(program.id())?.1;
    program.set_faults("{}")?;
    Ok((early.unwrap_or(late), late))
}

type Answers = ([u64; 6], u64, Vec<Duration>);

/// One client. Every second request is an order, every fourth a new order.
fn ask(program: &Program, client: u64, fresh: &AtomicU64, stop: &AtomicBool) -> Answers {
    let agent = agent();
    let (orders, simple) =
        (program.url("/api/resilience/protected-endpoint"), program.url("/api/resilience/simple-protected"));
    let (mut classes, mut unanswered, mut times) = ([0; 6], 0, Vec::new());
    for number in client.. {
        if stop.load(Ordering::Relaxed) {
            break;
        }
        let began = Instant::now();
        let answer = if number % 2 == 0 {
            agent.get(&simple).call()
        } else {
            let order = if number % 4 == 1 { fresh.fetch_add(1, Ordering::Relaxed) } else { number % KNOWN };
            // Each order has its own customer; otherwise all orders would share one rate limit.
            let order = format!(r#"{{"order_id": "{order}", "cents": 995, "customer": "c{order}"}}"#);
            agent.post(&orders).header("content-type", "application/json").send(order)
        };
        let read = answer.and_then(|answer| {
            let status = answer.status().as_u16();
            let mut body = Vec::new();
            answer.into_body().into_reader().read_to_end(&mut body)?;
            Ok(status)
        });
        match read {
            Ok(status) => {
                classes[usize::from(status / 100).min(5)] += 1;
                times.push(began.elapsed());
            }
            Err(_) => unanswered += 1,
        }
    }
    (classes, unanswered, times)
}

/// Compares what the program counted with what was sent.
fn counted(program: &Program, load: &Load) -> Result<(), String> {
    let complaints = program.complaints();
    if complaints.contains("panicked") {
        return Err(complaints);
    }
    let stats = program.get("/api/resilience/stats")?;
    let number = |value: &Value| value.as_u64().ok_or_else(|| format!("not a number: {value}"));
    let operations = stats["operations"].as_object().ok_or("no operations")?;
    for (name, operation) in operations {
        let endings =
            ["succeeded", "failed", "ignored", "rejected", "timed_out", "fell_back", "cancelled", "panicked"];
        let endings: Vec<u64> =
            endings.into_iter().map(|ending| number(&operation[ending])).collect::<Result<_, _>>()?;
        let (calls, sum) = (number(&operation["calls"])?, endings.iter().sum::<u64>());
        if calls != sum || endings[7] > 0 || number(&operation["in_flight"])? > 0 {
            return Err(format!("`{name}`: the number of calls is not the sum of the outcomes: {operation}"));
        }
    }
    let behind_the_layers = number(&operations["http"]["calls"])?;
    let limited = number(&stats["rate_limit"]["addresses"]["rejected"])?;
    let answered = load.requests - load.unanswered;
    if behind_the_layers + limited == answered {
        Ok(())
    } else {
        Err(format!(
            "{answered} requests were answered, but {behind_the_layers} were counted and {limited} were rate limited"
        ))
    }
}
