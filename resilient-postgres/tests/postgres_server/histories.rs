//! Several processes use a replica set of two Redis servers and a database, which are killed, hung and cut off.
//!
//! Each process writes what it does, with begin and end, to a file. A key has one writer and several readers: of two writers of
//! one key, the slower one writes again, which a history can show twice (`docs/consistency.md`, anomalies).

#[path = "../../../resilient-replica/tests/history/mod.rs"]
mod history;
#[path = "histories/redis.rs"]
mod redis;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rand::RngExt as _;
use resilient_chaos::proxy::{Proxy, Toxic};
use resilient_postgres::PostgresStore;
use resilient_redis::RedisStore;
use resilient_replica::resolve::{Actor, HybridClock, PnCounter};
use resilient_replica::{Builder, LastWriteWins, Merging, Mode, Problem, ReplicaError, ReplicaSet, Value};
use resilient_runtime::store::{Config, ReplicaKey, ReplicaStore as _};
use resilient_runtime::{Component as _, Registry};

use crate::server::{Folder, PATIENCE, Server, url};
use history::{Event, Kind, Outcome, check};
use redis::Redis;

/// The folder of the histories, the number of the process, and the addresses of the members.
const CHILD: &str = "RESILIENT_TEST_HISTORIES";
const PROCESSES: u32 = 3;
/// Tasks of a process, each the writer of one key at a time.
const WRITERS: u32 = 2;
const RUN: Duration = Duration::from_secs(6);
/// After this time, each writer goes on with another key, so that the history of a key stays short.
const SLICE: Duration = Duration::from_millis(600);
/// Time limit of a member.
const TIMEOUT: Duration = Duration::from_millis(300);
const COUNTERS: u32 = 3;

fn now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    u64::try_from(now.as_nanos()).unwrap()
}

/// All three members.
fn members<T: Value>(builder: Builder<T, LastWriteWins>) -> Builder<T, LastWriteWins> {
    builder.member("a").member("b").member("c")
}

/// The sets of a process. Addresses: Redis, Redis, `PostgreSQL`.
struct Sets {
    registry: Registry,
    numbers: ReplicaSet<u64>,
    counts: ReplicaSet<PnCounter, Merging>,
}

impl Sets {
    fn new(name: &str, addresses: &[String]) -> Self {
        let registry = Registry::new();
        for (name, address) in ["a", "b"].iter().zip(addresses) {
            let store =
                RedisStore::new(resilient_redis::Config::new(format!("redis://{address}")).timeout(PATIENCE));
            registry.use_store(name, store.unwrap());
        }
        let database =
            PostgresStore::new(resilient_postgres::Config::new(url(&addresses[2])).timeout(PATIENCE));
        registry.use_store("c", database.unwrap());
        for name in ["a", "b", "c"] {
            registry.store(name).reconfigure(Config::default().timeout(TIMEOUT)).unwrap();
        }
        let clock = HybridClock::new(Actor::named(name));
        let numbers =
            members(ReplicaSet::builder("numbers", clock.clone())).mode(Mode::Cp).build(&registry).unwrap();
        let counts =
            members(ReplicaSet::builder("counts", clock)).mode(Mode::Ap).merging().build(&registry).unwrap();
        Self { registry, numbers, counts }
    }
}

/// Writes the events of a process to a file: first the begin of each, so that a killed process leaves nothing out.
struct Log {
    file: std::sync::Mutex<std::fs::File>,
    events: AtomicU64,
}

impl Log {
    fn create(path: &Path) -> Self {
        Self { file: std::fs::File::create(path).unwrap().into(), events: AtomicU64::new(0) }
    }

    fn line(&self, line: &str) {
        self.file.lock().unwrap().write_all(format!("{line}\n").as_bytes()).unwrap();
    }

    fn begin(&self, what: &str) -> u64 {
        let event = self.events.fetch_add(1, Ordering::Relaxed);
        self.line(&format!("begin {event} {} {what}", now()));
        event
    }

    fn end(&self, event: u64, outcome: &str) {
        self.line(&format!("end {event} {} {outcome}", now()));
    }
}

fn outcome(error: &ReplicaError) -> &'static str {
    match error.problem {
        Problem::WriteRefused { can_take_effect: false, .. } => "none",
        _ => "unknown",
    }
}

/// A process of the test below.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "started by a test"]
async fn child() {
    let Ok(settings) = std::env::var(CHILD) else { return };
    let settings: Vec<String> = settings.split('|').map(str::to_owned).collect();
    let (folder, process): (_, u32) = (Path::new(&settings[0]), settings[1].parse().unwrap());
    let sets = Arc::new(Sets::new(&format!("orders-{process}"), &settings[2..]));
    let log = Arc::new(Log::create(&folder.join(format!("history-{process}"))));
    let start = Instant::now();
    let tasks = (0..WRITERS).map(|task| {
        let (sets, log, writer) = (Arc::clone(&sets), Arc::clone(&log), process * WRITERS + task);
        tokio::spawn(async move {
            for number in 1_u64.. {
                if start.elapsed() > RUN {
                    break;
                }
                let slice = start.elapsed().as_millis() / SLICE.as_millis();
                work(&sets, &log, writer, slice, number).await;
            }
        })
    });
    futures(tasks).await;
    // Keeps the registry until all have ended.
    drop(sets.registry.stats());
}

