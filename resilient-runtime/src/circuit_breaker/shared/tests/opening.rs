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

#[test]
fn the_vote_of_an_instance_without_calls_ends() {
    // T179: its circuit is open until its next call.
    let fleet = Fleet::new(5, &enforced());
    fleet.break_down(0..1);
    fleet.pass(10);
    assert_eq!(fleet.instances[4].shared().votes, 0);
    assert!(!fleet.instances[0].shared().voted);
    fleet.break_down(1..2);
    fleet.meet();
    assert_eq!(fleet.instances[4].shared().votes, 1);
    assert_eq!(fleet.states()[2..], [State::Closed; 3]);
}

#[test]
fn voters_without_calls_do_not_keep_the_circuit_open() {
    // T180
    let fleet = Fleet::new(5, &config(Coordinate::Advise));
    fleet.break_down(0..2);
    fleet.pass(70);
    assert_eq!(fleet.instances[4].shared().state, Some(SharedState::Closed));
    fleet.instances[4].fail(1);
    assert_eq!(fleet.instances[4].state(), State::Closed);
}

#[test]
fn votes_from_before_a_recovery_do_not_open_the_circuit_again() {
    let mut fleet =
        Fleet::new(3, &config(Coordinate::Observe).open_for(Duration::from_mins(1)).open_jitter(Ratio::ZERO));
    (0..3).for_each(|_| fleet.join(&enforced().open_jitter(Ratio::ZERO)));
    fleet.meet();
    fleet.break_down(0..4);
    fleet.meet();
    assert_eq!(fleet.states(), [vec![State::Open; 4], vec![State::Open; 2]].concat());
    let held = &fleet.instances[3..];
    let mut waited = 0;
    while held[0].shared().state != Some(SharedState::Closed) {
        fleet.time.advance(SECOND);
        for instance in held {
            instance.meet();
            instance.call();
            instance.meet();
        }
        fleet.meet();
        waited += 1;
        assert!(waited < 200, "the probes of the held instances close the circuit");
    }
    fleet.pass(2);
    assert_eq!(fleet.states()[3..], [State::Closed; 3]);
    assert_eq!(fleet.instances[5].shared().votes, 0, "they opened before the recovery");
    fleet.instances[3..5].iter().for_each(|instance| instance.fail(2));
    fleet.meet();
    assert_eq!(fleet.instances[5].state(), State::Open, "failures after the recovery count");
}

#[test]
fn an_instance_that_restarts_does_not_count_twice() {
    // T179
    let mut fleet = Fleet::new(1, &enforced());
    fleet.break_down(0..1);
    fleet.meet();
    fleet.join(&enforced());
    let again = &fleet.instances[1];
    for _ in 0..5 {
        fleet.time.advance(SECOND / 2);
        again.meet();
        again.fail(2);
        again.meet();
        assert_eq!((again.shared().votes, again.shared().state), (1, Some(SharedState::Closed)));
    }
}

#[test]
fn an_advice_ends_if_the_store_is_not_heard_any_more() {
    // T180: also if the background thread has stopped.
    let fleet = Fleet::new(3, &config(Coordinate::Advise));
    fleet.break_down(0..2);
    fleet.meet();
    fleet.time.advance(6 * SECOND);
    fleet.instances[2].fail(1);
    assert_eq!(fleet.instances[2].state(), State::Closed);
    fleet.instances[2].fail(1);
    assert_eq!(fleet.instances[2].state(), State::Open, "by its own rule");
}

#[test]
fn the_reset_of_another_record_does_not_close_the_circuit() {
    // T183
    let fleet = Fleet::new(2, &config(Coordinate::Observe));
    blocking(fleet.circuits.reset("payment\0zone-b")).unwrap();
    fleet.time.advance(SECOND);
    let first = &fleet.instances[0];
    first.fail(2);
    first.meet();
    first.breaker.reconfigure(config(Coordinate::Observe).scope("zone-b")).unwrap();
    first.meet();
    assert_eq!(first.state(), State::Open);
}
