//! Anomalies that the modes permit. The documentation of the crate lists these, and each is shown here.

use std::collections::BTreeSet;

use resilient_replica::resolve::{Actor, HybridClock, MvRegister};
use resilient_replica::{Level, Mode, Problem, ReplicaSet};

use crate::history::{Event, Kind, Outcome, check};
use crate::members::Behaviour::{Down, Late, Refuses, Works};
use crate::members::{LATE, Members};

#[tokio::test(start_paused = true)]
async fn a_write_that_was_refused_can_take_effect_later() {
    let members = Members::new();
    let set = members.registers(Mode::Cp);
    set.write("key", &1).await.unwrap();
    members.behave([Works, Down, Down]);
    let refused = set.write("key", &2).await.unwrap_err();
    assert!(matches!(refused.problem, Problem::WriteRefused { can_take_effect: true, .. }));
    members.behave([Works, Works, Works]);
    assert_eq!(set.at(Level::All).read("key").await.unwrap().value, Some(2), "although it was refused");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_is_refused_when_it_is_repeated_can_take_effect_too() {
    let members = Members::new();
    let (writer, other) = (members.registers(Mode::Cp), members.registers(Mode::Cp));
    members.behave([Works, Late, Late]);
    let late = tokio::spawn(async move { writer.write("key", &1).await });
    members.settle().await;
    // Another write comes first at the others, which refuse the repetition.
    members.behave([Refuses, Works, Works]);
    other.write("key", &2).await.unwrap();
    members.behave([Refuses, Refuses, Refuses]);
    let refused = late.await.unwrap().unwrap_err().problem;
    assert!(matches!(refused, Problem::WriteRefused { can_take_effect: true, reached: 0, .. }), "{refused}");
    members.behave([Works, Down, Down]);
    let read = other.in_mode(Mode::Ap).read("key").await.unwrap();
    assert_eq!(read.value, Some(1), "the first member has it");
}

#[tokio::test(start_paused = true)]
async fn the_last_write_wins_by_the_clocks_and_the_other_one_is_lost() {
    let members = Members::new();
    let behind = HybridClock::with_wall_clock(Actor::new(2), || {
        std::time::UNIX_EPOCH.elapsed().unwrap().saturating_sub(std::time::Duration::from_millis(400))
    });
    let here = members.registers(Mode::Ap);
    let there = ReplicaSet::builder("tested", behind).member("a").member("b").member("c").mode(Mode::Ap);
    let there: ReplicaSet<u64> = there.build(&members.registry).unwrap();
    // A partition: each writes at another member.
    members.behave([Works, Down, Down]);
    here.write("key", &1).await.unwrap();
    members.behave([Down, Works, Works]);
    there.write("key", &2).await.unwrap();
    members.behave([Works, Works, Works]);
    let read = here.at(Level::All).read("key").await.unwrap();
    assert_eq!(read.value, Some(1), "the later write of the slower clock is lost, although it was accepted");
}

#[tokio::test(start_paused = true)]
async fn a_register_with_several_values_keeps_both_writes_of_a_partition() {
    let members = Members::new();
    let set = members.merging::<MvRegister<u64>>(Mode::Ap);
    let assign = |value: u64| {
        move |register: &mut MvRegister<u64>, actor: Actor| register.assign(actor, value).map(drop)
    };
    members.behave([Works, Down, Down]);
    set.update("key", assign(1)).await.unwrap();
    members.behave([Down, Works, Works]);
    set.update("key", assign(2)).await.unwrap();
    members.behave([Works, Works, Works]);
    let value = set.at(Level::All).read("key").await.unwrap().value.unwrap();
    assert_eq!(value.values().copied().collect::<BTreeSet<_>>(), BTreeSet::from([1, 2]));
}

#[tokio::test(start_paused = true)]
async fn a_read_of_one_member_can_go_back() {
    let members = Members::new();
    let set = members.registers(Mode::Ap).at(Level::One);
    set.write("key", &1).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    members.behave([Down, Works, Works]);
    set.write("key", &2).await.unwrap();
    assert_eq!(set.read("key").await.unwrap().value, Some(2));
    members.behave([Works, Down, Down]);
    assert_eq!(set.read("key").await.unwrap().value, Some(1), "use a session");
}

#[tokio::test(start_paused = true)]
async fn two_instances_that_check_and_then_write_both_succeed() {
    let members = Members::new();
    let (first, second) = (members.registers(Mode::Cp), members.registers(Mode::Cp));
    first.write("stock", &1).await.unwrap();
    let (one, two) = (first.read("stock").await.unwrap(), second.read("stock").await.unwrap());
    assert_eq!((one.value, two.value), (Some(1), Some(1)));
    first.write("stock", &0).await.unwrap();
    second.write("stock", &0).await.unwrap();
    // Both have sold the last one: there is no compare-and-set over several members. Use a database for that.
}

#[tokio::test(start_paused = true)]
async fn writes_of_several_keys_are_not_atomic() {
    let members = Members::new();
    let set = members.registers(Mode::Cp);
    set.write("from", &0).await.unwrap();
    members.behave([Works, Down, Down]);
    set.write("to", &100).await.unwrap_err();
    members.behave([Down, Works, Works]);
    let (from, to) = (set.read("from").await.unwrap(), set.read("to").await.unwrap());
    assert_eq!((from.value, to.value), (Some(0), None), "the amount is at neither key");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_meets_a_newer_version_can_appear_twice() {
    let start = tokio::time::Instant::now();
    let members = Members::new();
    let (writer, other) = (members.registers(Mode::Cp), members.registers(Mode::Cp));
    let done = |kind, began| Event { kind, outcome: Outcome::Done, began, ended: start.elapsed() };
    // The write arrives at `a` at once, and at the others late.
    members.behave([Works, Late, Late]);
    let late = tokio::spawn(async move { writer.write("key", &1).await.map(|_| writer.stats().conflicts) });
    members.settle().await;
    members.behave([Works, Works, Works]);
    let mut history = Vec::new();
    for (value, write) in [(1, false), (2, true), (2, false)] {
        let began = start.elapsed();
        if write {
            other.write("key", &value).await.unwrap();
            history.push(done(Kind::Write(value), began));
        } else {
            let read = other.read("key").await.unwrap().value;
            assert_eq!(read, Some(value));
            history.push(done(Kind::Read(read), began));
        }
        tokio::time::sleep(LATE / 10).await;
    }
    assert!(!late.is_finished());
    assert_eq!(late.await.unwrap(), Ok(1), "it is written again with a later version");
    let write = done(Kind::Write(1), std::time::Duration::ZERO);
    let began = start.elapsed();
    let read = other.read("key").await.unwrap().value;
    assert_eq!(read, Some(1), "it replaces the write that replaced it");
    history.extend([write, done(Kind::Read(read), began)]);
    check(&history).expect_err("one write does not do this");
    history.push(Event { outcome: Outcome::Repeated, ..write });
    assert_eq!(check(&history), Ok(()), "two writes of this value do");
}
