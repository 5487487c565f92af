//! Manual control has precedence, and a reset affects one instance or all.

use super::probes::Broken;
use super::*;
use crate::settings::Settings;
use crate::store::StoreError;

#[test]
fn manual_control_has_precedence_over_the_shared_circuit() {
    // T183
    let fleet = Fleet::new(5, &enforced());
    fleet.instances[3].breaker.force_closed();
    fleet.instances[4].breaker.disable();
    fleet.break_down(0..2);
    fleet.meet();
    assert_eq!(fleet.states()[2..], [State::Open, State::ForcedClosed, State::Disabled]);
    assert!(fleet.instances[3].call() && fleet.instances[4].call());
    fleet.instances[2].breaker.force_closed();
    fleet.meet();
    assert!(fleet.instances[2].call());
    fleet.instances[2].breaker.resume();
    fleet.meet();
    assert!(!fleet.instances[2].call(), "the shared circuit applies again");
}

#[test]
fn a_forced_open_circuit_is_no_vote() {
    // T183
    let fleet = Fleet::new(5, &enforced());
    fleet.instances[..3].iter().for_each(|instance| instance.breaker.force_open());
    fleet.pass(2);
    assert_eq!(fleet.instances[4].shared().votes, 0);
    assert!(fleet.instances[4].call());
    assert!(!fleet.instances[0].call(), "and it stays forced open");
}

#[test]
fn a_local_reset_ends_the_opening_of_one_instance() {
    // T183
    let fleet = Fleet::new(5, &enforced());
    fleet.break_down(0..2);
    fleet.meet();
    fleet.instances[4].breaker.reset();
    fleet.pass(2);
    assert!(fleet.instances[4].call());
    assert!(!fleet.instances[3].call());
    blocking(fleet.circuits.reset("payment")).unwrap();
    fleet.meet();
    fleet.break_down(0..2);
    fleet.meet();
    assert!(!fleet.instances[4].call(), "the next opening applies again");
}

#[test]
fn a_reset_for_all_closes_every_circuit() {
    // T183
    let fleet = Fleet::new(5, &enforced());
    fleet.break_down(0..2);
    fleet.instances[3].breaker.force_open();
    fleet.meet();
    blocking(fleet.instances[4].breaker.reset_all()).unwrap();
    fleet.meet();
    let mut expected = [State::Closed; 5];
    expected[3] = State::ForcedOpen;
    assert_eq!(fleet.states(), expected);
    assert_eq!(fleet.instances[0].shared().votes, 0, "the votes before the reset do not count");
}

#[test]
fn a_reset_for_all_also_closes_a_circuit_that_opened_alone() {
    let fleet = Fleet::new(3, &config(Coordinate::Observe));
    fleet.break_down(0..1);
    fleet.meet();
    blocking(fleet.instances[1].breaker.reset_all()).unwrap();
    fleet.meet();
    assert_eq!(fleet.states(), [State::Closed; 3]);
}

#[test]
fn a_reset_for_all_fails_loudly_and_resets_nothing_without_the_store() {
    // T183
    let fleet = Fleet::new(2, &enforced());
    fleet.break_down(0..2);
    fleet.instances[0].store.give(Arc::new(Broken));
    let refused = blocking(fleet.instances[0].breaker.reset_all());
    assert_eq!(refused, Err(StoreError::Unavailable("out of order".to_owned())));
    assert_eq!(fleet.states(), [State::Open; 2]);
    assert!(fleet.instances[0].shared().voted);
}

#[test]
fn settings_that_need_a_store_are_refused_without_one() {
    let half = Ratio::HALF;
    let config = Config::default().coordinate(Coordinate::Enforce).quorum(2).quorum_share(half).scope("a");
    let fields = |config: &Config| -> Vec<_> {
        let error = config.validate().err();
        error
            .into_iter()
            .flat_map(|error| error.problems().iter().map(|one| one.field).collect::<Vec<_>>())
            .collect()
    };
    assert_eq!(fields(&config), ["coordinate", "quorum", "quorum_share", "quorum_share", "scope"]);
    assert_eq!(fields(&config.clone().store("shared")), ["quorum_share"]);
    let base = || Config::default().store("shared");
    assert_eq!(fields(&base().quorum(0)), ["quorum"]);
    assert_eq!(fields(&base().quorum_share(Ratio::ZERO)), ["quorum_share"]);
    assert_eq!(fields(&base().max_shared_open(Duration::ZERO)), ["max_shared_open"]);
    let alone = CircuitBreaker::new(base()).unwrap_err().to_string();
    assert!(alone.contains("named stores exist only in a registry"), "{alone}");
}

#[test]
fn without_the_setting_the_circuit_is_local_again() {
    let fleet = Fleet::new(3, &enforced());
    fleet.break_down(0..2);
    fleet.meet();
    let third = &fleet.instances[2];
    third.breaker.reconfigure(Config::default().failure_threshold(2)).unwrap();
    assert_eq!(third.meet(), None, "the task ends");
    fleet.time.advance(6 * SECOND);
    assert!(third.call());
    assert_eq!(third.breaker.stats().shared, None);
}

#[test]
fn a_store_without_the_role_is_told() {
    let fleet = Fleet::new(1, &enforced());
    let memory = crate::idempotency::MemoryStore::new(fleet.time.clock(), 10);
    fleet.instances[0].store.give(Arc::new(memory));
    fleet.meet();
    fleet.pass(3);
    let problem = fleet.instances[0].shared().problem.unwrap();
    assert!(problem.contains("the store at memory does not coordinate circuits"), "{problem}");
}