async fn futures(tasks: impl Iterator<Item = tokio::task::JoinHandle<()>>) {
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
}

/// One write, two reads and one change of a counter.
async fn work(sets: &Sets, log: &Log, writer: u32, slice: u128, number: u64) {
    let key = format!("{slice}-{writer}");
    let value = u64::from(writer) * 1_000_000 + number;
    let event = log.begin(&format!("write {key} {value}"));
    let written = sets.numbers.write(&key, &value).await;
    log.end(event, written.map_or_else(|error| outcome(&error), |_| "done"));
    for _ in 0..2 {
        let other = rand::rng().random_range(0..PROCESSES * WRITERS);
        let event = log.begin(&format!("read {slice}-{other}"));
        let read = sets.numbers.read(&format!("{slice}-{other}")).await;
        let value = read.map(|read| read.value.map_or_else(|| "0".to_owned(), |value| value.to_string()));
        log.end(event, &value.unwrap_or_else(|_| "none".to_owned()));
    }
    let counter = rand::rng().random_range(0..COUNTERS);
    let event = log.begin(&format!("count {counter}"));
    let changed =
        sets.counts.update(&counter.to_string(), |count, actor| count.add(actor, 1).map(drop)).await;
    log.end(event, changed.map_or_else(|error| outcome(&error), |_| "done"));
    // At most about 20 writes of a key, so that its history can be checked.
    tokio::time::sleep(Duration::from_millis(20)).await;
}

/// The events of all processes.
#[derive(Default)]
struct Recorded {
    numbers: BTreeMap<String, Vec<Event<u64>>>,
    /// By counter: accepted changes, and changes with an unknown outcome.
    counts: BTreeMap<String, (u64, u64)>,
    accepted_writes: usize,
    refused: usize,
    unknown: usize,
}

impl Recorded {
    fn add(&mut self, history: &str) {
        // The last line of a killed process may be cut.
        let complete = history.rsplit_once('\n').map_or("", |(lines, _)| lines);
        let mut ends = BTreeMap::new();
        for line in complete.lines() {
            let words: Vec<_> = line.split(' ').collect();
            if let ["end", event, at, outcome] = words[..] {
                ends.insert(event, (at.parse::<u64>().unwrap(), outcome));
            }
        }
        for line in complete.lines() {
            let words: Vec<_> = line.split(' ').collect();
            let ["begin", event, at, kind, key, ref rest @ ..] = words[..] else { continue };
            let (ended, outcome) = ends.get(event).copied().unwrap_or((u64::MAX, "unknown"));
            self.event(kind, key, rest.first().copied(), (at.parse().unwrap(), ended), outcome);
        }
    }

    fn event(
        &mut self,
        kind: &str,
        key: &str,
        value: Option<&str>,
        (began, ended): (u64, u64),
        outcome: &str,
    ) {
        let result = match outcome {
            "none" => Outcome::NoEffect,
            "unknown" => Outcome::Unknown,
            _ => Outcome::Done,
        };
        let kind = match kind {
            "count" => {
                let (accepted, unknown) = self.counts.entry(key.to_owned()).or_default();
                *accepted += u64::from(result == Outcome::Done);
                *unknown += u64::from(result == Outcome::Unknown);
                return;
            }
            "write" => Kind::Write(value.unwrap().parse().unwrap()),
            // A read that did not end says nothing.
            _ if result != Outcome::Done => return,
            _ => Kind::Read(outcome.parse().ok().filter(|value| *value > 0)),
        };
        if matches!(kind, Kind::Write(_)) {
            self.accepted_writes += usize::from(result == Outcome::Done);
            self.refused += usize::from(result == Outcome::NoEffect);
            self.unknown += usize::from(result == Outcome::Unknown);
        }
        self.numbers.entry(key.to_owned()).or_default().push(Event { kind, outcome: result, began, ended });
    }
}

fn start(folder: &Folder, process: u32, addresses: &[String]) -> Child {
    let settings = [&[folder.0.display().to_string(), process.to_string()], addresses].concat().join("|");
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "histories::child", "--ignored", "--nocapture"]).env(CHILD, settings);
    command.stdout(Stdio::null()).spawn().unwrap()
}

