//! Hints in a file.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use resilient_replica::resolve::{Actor, HybridClock};
use resilient_replica::{Builder, FileReplica, HintLimits, LastWriteWins, MemoryReplica, Mode, ReplicaSet};
use resilient_runtime::store::{Backend, Config, ReplicaKey, ReplicaStore};
use resilient_runtime::{Component as _, Registry};

use crate::folder::Folder;

const FOLDER: &str = "RESILIENT_TEST_HINT_FOLDER";
const PATIENCE: Duration = Duration::from_secs(20);

/// A store that a test keeps.
#[derive(Debug)]
struct Shared(Arc<MemoryReplica>);

impl Backend for Shared {
    fn address(&self) -> String {
        self.0.address()
    }

    fn replica(&self) -> Option<&dyn ReplicaStore> {
        Some(&*self.0)
    }
}

/// A set of `near` and `far`, with hints in a file.
fn builder(path: &Path) -> Builder<u64, LastWriteWins> {
    let clock = HybridClock::new(Actor::named("orders-0"));
    ReplicaSet::builder("numbers", clock).member("near").member("far").mode(Mode::Ap).hints_in(path)
}

/// Registers the near member in a file, with a time limit for a slow machine.
fn use_near(registry: &Registry, folder: &Path) {
    let near = registry.use_store("near", FileReplica::open(folder.join("near")).unwrap());
    near.reconfigure(Config::default().timeout(PATIENCE)).unwrap();
}

async fn until(mut is_done: impl AsyncFnMut() -> bool) {
    let wait = async {
        while !is_done().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, wait).await.unwrap();
}

/// Runs the work in a runtime of its own, and ends all its tasks, as a restart does.
fn in_process<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let result = runtime.block_on(work);
    runtime.shutdown_timeout(PATIENCE);
    result
}

#[test]
fn hints_survive_a_restart_and_are_delivered_once() {
    let folder = Folder::new("restart");
    let (near, far) = (Arc::new(MemoryReplica::new()), Arc::new(MemoryReplica::new()));
    in_process(async {
        let registry = Registry::new();
        registry.use_store("near", Shared(Arc::clone(&near)));
        let set = builder(&folder.path("hints")).build(&registry).unwrap();
        for number in 0..20 {
            assert!(set.write(&format!("key {}", number % 5), &number).await.unwrap().is_weak);
        }
        assert_eq!((set.stats().hints, set.stats().unsaved_hints), (5, 0), "the newest one of each key");
    });
    in_process(async {
        let registry = Registry::new();
        registry.use_store("near", Shared(Arc::clone(&near)));
        let set = builder(&folder.path("hints")).build(&registry).unwrap();
        assert_eq!(set.stats().hints, 5, "they are there before the member is");
        registry.use_store("far", Shared(Arc::clone(&far)));
        until(async || set.stats().hints == 0).await;
        for key in 0..5 {
            let key = ReplicaKey::new("numbers", format!("key {key}"));
            let found = far.read(key.clone()).await.unwrap();
            assert!(found.is_some() && found == near.read(key).await.unwrap());
        }
        assert_eq!(set.stats().repairs, 5);
    });
    in_process(async {
        let set = builder(&folder.path("hints")).build(&Registry::new()).unwrap();
        assert_eq!(set.stats().hints, 0, "a hint that was delivered is removed");
    });
}

