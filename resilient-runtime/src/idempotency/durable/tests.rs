use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use redb::{Database, TableDefinition};

use super::*;
use crate::clock::ManualClock;
use crate::idempotency::tests::model::{check, steps};
use crate::store::idempotency::Fingerprint;

const SECONDS: fn(u64) -> Duration = Duration::from_secs;

/// A temporary directory that is removed when dropped.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("resilient-durable-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("records")
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn claim(key: &str, owner: u128) -> Claim {
    Claim {
        key: key.to_owned(),
        fingerprint: Fingerprint(1),
        operation: "",
        owner: Owner(owner),
        lease: SECONDS(60),
        lost_for: SECONDS(3600),
        takes_over: false,
        client: None,
    }
}

/// Blocks until the store has replied.
fn now<T>(answer: Answer<'_, T>) -> Result<T, StoreError> {
    let mut answer = answer;
    let waker = crate::clock::unparker();
    let mut cx = std::task::Context::from_waker(&waker);
    loop {
        match answer.as_mut().poll(&mut cx) {
            std::task::Poll::Ready(answer) => return answer,
            std::task::Poll::Pending => std::thread::park_timeout(SECONDS(1)),
        }
    }
}

fn open(path: &Path, time: &ManualClock, wall: u64) -> DurableStore {
    DurableStore::open_at(path, 1000, time.clock(), wall).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn it_behaves_like_the_model_across_restarts(steps in steps(60)) {
        let (time, directory) = (ManualClock::new(), Directory::new());
        let file = directory.file();
        let wall = || time.clock().now().as_nanos();
        check(steps, &time, open(&file, &time, wall()), |store| {
            drop(store);
            open(&file, &time, wall())
        })?;
    }
}

#[test]
fn requests_sent_before_the_store_is_dropped_are_written() {
    let (time, directory) = (ManualClock::new(), Directory::new());
    let store = open(&directory.file(), &time, 0);
    for number in 0..100 {
        // The futures are dropped without being polled.
        drop(store.claim(claim(&number.to_string(), number)));
        drop(store.complete(&number.to_string(), Owner(number), vec![1], SECONDS(10)));
    }
    drop(store);
    let store = open(&directory.file(), &time, 0);
    for number in 0..100 {
        assert_eq!(
            now(store.claim(claim(&number.to_string(), 1000))),
            Ok(Claimed::Done(vec![1])),
            "{number}"
        );
    }
}

