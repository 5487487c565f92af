//! Bad input: clocks, values of other types, sets that cannot keep their promise.

use std::time::Duration;

use resilient_replica::resolve::{Actor, HybridClock};
use resilient_replica::{HintLimits, Level, MemoryReplica, Mode, Problem, ReplicaSet};
use resilient_runtime::Registry;
use resilient_runtime::rate_limit::MemoryStore;

use crate::members::Behaviour::{Down, Endless, Works};
use crate::members::Members;

fn problem(
    build: impl FnOnce(
        resilient_replica::Builder<u64, resilient_replica::LastWriteWins>,
    ) -> resilient_replica::Builder<u64, resilient_replica::LastWriteWins>,
) -> String {
    let set = ReplicaSet::builder("tested", HybridClock::new(Actor::new(1)));
    build(set).build(&Registry::new()).unwrap_err().to_string()
}

#[test]
fn sets_that_cannot_keep_their_promise_are_refused_with_the_remedy() {
    assert_eq!(
        problem(|set| set),
        "replica set `tested`: it has no members: call `member` with the name of a store"
    );
    let three = |set: resilient_replica::Builder<u64, _>| set.member("a").member("b").member("c");
    assert!(problem(|set| three(set).quorums(1, 2)).contains("must together be more than 3"));
    assert!(problem(|set| three(set).quorums(3, 1)).contains("must be more than half of 3"));
    assert!(problem(|set| three(set).quorums(0, 4)).contains("must each be 1 to 3"));
    assert!(problem(|set| three(set).member("a")).contains("member `a` is added twice"));
    assert!(
        problem(|set| three(set).grace(Duration::from_hours(3)))
            .contains("must be longer than hints are kept")
    );
    assert!(problem(|set| three(set).region("eu")).contains("no member is in its region"));
}

#[tokio::test(start_paused = true)]
async fn a_set_of_one_member_works() {
    let registry = Registry::with_clock(resilient_runtime::clock::Clock::tokio());
    registry.use_store("only", MemoryReplica::new());
    let set = ReplicaSet::<u64>::builder("tested", HybridClock::new(Actor::new(1))).member("only");
    let set = set.build(&registry).unwrap();
    for level in [Level::One, Level::Quorum, Level::LocalQuorum, Level::All] {
        set.at(level).write("key", &7).await.unwrap();
        let read = set.at(level).read("key").await.unwrap();
        assert_eq!((read.value, read.may_be_stale), (Some(7), false));
    }
    set.remove("key").await.unwrap();
    assert_eq!(set.read("key").await.unwrap().value, None);
    assert_eq!(set.sweep().await.unwrap().repaired, 0);
}

#[tokio::test(start_paused = true)]
async fn an_instance_whose_clock_is_a_year_ahead_cannot_write_and_harms_nobody() {
    // T208
    let members = Members::new();
    let ahead = || Duration::from_hours(24 * 365) + std::time::UNIX_EPOCH.elapsed().unwrap();
    let wrong = ReplicaSet::<u64>::builder("tested", HybridClock::with_wall_clock(Actor::new(2), ahead));
    let wrong = wrong.member("a").member("b").member("c").build(&members.registry).unwrap();
    let refused = wrong.write("key", &1).await.unwrap_err();
    assert!(matches!(refused.problem, Problem::ClockAhead { .. }), "{refused}");
    assert!(refused.to_string().contains("set the clocks by NTP"), "{refused}");
    let set = members.registers(Mode::Cp);
    assert_eq!(set.read("key").await.unwrap().value, None);
    set.write("key", &2).await.unwrap();
    assert_eq!(wrong.read("key").await.unwrap().value, Some(2), "it can read");
}

#[tokio::test(start_paused = true)]
async fn a_value_of_another_type_is_an_error_and_stays() {
    let members = Members::new();
    let texts = members.builder::<String>().build(&members.registry).unwrap();
    texts.write("key", &"text".to_owned()).await.unwrap();
    let numbers = members.registers(Mode::Cp);
    let refused = numbers.read("key").await.unwrap_err();
    assert!(matches!(&refused.problem, Problem::OtherType { member, .. } if !member.is_empty()), "{refused}");
    assert_eq!(texts.read("key").await.unwrap().value.as_deref(), Some("text"));
}

