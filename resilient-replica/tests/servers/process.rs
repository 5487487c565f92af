//! Other processes of this test program.

use std::hash::{BuildHasher as _, RandomState};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::record::{Operation, Recorder, count, read};
use crate::redis_server::PATIENCE;

const TASK: &str = "RESILIENT_TEST_REPLICA";

/// The part of a process.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    /// The number of the process. Each has another one, also if it is in the place of a killed one.
    pub(crate) number: u32,
    /// Where it is: which member it asks first.
    pub(crate) place: usize,
    /// The addresses of the members.
    pub(crate) addresses: [String; 3],
    history: PathBuf,
}

/// A process that runs one test and writes its history. It is killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    pub(crate) place: usize,
    history: PathBuf,
}

/// The side of the process. `None` if the test was not started by [`Process::start`].
pub(crate) struct Task {
    pub(crate) part: Part,
    pub(crate) recorder: Recorder,
    /// Set when the process should end.
    is_over: Arc<AtomicBool>,
}

impl Process {
    /// Starts a process that runs a test, such as `"consistent::child"`.
    pub(crate) fn start(
        test: &str,
        folder: &Path,
        number: u32,
        place: usize,
        addresses: [String; 3],
    ) -> Self {
        let history = folder.join(format!("history {number}"));
        let part = Part { number, place, addresses, history: history.clone() };
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([test, "--exact", "--nocapture"]).env(TASK, serde_json::to_string(&part).unwrap());
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        Self { child, place, history }
    }

    /// How many operations the process has finished.
    pub(crate) fn finished(&self) -> usize {
        count(&self.history)
    }

    /// Waits until the process has finished so many operations.
    pub(crate) async fn wait_for(&mut self, operations: usize) {
        let start = Instant::now();
        while self.finished() < operations {
            assert!(self.child.try_wait().unwrap().is_none(), "it has ended before {operations} operations");
            assert!(start.elapsed() < PATIENCE, "it does not finish {operations} operations");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Kills the process without warning. Returns its operations.
    pub(crate) fn kill(mut self) -> Vec<Operation> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        read(&self.history)
    }

    /// Lets the process end. Returns its operations.
    pub(crate) fn end(mut self) -> Vec<Operation> {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success(), "see the output of the process");
        read(&self.history)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Task {
    pub(crate) fn new() -> Option<Self> {
        let part: Part = serde_json::from_str(&std::env::var(TASK).ok()?).unwrap();
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        // Also if the process that started this one is gone.
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            ends.store(true, Ordering::SeqCst);
        });
        Some(Self { recorder: Recorder::new(&part.history), part, is_over })
    }

    pub(crate) fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::SeqCst)
    }

    /// Leaves the processor to the other processes for a random time.
    pub(crate) async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis(random(3))).await;
    }
}

/// A random number below `end`.
pub(crate) fn random(end: u64) -> u64 {
    RandomState::new().hash_one(()) % end
}
