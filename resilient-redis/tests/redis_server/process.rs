//! Other processes of this test program.

use std::hash::{BuildHasher as _, RandomState};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::history::{Call, Recorder, read};
use crate::server::{PATIENCE, Server};

const URL: &str = "RESILIENT_TEST_REDIS";
const HISTORY: &str = "RESILIENT_TEST_HISTORY";

/// A process that runs one test and writes its history. It is killed when it is dropped.
pub(crate) struct Process {
    child: Child,
    history: PathBuf,
}

/// The side of the process. `None` if the test was not started by [`Process::start`].
pub(crate) struct Task {
    pub(crate) url: String,
    pub(crate) recorder: Recorder,
    /// Set when the process should end.
    pub(crate) is_over: Arc<AtomicBool>,
}

impl Process {
    /// Starts a process that runs a test, such as `"fleet::child"`, on a server.
    pub(crate) fn start(test: &str, server: &Server) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let history = server.directory().join(format!("history {number}"));
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args([test, "--exact", "--nocapture"]).env(URL, server.url()).env(HISTORY, &history);
        let child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
        Self { child, history }
    }

    /// The calls that the process has finished.
    pub(crate) fn calls(&self) -> Vec<Call> {
        read(&self.history)
    }

    /// Waits until the process has finished so many calls.
    pub(crate) async fn wait_for(&mut self, calls: usize) {
        let start = Instant::now();
        while self.calls().len() < calls {
            assert!(self.child.try_wait().unwrap().is_none(), "it has ended before {calls} calls");
            assert!(start.elapsed() < PATIENCE, "it does not finish {calls} calls");
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    /// Kills the process without warning. Returns its calls.
    pub(crate) fn kill(mut self) -> Vec<Call> {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
        self.calls()
    }

    /// Lets the process end. Returns its calls.
    pub(crate) fn end(mut self) -> Vec<Call> {
        drop(self.child.stdin.take());
        assert!(self.child.wait().unwrap().success(), "see the output of the process");
        self.calls()
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
        let (url, history) = (std::env::var(URL).ok()?, std::env::var_os(HISTORY)?);
        let is_over = Arc::new(AtomicBool::new(false));
        let ends = Arc::clone(&is_over);
        // Also if the process that started this one is gone.
        std::thread::spawn(move || {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            ends.store(true, Ordering::SeqCst);
        });
        Some(Self { url, recorder: Recorder::new(history), is_over })
    }

    pub(crate) fn goes_on(&self) -> bool {
        !self.is_over.load(Ordering::SeqCst)
    }
}

/// A random number below `end`.
pub(crate) fn random(end: u64) -> u64 {
    RandomState::new().hash_one(()) % end
}
