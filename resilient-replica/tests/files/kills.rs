//! Processes that are killed while they write.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use resilient_replica::FileReplica;
use resilient_runtime::store::{
    Expected, ReplicaKey, ReplicaRecord, ReplicaStore, ReplicaVersion, ReplicaWrite, Written,
};

use crate::folder::Folder;

const FILE: &str = "RESILIENT_TEST_REPLICA_FILE";
const KILLS: u32 = 50;
const WRITERS: u32 = 4;

fn key(writer: u32) -> ReplicaKey {
    ReplicaKey::new("counters", writer.to_string())
}

/// The child process of the test below: counts the values of its keys up, and prints each number that was acknowledged.
#[test]
fn child() {
    let Some(path) = std::env::var_os(FILE) else { return };
    let store = FileReplica::open(Path::new(&path)).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let store = &store;
            scope.spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(count(store, writer));
            });
        }
    });
}

async fn count(store: &FileReplica, writer: u32) {
    let mut found = store.read(key(writer)).await.unwrap();
    loop {
        let number = found.as_ref().map_or(0, number_of) + 1;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let version = ReplicaVersion(now.as_millis() << 80 | u128::from(number));
        let record = ReplicaRecord { version, value: Some(number.to_string().into_bytes()) };
        let expected = Expected::Exactly(found.map(|found| found.version));
        let max_ahead = Duration::from_secs(1);
        let write = ReplicaWrite { key: key(writer), record: record.clone(), expected, max_ahead };
        assert_eq!(store.write(write).await, Ok(Written::Applied));
        let mut out = std::io::stdout().lock();
        out.write_all(format!("acknowledged {writer} {number}\n").as_bytes()).unwrap();
        out.flush().unwrap();
        found = Some(record);
    }
}

fn number_of(record: &ReplicaRecord) -> u64 {
    String::from_utf8(record.value.clone().unwrap()).unwrap().parse().unwrap()
}

#[tokio::test]
async fn no_write_that_was_acknowledged_is_lost_when_the_process_is_killed() {
    // T210
    let folder = Folder::new("kills");
    let path = folder.path("member");
    let mut acknowledged: BTreeMap<u32, u64> = BTreeMap::new();
    for round in 0..KILLS {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "kills::child", "--nocapture"]).env(FILE, &path);
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        // Each round is killed at another point.
        let mut note = |line: &str| {
            let Some((_, numbers)) = line.split_once("acknowledged ") else { return 0 };
            let Some((writer, number)) = numbers.split_once(' ') else { return 0 };
            if let (Ok(writer), Ok(number)) = (writer.parse(), number.parse::<u64>()) {
                let highest = acknowledged.entry(writer).or_default();
                *highest = number.max(*highest);
            }
            1
        };
        let mut seen = 0;
        while seen < 5 + round % 7 {
            seen += note(&lines.next().expect("the child ends only when it is killed"));
        }
        child.kill().unwrap();
        child.wait().unwrap();
        lines.for_each(|line| _ = note(&line));

        let store = FileReplica::open(&path).unwrap();
        for (writer, highest) in &mut acknowledged {
            let found = number_of(&store.read(key(*writer)).await.unwrap().unwrap());
            // The last write may be on disk without an acknowledgement. The next process goes on from it.
            let is_there = (*highest..=*highest + 1).contains(&found);
            assert!(is_there, "{writer}: {found}, {highest} was acknowledged");
            *highest = found;
            let range = key(*writer).range();
            let listed = store.list("counters", range, None, 100).await.unwrap().entries;
            let digest = listed.iter().fold(0, |digest, entry| {
                let record = ReplicaRecord { version: entry.version, value: Some(Vec::new()) };
                digest ^ record.mark(&ReplicaKey::new("counters", entry.key.clone()))
            });
            assert_eq!(store.digest("counters", range).await, Ok(digest));
        }
    }
    assert_eq!(acknowledged.len(), WRITERS as usize);
}
