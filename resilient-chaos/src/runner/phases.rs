//! The parts of an experiment: before, the steps, and the recovery.

use std::future::Future;
use std::pin::{Pin, pin};
use std::time::Duration;

use super::experiment::{Experiment, StepState};
use super::tracker::Changes;
use super::watched::Watched;
use crate::faults::Arm;
use crate::report::{EntryKind, Outcome, Phase};
use crate::scenario::OnDeviation;
use crate::text::span;

/// Why the steps ended.
#[derive(Clone, Debug, PartialEq, Eq)]
enum End {
    /// All steps and expectations are over.
    Complete,
    /// Something failed, and the scenario says that this stops the experiment.
    Deviated,
    /// The reason.
    Aborted(String),
    /// A person stopped the experiment, and does not wait for the recovery.
    Cancelled(String),
}

impl Experiment {
    /// Runs all parts. The report is made when the experiment is dropped at the end.
    pub(super) async fn drive(mut self, cancel: impl Future<Output = ()> + Send) {
        let mut cancel = pin!(cancel);
        self.outcome = match self.before(cancel.as_mut()).await {
            Err(outcome) => Some(outcome),
            Ok(()) if self.probes_only => Some(Outcome::Held),
            Ok(()) => Some(self.inject(cancel).await),
        };
    }

    /// Observes the steady state before the first fault.
    async fn before(
        &mut self,
        mut cancel: Pin<&mut (impl Future<Output = ()> + Send)>,
    ) -> Result<(), Outcome> {
        self.phase(Phase::Before);
        self.observe();
        while self.now < self.scenario.observe_before {
            if let Err(reason) = self.wait(cancel.as_mut()).await {
                self.journal.add(EntryKind::Aborted { reason });
                return Err(Outcome::Aborted);
            }
            self.observe();
        }
        let edges = self.steady.iter().zip(&self.scenario.steady_state).filter(|(_, each)| each.at_edges);
        let unsteady: Vec<_> = edges
            .filter(|(watched, _)| watched.meter.holds() != Some(true))
            .map(|(w, _)| w.describe())
            .collect();
        let aborting: Vec<_> = self
            .aborts
            .iter()
            .filter(|watched| watched.meter.holds() == Some(false))
            .map(Watched::describe)
            .collect();
        if self.probes_only {
            for (watched, each) in self.steady.iter_mut().zip(&self.scenario.steady_state) {
                if each.at_edges && watched.meter.holds() != Some(true) {
                    watched.failure = Some(watched.describe());
                }
            }
            unsteady.iter().for_each(|what| self.journal.add(EntryKind::Deviated { what: what.clone() }));
            return if unsteady.is_empty() { Ok(()) } else { Err(Outcome::Deviated) };
        }
        let mut reasons: Vec<_> =
            unsteady.into_iter().map(|what| format!("the steady state does not hold: {what}")).collect();
        reasons.extend(aborting.into_iter().map(|what| format!("an abort rule applies already: {what}")));
        reasons.extend(self.journal.problem());
        if reasons.is_empty() {
            return Ok(());
        }
        self.journal.add(EntryKind::Refused { reasons });
        Err(Outcome::Refused)
    }

