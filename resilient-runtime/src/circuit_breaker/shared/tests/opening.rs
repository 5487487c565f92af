//! When the shared circuit opens and closes, and what that does to the instances.

use super::*;
use crate::outage::OpenReason;

#[test]
fn one_sick_instance_does_not_open_the_circuit_of_the_others() {
    // T179
    let fleet = Fleet::new(5, &enforced());
    fleet.break_down(0..1);
    fleet.meet();
    fleet.meet();
    assert_eq!(fleet.states()[1..], [State::Closed; 4]);
    let shared = fleet.instances[4].shared();
    assert_eq!((shared.state, shared.votes, shared.instances), (Some(SharedState::Closed), 1, 5));
    assert!(fleet.instances[0].shared().voted && !shared.voted);
}

#[test]
fn a_quorum_opens_the_circuit_of_all_instances() {
    // T179
    let fleet = Fleet::new(5, &enforced());
    fleet.break_down(0..2);
    fleet.meet();
    assert_eq!(fleet.states(), [State::Open; 5]);
    let stats = fleet.instances[3].breaker.stats();
    assert_eq!(stats.reason, Some(OpenReason::Shared { votes: 2, instances: 5 }));
    assert!(!fleet.instances[3].call(), "rejected without a request to the store");
    assert!(stats.shared.unwrap().applies);
}

#[test]
fn an_instance_that_is_alone_uses_its_own_circuit() {
    // T179
    let fleet = Fleet::new(1, &enforced().quorum(1));
    fleet.break_down(0..1);
    fleet.pass(1);
    assert_eq!(fleet.instances[0].shared().state, Some(SharedState::Closed));
    fleet.time.advance(5 * SECOND);
    assert!(fleet.instances[0].call(), "its own open period is over");
}

#[test]
fn the_quorum_is_a_number_or_a_share_of_the_instances() {
    for (config, opens_at) in [
        (enforced(), 3),
        (enforced().quorum(4), 4),
        (enforced().quorum_share(Ratio::HALF), 5),
        (enforced().quorum_share(Ratio::new(0.01).unwrap()), 2),
    ] {
        let fleet = Fleet::new(10, &config);
        fleet.break_down(0..opens_at - 1);
        fleet.meet();
        assert_eq!(fleet.states()[9], State::Closed, "{opens_at}");
        fleet.break_down(opens_at - 1..opens_at);
        fleet.meet();
        assert_eq!(fleet.states()[9], State::Open, "{opens_at}");
    }
}

#[test]
fn an_opening_by_the_shared_circuit_is_no_vote() {
    // T179: otherwise the votes would renew themselves.
    let fleet = Fleet::new(5, &enforced());
    fleet.break_down(0..2);
    fleet.pass(2);
    assert_eq!(fleet.instances[0].shared().votes, 2);
}

#[test]
fn instances_of_another_scope_are_not_affected() {
    let mut fleet = Fleet::new(3, &enforced().scope("zone-a"));
    fleet.join(&enforced().scope("zone-b"));
    fleet.join(&enforced());
    fleet.meet();
    fleet.break_down(0..2);
    fleet.meet();
    assert_eq!(fleet.states(), [State::Open, State::Open, State::Open, State::Closed, State::Closed]);
    assert_eq!(fleet.instances[3].shared().instances, 1);
}

#[test]
fn instances_with_different_settings_are_noticed() {
    let mut fleet = Fleet::new(2, &enforced());
    assert!(!fleet.instances[0].shared().mixed_settings);
    fleet.join(&enforced().quorum(3));
    fleet.meet();
    fleet.meet();
    assert!(fleet.instances.iter().all(|instance| instance.shared().mixed_settings));
}

#[test]
fn the_vote_of_an_instance_that_has_gone_expires() {
    let fleet = Fleet::new(3, &enforced());
    fleet.break_down(0..1);
    fleet.meet();
    fleet.time.advance(2 * SECOND);
    for instance in &fleet.instances[1..] {
        instance.meet();
    }
    fleet.time.advance(2 * SECOND);
    fleet.break_down(1..2);
    let [_, second, third] = &fleet.instances[..] else { unreachable!() };
    second.meet();
    third.meet();
    assert_eq!((third.shared().votes, third.shared().instances), (1, 2));
    assert_eq!(third.state(), State::Closed);
}

