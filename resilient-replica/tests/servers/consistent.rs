//! Registers in `Cp`: the history of all processes is linearizable.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use resilient_replica::{Level, Mode, ReplicaSet};

use crate::faults::{World, instance};
use crate::history::{Event, Kind, Outcome, check};
use crate::members::MEMBERS;
use crate::process::{Task, random};
use crate::record::{self, Action, Operation, now};

const CLIENTS: u64 = 4;
const KEYS: u64 = 16;
/// How often a write is tried, at most.
const ATTEMPTS: usize = 8;

/// A process of the test below: several clients read and write.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(task) = Task::new() else { return };
    let instance = instance(&task.part);
    join_all((0..CLIENTS).map(|client| use_registers(&task, client, instance.registers(Mode::Cp)))).await;
}

/// The set belongs to this client alone, so its statistics do too.
async fn use_registers(task: &Task, client: u64, set: ReplicaSet<u64>) {
    let mut value = u64::from(task.part.number) << 32 | client << 24;
    while task.goes_on() {
        let key = key();
        if random(3) == 0 {
            value += 1;
            let (number, before) = (task.recorder.begin(&key, Action::Write(value)), set.stats().conflicts);
            let written = set.write(&key, &value).await;
            let outcome = record::Outcome::of(written);
            task.recorder.end(number, outcome, set.stats().conflicts - before);
        } else {
            let number = task.recorder.begin(&key, Action::Read);
            let read = set.read(&key).await;
            let outcome = read.map_or(record::Outcome::NoEffect, |read| record::Outcome::Value(read.value));
            task.recorder.end(number, outcome, 0);
        }
        task.pause().await;
    }
}

/// Most clients use the same key at the same time.
fn key() -> String {
    let turn = u64::try_from(now().as_millis()).unwrap() / 50;
    let key = if random(4) == 0 { random(KEYS) } else { turn % KEYS };
    key.to_string()
}

/// An operation as events of the register.
fn events(operation: &Operation) -> Vec<Event<Duration>> {
    let began = operation.began;
    let write = |value, outcome, ended| Event { kind: Kind::Write(value), outcome, began, ended };
    match (operation.action, operation.end.map(|end| (end, end.outcome))) {
        (Action::Write(value), None) => vec![write(value, Outcome::Unknown, began); ATTEMPTS],
        (Action::Write(value), Some((end, outcome))) => {
            let (outcome, again) = match outcome {
                record::Outcome::Accepted { .. } => (Outcome::Done, Outcome::Repeated),
                record::Outcome::Unknown => (Outcome::Unknown, Outcome::Unknown),
                _ => (Outcome::NoEffect, Outcome::NoEffect),
            };
            let repeated = (0..end.conflicts).map(|_| write(value, again, end.at));
            std::iter::once(write(value, outcome, end.at)).chain(repeated).collect()
        }
        (_, Some((end, record::Outcome::Value(value)))) => {
            vec![Event { kind: Kind::Read(value), outcome: Outcome::Done, began, ended: end.at }]
        }
        _ => Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server and PostgreSQL: cargo xtask replica"]
async fn the_history_of_several_processes_is_linearizable_while_servers_and_processes_fail() {
    // T203
    let mut world = World::start("consistent::child").await;
    world.have_faults().await;
    let operations = world.operations();
    let mut histories = BTreeMap::<String, Vec<Event<Duration>>>::new();
    for operation in &operations {
        histories.entry(operation.key.clone()).or_default().extend(events(operation));
    }
    // An accepted write that was lost would be missing in the last reads, of a quorum, of all members, and of each one.
    let observer = world.observer();
    for (key, history) in &mut histories {
        let set = observer.registers(Mode::Cp);
        let each = MEMBERS.map(|member| observer.only(member).0);
        for set in [set.clone(), set.at(Level::All)].into_iter().chain(each) {
            let began = now();
            let kind = Kind::Read(set.read(key).await.unwrap().value);
            history.push(Event { kind, outcome: Outcome::Done, began, ended: now() });
        }
    }
    let count = |outcome| histories.values().flatten().filter(|event| event.outcome == outcome).count();
    let [done, unknown, repeated] = [Outcome::Done, Outcome::Unknown, Outcome::Repeated].map(count);
    let all = operations.len();
    eprintln!("measured: {all} operations, {done} done, {unknown} unknown, {repeated} repetitions");
    for (key, history) in histories {
        let began = std::time::Instant::now();
        check(&history).unwrap_or_else(|stuck| panic!("key {key}: {stuck:#?}"));
        eprintln!("measured: key {key}: {} events in {:?}", history.len(), began.elapsed());
    }
    assert!(done > 500 && unknown > 5, "the faults have an effect");
}
