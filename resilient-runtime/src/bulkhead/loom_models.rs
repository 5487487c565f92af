//! Every interleaving of a few threads at the gate.

use loom::sync::Arc;
use loom::thread;

use super::config::Config;
use super::gate::{Arrival, Gate};
use crate::priority::Priority;

fn gate(permits: u32, queue: u32) -> Arc<Gate> {
    let wait = std::time::Duration::from_secs(1);
    Arc::new(Gate::new(&Config::default().max_queue(queue).max_wait(wait), permits))
}

#[test]
fn loom_a_permit_given_back_reaches_who_joins_the_queue() {
    // T50, T154
    loom::model(|| {
        let gate = gate(1, 1);
        assert!(gate.try_enter(Priority::Normal));
        let other = Arc::clone(&gate);
        let leaver = thread::spawn(move || other.leave());
        let arrival = gate.arrive(Priority::Normal, None);
        leaver.join().unwrap();
        match arrival {
            Arrival::Entered => {}
            Arrival::Queued(place) => assert!(gate.is_granted(place, None), "a lost wake-up"),
            Arrival::Full => panic!("there is room in the queue"),
        }
        assert_eq!((gate.in_use(), gate.waiting()), (1, 0));
    });
}

#[test]
fn loom_a_permit_granted_to_who_gives_up_is_not_lost() {
    // T50, T154
    loom::model(|| {
        let gate = gate(1, 1);
        assert!(gate.try_enter(Priority::Normal));
        let Arrival::Queued(place) = gate.arrive(Priority::Normal, None) else { panic!("it is full") };
        let other = Arc::clone(&gate);
        let leaver = thread::spawn(move || other.leave());
        gate.withdraw(place);
        leaver.join().unwrap();
        assert_eq!((gate.in_use(), gate.waiting()), (0, 0));
        assert!(gate.try_enter(Priority::Normal));
    });
}

#[test]
fn loom_never_more_than_the_limit_are_in() {
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
                        gate.leave();
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(gate.in_use(), 0);
    });
}

#[test]
fn loom_nobody_slips_in_between_a_permit_given_back_and_the_waiter() {
    // T56
    loom::model(|| {
        let gate = gate(1, 1);
        assert!(gate.try_enter(Priority::Normal));
        let Arrival::Queued(place) = gate.arrive(Priority::Normal, None) else { panic!("it is full") };
        let other = Arc::clone(&gate);
        let leaver = thread::spawn(move || other.leave());
        assert!(!gate.try_enter(Priority::Normal), "a newcomer of the same class");
        leaver.join().unwrap();
        assert!(gate.is_granted(place, None));
    });
}
