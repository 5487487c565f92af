//! The probes that all instances share.

use super::*;

/// A fleet whose shared circuit is half-open. Two instances voted.
fn half_open(size: u64) -> Fleet {
    let fleet = Fleet::new(size, &enforced().quorum(2));
    fleet.break_down(0..2);
    fleet.meet();
    fleet.instances.iter().for_each(|instance| _ = instance.call());
    fleet.pass(5);
    assert_eq!(fleet.instances[0].shared().state, Some(SharedState::HalfOpen));
    fleet
}

#[test]
fn all_instances_share_the_probes() {
    // T181
    let fleet = half_open(20);
    fleet.meet();
    let mut permits: Vec<Vec<_>> = Vec::new();
    for instance in &fleet.instances {
        permits.push((0..10).filter_map(|_| instance.breaker.try_acquire().ok()).collect());
    }
    assert_eq!(permits.iter().filter(|permits| permits.len() == 1).count(), 3);
    assert_eq!(permits.iter().flatten().count(), 3);
}

#[test]
fn the_probes_of_most_instances_close_the_circuit_of_all() {
    // T181
    let fleet = half_open(5);
    fleet.meet();
    let mut probed = 0;
    for instance in &fleet.instances {
        if instance.call() {
            probed += 1;
            instance.meet();
        }
        if instance.shared().state == Some(SharedState::Closed) {
            break;
        }
    }
    assert_eq!(probed, 2, "two of three probes decide");
    fleet.meet();
    assert_eq!(fleet.states(), [State::Closed; 5]);
    assert_eq!(fleet.instances[0].shared().votes, 0);
}

#[test]
fn an_instance_whose_probe_succeeded_waits_for_the_others() {
    let fleet = half_open(5);
    fleet.meet();
    let first = fleet.instances.iter().find(|instance| instance.call()).unwrap();
    assert!(!first.call(), "one probe for each slot");
    assert_eq!(first.state(), State::HalfOpen);
    assert_eq!(first.breaker.stats().successful, 1);
}

#[test]
fn failed_probes_open_the_shared_circuit_for_twice_as_long() {
    // T181
    let fleet = half_open(5);
    fleet.meet();
    for instance in &fleet.instances {
        instance.fail(1);
        instance.meet();
    }
    fleet.meet();
    assert_eq!(fleet.instances[0].shared().state, Some(SharedState::Open));
    assert!(fleet.instances.iter().all(|instance| !instance.call()));
    fleet.pass(9);
    assert_eq!(fleet.instances[0].shared().state, Some(SharedState::Open));
    fleet.pass(1);
    assert_eq!(fleet.instances[0].shared().state, Some(SharedState::HalfOpen));
}

#[test]
fn a_sick_instance_does_not_keep_the_circuit_open() {
    // T179: its probe fails, and the probes of the others decide.
    let fleet = half_open(5);
    fleet.meet();
    let can_probe = |instance: &&Instance| instance.breaker.try_acquire().is_ok();
    let sick = fleet.instances.iter().position(|instance| can_probe(&instance)).unwrap();
    for _ in 0..3 {
        fleet.instances[sick].fail(1);
        fleet.meet();
        for (number, instance) in fleet.instances.iter().enumerate() {
            _ = number == sick || instance.call();
        }
    }
    fleet.meet();
    let closed = fleet.instances.iter().enumerate().filter(|(number, _)| *number != sick);
    assert!(closed.map(|(_, instance)| instance.state()).all(|state| state == State::Closed));
}

#[test]
fn an_instance_with_calls_gets_the_slot_of_an_idle_one() {
    // T181
    let fleet = Fleet::new(10, &enforced().quorum(2));
    fleet.break_down(0..2);
    fleet.meet();
    fleet.pass(6);
    let busy = fleet.instances.iter().find(|instance| !instance.call());
    let busy = busy.expect("three of ten have a slot");
    busy.meet();
    assert!(busy.call(), "no other instance had a call");
}

#[test]
fn a_slot_that_is_not_used_is_given_to_another_instance() {
    let fleet = half_open(5);
    fleet.meet();
    // The instances with slots are gone.
    let rest: Vec<_> = fleet.instances.iter().filter(|instance| !instance.call()).collect();
    assert_eq!(rest.len(), 2);
    for _ in 0..4 {
        fleet.time.advance(SECOND);
        rest.iter().for_each(|instance| _ = instance.meet());
    }
    assert!(rest.iter().all(|instance| instance.call()));
}

#[test]
fn a_probe_without_a_result_keeps_its_slot() {
    let fleet = half_open(5);
    fleet.meet();
    let first = fleet.instances.iter().find(|instance| instance.breaker.try_acquire().is_ok()).unwrap();
    assert!(first.call(), "the permit was dropped, so another call can probe");
}

