//! Registers and counters in `Ap`: all members converge, and no accepted change is lost.

use std::collections::BTreeMap;

use futures_util::future::join_all;
use resilient_replica::resolve::{Actor, PnCounter};
use resilient_replica::{Level, Merging, Mode, Read, ReplicaSet, Resolver, Value};

use crate::faults::{World, instance};
use crate::members::MEMBERS;
use crate::process::{Task, random};
use crate::record::{Action, Operation, Outcome};

const CLIENTS: u64 = 3;
/// Many, so that the last write of some is during a fault.
const KEYS: u64 = 48;

/// A process of the test below: several clients write registers and add to counters.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child() {
    let Some(task) = Task::new() else { return };
    let instance = instance(&task.part);
    let clients = (0..CLIENTS)
        .map(|client| change(&task, client, instance.registers(Mode::Ap), instance.counters(Mode::Ap)));
    join_all(clients).await;
}

async fn change(
    task: &Task,
    client: u64,
    registers: ReplicaSet<u64>,
    counters: ReplicaSet<PnCounter, Merging>,
) {
    let mut value = u64::from(task.part.number) << 32 | client << 24;
    while task.goes_on() {
        let key = random(KEYS).to_string();
        let (number, changed) = if random(2) == 0 {
            value += 1;
            let number = task.recorder.begin(&key, Action::Write(value));
            (number, registers.write(&key, &value).await)
        } else {
            let added = random(9).cast_signed() - 3;
            let number = task.recorder.begin(&key, Action::Add(added));
            let add = |count: &mut PnCounter, actor: Actor| count.add(actor, added).map(drop);
            (number, counters.update(&key, add).await.map(|(_, accepted)| accepted))
        };
        task.recorder.end(number, Outcome::of(changed), 0);
        task.pause().await;
    }
}

/// Sweeps until the members are equal.
async fn converge<T: Value, R: Resolver<T>>(set: &ReplicaSet<T, R>) {
    for _ in 0..3 {
        let sweep = set.sweep().await.unwrap();
        assert_eq!((sweep.failed, sweep.unreachable), ((0, None), Vec::new()));
        if sweep.different_ranges == 0 {
            return;
        }
    }
    panic!("the members differ after three sweeps");
}

#[derive(Default)]
struct Changes<'a> {
    writes: Vec<&'a Operation>,
    /// The sum of the accepted amounts, and what the unknown ones can take from and add to it.
    accepted: i128,
    unknown: (i128, i128),
}

fn changes(operations: &[Operation]) -> BTreeMap<&str, Changes<'_>> {
    let mut all = BTreeMap::<&str, Changes<'_>>::new();
    for operation in operations {
        let changes = all.entry(&operation.key).or_default();
        match (operation.action, operation.end.map(|end| end.outcome)) {
            (_, Some(Outcome::NoEffect)) => {}
            (Action::Add(added), Some(Outcome::Accepted { .. })) => changes.accepted += i128::from(added),
            (Action::Add(added), _) => {
                changes.unknown.0 += i128::from(added.min(0));
                changes.unknown.1 += i128::from(added.max(0));
            }
            _ => changes.writes.push(operation),
        }
    }
    all
}

/// Checks that no accepted write of a register is later than what the members have.
fn check_register(writes: &[&Operation], has: &Read<u64>) {
    let is_last = |write: &Operation| has.value.is_some_and(|value| write.action == Action::Write(value));
    assert_eq!(has.value.is_some(), writes.iter().any(|write| is_last(write)), "{has:?} was never written");
    for write in writes {
        if let Some(Outcome::Accepted { version, .. }) = write.end.map(|end| end.outcome) {
            assert!(Some(version) <= has.version, "{write:?} was lost: the members have {has:?}");
            assert_eq!(Some(version) == has.version, is_last(write), "{write:?}: the members have {has:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server and PostgreSQL: cargo xtask replica"]
async fn all_members_converge_with_every_accepted_change_after_servers_and_processes_have_failed() {
    // T204, T205
    let mut world = World::start("available::child").await;
    world.have_faults().await;
    let operations = world.operations();
    let observer = world.observer();
    let (registers, counters) = (observer.registers(Mode::Cp), observer.counters(Mode::Cp));
    converge(&registers).await;
    converge(&counters).await;
    let outcomes = operations.iter().map(|operation| operation.end.map(|end| end.outcome));
    let count = |is_counted: fn(&Option<Outcome>) -> bool| outcomes.clone().filter(is_counted).count();
    let accepted = count(|outcome| matches!(outcome, Some(Outcome::Accepted { .. })));
    let weak = count(|outcome| matches!(outcome, Some(Outcome::Accepted { is_weak: true, .. })));
    let unknown = count(|outcome| matches!(outcome, Some(Outcome::Unknown) | None));
    eprintln!("measured: {accepted} changes accepted, {weak} by too few members, {unknown} unknown");
    for (key, changes) in changes(&operations) {
        let register = registers.at(Level::All).read(key).await.unwrap();
        check_register(&changes.writes, &register);
        let counter = counters.at(Level::All).read(key).await.unwrap();
        let count = counter.value.clone().unwrap_or_default().value();
        let possible = changes.accepted + changes.unknown.0..=changes.accepted + changes.unknown.1;
        assert!(possible.contains(&count), "counter {key} is {count}, which is not in {possible:?}");
        for member in MEMBERS {
            let (registers, counters) = observer.only(member);
            assert_eq!(registers.read(key).await.as_ref(), Ok(&register), "{member}");
            assert_eq!(counters.read(key).await.as_ref(), Ok(&counter), "{member}");
        }
    }
    assert!(accepted > 500 && weak > 20, "the faults have an effect");
}
