//! Times of merges beside the crate `crdts`, and of quorum reads and writes.
//!
//! `cargo run --release -p resilient-benches --features replica --bin replica` writes `benches/REPLICA.md`; `-- --print`
//! only prints it.

use std::error::Error;
use std::fmt::Write;
use std::hint::black_box;
use std::time::{Duration, Instant};

use crdts::CmRDT as _;
use resilient_replica::resolve::{Actor, GCounter, HybridClock, Merge, OrSet, VersionVector};
use resilient_replica::{MemoryReplica, ReplicaSet};
use resilient_runtime::Registry;
use resilient_runtime::store::{
    Expected, ReplicaKey, ReplicaRecord, ReplicaStore as _, ReplicaVersion, ReplicaWrite,
};

/// Number of times that each operation is measured.
const ROUNDS: usize = 200;
const OPERATIONS: u32 = 20_000;

/// The median time of an operation, without the time to prepare its input.
fn median<I, O>(mut prepare: impl FnMut() -> I, mut work: impl FnMut(I) -> O) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let input = black_box(prepare());
            let start = Instant::now();
            let output = work(input);
            let time = start.elapsed();
            drop(black_box(output));
            time
        })
        .collect();
    times.sort_unstable();
    times[ROUNDS / 2]
}

fn shown(time: Duration) -> String {
    if time < Duration::from_micros(1) {
        return format!("{} ns", time.as_nanos());
    }
    format!("{:.1} us", time.as_secs_f64() * 1e6)
}

/// The times of a merge of two values, with this crate and with `crdts`.
fn merges<O: Merge + Clone, T: crdts::CvRDT + Clone>(ours: &[O; 2], theirs: &[T; 2]) -> (Duration, Duration) {
    let our_time = median(
        || ours.clone(),
        |[mut left, right]| {
            left.merge(right).expect("within the bounds");
            left
        },
    );
    let their_time = median(
        || theirs.clone(),
        |[mut left, right]| {
            left.merge(right);
            left
        },
    );
    (our_time, their_time)
}

/// The time of a merge of two values with `size` elements. Half of them are in both.
fn sets(size: u64) -> (Duration, Duration) {
    let (one, two) = (Actor::new(1), Actor::new(2));
    let mut ours = [OrSet::default(), OrSet::default()];
    for item in 0..size {
        ours[0].insert(one, item).expect("a number is left");
        ours[1].insert(two, size / 2 + item).expect("a number is left");
    }
    let mut theirs = [crdts::Orswot::<u64, u64>::new(), crdts::Orswot::new()];
    for item in 0..size {
        let add = theirs[0].add(item, theirs[0].read_ctx().derive_add_ctx(1));
        theirs[0].apply(add);
        let add = theirs[1].add(size / 2 + item, theirs[1].read_ctx().derive_add_ctx(2));
        theirs[1].apply(add);
    }
    merges(&ours, &theirs)
}

fn counters(actors: u64) -> (Duration, Duration) {
    let mut ours = [GCounter::default(), GCounter::default()];
    let mut theirs = [crdts::GCounter::<u64>::new(), crdts::GCounter::new()];
    for actor in 0..actors {
        for (index, count) in [actor + 1, actors - actor].into_iter().enumerate() {
            ours[index].add(Actor::new(actor), count).expect("below the largest number");
            let change = theirs[index].inc_many(actor, count);
            theirs[index].apply(change);
        }
    }
    merges(&ours, &theirs)
}

/// The median and the 99th percentile.
fn percentiles(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort_unstable();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

/// Times of a write and a read: of one member, and of a quorum of three.
async fn quorums() -> Result<Vec<(&'static str, (Duration, Duration))>, Box<dyn Error>> {
    let registry = Registry::new();
    for name in ["a", "b", "c"] {
        registry.use_store(name, MemoryReplica::new());
    }
    let clock = HybridClock::new(Actor::new(1));
    let numbers =
        ReplicaSet::<u64>::builder("numbers", clock).member("a").member("b").member("c").build(&registry)?;
    let (member, key) = (MemoryReplica::new(), ReplicaKey::new("numbers", "key"));
    let mut times: [Vec<Duration>; 4] = Default::default();
    for number in 0..u64::from(OPERATIONS) {
        let record =
            ReplicaRecord { version: ReplicaVersion(number.into()), value: Some(number.to_string().into()) };
        let write =
            ReplicaWrite { key: key.clone(), record, expected: Expected::Older, max_ahead: Duration::MAX };
        let start = Instant::now();
        member.write(write).await?;
        times[0].push(start.elapsed());
        let start = Instant::now();
        member.read(key.clone()).await?;
        times[1].push(start.elapsed());
        let start = Instant::now();
        numbers.write("key", &number).await?;
        times[2].push(start.elapsed());
        let start = Instant::now();
        let read = numbers.read("key").await?;
        times[3].push(start.elapsed());
        assert_eq!(read.value, Some(number));
    }
    let names = [
        "write of one member in memory",
        "read of one member in memory",
        "quorum write of 3 members",
        "quorum read of 3 members",
    ];
    Ok(names.into_iter().zip(times.map(percentiles)).collect())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut text = "# Benchmarks of replicated data\n\n".to_owned();
    writeln!(
        text,
        "Times of a merge of two values, medians. A factor above 1 means that `crdts` takes longer.\n"
    )?;
    writeln!(text, "| merge | resilient-replica | `crdts` | factor |\n|---|--:|--:|--:|")?;
    for actors in [4, 16, 64] {
        row(&mut text, &format!("G-Counter with {actors} actors"), counters(actors))?;
    }
    for size in [16, 256, 4096] {
        row(&mut text, &format!("OR-Set, {size} items each, half of them common"), sets(size))?;
    }
    writeln!(text, "\n| operation | median / 99th percentile |\n|---|--:|")?;
    for (name, (half, most)) in quorums().await? {
        writeln!(text, "| {name} | {} / {} |", shown(half), shown(most))?;
    }
    let mut vector = VersionVector::default();
    for actor in 0..16 {
        vector.increment(Actor::new(u64::MAX - actor))?;
    }
    let json = serde_json::to_vec(&vector)?.len();
    let memory = size_of_val(&vector) + vector.len() * size_of::<(Actor, u64)>();
    writeln!(
        text,
        "\nA version vector of 16 actors has {memory} bytes in memory, and {json} as JSON with the longest numbers."
    )?;
    writeln!(
        text,
        "\nWritten by `cargo run --release -p resilient-benches --features replica --bin replica`."
    )?;
    print!("{text}");
    if !std::env::args().any(|argument| argument == "--print") {
        std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/REPLICA.md"), text)?;
    }
    Ok(())
}

fn row(text: &mut String, name: &str, (ours, theirs): (Duration, Duration)) -> std::fmt::Result {
    let factor = theirs.as_secs_f64() / ours.as_secs_f64();
    writeln!(text, "| {name} | {} | {} | {factor:.1} |", shown(ours), shown(theirs))
}