#[test]
fn one_of_several_concurrent_claims_of_a_key_succeeds() {
    // T104
    let (time, directory) = (ManualClock::new(), Directory::new());
    let store = Arc::new(open(&directory.file(), &time, 0));
    let won = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let (store, won) = (&store, &won);
            scope.spawn(move || {
                for key in 0..50 {
                    let claimed = now(store.claim(claim(&key.to_string(), thread + 1))).unwrap();
                    won.fetch_add(u32::from(claimed == Claimed::Acquired), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(won.into_inner(), 50);
}

#[test]
fn a_wall_clock_that_was_set_back_expires_no_record_early() {
    // T10
    let (time, directory) = (ManualClock::new(), Directory::new());
    let day = nanos(SECONDS(24 * 3600));
    let store = open(&directory.file(), &time, 10 * day);
    assert_eq!(now(store.claim(claim("k", 1))), Ok(Claimed::Acquired));
    assert_eq!(now(store.complete("k", Owner(1), vec![7], SECONDS(100))), Ok(true));
    drop(store);
    let store = open(&directory.file(), &time, day);
    assert_eq!(now(store.claim(claim("k", 2))), Ok(Claimed::Done(vec![7])));
    time.advance(SECONDS(99));
    assert_eq!(now(store.claim(claim("k", 2))), Ok(Claimed::Done(vec![7])));
    time.advance(SECONDS(1));
    assert_eq!(now(store.claim(claim("k", 2))), Ok(Claimed::Acquired), "it expires after its ttl");
}

#[test]
fn a_full_store_rejects_new_keys_until_records_expire() {
    let (time, directory) = (ManualClock::new(), Directory::new());
    let store = DurableStore::open_at(&directory.file(), 3, time.clock(), 0).unwrap();
    for number in 0..3 {
        assert_eq!(now(store.claim(claim(&number.to_string(), number))), Ok(Claimed::Acquired));
    }
    assert_eq!(now(store.claim(claim("more", 9))), Err(StoreError::Full { records: 3, retry_after: None }));
    assert_eq!(
        now(store.complete("1", Owner(1), Vec::new(), SECONDS(1))),
        Ok(true),
        "an existing key is not affected"
    );
    time.advance(SECONDS(1));
    // An expired record is removed by the first claim, before or after it is rejected.
    let claimed = (0..2).any(|_| now(store.claim(claim("more", 9))) == Ok(Claimed::Acquired));
    assert!(claimed);
}

#[test]
fn new_claims_remove_expired_records() {
    let (time, directory) = (ManualClock::new(), Directory::new());
    let store = open(&directory.file(), &time, 0);
    for number in 0..3000_u128 {
        // The store has room for a thousand records, and no old key is used again.
        let key = number.to_string();
        drop(store.claim(claim(&key, number)));
        drop(store.complete(&key, Owner(number), Vec::new(), SECONDS(1)));
        if number % 100 == 99 {
            let claimed = now(store.claim(claim(&key, 0)));
            assert!(claimed.is_ok(), "{number}: {claimed:?}");
            time.advance(SECONDS(1));
        }
    }
}

/// Checks that opening the file fails and does not change it. Returns the error text.
fn refused(path: &Path) -> String {
    let before = std::fs::read(path).ok();
    let error = DurableStore::open(path).unwrap_err();
    assert_eq!(std::fs::read(path).ok(), before, "the file is not changed");
    assert_eq!(error.path(), path);
    let text = error.to_string();
    assert!(text.contains(&path.display().to_string()), "{text}");
    text
}

#[test]
fn a_file_that_is_not_a_store_is_rejected_and_not_changed() {
    let directory = Directory::new();
    assert!(refused(&directory.0).contains("it is a directory"));
    assert!(refused(&directory.0.join("not there/records")).contains("No such file"));
    let notes = directory.0.join("notes");
    for text in ["buy milk".to_owned(), "buy milk\n".repeat(10_000)] {
        std::fs::write(&notes, text).unwrap();
        let text = refused(&notes);
        assert!(text.contains("not a database") || text.contains("damaged"), "{text}");
    }
    std::fs::write(&notes, "").unwrap();
    assert!(refused(&notes).contains("it is empty"));
    let foreign = directory.0.join("foreign");
    let database = Database::create(&foreign).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(TableDefinition::<u64, u64>::new("orders")).unwrap().insert(1, 2).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let before = std::fs::read(&foreign).unwrap();
    let text = DurableStore::open(&foreign).unwrap_err().to_string();
    assert!(text.contains("another program (tables: orders)"), "{text}");
    assert!(before.len() == std::fs::read(&foreign).unwrap().len());
    let database = Database::create(&foreign).unwrap();
    let read = redb::ReadableDatabase::begin_read(&database).unwrap();
    let orders = read.open_table(TableDefinition::<u64, u64>::new("orders")).unwrap();
    assert_eq!(orders.get(1).unwrap().unwrap().value(), 2);
}

#[test]
fn one_of_several_concurrent_opens_of_a_new_file_succeeds() {
    let directory = Directory::new();
    let stores: Vec<_> = std::thread::scope(|scope| {
        let open = || DurableStore::open(directory.file());
        let opening: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
        opening.into_iter().map(|opened| opened.join().unwrap()).collect()
    });
    let (opened, refused): (Vec<_>, Vec<_>) = stores.into_iter().partition(Result::is_ok);
    assert_eq!(opened.len(), 1, "{refused:?}");
    assert!(refused.iter().all(|refused| refused.as_ref().unwrap_err().to_string().contains("already open")));
    assert_eq!(std::fs::read_dir(&directory.0).unwrap().count(), 1, "no temporary file is left");
}

#[test]
fn a_file_that_is_open_or_has_a_later_format_is_rejected() {
    let directory = Directory::new();
    let path = directory.file();
    let store = DurableStore::open(&path).unwrap();
    let text = DurableStore::open(&path).unwrap_err().to_string();
    assert!(text.contains("already open"), "{text}");
    drop(store);
    let database = Database::create(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(file::META).unwrap().insert("format", 3).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let text = DurableStore::open(&path).unwrap_err().to_string();
    assert!(text.contains("format 3, but this version of resilient reads formats 1 to 2"), "{text}");
}

#[test]
fn a_damaged_file_is_rejected_or_its_records_are_correct() {
    let directory = Directory::new();
    let path = directory.file();
    let store = DurableStore::open(&path).unwrap();
    for number in 0..50_u128 {
        let key = format!("key {number}");
        drop(store.claim(claim(&key, number)));
        assert_eq!(now(store.complete(&key, Owner(number), vec![42; 100], SECONDS(3600))), Ok(true));
    }
    drop(store);
    let good = std::fs::read(&path).unwrap();
    let damaged = directory.0.join("damaged");
    let mut refused = 0;
    for part in 0..64 {
        // Clear a part of the file, or truncate it.
        let mut bytes = good.clone();
        let at = part * bytes.len() / 64;
        if part % 8 == 7 {
            bytes.truncate(at);
        } else {
            let end = (at + 512).min(bytes.len());
            bytes[at..end].fill(0);
        }
        std::fs::write(&damaged, &bytes).unwrap();
        let Ok(store) = DurableStore::open(&damaged) else {
            refused += 1;
            continue;
        };
        for number in 0..50 {
            match now(store.claim(claim(&format!("key {number}"), 1000))) {
                Ok(Claimed::Done(answer)) => assert_eq!(answer, [42; 100]),
                // A damaged record must not look like a missing one.
                Ok(other) => panic!("part {part}, key {number}: {other:?}"),
                Err(_) => {}
            }
        }
    }
    assert!(refused > 0);
}

#[test]
fn a_file_of_the_previous_version_is_read_and_its_records_apply() {
    use crate::idempotency::Fingerprint;
    use crate::idempotency::durable::row::tests::{FORM_1, bytes};
    use crate::registry::Registry;
    use crate::rejection::{Rejection, RejectionKind};
    #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
    struct Receipt {
        number: u32,
        cents: u32,
    }
    let (directory, time) = (Directory::new(), ManualClock::new());
    let database = Database::create(directory.file()).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(file::META).unwrap().insert("format", 1).unwrap();
    for (key, row) in FORM_1 {
        transaction.open_table(file::RECORDS).unwrap().insert(key, bytes(row).as_slice()).unwrap();
    }
    transaction.commit().unwrap();
    drop(database);
    let registry = Registry::with_clock(time.clock());
    for reopened in [false, true] {
        registry.idempotency("pay").set_store(Arc::new(open(&directory.file(), &time, 0)));
        let pay = registry.pipeline("shop::pay").idempotency("pay").build();
        let print = Fingerprint(1);
        let done = pay
            .request()
            .key(&"done")
            .fingerprint(print)
            .call(|| -> Result<Receipt, Rejection> { panic!("twice") });
        assert_eq!(done, Ok(Receipt { number: 1, cents: 995 }), "reopened: {reopened}");
        let float = pay
            .request()
            .key(&"float")
            .fingerprint(print)
            .call(|| -> Result<f64, Rejection> { panic!("twice") })
            .unwrap_err();
        assert_eq!(float.kind(), RejectionKind::StoredValueMismatch);
        assert!(float.to_string().contains("saved as JSON by an earlier version of resilient"), "{float}");
        let claimed = registry.idempotency("pay");
        let at_once = crate::idempotency::Config::default().max_wait(Duration::ZERO);
        crate::component::Component::reconfigure(&*claimed, at_once).unwrap();
        assert_eq!(claimed.claim_blocking("claimed", print).unwrap_err().kind(), RejectionKind::InProgress);
        let other = claimed.claim_blocking("claimed", Fingerprint(2)).unwrap_err();
        assert_eq!(other.kind(), RejectionKind::KeyReused);
        let new = pay
            .request()
            .key(&"new")
            .fingerprint(print)
            .call(|| Ok::<f64, Rejection>(1_193.825_500_000_000_1));
        assert_eq!(new, Ok(1_193.825_500_000_000_1));
        registry
            .idempotency("pay")
            .set_store(Arc::new(crate::idempotency::MemoryStore::new(time.clock(), 1)));
    }
}

fn gone(reply: Result<impl std::fmt::Debug, StoreError>, what: &str) {
    match reply {
        Err(StoreError::Unavailable(problem)) => assert!(problem.contains(what), "{problem}"),
        other => panic!("{other:?}"),
    }
}

#[cfg(unix)]
#[test]
fn a_removed_or_replaced_file_rejects_new_keys_and_still_serves_existing_ones() {
    let (time, directory) = (ManualClock::new(), Directory::new());
    let (path, aside) = (directory.file(), directory.0.join("aside"));
    let store = open(&path, &time, 0);
    for key in ["done", "running"] {
        assert_eq!(now(store.claim(claim(key, 1))), Ok(Claimed::Acquired));
    }
    assert_eq!(now(store.complete("done", Owner(1), vec![7], SECONDS(100))), Ok(true));
    std::fs::rename(&path, &aside).unwrap();
    for what in ["removed", "replaced"] {
        if what == "replaced" {
            drop(DurableStore::open(&path).unwrap());
        }
        gone(
            now(store.claim(claim("new", 2))),
            &format!("it was {what} while it was open: nothing new is accepted"),
        );
        assert_eq!(now(store.claim(claim("done", 2))), Ok(Claimed::Done(vec![7])), "{what}");
        assert!(matches!(now(store.claim(claim("running", 2))), Ok(Claimed::InProgress { .. })));
    }
    gone(now(store.complete("running", Owner(1), vec![8], SECONDS(100))), "replaced");
    assert_eq!(
        now(store.claim(claim("running", 2))),
        Ok(Claimed::Done(vec![8])),
        "visible until the process ends"
    );
    std::fs::rename(&aside, &path).unwrap();
    assert_eq!(now(store.claim(claim("new", 2))), Ok(Claimed::Acquired), "the file was restored");
}

#[tokio::test]
async fn it_keeps_every_rule_of_a_store() {
    let (directory, time) = (Directory::new(), ManualClock::new());
    let store = open(&directory.file(), &time, 0);
    crate::testing::check_idempotency_store(&store, async |span| time.advance(span)).await.unwrap();
}

#[tokio::test]
async fn a_synchronous_call_inside_an_async_task_gets_its_answer() {
    let (directory, time) = (Directory::new(), ManualClock::new());
    let once = crate::Registry::new().idempotency("blocking in a task");
    once.set_store(Arc::new(open(&directory.file(), &time, 0)));
    for key in ["a", "b"] {
        assert_eq!(once.call(key, Fingerprint::NONE, || Some(7)), Some(7));
    }
}