#[test]
fn an_opening_without_renewal_ends() {
    // T180
    let fleet = Fleet::new(4, &enforced().max_shared_open(20 * SECOND).open_for(Duration::from_mins(2)));
    fleet.break_down(0..2);
    fleet.meet();
    let left = &fleet.instances[2..];
    assert_eq!(left[0].state(), State::Open);
    let mut opened = 0;
    // The two that voted have gone.
    while left[0].shared().state != Some(SharedState::Closed) {
        fleet.time.advance(SECOND);
        left.iter().for_each(|instance| _ = instance.meet());
        opened += 1;
        assert!(opened <= 24, "3 s until the votes expire, and 20 s without renewal");
    }
    assert!(opened > 20);
    fleet.time.advance(Duration::from_mins(1));
    assert!(left[0].call(), "it continues with its own circuit, which probes");
}

#[test]
fn an_advised_instance_opens_at_its_first_failure() {
    let fleet = Fleet::new(3, &config(Coordinate::Advise));
    fleet.break_down(0..2);
    fleet.meet();
    let third = &fleet.instances[2];
    assert!(third.call(), "it has no failure of its own");
    third.fail(1);
    assert_eq!(third.state(), State::Open);
    assert_eq!(third.breaker.stats().reason, Some(OpenReason::Shared { votes: 2, instances: 3 }));
}

#[test]
fn after_the_shared_circuit_has_closed_one_failure_is_not_enough() {
    let fleet = Fleet::new(3, &config(Coordinate::Advise));
    fleet.break_down(0..2);
    fleet.meet();
    blocking(fleet.circuits.reset("payment")).unwrap();
    fleet.meet();
    fleet.instances[2].fail(1);
    assert_eq!(fleet.states(), [State::Closed; 3]);
}

#[test]
fn an_observing_instance_only_shows_the_shared_circuit() {
    let fleet = Fleet::new(3, &config(Coordinate::Observe));
    fleet.break_down(0..2);
    fleet.meet();
    let third = &fleet.instances[2];
    third.fail(1);
    assert_eq!(third.state(), State::Closed);
    assert_eq!(third.shared().state, Some(SharedState::Open));
    fleet.time.advance(5 * SECOND);
    assert!(fleet.instances[0].call(), "the instances that voted probe by themselves");
}

#[test]
fn without_the_background_thread_the_hold_ends_by_itself() {
    // T180
    let fleet = Fleet::new(3, &enforced());
    fleet.break_down(0..2);
    fleet.meet();
    let third = &fleet.instances[2];
    fleet.time.advance(4 * SECOND);
    assert!(!third.call());
    fleet.time.advance(SECOND);
    assert!(third.call(), "5 s have passed without another answer of the store");
}

#[test]
fn the_state_is_known_at_the_first_exchange_of_a_new_instance() {
    let mut fleet = Fleet::new(3, &enforced());
    fleet.break_down(0..2);
    fleet.meet();
    fleet.join(&enforced());
    fleet.instances[3].meet();
    assert_eq!(fleet.instances[3].state(), State::Open);
}

#[test]
fn a_store_that_has_lost_its_records_gets_the_votes_again() {
    let fleet = Fleet::new(3, &enforced());
    fleet.break_down(0..2);
    fleet.meet();
    fleet.time.advance(SECOND);
    let empty = Arc::new(MemoryCircuits::new(fleet.time.clock()));
    for instance in &fleet.instances {
        instance.store.give(Arc::clone(&empty) as Arc<dyn Backend>);
    }
    fleet.meet();
    fleet.meet();
    assert_eq!(fleet.instances[2].shared().votes, 2);
    assert_eq!(fleet.states(), [State::Open; 3]);
}
