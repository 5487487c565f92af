//! Registries with their background threads.

use std::time::Instant;

use super::*;
use crate::clock::Clock;
use crate::observe::EventKind;
use crate::registry::Registry;

/// A day: only reports of the store arrive in time.
const DAY: Duration = Duration::from_hours(24);

/// Waits for a condition. The limit is for a machine whose cores are busy.
fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_mins(1), "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn knows(breaker: &CircuitBreaker, instances: u32) -> bool {
    breaker.stats().shared.is_some_and(|shared| shared.instances == instances)
}

fn fleet(size: u32) -> Vec<(Registry, Arc<CircuitBreaker>)> {
    let circuits = Arc::new(MemoryCircuits::new(Clock::system()));
    let join = |number| {
        let registry = Registry::new();
        let payment = registry.circuit_breaker("payment");
        payment.reconfigure(enforced().poll(DAY).open_for(Duration::from_hours(1))).unwrap();
        // The store is registered after the circuit breaker exists.
        registry.use_store("shared", Arc::clone(&circuits));
        wait_until("it reports itself", || knows(&payment, number));
        (registry, payment)
    };
    (1..=size).map(join).collect()
}

#[test]
fn a_change_reaches_every_instance_without_waiting_for_the_poll() {
    // T184
    let fleet = fleet(3);
    let mut events = fleet[2].0.subscribe();
    for (_, payment) in &fleet[..2] {
        (0..2).for_each(|_| _ = payment.call(|| None::<u32>));
    }
    wait_until("open everywhere", || fleet.iter().all(|(_, payment)| payment.state() == State::Open));
    let opened = EventKind::SharedOpened { votes: 2, instances: 3 };
    let mut found = false;
    wait_until("the event", || {
        found = found || std::iter::from_fn(|| events.try_recv()).any(|event| event.what == opened);
        found
    });
    let reset = fleet[2].1.reset_all();
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(reset).unwrap();
    wait_until("closed everywhere", || fleet.iter().all(|(_, payment)| payment.state() == State::Closed));
}

#[test]
fn a_circuit_breaker_that_is_dropped_ends_its_task() {
    let (registry, payment) = fleet(1).remove(0);
    let weak = Arc::downgrade(&payment);
    drop((registry, payment));
    wait_until("dropped", || weak.strong_count() == 0);
}

#[test]
fn a_store_that_is_not_registered_is_a_problem_of_the_registry() {
    let registry = Registry::new();
    registry.use_store("shared", MemoryCircuits::new(Clock::system()));
    registry.circuit_breaker("payment").reconfigure(Config::default().store("sharde")).unwrap();
    let problem = registry.validate().unwrap_err().to_string();
    assert_eq!(problem, "circuit_breaker: `payment`: no store is named `sharde`; did you mean `shared`?");
    let shared = registry.circuit_breaker("payment").stats().shared.unwrap();
    assert!(shared.problem.unwrap().contains("did you mean"));
}
