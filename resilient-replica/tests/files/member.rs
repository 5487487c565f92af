//! A member in a file.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use resilient_replica::{FileReplica, LARGEST_RECORD, MemoryReplica};
use resilient_runtime::store::{
    Expected, ReplicaKey, ReplicaRecord, ReplicaStore, ReplicaVersion, ReplicaWrite, StoreError, Written,
};
use resilient_runtime::testing::check_replica_store;

use crate::folder::Folder;

fn version(number: u64) -> ReplicaVersion {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    ReplicaVersion(now.as_millis() << 80 | u128::from(number))
}

fn write(key: ReplicaKey, version: ReplicaVersion, value: Option<&[u8]>, expected: Expected) -> ReplicaWrite {
    let record = ReplicaRecord { version, value: value.map(<[u8]>::to_vec) };
    ReplicaWrite { key, record, expected, max_ahead: Duration::from_mins(1) }
}

/// Digests of all ranges, and all records by key.
async fn content(
    store: &dyn ReplicaStore,
    set: &str,
) -> (Vec<u64>, BTreeMap<String, (ReplicaVersion, bool)>) {
    let (mut digests, mut all) = (Vec::new(), BTreeMap::new());
    for range in 0..ReplicaKey::RANGES {
        digests.push(store.digest(set, range).await.unwrap());
        let mut from = None;
        loop {
            let page = store.list(set, range, from, 2).await.unwrap();
            all.extend(page.entries.into_iter().map(|entry| (entry.key, (entry.version, entry.is_removed))));
            from = page.next;
            if from.is_none() {
                break;
            }
        }
    }
    (digests, all)
}

#[tokio::test]
async fn it_keeps_every_rule_also_after_it_was_opened_again() {
    let folder = Folder::new("rules");
    for _ in 0..2 {
        check_replica_store(&FileReplica::open(folder.path("member")).unwrap()).await.unwrap();
    }
}

#[tokio::test]
async fn it_does_what_a_member_in_memory_does_across_restarts() {
    let folder = Folder::new("model");
    let memory = MemoryReplica::new();
    let mut state = 11_u64;
    let mut random = move |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    let start = version(0).0;
    let version = |number| ReplicaVersion(start + u128::from(number) * ((1 << 64) / 3));
    for _ in 0..4 {
        let store = FileReplica::open(folder.path("member")).unwrap();
        for _ in 0..150 {
            let key =
                ReplicaKey::new(["a", "ab"][usize::from(random(4) == 0)], format!("user {}", random(40)));
            let new = version(random(30));
            if random(8) == 0 {
                assert_eq!(store.forget(key.clone(), new).await, memory.forget(key, new).await);
                continue;
            }
            let value = (random(3) > 0).then(|| format!("value {}", random(3)));
            let expected = match random(4) {
                0 => Expected::Exactly(None),
                1 => Expected::Exactly(Some(version(random(30)))),
                _ => Expected::Older,
            };
            let write = write(key.clone(), new, value.as_ref().map(String::as_bytes), expected);
            assert_eq!(store.write(write.clone()).await, memory.write(write).await);
            assert_eq!(store.read(key.clone()).await, memory.read(key).await);
        }
        for set in ["a", "ab", "b"] {
            assert_eq!(content(&store, set).await, content(&memory, set).await);
        }
    }
}

#[tokio::test]
async fn a_write_that_is_dropped_is_made() {
    let folder = Folder::new("dropped");
    let key = |number: u32| ReplicaKey::new("set", number.to_string());
    let store = FileReplica::open(folder.path("member")).unwrap();
    for number in 0..100 {
        drop(store.write(write(key(number), version(1), Some(b"x"), Expected::Older)));
    }
    drop(store);
    let store = FileReplica::open(folder.path("member")).unwrap();
    for number in 0..100 {
        assert!(store.read(key(number)).await.unwrap().is_some());
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_an_error_and_is_not_changed() {
    let folder = Folder::new("bad");
    let path = folder.path("member");
    let refused = |expected: &str| {
        let error = FileReplica::open(&path).unwrap_err().to_string();
        assert!(error.starts_with("cannot open replica file ") && error.contains(expected), "{error}");
    };
    let store = FileReplica::open(&path).unwrap();
    refused("already open");
    let first = write(ReplicaKey::new("set", "key"), version(1), Some(&vec![7; 50_000]), Expected::Older);
    assert_eq!(store.write(first.clone()).await, Ok(Written::Applied));
    let large = write(first.key.clone(), version(2), Some(&vec![7; LARGEST_RECORD]), Expected::Older);
    let error = store.write(large).await;
    assert!(
        matches!(&error, Err(StoreError::Refused(problem)) if problem.contains("more than 16777216")),
        "{error:?}"
    );
    drop(store);

    let good = std::fs::read(&path).unwrap();
    for (bytes, reason) in [
        (b"not a database".to_vec(), "it is not a database"),
        (Vec::new(), "it is empty"),
        (good[..good.len() / 2].to_vec(), "damaged"),
    ] {
        std::fs::write(&path, &bytes).unwrap();
        refused(reason);
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    refused("it is a directory");
    std::fs::remove_dir(&path).unwrap();
    drop(resilient_runtime::idempotency::DurableStore::open(&path).unwrap());
    refused("it is a database of another program");
    std::fs::remove_file(&path).unwrap();

    std::fs::write(&path, &good).unwrap();
    let store = FileReplica::open(&path).unwrap();
    assert_eq!(store.read(first.key.clone()).await, Ok(Some(first.record)));
    // A change to a file without a name would be lost.
    std::fs::remove_file(&path).unwrap();
    let write = write(ReplicaKey::new("set", "other"), version(1), None, Expected::Older);
    let error = store.write(write).await.unwrap_err().to_string();
    assert!(error.contains("removed"), "{error}");
}
