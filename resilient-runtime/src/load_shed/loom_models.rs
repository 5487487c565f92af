//! Loom models of the gauge: all interleavings of a few threads.

use loom::sync::Arc;
use loom::thread;

use super::config::Config;
use super::gauge::Gauge;
use crate::priority::Priority;

fn config(limit: u32) -> Config {
    Config::default().adaptive(false).max_in_flight(limit)
}

#[test]
fn loom_the_limit_is_never_exceeded_and_no_call_is_lost() {
    // T154
    loom::model(|| {
        let gauge = Arc::new(Gauge::new(&config(1)));
        let threads: Vec<_> = (0..2)
            .map(|_| {
                let gauge = Arc::clone(&gauge);
                thread::spawn(move || {
                    if gauge.try_enter(Priority::Normal) {
                        assert_eq!(gauge.in_flight(), 1);
                        gauge.leave();
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(gauge.in_flight(), 0);
        assert!(gauge.try_enter(Priority::Normal));
    });
}

#[test]
fn loom_a_changed_limit_loses_no_call() {
    // T154, T117
    loom::model(|| {
        let gauge = Arc::new(Gauge::new(&config(2)));
        assert!(gauge.try_enter(Priority::Critical));
        let other = Arc::clone(&gauge);
        let operator = thread::spawn(move || other.apply(&config(1)));
        let entered = gauge.try_enter(Priority::Critical);
        gauge.leave();
        operator.join().unwrap();
        assert_eq!(gauge.in_flight(), u32::from(entered));
        assert_ne!(gauge.try_enter(Priority::Critical), entered, "the new limit applies");
    });
}
