//! A fleet on one manual clock. The tests call each exchange, so no thread runs in the background.

mod control;
mod opening;
mod probes;
mod threads;

use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::circuit_breaker::{Config, Coordinate, State};
use crate::clock::ManualClock;
use crate::component::{Component, Core};
use crate::random::Random;
use crate::ratio::Ratio;
use crate::store::wait::blocking;
use crate::store::{self, Store};

const SECOND: Duration = Duration::from_secs(1);

/// One instance of a service.
struct Instance {
    breaker: Arc<CircuitBreaker>,
    guard: Arc<Guard>,
    /// Keeps the store.
    store: Store,
}

impl Instance {
    fn new(number: u64, time: &ManualClock, backend: Arc<dyn Backend>, config: Config) -> Self {
        let random = Arc::new(Random::new(Some(number)));
        let named: Arc<NamedStores> = Arc::default();
        let mut core = Core::for_test("shared", time.clock(), store::Config::default());
        core.environment.random = Arc::clone(&random);
        let store = Store::with_gate(core, store::Always, Arc::default(), Arc::clone(&named));
        store.give(backend);
        let mut core = Core::for_test("payment", time.clock(), config);
        core.environment.random = random;
        let breaker = Arc::new(CircuitBreaker::with_stores(core, Arc::clone(&named)));
        breaker.coordination.get_or_init(|| Box::new(Coordination::new()));
        Self { breaker, guard: named.get("shared").unwrap(), store }
    }

    /// One exchange with the store.
    fn meet(&self) -> Option<Duration> {
        blocking(self.breaker.exchange(&self.guard, 0))
    }

    fn fail(&self, times: u32) {
        (0..times).for_each(|_| _ = self.breaker.call(|| None::<u32>));
    }

    /// Whether a call was admitted. It succeeds.
    fn call(&self) -> bool {
        self.breaker.call(|| Some(995)).is_some()
    }

    fn state(&self) -> State {
        self.breaker.state()
    }

    fn shared(&self) -> SharedStats {
        self.breaker.stats().shared.unwrap()
    }
}

struct Fleet {
    time: ManualClock,
    circuits: Arc<MemoryCircuits>,
    instances: Vec<Instance>,
}

impl Fleet {
    fn new(size: u64, config: &Config) -> Self {
        let time = ManualClock::new();
        let circuits = Arc::new(MemoryCircuits::new(time.clock()));
        let mut fleet = Self { time, circuits, instances: Vec::new() };
        (0..size).for_each(|_| fleet.join(config));
        fleet.meet();
        fleet
    }

    fn join(&mut self, config: &Config) {
        let number = self.instances.len() as u64;
        let backend = Arc::clone(&self.circuits) as Arc<dyn Backend>;
        self.instances.push(Instance::new(number, &self.time, backend, config.clone()));
    }

    /// An exchange of every instance.
    fn meet(&self) {
        self.instances.iter().for_each(|instance| _ = instance.meet());
    }

    /// Lets time pass in steps of a second, with exchanges.
    fn pass(&self, seconds: u32) {
        for _ in 0..seconds {
            self.time.advance(SECOND);
            self.meet();
        }
    }

    /// The circuits of these instances open by their own evidence.
    fn break_down(&self, instances: std::ops::Range<usize>) {
        for instance in &self.instances[instances] {
            instance.fail(2);
            assert_eq!(instance.state(), State::Open);
        }
    }

    fn states(&self) -> Vec<State> {
        self.instances.iter().map(Instance::state).collect()
    }
}

/// Two failures in a row open the circuit for 5 s.
fn config(coordinate: Coordinate) -> Config {
    Config::default().failure_threshold(2).store("shared").coordinate(coordinate)
}

fn enforced() -> Config {
    config(Coordinate::Enforce)
}
