//! Durable idempotency store: killed processes and full disks.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use resilient_runtime::idempotency::{
    Claim, Claimed, DurableStore, Fingerprint, IdempotencyStore, Owner, StoreError,
};

const FILE: &str = "RESILIENT_TEST_FILE";
const SIZE: &str = "RESILIENT_TEST_SIZE";
const KILLS: u32 = 200;
const PATIENCE: Duration = Duration::from_secs(30);

/// A temporary directory. Dropping it deletes the directory.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("resilient-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn claim(key: &str, owner: u128) -> Claim {
    let hour = Duration::from_hours(1);
    let (key, fingerprint, owner) = (key.to_owned(), Fingerprint(1), Owner(owner));
    Claim {
        key,
        fingerprint,
        operation: "",
        owner,
        lease: hour,
        lost_for: hour,
        takes_over: false,
        client: None,
    }
}

/// The value of the call with `key`, of `size` bytes.
fn answer(key: &str, size: usize) -> Vec<u8> {
    key.bytes().cycle().take(size).collect()
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    out.write_all(format!("{line}\n").as_bytes()).unwrap();
    out.flush().unwrap();
}

/// The child process of the tests below: claims and completes keys and prints what was acknowledged, until it is killed.
#[test]
fn child() {
    let (Some(path), Some(size)) = (std::env::var_os(FILE), std::env::var_os(SIZE)) else { return };
    let size: usize = size.to_str().unwrap().parse().unwrap();
    let store = DurableStore::open(Path::new(&path)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..4_u32 {
            let store = &store;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let mut done = None;
                for number in 0_u32.. {
                    let key = format!("{}-{thread}-{number}", std::process::id());
                    match runtime.block_on(work(store, &key, size)) {
                        Ok(()) => done = Some(key),
                        Err(error) => {
                            say(&format!("E {error}"));
                            if let Some(key) = &done {
                                say(&runtime.block_on(replay(store, key, size)));
                            }
                            std::thread::sleep(Duration::from_millis(20));
                        }
                    }
                }
            });
        }
    });
}

/// Checks that a completed key still returns its value.
async fn replay(store: &DurableStore, key: &str, size: usize) -> String {
    match store.claim(claim(key, 2)).await {
        Ok(Claimed::Done(found)) if found == answer(key, size) => format!("R {key}"),
        other => format!("N {key}: {:?}", other.map(|claimed| std::mem::discriminant(&claimed))),
    }
}

async fn work(store: &DurableStore, key: &str, size: usize) -> Result<(), StoreError> {
    assert_eq!(store.claim(claim(key, 1)).await?, Claimed::Acquired);
    say(&format!("A {key}"));
    let answer = answer(key, size);
    assert!(store.complete(key, Owner(1), answer, Duration::from_hours(1)).await?);
    say(&format!("D {key}"));
    Ok(())
}

struct Running {
    child: Child,
    lines: Receiver<String>,
}

/// Starts the process above.
fn start(mut command: Command, file: &Path, size: usize) -> Running {
    command.args(["--exact", "child", "--nocapture"]).env(FILE, file).env(SIZE, size.to_string());
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let (sender, lines) = channel();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    std::thread::spawn(move || {
        let mut line = String::new();
        // The last line of a killed process can be incomplete.
        while output.read_line(&mut line).is_ok() && line.ends_with('\n') {
            let _ = sender.send(line.trim_end().to_owned());
            line.clear();
        }
    });
    Running { child, lines }
}

/// The acknowledged keys, and whether they were completed.
#[derive(Default)]
struct Acknowledged(BTreeMap<String, bool>);

impl Acknowledged {
    fn note(&mut self, line: &str) {
        match line.split_once(' ') {
            Some(("A", key)) => _ = self.0.insert(key.to_owned(), false),
            Some(("D", key)) => _ = self.0.insert(key.to_owned(), true),
            _ => {}
        }
    }

    /// Asserts that nothing is lost.
    fn check(&self, store: &DurableStore, size: usize) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (key, is_done) in &self.0 {
            match runtime.block_on(store.claim(claim(key, 2))).unwrap() {
                Claimed::Done(found) => assert_eq!(found, answer(key, size), "{key}"),
                Claimed::InProgress { .. } => assert!(!is_done, "{key}: the value is lost"),
                other => panic!("{key}: {other:?}"),
            }
        }
    }
}

#[test]
fn acknowledged_records_survive_a_kill() {
    // T105
    let directory = Directory::new("kills");
    let file = directory.0.join("records");
    let mut all = Acknowledged::default();
    for kill in 0..KILLS {
        let mut run = start(Command::new(std::env::current_exe().unwrap()), &file, 100);
        let mut now = Acknowledged::default();
        // Some processes are killed while they open the file. The first line of the test harness shows that the process
        // runs.
        run.lines.recv_timeout(PATIENCE).unwrap();
        for _ in 0..kill * 7 % 30 {
            now.note(&run.lines.recv_timeout(PATIENCE).unwrap());
        }
        run.child.kill().unwrap();
        run.child.wait().unwrap();
        run.lines.iter().for_each(|line| now.note(&line));
        let store = DurableStore::open(&file).unwrap();
        now.check(&store, 100);
        all.0.append(&mut now.0);
    }
    all.check(&DurableStore::open(&file).unwrap(), 100);
    let completed = all.0.values().filter(|is_done| **is_done).count();
    assert!(completed > KILLS as usize, "{completed} completed");
    println!("{KILLS} kills, {} claims and {completed} completions acknowledged, none lost", all.0.len());
}

#[test]
fn a_full_disk_returns_errors_loses_nothing_and_the_store_recovers() {
    const ANSWER: usize = 60_000;
    let directory = Directory::new("full");
    let file = directory.0.join("records");
    // Limits the files of the process to 8 MiB. Exceeding the limit is an error and raises no signal.
    let mut limited = Command::new("bash");
    limited.args(["-c", "trap '' XFSZ; ulimit -S -f 8192; exec \"$0\" \"$@\""]);
    limited.arg(std::env::current_exe().unwrap());
    let mut run = start(limited, &file, ANSWER);
    let mut acknowledged = Acknowledged::default();
    let (mut problems, mut replays) = (Vec::new(), Vec::new());
    while problems.len() < 20 || replays.len() < 20 {
        let line = run.lines.recv_timeout(PATIENCE).unwrap();
        acknowledged.note(&line);
        replays.extend(line.starts_with(['R', 'N']).then(|| line.clone()));
        problems.extend(line.strip_prefix("E ").map(str::to_owned));
    }
    assert!(!acknowledged.0.is_empty());
    assert!(problems.iter().any(|problem| problem.contains("File too large")), "{problems:?}");
    // A replay writes nothing.
    assert!(replays.iter().all(|replay| replay.starts_with("R ")), "{replays:?}");
    assert!(
        problems.iter().all(|problem| problem.contains("records")),
        "each error names the file: {problems:?}"
    );
    let unlimited = ["--fsize=unlimited", "--pid", &run.child.id().to_string()];
    assert!(Command::new("prlimit").args(unlimited).status().unwrap().success());
    let mut after = 0;
    while after < 20 {
        let line = run.lines.recv_timeout(PATIENCE).unwrap();
        acknowledged.note(&line);
        after += u32::from(line.starts_with("D "));
    }
    run.child.kill().unwrap();
    run.child.wait().unwrap();
    run.lines.iter().for_each(|line| acknowledged.note(&line));
    acknowledged.check(&DurableStore::open(&file).unwrap(), ANSWER);
}