    /// Runs the steps and observes the recovery.
    async fn inject(&mut self, mut cancel: Pin<&mut (impl Future<Output = ()> + Send)>) -> Outcome {
        self.phase(Phase::Steps);
        let origin = self.now;
        let end = loop {
            if let Some(end) = self.turn(origin) {
                break end;
            }
            if let Err(reason) = self.wait(cancel.as_mut()).await {
                break End::Cancelled(reason);
            }
            self.observe();
        };
        if let End::Aborted(reason) | End::Cancelled(reason) = &end {
            self.journal.add(EntryKind::Aborted { reason: reason.clone() });
        }
        self.armed.roll_back();
        // Decides what concerns steps that were stopped early.
        let (now, stats) = (self.now, &self.stats);
        if end == End::Deviated {
            self.trackers.iter_mut().for_each(|tracker| _ = tracker.check(now, stats, &Changes::default()));
        }
        self.is_complete = end == End::Complete;
        let recovered = match &end {
            End::Cancelled(_) => None,
            _ => self.recover(cancel).await,
        };
        self.recovery = recovered;
        let failed = self.trackers.iter().any(|tracker| tracker.verdict() == Some(false))
            || self.steady.iter().any(|watched| watched.failure.is_some());
        match end {
            End::Aborted(_) | End::Cancelled(_) => Outcome::Aborted,
            End::Deviated => Outcome::Deviated,
            End::Complete if recovered.is_none() => Outcome::Aborted,
            End::Complete if failed || recovered == Some(false) => Outcome::Deviated,
            End::Complete => Outcome::Held,
        }
    }

    /// Does what is due at this time. Returns why the steps end, if they do.
    fn turn(&mut self, origin: Duration) -> Option<End> {
        let elapsed = self.now.saturating_sub(origin);
        if let Some(problem) = self.journal.problem() {
            return Some(End::Aborted(problem));
        }
        let lease = self.lease;
        if let Some(step) = self.armed.renew(lease) {
            return Some(End::Aborted(format!(
                "the fault of step `{step}` ended early: it was removed, or the runner did not run for {}; lengthen `interval` if the machine is slow",
                span(lease)
            )));
        }
        if let Some(rule) = self.aborts.iter().find(|rule| rule.fails(self.now)) {
            return Some(End::Aborted(format!("an abort rule applies: {}", rule.describe())));
        }
        let mut deviations = self.unsteady();
        self.end_steps(elapsed, &mut deviations);
        if let Err(reason) = self.start_steps(elapsed) {
            return Some(End::Aborted(reason));
        }
        self.change_rates(elapsed);
        let changes = std::mem::take(&mut self.changes);
        for tracker in &mut self.trackers {
            if tracker.check(self.now, &self.stats, &changes) {
                deviations.push(format!("{}: {}", tracker.spec.id, tracker.detail));
            }
        }
        let has_deviated = !deviations.is_empty();
        deviations.into_iter().for_each(|what| self.journal.add(EntryKind::Deviated { what }));
        if has_deviated && self.scenario.on_deviation == OnDeviation::Stop {
            return Some(End::Deviated);
        }
        let undecided = |tracker: &super::tracker::Tracker| {
            tracker.verdict().is_none() && tracker.deadline().is_some_and(|deadline| self.now <= deadline)
        };
        if self.steps.iter().all(|state| *state == StepState::Over) && !self.trackers.iter().any(undecided) {
            return Some(End::Complete);
        }
        let most = self.scenario.max_duration;
        (elapsed > most).then(|| End::Aborted(format!("`max_duration` = {} is over", span(most))))
    }

    /// Returns the probes of the steady state that fail from now on.
    fn unsteady(&mut self) -> Vec<String> {
        let mut deviations = Vec::new();
        for (watched, each) in self.steady.iter_mut().zip(&self.scenario.steady_state) {
            if each.during && watched.failure.is_none() && watched.fails(self.now) {
                let what = watched.describe();
                watched.failure = Some(what.clone());
                deviations.push(what);
            }
        }
        deviations
    }

    fn end_steps(&mut self, elapsed: Duration, deviations: &mut Vec<String>) {
        // The last one that started is removed first.
        for index in (0..self.steps.len()).rev() {
            let step = &self.scenario.steps[index];
            if self.steps[index] != StepState::Runs || elapsed < step.end() {
                continue;
            }
            self.steps[index] = StepState::Over;
            let injected = self.armed.remove(&step.id);
            self.journal.add(EntryKind::Step {
                step: step.id.clone(),
                runs: false,
                injected: Some(injected),
            });
            if injected == 0 {
                let text = format!(
                    "step `{}` hit no call: its target was not called, or its rate is too small",
                    step.id
                );
                self.journal.add(EntryKind::Warning { text });
            }
            for tracker in self.trackers.iter_mut().filter(|tracker| tracker.spec.of == step.id) {
                if tracker.end(self.now, &self.stats) {
                    deviations.push(format!("{}: {}", tracker.spec.id, tracker.detail));
                }
            }
        }
    }

