//! Loom models of the gate: all interleavings of a few threads.

use loom::sync::Arc;
use loom::thread;

use super::config::Config;
use super::gate::{Arrival, Gate, PICK_UP};
use super::queue::Claim;
use crate::clock::Instant;
use crate::priority::Priority;

const START: Instant = Instant::from_nanos(1);

fn gate(permits: u32, queue: u32) -> Arc<Gate> {
    let wait = std::time::Duration::from_secs(1);
    Arc::new(Gate::new(&Config::default().max_queue(queue).max_wait(wait), permits))
}

#[test]
fn loom_a_released_permit_reaches_a_call_that_joins_the_queue() {
    // T50, T154
    loom::model(|| {
        let gate = gate(1, 1);
        assert!(gate.try_enter(Priority::Normal));
        let other = Arc::clone(&gate);
        let leaver = thread::spawn(move || other.leave(|| START));
        let arrival = gate.arrive(Priority::Normal, None, START, Instant::NEVER);
        leaver.join().unwrap();
        match arrival {
            Arrival::Entered => {}
            Arrival::Queued(place) => assert_eq!(gate.claim(place, None), Claim::Granted, "a lost wake-up"),
            Arrival::Full => panic!("there is room in the queue"),
        }
        assert_eq!((gate.in_use(), gate.waiting()), (1, 0));
    });
}

#[test]
fn loom_a_permit_granted_to_a_call_that_leaves_is_not_lost() {
    // T50, T154
    loom::model(|| {
        let gate = gate(1, 1);
        assert!(gate.try_enter(Priority::Normal));
        let Arrival::Queued(place) = gate.arrive(Priority::Normal, None, START, Instant::NEVER) else {
            panic!("the bulkhead is full")
        };
        let other = Arc::clone(&gate);
        let leaver = thread::spawn(move || other.leave(|| START));
        gate.withdraw(place, START);
        leaver.join().unwrap();
        assert_eq!((gate.in_use(), gate.waiting()), (0, 0));
        assert!(gate.try_enter(Priority::Normal));
    });
}

#[test]
fn loom_the_limit_is_never_exceeded() {
    // T154
    loom::model(|| {
        let gate = gate(1, 0);
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let gate = Arc::clone(&gate);
                thread::spawn(move || {
                    let entered = gate.try_enter(Priority::Normal);
                    if entered {
                        assert_eq!(gate.in_use(), 1);
                        gate.leave(|| START);
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(gate.in_use(), 0);
    });
}

#[test]
fn loom_a_newcomer_does_not_take_a_permit_before_a_waiting_call() {
    // T56
    loom::model(|| {
        let gate = gate(1, 1);
        assert!(gate.try_enter(Priority::Normal));
        let Arrival::Queued(place) = gate.arrive(Priority::Normal, None, START, Instant::NEVER) else {
            panic!("the bulkhead is full")
        };
        let other = Arc::clone(&gate);
        let leaver = thread::spawn(move || other.leave(|| START));
        assert!(!gate.try_enter(Priority::Normal), "a newcomer of the same class");
        leaver.join().unwrap();
        assert_eq!(gate.claim(place, None), Claim::Granted);
    });
}

#[test]
fn loom_a_permit_is_either_picked_up_or_taken_back() {
    loom::model(|| {
        let gate = gate(1, 1);
        assert!(gate.try_enter(Priority::Normal));
        let Arrival::Queued(place) = gate.arrive(Priority::Normal, None, START, Instant::NEVER) else {
            panic!("the bulkhead is full")
        };
        gate.leave(|| START);
        let other = Arc::clone(&gate);
        let late = START.after(PICK_UP * 2);
        let newcomer = thread::spawn(move || {
            other.admit_waiters(late);
            other.try_enter(Priority::Normal)
        });
        let claim = gate.claim(place, None);
        let entered = newcomer.join().unwrap();
        assert_eq!(entered, claim == Claim::Expired);
        assert_eq!((gate.in_use(), gate.waiting(), gate.is_unclaimed()), (1, 0, false));
    });
}