#[tokio::test(start_paused = true)]
async fn a_store_without_the_role_is_an_error_with_the_remedy() {
    let registry = Registry::with_clock(resilient_runtime::clock::Clock::tokio());
    registry.use_store("other", MemoryStore::new(registry.clock().clone(), 10));
    let set = ReplicaSet::<u64>::builder("tested", HybridClock::new(Actor::new(1)));
    let set = set.member("other").member("missing").build(&registry).unwrap();
    let refused = set.write("key", &1).await.unwrap_err().to_string();
    assert!(
        refused.contains("`other`: the store at memory cannot be a member of a replica set"),
        "{refused}"
    );
    assert!(refused.contains("store `missing`: it is not registered"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn values_above_a_mebibyte_are_refused() {
    let members = Members::new();
    let set = members.builder::<String>().build(&members.registry).unwrap();
    let refused = set.write("key", &"x".repeat(1 << 20)).await.unwrap_err();
    assert!(matches!(refused.problem, Problem::NotStorable(_)), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn hints_are_bounded_and_a_sweep_delivers_the_others() {
    let members = Members::new();
    let hints = HintLimits { max_hints: 5, ..HintLimits::default() };
    let set = members.builder::<u64>().hints(hints).build(&members.registry).unwrap();
    members.behave([Works, Works, Down]);
    for key in 0..20 {
        set.write(&key.to_string(), &key).await.unwrap();
    }
    members.settle().await;
    let stats = set.stats();
    assert_eq!((stats.hints, stats.dropped_hints), (5, 15));
    members.behave([Works, Works, Works]);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!((set.stats().hints, set.stats().hint_bytes), (0, 0));
    assert_eq!(set.sweep().await.unwrap().repaired, 15);
    assert_eq!(set.sweep().await.unwrap().different_ranges, 0);
}

#[tokio::test(start_paused = true)]
async fn a_member_that_lists_without_an_end_does_not_block_a_sweep() {
    let members = Members::new();
    let set = members.registers(Mode::Cp);
    members.behave([Works, Works, Down]);
    set.write("key", &1).await.unwrap();
    members.behave([Works, Works, Endless]);
    let sweep = set.sweep().await.unwrap();
    assert_eq!((sweep.different_ranges, sweep.failed.0), (256, 256));
    let problem = sweep.failed.1.unwrap();
    assert!(problem.starts_with("`c`: ") && problem.contains("more than 5000 pages"), "{problem}");
}

#[tokio::test(start_paused = true)]
async fn hints_that_are_too_old_are_forgotten() {
    let members = Members::new();
    let set = members.registers(Mode::Cp);
    members.behave([Works, Works, Down]);
    set.write("key", &1).await.unwrap();
    members.settle().await;
    assert!(set.stats().oldest_hint.is_some());
    tokio::time::sleep(Duration::from_hours(4)).await;
    assert_eq!((set.stats().hints, set.stats().oldest_hint), (0, None));
}

#[tokio::test(start_paused = true)]
async fn tombstones_stay_for_the_grace_period_and_until_all_members_have_them() {
    let members = Members::new();
    let grace = Duration::from_hours(4);
    let set = members.builder::<u64>().grace(grace).build(&members.registry).unwrap();
    set.write("key", &1).await.unwrap();
    set.remove("key").await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(set.sweep().await.unwrap().forgotten, 0, "too young");
    // An instance whose clock is later by the grace period.
    let later = move || grace + Duration::from_mins(1) + std::time::UNIX_EPOCH.elapsed().unwrap();
    let later = ReplicaSet::<u64>::builder("tested", HybridClock::with_wall_clock(Actor::new(2), later));
    let later = later.member("a").member("b").member("c").grace(grace).build(&members.registry).unwrap();
    members.behave([Works, Works, Down]);
    assert_eq!(later.sweep().await.unwrap().forgotten, 0, "a member is missing");
    members.behave([Works, Works, Works]);
    tokio::time::sleep(Duration::from_mins(1)).await;
    assert_eq!(later.sweep().await.unwrap().forgotten, 1);
    assert_eq!(set.read("key").await.unwrap().version, None);
}
