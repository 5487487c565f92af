//! Anomalies that the modes permit. The documentation of the crate lists these, and each is shown here.

use std::collections::BTreeSet;

use resilient_replica::resolve::{Actor, HybridClock, MvRegister};
use resilient_replica::{Level, Mode, Problem, ReplicaSet};

use crate::members::Behaviour::{Down, Works};
use crate::members::Members;

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