#[test]
fn hints_in_a_file_keep_their_bounds() {
    let folder = Folder::new("bounds");
    let registry = Registry::new();
    registry.use_store("near", MemoryReplica::new());
    let limits = HintLimits { max_hints: 3, ..HintLimits::default() };
    in_process(async {
        let set = builder(&folder.path("hints")).hints(limits).build(&registry).unwrap();
        for number in 0..10 {
            set.write(&format!("key {number}"), &number).await.unwrap();
        }
        assert_eq!((set.stats().hints, set.stats().dropped_hints), (3, 7));
    });
    in_process(async {
        let fewer = HintLimits { max_hints: 2, ..limits };
        let set = builder(&folder.path("hints")).hints(fewer).build(&registry).unwrap();
        assert_eq!((set.stats().hints, set.stats().dropped_hints), (2, 1));
    });
    in_process(async {
        let set = builder(&folder.path("hints")).hints(limits).build(&registry).unwrap();
        assert_eq!((set.stats().hints, set.stats().dropped_hints), (2, 0), "the third one was removed");
    });
    in_process(async {
        let expired = HintLimits { max_age: Duration::from_nanos(1), ..limits };
        let set = builder(&folder.path("hints")).hints(expired).build(&registry).unwrap();
        assert_eq!((set.stats().hints, set.stats().dropped_hints), (0, 2));
    });
    in_process(async {
        let set = builder(&folder.path("hints")).hints(limits).build(&registry).unwrap();
        set.write("key", &1).await.unwrap();
    });
    in_process(async {
        let clock = HybridClock::new(Actor::named("orders-0"));
        let without_far = ReplicaSet::<u64>::builder("numbers", clock).member("near");
        let set = without_far.hints_in(folder.path("hints")).build(&registry).unwrap();
        assert_eq!(
            (set.stats().hints, set.stats().dropped_hints),
            (0, 1),
            "the member is not part of the set"
        );
    });
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_an_error() {
    let folder = Folder::new("refused");
    let (path, registry) = (folder.path("hints"), Registry::new());
    let refused = |expected: &str| {
        let error = builder(&path).build(&registry).unwrap_err().to_string();
        assert!(error.starts_with("replica set `numbers`: cannot open hint file "), "{error}");
        assert!(error.contains(expected), "{error}");
    };
    let clock = HybridClock::new(Actor::named("orders-0"));
    let other =
        ReplicaSet::<u64>::builder("names", clock).member("near").hints_in(&path).build(&registry).unwrap();
    refused("it is already open");
    drop(other);
    refused("it belongs to the replica set `names`: use a file of its own for each set");
    std::fs::write(&path, "text").unwrap();
    refused("it is not a database");
    assert_eq!(std::fs::read(&path).unwrap(), b"text");
}

/// The child process of the test below: writes to its near member, and prints each key that was accepted.
#[tokio::test]
async fn child() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let registry = Registry::new();
    use_near(&registry, folder);
    let set = builder(&folder.join("hints")).build(&registry).unwrap();
    for number in 0.. {
        let key = format!("{}-{number}", std::process::id());
        assert!(set.write(&key, &number).await.unwrap().is_weak);
        let mut out = std::io::stdout().lock();
        out.write_all(format!("accepted {key}\n").as_bytes()).unwrap();
        out.flush().unwrap();
    }
}

#[test]
fn no_hint_of_an_accepted_write_is_lost_when_the_process_is_killed() {
    let folder = Folder::new("hint-kills");
    let mut accepted = BTreeSet::new();
    for round in 0..10 {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "hints::child", "--nocapture"]).env(FOLDER, folder.path(""));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let key = |line: String| line.split_once("accepted ").map(|(_, key)| key.to_owned());
        let wanted = accepted.len() + 3 + round;
        while accepted.len() < wanted {
            accepted.extend(key(lines.next().expect("the child ends only when it is killed")));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // The last line can be cut.
        accepted.extend(lines.filter_map(key).filter(|key| key.contains('-') && !key.ends_with('-')));
    }
    let far = Arc::new(MemoryReplica::new());
    in_process(async {
        let registry = Registry::new();
        use_near(&registry, &folder.path(""));
        registry.use_store("far", Shared(Arc::clone(&far)));
        let set = builder(&folder.path("hints")).build(&registry).unwrap();
        until(async || set.stats().hints == 0).await;
        for key in &accepted {
            let found = far.read(ReplicaKey::new("numbers", key)).await.unwrap();
            assert!(found.is_some(), "{key} of {}", accepted.len());
        }
    });
}
