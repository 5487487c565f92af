//! An experiment while it runs: what it holds, and how it ends.

use std::path::PathBuf;
use std::time::Duration;

use resilient_runtime::clock::Instant;
use resilient_runtime::registry::Stats;
use resilient_runtime::{EventKind as Happened, Registry, Subscription};

use super::armed::Armed;
use super::outside::World;
use super::running::Claim;
use super::tracker::{Changes, Tracker};
use super::watched::Watched;
use super::{Runner, describe, finish};
use crate::report::{Began, Check, CheckKind, EntryKind, Journal, Outcome, Phase, StepInfo};
use crate::scenario::Scenario;
use crate::text::span;

/// The largest number of readings of a probe in the journal, apart from changes.
const READINGS: u32 = 600;

/// Everything that an experiment holds. However it ends, dropping it removes the faults and makes the report.
#[derive(Debug)]
pub(super) struct Experiment {
    pub(super) registry: Registry,
    pub(super) scenario: Scenario,
    pub(super) journal: Journal,
    folder: Option<PathBuf>,
    pub(super) probes_only: bool,
    pub(super) claim: Claim,
    pub(super) lease: Duration,
    pub(super) armed: Armed,
    pub(super) world: World,
    events: Subscription,
    pub(super) changes: Changes,
    pub(super) steady: Vec<Watched>,
    pub(super) aborts: Vec<Watched>,
    pub(super) trackers: Vec<Tracker>,
    pub(super) steps: Vec<StepState>,
    last_read: Instant,
    pub(super) now: Duration,
    pub(super) stats: Stats,
    pause: Duration,
    pub(super) recovery: Option<bool>,
    pub(super) recovery_took: Option<Duration>,
    pub(super) recovery_detail: String,
    /// Whether the steps ran until their end.
    pub(super) is_complete: bool,
    pub(super) outcome: Option<Outcome>,
}

/// Whether a step is waiting, running or over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum StepState {
    #[default]
    Waits,
    Runs,
    Over,
}

pub(super) fn began(
    scenario: &Scenario,
    environment: Option<&str>,
    started: Option<String>,
    probes_only: bool,
) -> Began {
    let steps = scenario.steps.iter().map(|step| StepInfo {
        id: step.id.clone(),
        start: step.start,
        duration: step.duration,
        fault: describe(&step.fault),
        rate: step.rate,
    });
    let steady =
        scenario.steady_state.iter().map(|each| Watched::new(&each.probe, each.debounce).info(false));
    let aborts = scenario.abort_when.iter().map(|rule| Watched::new(&rule.probe, rule.debounce).info(true));
    Began {
        name: scenario.name.clone(),
        hypothesis: scenario.hypothesis.clone(),
        owner: scenario.owner.clone(),
        seed: scenario.seed,
        environment: environment.map(str::to_owned),
        started: started
            .unwrap_or_else(|| jiff::ZonedDateTime::now().strftime("%Y-%m-%d %H:%M:%S %Z").to_string()),
        probes_only,
        probes: steady.chain(aborts).collect(),
        steps: if probes_only { Vec::new() } else { steps.collect() },
        recovery_within: scenario.recovery.within.as_secs_f64(),
    }
}

impl Experiment {
    pub(super) fn new(runner: Runner, journal: Journal, claim: Claim, probes_only: bool) -> Self {
        let Runner { registry, scenario, faults, folder, functions, lease, .. } = runner;
        let lease = lease.unwrap_or_default().max(scenario.interval * 2);
        let clock = registry.clock().clone();
        let probes = scenario.steady_state.iter().map(|each| &each.probe);
        let world = World::new(
            &registry,
            functions,
            probes.chain(scenario.abort_when.iter().map(|rule| &rule.probe)),
        );
        let longest = scenario.observe_before + scenario.max_duration.min(scenario.end_of_steps() * 2);
        Self {
            armed: Armed::new(faults, clock.clone(), journal.clone()),
            world,
            events: registry.subscribe(),
            changes: Changes::default(),
            steady: scenario
                .steady_state
                .iter()
                .map(|each| Watched::new(&each.probe, each.debounce))
                .collect(),
            aborts: scenario.abort_when.iter().map(|rule| Watched::new(&rule.probe, rule.debounce)).collect(),
            trackers: scenario.expectations.iter().cloned().map(Tracker::new).collect(),
            steps: vec![StepState::Waits; scenario.steps.len()],
            last_read: clock.now(),
            now: Duration::ZERO,
            stats: registry.stats(),
            pause: (longest / READINGS).max(scenario.interval),
            recovery: None,
            recovery_took: None,
            recovery_detail: String::new(),
            is_complete: false,
            outcome: None,
            registry,
            scenario,
            journal,
            folder,
            probes_only,
            claim,
            lease,
        }
    }

    /// Moves the time, and reads the events, the statistics and all probes.
    pub(super) fn observe(&mut self) {
        let read = self.registry.clock().now();
        // A clock that jumps back does not move the experiment back.
        self.now += read.since(self.last_read);
        self.last_read = read;
        self.journal.set_now(self.now);
        while let Some(event) = self.events.try_recv() {
            self.take(event.component, &event.what);
        }
        self.stats = self.registry.stats();
        self.world.step(self.now);
        for watched in self.steady.iter_mut().chain(&mut self.aborts) {
            watched.read(self.now, &self.stats, &self.world, (&self.journal, self.pause));
        }
    }

