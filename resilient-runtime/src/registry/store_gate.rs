//! The circuit breaker and the bulkhead around each store.

use std::time::Duration;

use crate::bulkhead::{self, Bulkhead};
use crate::circuit_breaker::{self, CircuitBreaker, State};
use crate::classify::{Class, Verdict};
use crate::component::{Component, Core, Create, Environment};
use crate::observe::Events;
use crate::settings::{Layered, Settings};
use crate::store::{Config, Gate, Pass, Refused};

#[derive(Debug)]
pub(super) struct StoreGate {
    breaker: CircuitBreaker,
    bulkhead: Bulkhead,
}

impl StoreGate {
    pub(super) fn new(core: &Core<Config>) -> Self {
        Self { breaker: part(core), bulkhead: part(core) }
    }
}

/// Creates a component that is a part of the store. Its events are not published: the store has its own.
fn part<C: Create>(core: &Core<Config>) -> C {
    let Environment { clock, random, .. } = core.environment.clone();
    let environment = Environment { clock, events: Events::default(), random };
    C::create(Core { name: core.name, environment, settings: Layered::of(C::Config::shared_default()) })
}

impl Gate for StoreGate {
    fn enter(&self) -> Result<Box<dyn Pass + '_>, Refused> {
        let permit = self.breaker.try_acquire().map_err(|_| Refused::Degraded)?;
        let slot = self.bulkhead.try_acquire().map_err(|_| Refused::Busy)?;
        Ok(Box::new(Admitted { permit, _slot: slot }))
    }

    fn is_degraded(&self) -> bool {
        self.breaker.state() != State::Closed
    }

    fn in_use(&self) -> u32 {
        self.bulkhead.stats().in_use
    }

    fn apply(&self, settings: &Config) {
        let breaker = circuit_breaker::Config::default()
            .failure_threshold(settings.open_after)
            .open_for(settings.open_for)
            .open_max(settings.open_for)
            .half_open_calls(1)
            .success_threshold(1)
            .probe_lease(settings.timeout.max(Duration::from_millis(10)));
        // These values are in the ranges of the breaker and the bulkhead.
        let _ = self.breaker.reconfigure(breaker);
        let _ =
            self.bulkhead.reconfigure(bulkhead::Config::default().max_concurrent(settings.max_concurrent));
    }

    fn reset(&self) {
        self.breaker.reset();
    }
}

struct Admitted<'a> {
    permit: circuit_breaker::Permit<'a>,
    _slot: bulkhead::Permit<'a>,
}

impl Pass for Admitted<'_> {
    fn end(self: Box<Self>, has_failed: bool) {
        self.permit.settle(if has_failed { Verdict::Failure(Class::TRANSIENT) } else { Verdict::Success });
    }

    fn leave(self: Box<Self>) {
        self.permit.settle(Verdict::Failure(Class::Ignored));
    }
}
