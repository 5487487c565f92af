//! Rules about probe slots and the results of probes.

use std::time::Duration;

use super::{Bench, Checked, Circuit, LONG, SHORT};
use crate::circuit_breaker::shared::{CircuitStore, Ended, ProbeRequest, Report, SharedState};
use crate::testing::{BrokenRule, race};

/// Number of concurrent requests for a slot.
const CALLERS: u128 = 32;

impl<'a, S: CircuitStore + ?Sized, P: AsyncFn(Duration)> Bench<'a, S, P> {
    /// A half-open circuit of instances that voted.
    async fn half_open(&self, is: &'static str, instances: u128) -> Result<Circuit<'a, S>, BrokenRule> {
        let mut circuit = self.circuit(is, instances).await?;
        circuit.rule.open_for = SHORT;
        for instance in 1..=instances {
            circuit.vote(instance).await?;
        }
        self.pass().await;
        let shared = circuit.vote(1).await?;
        circuit.state("after the open period", &shared, SharedState::HalfOpen)?;
        circuit.rule.open_for = LONG;
        Ok(circuit)
    }

    pub(in crate::testing) async fn slots(&self) -> Checked {
        let mut circuit = self.half_open("the number of probe slots is limited", 5).await?;
        for instance in 1..=5 {
            let shared = circuit.request(instance, ProbeRequest::Waiting).await?;
            circuit.of("whether it has a slot", shared.may_probe, instance <= 3)?;
        }
        let shared = circuit.request(1, ProbeRequest::Waiting).await?;
        circuit.of("(slot, slots)", (shared.may_probe, shared.probes), (true, 3))?;

        circuit.is = "a slot is released by a report without a request";
        let shared = circuit.request(1, ProbeRequest::None).await?;
        circuit.of("(slot, slots)", (shared.may_probe, shared.probes), (false, 2))?;
        let shared = circuit.request(5, ProbeRequest::Waiting).await?;
        circuit.of("whether another instance has it", shared.may_probe, true)?;

        circuit = self.half_open("an instance with calls takes the slot of an idle one", 5).await?;
        for instance in 1..=3 {
            circuit.request(instance, ProbeRequest::Idle).await?;
        }
        let shared = circuit.request(4, ProbeRequest::Idle).await?;
        circuit.of("whether a further idle instance has a slot", shared.may_probe, false)?;
        for instance in [4, 5, 1] {
            let shared = circuit.request(instance, ProbeRequest::Waiting).await?;
            circuit.of("(slot, slots)", (shared.may_probe, shared.probes), (true, 3))?;
        }
        let shared = circuit.request(2, ProbeRequest::Idle).await?;
        circuit.of("whether it keeps a slot of instances with calls", shared.may_probe, false)?;

        circuit = self.half_open("a slot that is not renewed is given to another instance", 4).await?;
        for instance in 1..=3 {
            let renewed = |report: &mut Report| {
                (report.request, report.lasts) = (ProbeRequest::Waiting, SHORT);
            };
            circuit.report(instance, renewed).await?;
        }
        self.pass().await;
        let shared = circuit.request(4, ProbeRequest::Idle).await?;
        circuit.of("(slot, slots)", (shared.may_probe, shared.probes), (true, 1))?;

        circuit = self.half_open("concurrent requests do not exceed the number of slots", 2).await?;
        let request = |instance| {
            let mut report = Report::new(instance, circuit.rule);
            (report.epoch, report.request) = (circuit.epoch, ProbeRequest::Waiting);
            circuit.store.report(&circuit.name, report)
        };
        let mut slots = 0;
        for found in race::all((1..=CALLERS).map(request).collect()).await {
            match found {
                Ok(shared) => slots += u32::from(shared.may_probe),
                Err(error) => return Err(circuit.broken("a report", "an answer", &error)),
            }
        }
        circuit.of("slots", slots, 3)?;

        circuit = self.circuit("only a half-open circuit has slots", 2).await?;
        let shared = circuit.request(1, ProbeRequest::Waiting).await?;
        circuit.of("closed", shared.may_probe, false)?;
        circuit.vote(1).await?;
        circuit.vote(2).await?;
        let shared = circuit.request(1, ProbeRequest::Waiting).await?;
        circuit.state("two votes", &shared, SharedState::Open)?;
        circuit.of("open", shared.may_probe, false)
    }

    pub(in crate::testing) async fn outcomes(&self) -> Checked {
        let mut circuit = self.half_open("most of the probes close the circuit", 4).await?;
        for instance in 1..=3 {
            circuit.request(instance, ProbeRequest::Waiting).await?;
        }
        let shared = circuit.probed(1, false).await?;
        circuit.of(
            "(successful, failed, slots)",
            (shared.successful, shared.failed, shared.probes),
            (0, 1, 2),
        )?;
        let shared = circuit.request(4, ProbeRequest::Waiting).await?;
        circuit.of("whether a fourth probe has a slot", shared.may_probe, false)?;
        let shared = circuit.probed(2, true).await?;
        circuit.state("one of each", &shared, SharedState::HalfOpen)?;
        let before = circuit.epoch;
        let shared = circuit.probed(3, true).await?;
        circuit.state("the last probe", &shared, SharedState::Closed)?;
        circuit.of("why it closed", shared.ended, Ended::Recovered)?;
        circuit.of("whether the epoch is larger", shared.epoch > before, true)?;
        circuit.of("(votes, slots)", (shared.votes, shared.probes), (0, 0))?;
        let shared = circuit.report(1, |report| (report.open, report.epoch) = (true, before)).await?;
        circuit.of("votes that do not know of it", shared.votes, 0)?;

        circuit = self.half_open("half of the probes open the circuit for twice as long", 3).await?;
        circuit.rule.open_for = LONG / 4;
        for instance in 1..=3 {
            circuit.request(instance, ProbeRequest::Waiting).await?;
        }
        circuit.probed(1, false).await?;
        let shared = circuit.probed(2, false).await?;
        circuit.state("two of three have failed", &shared, SharedState::Open)?;
        let is_doubled = shared.left > LONG / 4 && shared.left <= LONG / 2;
        circuit.of("whether the period is doubled", is_doubled, true)?;
        let shared = circuit.probed(3, true).await?;
        circuit.state("a late success", &shared, SharedState::Open)?;

        self.one_sick_instance().await?;

        circuit = self.half_open("only the result of a slot of this period counts", 3).await?;
        let shared = circuit.probed(1, false).await?;
        circuit.of("without a slot", shared.failed, 0)?;
        circuit.request(1, ProbeRequest::Waiting).await?;
        let shared = circuit
            .report(1, |report| {
                (report.probe, report.request) = (Some(false), ProbeRequest::Waiting);
                report.epoch -= 1;
            })
            .await?;
        circuit.of("of an earlier epoch", shared.failed, 0)?;
        let shared = circuit.probed(1, false).await?;
        circuit.of("with a slot", shared.failed, 1)?;
        let shared = circuit.probed(1, false).await?;
        circuit.of("a second time", shared.failed, 1)
    }

    /// A circuit of few probes is not decided by the failures of one instance.
    async fn one_sick_instance(&self) -> Checked {
        for probes in [1, 2] {
            let is = "one instance whose probes fail does not open the circuit again";
            let mut circuit = self.half_open(is, 3).await?;
            circuit.rule.probes = probes;
            for _ in 0..3 {
                let shared = circuit.request(1, ProbeRequest::Waiting).await?;
                circuit.of("whether it has a slot", shared.may_probe, true)?;
                let shared = circuit.probed(1, false).await?;
                circuit.state("its failures", &shared, SharedState::HalfOpen)?;
                circuit.of("failed", shared.failed, 1)?;
            }
            let shared = circuit.request(2, ProbeRequest::Waiting).await?;
            circuit.of("whether another instance has a slot", shared.may_probe, true)?;
            let shared = circuit.probed(2, false).await?;
            circuit.state("a failure of another instance", &shared, SharedState::Open)?;
        }
        let mut circuit =
            self.half_open("failed probes do not renew the opening: only a quorum of votes does", 3).await?;
        for instance in 1..=3 {
            circuit.report(instance, |_| ()).await?;
        }
        for instance in [1, 2] {
            circuit.request(instance, ProbeRequest::Waiting).await?;
        }
        self.pass().await;
        circuit.probed(1, false).await?;
        let shared = circuit.probed(2, false).await?;
        circuit.state("two failures", &shared, SharedState::Open)?;
        circuit.rule.max_shared_open = SHORT;
        let shared = circuit.report(3, |_| ()).await?;
        circuit.state("after `max_shared_open`", &shared, SharedState::Closed)?;
        circuit.of("why it closed", shared.ended, Ended::Lapsed)
    }
}
