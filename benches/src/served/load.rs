//! Load while the gateway fails: is every request answered and counted, and is memory level?

use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::program::{Program, agent};
use super::spent;

const CLIENTS: u64 = 16;
/// Orders that are sent again and again; others are new.
const KNOWN: u64 = 500;
/// What the gateway does, a second each.
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
/// Keys and what was counted are kept for a moment, so that what is left is what leaks; no client is limited.
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
/// Memory at the end in times of that after a quarter: less than this is level.
const LEVEL: f64 = 1.25;

/// What came of it.
#[derive(Debug)]
pub struct Load {
    /// Requests sent.
    pub requests: u64,
    /// Those that got no answer.
    pub unanswered: u64,
    /// Bytes after a quarter of the time.
    pub early_memory: u64,
    /// Bytes at the end.
    pub late_memory: u64,
    /// Answers by the first digit of their status.
    classes: [u64; 6],
    times: Vec<Duration>,
}

impl Load {
    /// The time in which this share of the requests was answered.
    pub fn at(&self, share: f64) -> Duration {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let index = (self.times.len() as f64 * share) as usize;
        self.times.get(index).copied().unwrap_or_default()
    }

    /// Memory at the end in times of that after a quarter.
    pub fn growth(&self) -> f64 {
        self.late_memory as f64 / self.early_memory.max(1) as f64
    }

    /// Whether nothing leaks, as far as this can be seen.
    pub fn is_level(&self) -> bool {
        self.growth() < LEVEL
    }

    /// Answers with 2xx, 4xx and 5xx.
    pub fn by_class(&self) -> String {
        format!("{}, {}, {}", self.classes[2], self.classes[4], self.classes[5])
    }
}

/// Sends requests for this long, whatever the gateway does meanwhile.
///
/// # Errors
/// When the program does not start, panics, or has counted other than was sent.
pub fn under_load(path: &Path, span: Duration) -> Result<Load, String> {
    let settings = std::env::temp_dir().join(format!("resilient-load-{}.toml", std::process::id()));
    std::fs::write(&settings, SETTINGS).map_err(|error| error.to_string())?;
    let arguments = ["--load", "0", "--config", settings.to_str().ok_or("a path that is no text")?];
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

/// Makes the gateway fail in ever other ways; the memory after a quarter of the time, and at the end.
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

/// One client: every second request is an order, every fourth a new one.
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
            // A customer each, or one limit would be theirs together.
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
            return Err(format!("`{name}`: calls are not the sum of their ends: {operation}"));
        }
    }
    let behind_the_layers = number(&operations["http"]["calls"])?;
    let limited = number(&stats["rate_limit"]["addresses"]["rejected"])?;
    let answered = load.requests - load.unanswered;
    if behind_the_layers + limited == answered {
        Ok(())
    } else {
        Err(format!(
            "{answered} requests were answered, but {behind_the_layers} counted and {limited} limited"
        ))
    }
}
