//! Rules about instances, votes, and when the circuit opens and closes.

use std::time::Duration;

use super::{Bench, Checked, LONG, SHORT};
use crate::circuit_breaker::shared::{CircuitStore, Ended, SharedState};
use crate::ratio::Ratio;

impl<S: CircuitStore + ?Sized, P: AsyncFn(Duration)> Bench<'_, S, P> {
    pub(in crate::testing) async fn votes(&self) -> Checked {
        let mut circuit = self.circuit("a new circuit is closed", 1).await?;
        let shared = circuit.report(1, |_| ()).await?;
        circuit.state("a report", &shared, SharedState::Closed)?;
        circuit.of("(votes, instances)", (shared.votes, shared.instances), (0, 1))?;
        circuit.of("whether the epoch is above zero", shared.epoch > 0, true)?;
        circuit.of("why it closed", shared.ended, Ended::Lapsed)?;

        circuit = self.circuit("the votes of a quorum open the circuit", 10).await?;
        for instance in [1, 2] {
            let shared = circuit.vote(instance).await?;
            circuit.state("fewer votes than 30 %", &shared, SharedState::Closed)?;
        }
        let shared = circuit.vote(2).await?;
        circuit.of("votes of two instances", shared.votes, 2)?;
        let before = circuit.epoch;
        let shared = circuit.vote(3).await?;
        circuit.state("30 % of the votes", &shared, SharedState::Open)?;
        circuit.of("(votes, instances)", (shared.votes, shared.instances), (3, 10))?;
        circuit.of("whether the epoch is larger", shared.epoch > before, true)?;
        let is_whole = shared.left > LONG / 2 && shared.left <= LONG;
        circuit.of("whether the open period follows the rule", is_whole, true)?;
        let shared = circuit.report(9, |report| report.epoch = 0).await?;
        circuit.state("an instance that did not know it", &shared, SharedState::Open)?;

        circuit = self.circuit("a vote that is withdrawn does not count", 3).await?;
        circuit.vote(1).await?;
        circuit.report(1, |_| ()).await?;
        let shared = circuit.vote(2).await?;
        circuit.of("votes", shared.votes, 1)?;
        circuit.state("one vote", &shared, SharedState::Closed)?;

        circuit = self.circuit("an instance that is alone does not open the circuit", 1).await?;
        circuit.rule.least_votes = 1;
        let shared = circuit.vote(1).await?;
        circuit.state("its vote", &shared, SharedState::Closed)?;
        circuit.of("votes", shared.votes, 1)?;
        let shared = circuit.report(2, |_| ()).await?;
        circuit.state("a second instance", &shared, SharedState::Open)
    }

    pub(in crate::testing) async fn quorums(&self) -> Checked {
        for (least, share, instances, needed) in
            [(2, 0.5, 7, 4), (2, 0.5, 8, 4), (4, 0.0, 9, 4), (1, 0.0, 5, 1), (2, 1.0, 3, 3), (2, 0.01, 9, 2)]
        {
            let is = "the quorum is the larger of `least_votes` and the share, rounded up";
            let mut circuit = self.circuit(is, instances).await?;
            circuit.rule.least_votes = least;
            circuit.rule.share = Ratio::new(share).unwrap_or(Ratio::ONE);
            for instance in 1..needed {
                let shared = circuit.vote(instance).await?;
                circuit.state("one vote less", &shared, SharedState::Closed)?;
            }
            let shared = circuit.vote(needed).await?;
            circuit.state("the last vote", &shared, SharedState::Open)?;
        }
        Ok(())
    }

    pub(in crate::testing) async fn expiry(&self) -> Checked {
        let mut circuit =
            self.circuit("an instance that does not report is forgotten with its vote", 2).await?;
        circuit.report(3, |report| (report.open, report.lasts) = (true, SHORT)).await?;
        self.pass().await;
        let shared = circuit.vote(1).await?;
        circuit.of("(votes, instances)", (shared.votes, shared.instances), (1, 2))?;
        circuit.state("one vote", &shared, SharedState::Closed)?;

        circuit = self.circuit("an instance and the one that replaced it have one vote", 1).await?;
        circuit.vote(1).await?;
        self.pass().await;
        let shared = circuit.vote(2).await?;
        circuit.of("(votes, instances)", (shared.votes, shared.instances), (1, 2))?;
        circuit.state("after a restart", &shared, SharedState::Closed)?;
        let shared = circuit.vote(1).await?;
        circuit.state("two instances that both report", &shared, SharedState::Open)?;

        circuit = self.circuit("an opening that is not renewed ends", 3).await?;
        circuit.rule.max_shared_open = SHORT;
        circuit.vote(1).await?;
        let shared = circuit.vote(2).await?;
        circuit.state("two votes", &shared, SharedState::Open)?;
        circuit.of("whether `max_shared_open` limits the period", shared.left <= SHORT, true)?;
        let before = circuit.epoch;
        self.pass().await;
        let shared = circuit.report(3, |_| ()).await?;
        circuit.state("after `max_shared_open`", &shared, SharedState::Closed)?;
        circuit.of("why it closed", shared.ended, Ended::Lapsed)?;
        circuit.of("whether the epoch is larger", shared.epoch > before, true)?;
        circuit.of("votes", shared.votes, 0)?;

        circuit = self.circuit("a circuit is open until its period ends", 2).await?;
        circuit.vote(1).await?;
        circuit.vote(2).await?;
        self.pass().await;
        let shared = circuit.report(1, |_| ()).await?;
        circuit.state("during the period", &shared, SharedState::Open)?;
        circuit.of("whether time has passed", shared.unchanged_for > SHORT, true)
    }

    pub(in crate::testing) async fn resets(&self) -> Checked {
        let mut circuit = self.circuit("a reset closes the circuit and removes the votes", 3).await?;
        circuit.vote(1).await?;
        let opened = circuit.vote(2).await?;
        circuit.state("two votes", &opened, SharedState::Open)?;
        circuit.reset().await?;
        let shared = circuit.report(3, |_| ()).await?;
        circuit.state("after the reset", &shared, SharedState::Closed)?;
        circuit.of("why it closed", shared.ended, Ended::Reset)?;
        circuit.of("(votes, instances)", (shared.votes, shared.instances), (0, 3))?;
        circuit.of("whether the epoch is larger", shared.epoch > opened.epoch, true)?;

        circuit.is = "a vote that does not know of the reset does not count";
        for (instance, epoch) in [(1, opened.epoch), (2, 0), (3, shared.epoch + 1)] {
            let shared =
                circuit.report(instance, |report| (report.open, report.epoch) = (true, epoch)).await?;
            circuit.of("votes", shared.votes, 0)?;
        }
        circuit.is = "a vote that knows of the reset counts";
        let shared = circuit.vote(1).await?;
        circuit.of("votes", shared.votes, 1)?;

        circuit = self.circuit("a closed circuit can be reset", 0).await?;
        circuit.reset().await?;
        let shared = circuit.report(1, |_| ()).await?;
        circuit.of("why it closed", shared.ended, Ended::Reset)?;
        let before = circuit.epoch;
        circuit.reset().await?;
        let shared = circuit.report(1, |_| ()).await?;
        circuit.of("whether the epoch is larger", shared.epoch > before, true)
    }

    pub(in crate::testing) async fn limits(&self) -> Checked {
        let mut circuit = self.circuit("instances differ in every bit", 0).await?;
        let instances = [0, 1, 1 << 52, 1 << 53, (1 << 53) + 1, 1 << 64, 1 << 127, u128::MAX - 1, u128::MAX];
        for instance in instances {
            circuit.report(instance, |_| ()).await?;
        }
        let shared = circuit.report(0, |_| ()).await?;
        circuit.of("instances", shared.instances, 9)?;

        circuit = self.circuit("instances with different settings are noticed", 3).await?;
        let shared = circuit.report(3, |_| ()).await?;
        circuit.of("equal settings", shared.is_mixed, false)?;
        let shared = circuit.report(3, |report| report.rule.probes += 1).await?;
        circuit.of("another setting", shared.is_mixed, true)?;
        let shared = circuit.report(2, |_| ()).await?;
        circuit.of("another setting of another instance", shared.is_mixed, true)?;
        circuit.report(3, |_| ()).await?;
        let shared = circuit.report(2, |_| ()).await?;
        circuit.of("equal settings again", shared.is_mixed, false)?;

        circuit = self.circuit("the longest durations are accepted", 0).await?;
        circuit.rule.open_for = Duration::MAX;
        circuit.rule.open_max = Duration::MAX;
        circuit.rule.max_shared_open = Duration::MAX;
        circuit.rule.probes = u32::MAX;
        for instance in [1, 2, 1, 2] {
            circuit.report(instance, |report| (report.open, report.lasts) = (true, Duration::MAX)).await?;
        }
        let shared = circuit.report(1, |report| report.open = true).await?;
        circuit.state("two votes", &shared, SharedState::Open)?;
        circuit.of("whether the period is long", shared.left > LONG, true)?;

        circuit = self.circuit("circuits whose names differ in one byte are different", 0).await?;
        let base = circuit.name.clone();
        let long = "x".repeat(900);
        for end in ["", "\0", "\0a", " ", ":", "é", "E", "e", "{a}", "*", "\n", &long] {
            circuit.name = format!("{base}{end}");
            let shared = circuit.report(1, |report| report.epoch = 0).await?;
            circuit.of("instances", shared.instances, 1)?;
            circuit.report(2, |_| ()).await?;
        }
        Ok(())
    }
}
