//! The behaviour of each mode and level if members fail.

use std::time::Duration;

use resilient_replica::resolve::{Actor, GCounter};
use resilient_replica::{Level, Mode, Problem};
use resilient_runtime::{Class, Classify};
use tokio::time::Instant;

use crate::members::Behaviour::{Down, Empty, Hung, Mute, Works};
use crate::members::{Members, TIMEOUT};

#[tokio::test(start_paused = true)]
async fn cp_works_with_a_majority_and_is_refused_without() {
    let members = Members::new();
    let set = members.registers(Mode::Cp);
    set.write("key", &1).await.unwrap();
    members.behave([Works, Works, Down]);
    set.write("key", &2).await.unwrap();
    let read = set.read("key").await.unwrap();
    assert_eq!((read.value, read.may_be_stale), (Some(2), false));

    members.behave([Works, Down, Down]);
    let refused = set.write("key", &3).await.unwrap_err();
    let Problem::WriteRefused { needed: 2, reached: 1, can_take_effect: true, members: 3, causes } =
        &refused.problem
    else {
        panic!("{refused}")
    };
    assert_eq!(causes.len(), 2);
    assert_eq!(
        refused.to_string(),
        "replica set `tested`: the write needs 2 of 3 members, and 1 accepted it, so it can still take effect: \
         `b`: connection refused; `c`: connection refused"
    );
    assert_eq!(refused.classify(), Class::UNCERTAIN);
    let refused = set.read("key").await.unwrap_err();
    assert!(
        matches!(refused.problem, Problem::ReadRefused { needed: 2, reached: 1, members: 3, .. }),
        "{refused}"
    );
    assert_eq!(refused.classify(), Class::TRANSIENT);
    assert_eq!(set.stats().refused, 2);
}

#[tokio::test(start_paused = true)]
async fn ap_works_with_one_member_and_says_that_a_value_may_be_stale() {
    let members = Members::new();
    let set = members.registers(Mode::Ap);
    members.behave([Works, Down, Down]);
    let accepted = set.write("key", &1).await.unwrap();
    assert!(accepted.is_weak && accepted.members == 1);
    let read = set.read("key").await.unwrap();
    assert_eq!((read.value, read.may_be_stale), (Some(1), true));
    members.behave([Down, Down, Down]);
    assert!(matches!(
        set.write("key", &2).await.unwrap_err().problem,
        Problem::WriteRefused { reached: 0, .. }
    ));
    assert!(matches!(set.read("key").await.unwrap_err().problem, Problem::ReadRefused { reached: 0, .. }));

    // The others get the write from the hints, without any call.
    members.behave([Works, Works, Works]);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(set.stats().hints, 0);
    members.behave([Down, Works, Works]);
    let read = set.read("key").await.unwrap();
    assert_eq!((read.value, read.may_be_stale), (Some(1), false));
}

#[tokio::test(start_paused = true)]
async fn hints_do_not_count_as_writes() {
    // T206
    let members = Members::new();
    let set = members.registers(Mode::Cp);
    members.behave([Works, Down, Down]);
    set.write("key", &1).await.unwrap_err();
    assert_eq!(set.stats().hints, 0, "the write was refused, so nothing is kept for later");
    members.behave([Works, Works, Down]);
    set.write("key", &2).await.unwrap();
    members.settle().await;
    assert_eq!(set.stats().hints, 1);
}

#[tokio::test(start_paused = true)]
async fn within_waits_for_consistency_and_then_prefers_availability() {
    let members = Members::new();
    let set = members.registers(Mode::Within(Duration::from_millis(20)));
    set.write("key", &1).await.unwrap();
    members.behave([Works, Hung, Hung]);
    let began = Instant::now();
    let read = set.read("key").await.unwrap();
    assert_eq!((read.value, read.may_be_stale), (Some(1), true));
    assert_eq!(began.elapsed(), Duration::from_millis(20), "not {TIMEOUT:?}");
    let began = Instant::now();
    assert!(set.write("key", &2).await.unwrap().is_weak);
    assert_eq!(began.elapsed(), Duration::from_millis(20));
}

