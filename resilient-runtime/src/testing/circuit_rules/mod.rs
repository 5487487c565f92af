//! The rules of a store of shared circuits. Each method checks a group of rules on circuits of its own.

mod probes;
mod votes;

use std::fmt::Debug;
use std::time::Duration;

use super::BrokenRule;
use crate::circuit_breaker::shared::{CircuitStore, ProbeRequest, Report, Rule, Shared, SharedState};
use crate::random::Random;

/// Longer than any check takes.
const LONG: Duration = Duration::from_hours(1);
/// A period that ends within [`PASSED`].
const SHORT: Duration = Duration::from_millis(20);
/// The time that passes. Much longer than [`SHORT`], because a store may measure time in coarse steps.
const PASSED: Duration = Duration::from_millis(120);

pub(super) type Checked = Result<(), BrokenRule>;

/// A store under test.
pub(super) struct Bench<'a, S: ?Sized, P> {
    store: &'a S,
    pass: &'a P,
    /// Makes the circuits of this run unique.
    run: String,
    random: Random,
}

/// A circuit with the instances 1, 2, .. that know its epoch.
struct Circuit<'a, S: ?Sized> {
    store: &'a S,
    name: String,
    rule: Rule,
    epoch: u64,
    /// The statement that is being checked.
    is: &'static str,
}

impl<'a, S: CircuitStore + ?Sized, P: AsyncFn(Duration)> Bench<'a, S, P> {
    pub(super) fn new(store: &'a S, pass: &'a P) -> Self {
        let random = Random::new(None);
        Self { store, pass, run: format!("check {:x}", random.unique()), random }
    }

    /// A circuit of `instances` instances, whose periods last longer than the checks.
    async fn circuit(&self, is: &'static str, instances: u128) -> Result<Circuit<'a, S>, BrokenRule> {
        let rule = Rule { open_for: LONG, open_max: LONG, max_shared_open: LONG, ..Rule::default() };
        let name = format!("{} {:x}", self.run, self.random.unique());
        let mut circuit = Circuit { store: self.store, name, rule, epoch: 0, is };
        for instance in 1..=instances {
            circuit.report(instance, |_| ()).await?;
        }
        Ok(circuit)
    }

    /// Lets time pass until a short period has ended.
    async fn pass(&self) {
        (self.pass)(PASSED).await;
    }
}

impl<S: CircuitStore + ?Sized> Circuit<'_, S> {
    fn broken(&self, what: &'static str, expected: impl Into<String>, found: &impl Debug) -> BrokenRule {
        let mut found = format!("{found:?}");
        found.truncate(found.floor_char_boundary(400));
        BrokenRule { rule: self.is, what, expected: expected.into(), found }
    }

    #[allow(clippy::needless_pass_by_value, reason = "most results are temporary")]
    fn of<T: PartialEq + Debug>(&self, what: &'static str, found: T, expected: T) -> Checked {
        if found == expected { Ok(()) } else { Err(self.broken(what, format!("{expected:?}"), &found)) }
    }

    /// Sends a report with the current epoch, and remembers the epoch in the answer.
    async fn report(
        &mut self,
        instance: u128,
        change: impl FnOnce(&mut Report),
    ) -> Result<Shared, BrokenRule> {
        let mut report = Report::new(instance, self.rule);
        (report.epoch, report.lasts) = (self.epoch, LONG);
        change(&mut report);
        match self.store.report(&self.name, report).await {
            Ok(shared) => {
                self.epoch = shared.epoch;
                Ok(shared)
            }
            Err(error) => Err(self.broken("a report", "an answer", &error)),
        }
    }

    async fn vote(&mut self, instance: u128) -> Result<Shared, BrokenRule> {
        self.report(instance, |report| report.open = true).await
    }

    /// Requests a probe slot.
    async fn request(&mut self, instance: u128, request: ProbeRequest) -> Result<Shared, BrokenRule> {
        self.report(instance, |report| report.request = request).await
    }

    /// Reports a probe.
    async fn probed(&mut self, instance: u128, has_succeeded: bool) -> Result<Shared, BrokenRule> {
        self.report(instance, |report| report.probe = Some(has_succeeded)).await
    }

    async fn reset(&mut self) -> Checked {
        let reset = self.store.reset(&self.name).await;
        self.of("a reset", reset, Ok(()))
    }

    fn state(&self, what: &'static str, shared: &Shared, state: SharedState) -> Checked {
        if shared.state == state { Ok(()) } else { Err(self.broken(what, format!("{state:?}"), shared)) }
    }
}