/// Kills, hangs and cuts off one member at a time, until the end.
async fn disturb(members: &mut (Redis, Server), proxies: &[Proxy; 3], victim: &mut Child, end: Instant) {
    let mut is_killed = false;
    for round in 0.. {
        let pause = Duration::from_millis(rand::rng().random_range(100..400));
        if Instant::now() + pause > end {
            return;
        }
        match round % 5 {
            0 => {
                members.0.kill();
                tokio::time::sleep(pause).await;
                members.0.start_again().await;
            }
            1 => {
                members.0.signal("STOP");
                tokio::time::sleep(pause + TIMEOUT).await;
                members.0.signal("CONT");
            }
            2 => {
                members.1.signal("STOP");
                tokio::time::sleep(pause + TIMEOUT).await;
                members.1.signal("CONT");
            }
            3 => {
                // Requests arrive, and their responses are lost: at first of one member, then of two.
                let lost = |proxy: &Proxy| proxy.add(Toxic::black_hole()).unwrap();
                let first = rand::rng().random_range(0..3);
                let lost = (lost(&proxies[first]), (round > 3).then(|| lost(&proxies[(first + 1) % 3])));
                tokio::time::sleep(pause + TIMEOUT).await;
                drop(lost);
            }
            _ => {
                members.1.kill();
                tokio::time::sleep(pause).await;
                members.1.start_again().await;
            }
        }
        if !is_killed && round == 6 {
            victim.kill().unwrap();
            is_killed = true;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL and redis-server: cargo xtask postgres"]
async fn histories_of_processes_are_linearizable_in_cp_and_lose_nothing_in_ap() {
    // T213
    let (steady, folder) = (Redis::start().await, Folder::new());
    let mut members = (Redis::start().await, Server::start().await);
    let servers = [steady.address(), members.0.address(), members.1.address()];
    let mut proxies = Vec::new();
    for server in &servers {
        proxies.push(Proxy::start("127.0.0.1:0", server).await.unwrap());
    }
    let proxies: [Proxy; 3] = proxies.try_into().ok().unwrap();
    let addresses = proxies.each_ref().map(|proxy| proxy.address().to_string());
    let mut children: Vec<_> = (0..PROCESSES).map(|process| start(&folder, process, &addresses)).collect();
    disturb(&mut members, &proxies, &mut children[0], Instant::now() + RUN).await;
    for child in &mut children {
        child.wait().unwrap();
    }

    let mut recorded = Recorded::default();
    for process in 0..PROCESSES {
        recorded.add(&std::fs::read_to_string(folder.0.join(format!("history-{process}"))).unwrap());
    }
    let sets = Sets::new("reader", &servers);
    let start = Instant::now();
    for key in recorded.numbers.keys().cloned().collect::<Vec<_>>() {
        let began = now();
        let read = loop {
            match sets.numbers.read(&key).await {
                Ok(read) => break read,
                Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
            }
        };
        let event = Event { kind: Kind::Read(read.value), outcome: Outcome::Done, began, ended: now() };
        recorded.numbers.get_mut(&key).unwrap().push(event);
    }
    for (key, history) in &recorded.numbers {
        check(history).unwrap_or_else(|stuck| panic!("{key}: {stuck:?}\n{}", shown(history)));
    }

    while {
        let sweep = sets.counts.sweep().await.unwrap();
        sweep.different_ranges > 0 || !sweep.unreachable.is_empty()
    } {
        assert!(start.elapsed() < PATIENCE, "the members differ");
    }
    for (counter, (accepted, unknown)) in &recorded.counts {
        let key = ReplicaKey::new("counts", counter.clone());
        let (first, second) = (
            steady.store().read(key.clone()).await.unwrap(),
            members.0.store().read(key.clone()).await.unwrap(),
        );
        assert_eq!(first, second, "the members are equal");
        assert_eq!(first, members.1.store().read(key).await.unwrap(), "the members are equal");
        let read = sets.counts.read(counter).await.unwrap().value.map_or(0, |count| count.value());
        let read = u64::try_from(read).unwrap();
        assert!(
            (*accepted..=accepted + unknown).contains(&read),
            "{counter}: {read}, not {accepted} to {}",
            accepted + unknown
        );
    }
    let Recorded { accepted_writes, refused, unknown, numbers, .. } = &recorded;
    println!(
        "{accepted_writes} writes accepted, {refused} refused, {unknown} unknown, {} keys",
        numbers.len()
    );
    assert!(*accepted_writes > 50 && recorded.counts.values().all(|(accepted, _)| *accepted > 10));
}

fn shown(history: &[Event<u64>]) -> String {
    let mut sorted = history.to_vec();
    sorted.sort_by_key(|event| event.began);
    let first = sorted.first().map_or(0, |event| event.began);
    sorted.iter().fold(String::new(), |mut text, event| {
        let at = |time: u64| (time - first) / 1000;
        let _ =
            writeln!(text, "{:?} {:?} {} to {}", event.kind, event.outcome, at(event.began), at(event.ended));
        text
    })
}