#[tokio::test(start_paused = true)]
async fn a_hung_member_delays_a_read_by_the_hedge_only() {
    let members = Members::new();
    let set = members.builder().hedge_after(Duration::from_millis(10)).build(&members.registry).unwrap();
    set.write("key", &1_u64).await.unwrap();
    members.behave([Hung, Works, Works]);
    let began = Instant::now();
    assert_eq!(set.read("key").await.unwrap().value, Some(1));
    assert_eq!(began.elapsed(), Duration::from_millis(10));
    assert_eq!(set.stats().hedges, 1);
}

#[tokio::test(start_paused = true)]
async fn levels_need_as_many_members_as_they_say() {
    let members = Members::new();
    let set = members.registers(Mode::Cp);
    set.write("key", &1).await.unwrap();
    members.behave([Down, Works, Down]);
    let read = set.at(Level::One).read("key").await.unwrap();
    assert_eq!((read.value, read.may_be_stale), (Some(1), true));
    assert!(!set.at(Level::One).write("key", &2).await.unwrap().is_weak, "it has what its level needs");
    members.behave([Works, Works, Down]);
    assert!(set.at(Level::All).read("key").await.is_err());
    assert!(set.at(Level::All).write("key", &3).await.is_err());

    let near = members.builder::<u64>().region("eu").build(&members.registry);
    assert!(near.unwrap_err().to_string().contains("no member is in its region `eu`"));
}

#[tokio::test(start_paused = true)]
async fn a_local_quorum_needs_members_of_its_own_region_only() {
    let members = Members::new();
    let set = resilient_replica::ReplicaSet::<u64>::builder("tested", members.clock.clone())
        .member_in("us", "a")
        .member_in("us", "b")
        .member_in("eu", "c")
        .region("eu")
        .build(&members.registry)
        .unwrap()
        .at(Level::LocalQuorum);
    members.behave([Hung, Hung, Works]);
    let began = Instant::now();
    set.write("key", &1).await.unwrap();
    assert_eq!(set.read("key").await.unwrap().value, Some(1));
    assert_eq!(set.at(Level::One).read("key").await.unwrap().value, Some(1));
    assert!(began.elapsed().is_zero(), "it did not wait for the other region");
    members.behave([Works, Works, Down]);
    assert!(set.write("key", &2).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_member_that_comes_back_empty_gets_everything_by_reads_and_sweeps() {
    let members = Members::new();
    let set = members.registers(Mode::Cp);
    for key in 0..20 {
        set.write(&key.to_string(), &key).await.unwrap();
    }
    let empty = std::sync::Arc::new(resilient_replica::MemoryReplica::new());
    members.registry.use_store("b", std::sync::Arc::clone(&empty));
    for key in 0..20 {
        assert_eq!(set.read(&key.to_string()).await.unwrap().value, Some(key));
    }
    let sweep = set.sweep().await.unwrap();
    assert_eq!((sweep.unreachable.len(), sweep.failed.0), (0, 0));
    assert_eq!(set.sweep().await.unwrap().different_ranges, 0);
    members.behave([Down, Works, Works]);
    for key in 0..20 {
        assert_eq!(set.read(&key.to_string()).await.unwrap().value, Some(key), "from the new member");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_was_lost_is_unknown_and_not_repeated_elsewhere() {
    let members = Members::new();
    let set = members.merging::<GCounter>(Mode::Ap);
    let add = |count: &mut GCounter, actor: Actor| count.add(actor, 1).map(drop);
    set.update("key", add).await.unwrap();
    members.behave([Works, Works, Works]);
    // The first member carries out the write and does not answer. A read is answered by the others.
    members.each[0].set(Mute);
    let unknown = set.update("key", add).await;
    members.behave([Works, Works, Works]);
    let expected = if unknown.is_ok() { 2..=2 } else { 1..=2 };
    let value = set.at(Level::All).read("key").await.unwrap().value.unwrap().value();
    assert!(expected.contains(&value), "{value}");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_hides_its_values_does_not_hide_them_from_a_quorum() {
    let members = Members::new();
    let set = members.registers(Mode::Cp);
    set.write("key", &1).await.unwrap();
    members.behave([Empty, Works, Works]);
    for _ in 0..3 {
        assert_eq!(set.read("key").await.unwrap().value, Some(1));
    }
}