    fn start_steps(&mut self, elapsed: Duration) -> Result<(), String> {
        for (index, step) in self.scenario.steps.iter().enumerate() {
            if self.steps[index] != StepState::Waits || elapsed < step.start {
                continue;
            }
            if elapsed >= step.end() {
                return Err(format!("the clock jumped over step `{}`", step.id));
            }
            let arm = Arm {
                fault: &step.fault,
                rate: step.rate.at(elapsed.saturating_sub(step.start)),
                // Different steps hit different calls.
                seed: self.scenario.seed.wrapping_add(index as u64),
                ttl: self.lease,
                max_active: self.scenario.blast_radius.max_active,
                by: &format!("experiment {} step {}", self.scenario.name, step.id),
            };
            self.armed
                .arm(&step.id, &arm)
                .map_err(|error| format!("step `{}` cannot start: {error}", step.id))?;
            self.steps[index] = StepState::Runs;
            self.journal.add(EntryKind::Step { step: step.id.clone(), runs: true, injected: None });
            for tracker in self.trackers.iter_mut().filter(|tracker| tracker.spec.of == step.id) {
                tracker.begin(self.now, &self.stats);
            }
        }
        Ok(())
    }

    fn change_rates(&mut self, elapsed: Duration) {
        for (index, step) in self.scenario.steps.iter().enumerate() {
            let is_ramp = matches!(step.rate, crate::scenario::Rate::Ramp { .. });
            if is_ramp && self.steps[index] == StepState::Runs {
                self.armed.set_rate(&step.id, step.rate.at(elapsed.saturating_sub(step.start)));
            }
        }
    }

    /// Waits until the steady state holds again. Returns nothing if it was cancelled.
    async fn recover(&mut self, mut cancel: Pin<&mut (impl Future<Output = ()> + Send)>) -> Option<bool> {
        self.phase(Phase::Recovery);
        let (origin, recovery) = (self.now, self.scenario.recovery);
        // Calls that failed because of a fault do not lengthen the recovery.
        self.steady.iter_mut().for_each(|watched| watched.meter.restart());
        let mut since = None;
        loop {
            if let Err(reason) = self.wait(cancel.as_mut()).await {
                self.journal.add(EntryKind::Aborted { reason });
                return None;
            }
            self.observe();
            let mut edges =
                self.steady.iter().zip(&self.scenario.steady_state).filter(|(_, each)| each.at_edges);
            if edges.all(|(watched, _)| watched.meter.holds() == Some(true)) {
                let start = *since.get_or_insert(self.now);
                if self.now.saturating_sub(start) >= recovery.hold {
                    let took = start.saturating_sub(origin);
                    self.journal.add(EntryKind::Recovered { took: took.as_secs_f64() });
                    self.recovery_detail = format!("after {}", span(took));
                    self.recovery_took = Some(took);
                    return Some(true);
                }
            } else {
                since = None;
                if self.now.saturating_sub(origin) > recovery.within {
                    self.not_recovered();
                    return Some(false);
                }
            }
        }
    }

    fn not_recovered(&mut self) {
        let mut failing = Vec::new();
        for (watched, each) in self.steady.iter_mut().zip(&self.scenario.steady_state) {
            if each.at_edges && watched.meter.holds() != Some(true) {
                failing.push(watched.describe());
            }
        }
        self.recovery_detail = failing.join("; ");
        let within = span(self.scenario.recovery.within);
        let what = format!("the steady state did not return within {within}: {}", self.recovery_detail);
        self.journal.add(EntryKind::Deviated { what });
    }
}