#[test]
fn a_hanging_probe_does_not_block_the_shared_circuit() {
    let fleet = half_open(5);
    fleet.meet();
    let hanging = fleet.instances.iter().find_map(|instance| instance.breaker.try_acquire().ok()).unwrap();
    for _ in 0..3 {
        fleet.instances.iter().for_each(|instance| _ = instance.call());
        fleet.pass(1);
    }
    assert_eq!(fleet.instances[0].shared().state, Some(SharedState::Closed));
    drop(hanging);
}

#[test]
fn without_the_store_the_instances_probe_at_different_moments() {
    // T27, T182
    let fleet = Fleet::new(20, &enforced().quorum(2));
    fleet.break_down(0..2);
    fleet.meet();
    for instance in &fleet.instances {
        instance.store.give(Arc::new(Broken));
    }
    fleet.pass(4);
    let stats = fleet.instances[9].breaker.stats();
    let shared = stats.shared.unwrap();
    assert_eq!((shared.state, shared.applies), (None, false), "{shared}");
    assert!(shared.problem.unwrap().contains("out of order"));
    let mut moments: Vec<_> =
        fleet.instances[2..].iter().filter_map(|instance| instance.breaker.stats().retry_after).collect();
    moments.sort_unstable();
    moments.dedup();
    assert!(moments.len() >= 15, "{moments:?}");
    fleet.time.advance(6 * SECOND);
    assert!(fleet.instances.iter().all(Instance::call), "each continues with its own circuit");
}

#[test]
fn one_failed_request_does_not_end_the_hold() {
    // T182
    let fleet = Fleet::new(3, &enforced().quorum(2));
    fleet.break_down(0..2);
    fleet.meet();
    let circuits = Arc::clone(&fleet.circuits);
    fleet.instances[2].store.give(Arc::new(Broken));
    fleet.pass(1);
    assert!(!fleet.instances[2].call());
    fleet.instances[2].store.give(circuits);
    fleet.pass(3);
    assert!(!fleet.instances[2].call());
    assert_eq!(fleet.instances[2].shared().problem, None);
}

/// A store that fails.
#[derive(Debug)]
pub(super) struct Broken;

impl Backend for Broken {
    fn address(&self) -> String {
        "nowhere".to_owned()
    }

    fn circuits(&self) -> Option<&dyn CircuitStore> {
        Some(self)
    }
}

impl CircuitStore for Broken {
    fn report<'a>(&'a self, _: &'a str, _: Report) -> store::Answer<'a, Shared> {
        store::ready(Err(store::StoreError::Unavailable("out of order".to_owned())))
    }

    fn reset<'a>(&'a self, _: &'a str) -> store::Answer<'a, ()> {
        store::ready(Err(store::StoreError::Unavailable("out of order".to_owned())))
    }
}

#[test]
fn one_sick_instance_does_not_open_the_circuit_again_with_few_probes() {
    // T179
    for probes in [1, 2] {
        let fleet = Fleet::new(5, &enforced().quorum(2).half_open_calls(probes));
        fleet.break_down(0..2);
        fleet.meet();
        fleet.pass(5);
        let mut failed = 0;
        for _ in 0..30 {
            fleet.instances[0].fail(1);
            fleet.instances[0].meet();
            failed += 1;
            assert_ne!(fleet.instances[0].shared().state, Some(SharedState::Open), "{probes} probes");
            for instance in &fleet.instances[1..] {
                instance.call();
                instance.meet();
            }
            fleet.pass(1);
        }
        assert!(failed > 0 && fleet.states()[1..] == [State::Closed; 4], "{:?}", fleet.states());
    }
}

#[test]
fn a_store_that_panics_does_not_end_the_exchange() {
    // T182
    let fleet = Fleet::new(3, &enforced().quorum(2));
    fleet.instances[2].store.give(Arc::new(Panics));
    assert!(fleet.instances[2].meet().is_some());
    let problem = fleet.instances[2].shared().problem.unwrap();
    assert!(problem.contains("out of order"), "{problem}");
}

/// A store that panics.
#[derive(Debug)]
struct Panics;

impl Backend for Panics {
    fn address(&self) -> String {
        "nowhere".to_owned()
    }

    fn circuits(&self) -> Option<&dyn CircuitStore> {
        Some(self)
    }
}

impl CircuitStore for Panics {
    fn report<'a>(&'a self, _: &'a str, _: Report) -> store::Answer<'a, Shared> {
        panic!("out of order")
    }

    fn reset<'a>(&'a self, _: &'a str) -> store::Answer<'a, ()> {
        panic!("out of order")
    }

    fn subscribe(&self, _: std::sync::Weak<dyn Listener>) {
        panic!("out of order")
    }
}
