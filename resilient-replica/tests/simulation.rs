//! Several instances and members in virtual time, with slow, lost and cut requests and clocks that differ.
//!
//! `SEEDS=7 cargo test -p resilient-replica --test simulation` repeats the run of one seed.

mod history;
#[path = "history/tests.rs"]
mod history_tests;
#[path = "simulation/world.rs"]
mod world;

use std::collections::BTreeSet;
use std::time::Duration;

use history::{Event, Kind, Outcome, check};
use resilient_replica::resolve::{Actor, OrSet, PnCounter};
use resilient_replica::{Level, Mode, Problem, ReplicaSet, Resolver, Value};
use world::{Faults, World};

const SEEDS: u64 = 1000;
const INSTANCES: usize = 3;

fn seeds() -> Vec<u64> {
    match std::env::var("SEEDS") {
        Ok(seed) => vec![seed.parse().expect("SEEDS is the number of one seed")],
        Err(_) => (0..SEEDS).collect(),
    }
}

/// Runs something for each seed, in virtual time.
fn for_all_seeds<F: Future<Output = ()>>(run: impl Fn(u64) -> F) {
    for seed in seeds() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(run(seed));
    }
}

/// Each instance reads and writes one key for some time. Returns the history.
async fn registers(world: &World, mode: Mode) -> Vec<Event<tokio::time::Instant>> {
    let instances = (0..INSTANCES).map(|instance| {
        let (set, mut random) = (world.registers(instance, mode), world.random(instance as u64));
        async move {
            let mut events = Vec::new();
            for step in 0..8 {
                tokio::time::sleep(Duration::from_millis(random.below(120))).await;
                let began = tokio::time::Instant::now();
                let (kind, outcome) = if random.below(2) == 0 {
                    let value = (instance * 100 + step + 1) as u64;
                    let outcome = match set.write("key", &value).await {
                        Ok(_) => Outcome::Done,
                        Err(error) => match error.problem {
                            Problem::WriteRefused { can_take_effect: false, .. }
                            | Problem::ClockAhead { .. } => Outcome::NoEffect,
                            _ => Outcome::Unknown,
                        },
                    };
                    (Kind::Write(value), outcome)
                } else {
                    match set.read("key").await {
                        Ok(read) => (Kind::Read(read.value), Outcome::Done),
                        Err(_) => (Kind::Read(None), Outcome::NoEffect),
                    }
                };
                events.push(Event { kind, outcome, began, ended: tokio::time::Instant::now() });
            }
            events
        }
    });
    futures_util::future::join_all(instances).await.into_iter().flatten().collect()
}

#[test]
fn no_accepted_write_is_lost_in_cp_and_reads_are_in_order() {
    // T203
    let (mut accepted, mut refused) = (0, 0);
    let counts = std::sync::Mutex::new((0, 0));
    for_all_seeds(|seed| {
        let counts = &counts;
        async move {
            let world = World::new(seed, INSTANCES, Faults::SOME);
            let mut history = registers(&world, Mode::Cp).await;
            world.heal();
            tokio::time::sleep(Duration::from_mins(1)).await;
            // The value that all members agree on after the faults is part of the history.
            let began = tokio::time::Instant::now();
            let last = world.registers(0, Mode::Cp).at(Level::All).read("key").await.expect("all work again");
            let ended = tokio::time::Instant::now();
            history.push(Event { kind: Kind::Read(last.value), outcome: Outcome::Done, began, ended });
            check(&history).unwrap_or_else(|stuck| panic!("seed {seed}: {stuck:?} {history:#?}"));
            let mut counts = counts.lock().unwrap();
            counts.0 += history.iter().filter(|event| event.outcome == Outcome::Done).count();
            counts.1 += history.iter().filter(|event| event.outcome != Outcome::Done).count();
        }
    });
    (accepted, refused) = {
        let counts = counts.lock().unwrap();
        (accepted + counts.0, refused + counts.1)
    };
    if std::env::var("SEEDS").is_err() {
        assert!(accepted > 5000 && refused > 500, "the faults have an effect: {accepted} {refused}");
    }
}

/// Sweeps until the members are equal.
async fn converge<T: Value, R: Resolver<T>>(set: &ReplicaSet<T, R>, seed: u64) {
    for _ in 0..3 {
        if set.sweep().await.expect("all members work again").different_ranges == 0 {
            return;
        }
    }
    panic!("seed {seed}: the members differ after three sweeps");
}

#[test]
fn all_members_converge_in_ap_and_keep_every_accepted_change() {
    // T204
    for_all_seeds(|seed| async move {
        let world = World::new(seed, INSTANCES, Faults::SOME);
        let instances = (0..INSTANCES).map(|instance| {
            let (set, mut random) = (world.sets(instance, Mode::Ap), world.random(instance as u64));
            async move {
                let mut accepted = BTreeSet::new();
                for step in 0..6 {
                    tokio::time::sleep(Duration::from_millis(random.below(120))).await;
                    let item = instance * 100 + step;
                    let change = |items: &mut OrSet<usize>, actor: Actor| items.insert(actor, item).map(drop);
                    if set.update("key", change).await.is_ok() {
                        accepted.insert(item);
                    }
                }
                accepted
            }
        });
        let accepted: BTreeSet<usize> =
            futures_util::future::join_all(instances).await.into_iter().flatten().collect();
        world.heal();
        tokio::time::sleep(Duration::from_mins(1)).await;
        let set = world.sets(0, Mode::Cp);
        converge(&set, seed).await;
        let all = set.at(Level::All).read("key").await.unwrap().value.unwrap_or_default();
        let all: BTreeSet<usize> = all.iter().copied().collect();
        assert!(accepted.is_subset(&all), "seed {seed}: {accepted:?} {all:?}");
    });
}

#[test]
fn counts_are_neither_lost_nor_doubled() {
    // T205
    for_all_seeds(|seed| async move {
        let world = World::new(seed, INSTANCES, Faults::SOME);
        let mode = if seed % 2 == 0 { Mode::Ap } else { Mode::Cp };
        let instances = (0..INSTANCES).map(|instance| {
            let (set, mut random) = (world.counters(instance, mode), world.random(instance as u64));
            async move {
                let (mut accepted, mut unknown) = (0, 0);
                for _ in 0..6 {
                    tokio::time::sleep(Duration::from_millis(random.below(120))).await;
                    let added = 1 + random.below(5).cast_signed();
                    let change = |count: &mut PnCounter, actor: Actor| count.add(actor, added).map(drop);
                    match set.update("key", change).await.map_err(|error| error.problem) {
                        Ok(_) => accepted += added,
                        Err(
                            Problem::WriteRefused { can_take_effect: false, .. }
                            | Problem::ReadRefused { .. },
                        ) => {}
                        Err(_) => unknown += added,
                    }
                }
                (accepted, unknown)
            }
        });
        let counts = futures_util::future::join_all(instances).await;
        let (accepted, unknown) = counts.iter().fold((0, 0), |sum, count| (sum.0 + count.0, sum.1 + count.1));
        world.heal();
        tokio::time::sleep(Duration::from_mins(1)).await;
        let set = world.counters(0, Mode::Cp);
        converge(&set, seed).await;
        let count = set.at(Level::All).read("key").await.unwrap().value.unwrap_or_default().value();
        let possible = i128::from(accepted)..=i128::from(accepted + unknown);
        assert!(possible.contains(&count), "seed {seed}: {count} is not in {possible:?}");
    });
}