    /// Records an event. Returns whether it can decide something at once.
    fn take(&mut self, component: &str, what: &Happened) -> bool {
        let name = component.to_owned();
        match what {
            Happened::Transition { to, .. } => {
                self.changes.circuits.push((name.clone(), (*to).to_owned()));
                self.journal.add(EntryKind::Circuit { breaker: name, state: (*to).to_owned() });
                true
            }
            Happened::AlertChanged { severity, .. } => {
                if let Some(severity) = severity {
                    self.changes.alerts.push((name.clone(), (*severity).to_owned()));
                }
                self.journal.add(EntryKind::Alert { alert: name, severity: severity.map(str::to_owned) });
                true
            }
            Happened::HealthChanged { status } => {
                self.journal.add(EntryKind::Health { check: name, status: (*status).to_owned() });
                true
            }
            _ => false,
        }
    }

    /// Waits for the next interval, or for an event that can decide something. Fails with the reason if the
    /// experiment shall stop.
    pub(super) async fn wait(
        &mut self,
        mut cancel: std::pin::Pin<&mut (impl Future<Output = ()> + Send)>,
    ) -> Result<(), String> {
        let Some(mut delay) = self.registry.clock().delay(self.scenario.interval) else {
            return Err("there is no tokio runtime with `enable_time`, so the runner cannot wait".to_owned());
        };
        let stop = std::sync::Arc::clone(&self.claim.stop);
        let requested = stop.requested();
        tokio::pin!(requested);
        loop {
            let event = tokio::select! {
                biased;
                () = &mut cancel => return Err("the experiment was cancelled".to_owned()),
                reason = &mut requested => return Err(reason),
                () = &mut delay => return Ok(()),
                event = self.events.recv() => event,
            };
            match event {
                Some(event) => {
                    let at = self.now + self.registry.clock().now().since(self.last_read);
                    self.journal.set_now(at);
                    if self.take(event.component, &event.what) {
                        return Ok(());
                    }
                }
                None => {
                    delay.await;
                    return Ok(());
                }
            }
        }
    }

    /// Begins a part of the experiment.
    pub(super) fn phase(&mut self, phase: Phase) {
        self.journal.add(EntryKind::Phase { phase });
        self.steady.iter_mut().chain(&mut self.aborts).for_each(Watched::start_again);
        self.steady.iter_mut().for_each(|watched| watched.seek_worst(phase == Phase::Steps));
    }

    /// Adds the results of all checks to the journal.
    fn add_checks(&mut self) {
        let is_over = self.is_complete || self.outcome == Some(Outcome::Held);
        for (watched, each) in self.steady.iter().zip(&self.scenario.steady_state) {
            let (measured, used) = watched.measured(each.during && !self.probes_only);
            let (passed, detail, used) = match &watched.failure {
                Some(failure) => (Some(false), failure.clone(), None),
                None if is_over => (Some(true), measured, used),
                None => (None, "held until the experiment ended early".to_owned(), None),
            };
            let (name, weight) = (watched.id().to_owned(), each.weight);
            self.add_check(Check { name, kind: CheckKind::SteadyState, passed, detail, weight, used });
        }
        if self.probes_only {
            return;
        }
        for tracker in &self.trackers {
            let detail = match tracker.verdict() {
                None if tracker.detail.is_empty() => "its step did not start".to_owned(),
                None => format!("not decided: {}", tracker.detail),
                Some(_) => tracker.detail.clone(),
            };
            let (name, weight) = (tracker.spec.id.clone(), tracker.spec.weight);
            let (passed, used) = (tracker.verdict(), tracker.used);
            self.add_check(Check { name, kind: CheckKind::Expectation, passed, detail, weight, used });
        }
        let recovery = &self.scenario.recovery;
        let name = format!("steady state within {} after the last fault", span(recovery.within));
        let detail = match self.recovery {
            None => "the recovery was not observed".to_owned(),
            Some(_) => self.recovery_detail.clone(),
        };
        let used = self.recovery_took.map(|took| took.as_secs_f64() / recovery.within.as_secs_f64());
        let (passed, weight) = (self.recovery, recovery.weight);
        self.add_check(Check { name, kind: CheckKind::Recovery, passed, detail, weight, used });
    }

    fn add_check(&self, mut check: Check) {
        check.used = check.used.map(|used| (used * 1000.0).round() / 1000.0);
        self.journal.add(EntryKind::Check(check));
    }
}

impl Drop for Experiment {
    /// Removes the faults first, whatever follows.
    fn drop(&mut self) {
        self.armed.roll_back();
        let outcome = self.outcome.unwrap_or_else(|| {
            let how = if std::thread::panicking() { "panicked" } else { "was dropped" };
            let reason = format!("the runner {how} before the experiment ended; its faults were removed");
            self.journal.add(EntryKind::Aborted { reason });
            Outcome::Aborted
        });
        if outcome != Outcome::Refused {
            self.add_checks();
        }
        self.journal.add(EntryKind::Ended { outcome });
        finish(&self.journal, self.folder.as_deref());
    }
}
