//! A chaos monkey: random faults from a list, within a budget and in business hours.
//!
//! - The monkey injects only faults of its list, at most `budget_per_hour` in any hour.
//! - It injects faults only on the days and in the hours of the settings, in their time zone, and only if the fault ends
//!   within these hours.
//! - It never injects two faults of one group at the same time.
//! - It injects nothing while an alert fires or an experiment runs. If an alert begins to fire, all of its faults are
//!   removed at once.
//! - Its decisions depend on the seed. Every decision is logged, and written to the journal.
//! - Its faults are leases, as in an experiment. They end if the monkey is dropped, panics or stops running.

mod config;
mod decide;
mod fields;
mod forecast;
mod running;

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use resilient_runtime::{EventKind as Happened, Registry};

pub use config::{AllowedFault, Config};
pub use decide::Decision;
pub use forecast::Forecast;
pub use running::{Running, running};

use crate::faults::{Arm, Faults, of_registry};
use crate::report::{EntryKind, Journal};
use crate::runner::{self, Armed, Claim, ENVIRONMENT, refused_in};
use decide::Decider;
use running::Run;

/// How long a fault lasts if the monkey does not run any more.
const LEASE: Duration = Duration::from_millis(200);

/// Injects random faults until it is stopped.
#[must_use = "a monkey does nothing until `run`"]
pub struct Monkey {
    registry: Registry,
    config: Config,
    faults: Arc<dyn Faults>,
    environment: Option<String>,
    journal: Journal,
    wall: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    lease: Duration,
}

impl fmt::Debug for Monkey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Monkey").field("config", &self.config).finish_non_exhaustive()
    }
}

/// A fault that is injected now.
struct Active {
    id: String,
    group: String,
    until: Duration,
    /// Keeps experiments away. Shared by all faults at this time.
    claim: Arc<Claim>,
}

impl Monkey {
    /// Creates a monkey in a registry.
    ///
    /// ```
    /// use resilient_chaos::monkey::{Config, Monkey};
    ///
    /// # let text = "[monkey]\nversion = 1\nname = \"m\"\nowner = \"o\"\nenvironment = [\"staging\"]\n[[fault]]\nid = \"a\"\nfault = { type = \"hang\", on = \"charge\" }\nrate = 0.1\nfor = \"1m\"";
    /// let monkey = Monkey::new(&resilient_runtime::Registry::new(), Config::parse(text)?);
    /// # let _ = monkey;
    /// # Ok::<_, resilient_chaos::scenario::InvalidScenario>(())
    /// ```
    pub fn new(registry: &Registry, config: Config) -> Self {
        Self::with_faults(registry, config, of_registry(registry))
    }

    /// Creates a monkey that injects faults with `faults` instead of the fault injection of the registry.
    pub fn with_faults(registry: &Registry, config: Config, faults: Arc<dyn Faults>) -> Self {
        Self {
            registry: registry.clone(),
            config,
            faults,
            environment: std::env::var(ENVIRONMENT).ok().filter(|name| !name.is_empty()),
            journal: Journal::new(),
            wall: Arc::new(Timestamp::now),
            lease: LEASE,
        }
    }

    /// Sets the name of the environment, instead of the variable `RESILIENT_ENVIRONMENT`.
    pub fn environment(mut self, name: &str) -> Self {
        self.environment = Some(name.to_owned());
        self
    }

    /// Writes every decision to this journal.
    pub fn journal(mut self, journal: &Journal) -> Self {
        self.journal = journal.clone();
        self
    }

    /// Sets how long a fault lasts if the monkey does not run any more. By default 200 ms, which is also the shortest
    /// possible time. The monkey renews it after half of this time.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(LEASE);
        self
    }

    /// Replaces the wall clock, for tests.
    pub fn wall_clock(mut self, now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.wall = Arc::new(now);
        self
    }

    /// Returns every reason why the monkey would not run now. Empty if it would.
    ///
    /// ```
    /// use resilient_chaos::monkey::{Config, Monkey};
    ///
    /// # let text = "[monkey]\nversion = 1\nname = \"m\"\nowner = \"o\"\nenvironment = [\"staging\"]\n[[fault]]\nid = \"a\"\nfault = { type = \"hang\", on = \"charge\" }\nrate = 0.1\nfor = \"1m\"";
    /// let monkey = Monkey::new(&resilient_runtime::Registry::new(), Config::parse(text)?).environment("production");
    /// assert!(monkey.problems()[0].contains("`production`"));
    /// # Ok::<_, resilient_chaos::scenario::InvalidScenario>(())
    /// ```
    pub fn problems(&self) -> Vec<String> {
        let mut problems: Vec<_> =
            refused_in(&self.config.environment, self.environment.as_deref()).into_iter().collect();
        for fault in &self.config.faults {
            let refused = self.faults.check(&fault.fault).into_iter();
            problems.extend(refused.map(|what| format!("fault `{}`: {what}", fault.id)));
        }
        problems
    }

    /// Runs until `stop` completes, or [`Running::stop`] is called. Removes all faults then.
    ///
    /// # Errors
    /// Returns the reason if the settings do not allow this environment, if another monkey runs in the registry, or if
    /// the monkey cannot wait because there is no tokio runtime with `enable_time`.
    ///
    /// # Cancel safety
    /// If the future is dropped, all faults are removed.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) -> Result<(), String> {
        if let Some(reason) = refused_in(&self.config.environment, self.environment.as_deref()) {
            return Err(reason);
        }
        let run = Run::new(&self.registry, &self.config.name, &self.journal)?;
        let clock = self.registry.clock().clone();
        let mut decider = Decider::new(self.config.clone());
        let mut armed = Armed::new(Arc::clone(&self.faults), clock.clone(), self.journal.clone());
        let mut active: Vec<Active> = Vec::new();
        let (mut last, mut now) = (clock.now(), Duration::ZERO);
        let mut stop = std::pin::pin!(stop);
        let mut requested = std::pin::pin!(run.stop_requested());
        let text = format!("the monkey runs, with at most {} faults an hour", self.config.budget_per_hour);
        self.journal.note(&self.config.name, &text);
        let mut events = self.registry.subscribe();
        loop {
            let read = clock.now();
            now += read.since(last);
            last = read;
            self.journal.set_now(now);
            if let Some(reason) = active.first().and_then(|active| active.claim.stopped()) {
                self.journal.add(EntryKind::Aborted { reason });
                return Ok(());
            }
            // Also without an event: under load, the subscription can lose it.
            self.stop_for_alert(&mut armed, &mut active);
            self.look_after(now, &mut armed, &mut active);
            if now >= decider.next() {
                self.decide(now, &mut decider, &mut armed, &mut active);
            }
            let next = active.iter().map(|active| active.until).chain([decider.next()]).min().unwrap_or(now);
            let pause = next.saturating_sub(now);
            let pause = if active.is_empty() { pause } else { pause.min(self.lease / 2) };
            let pause = pause.max(Duration::from_millis(1));
            let Some(mut delay) = clock.delay(pause) else {
                return Err(
                    "there is no tokio runtime with `enable_time`, so the monkey cannot wait".to_owned()
                );
            };
            loop {
                let event = tokio::select! {
                    biased;
                    () = &mut stop => return Ok(()),
                    () = &mut requested => return Ok(()),
                    () = &mut delay => break,
                    event = events.recv() => event,
                };
                match event.map(|event| event.what) {
                    Some(Happened::AlertChanged { severity: Some(_), .. }) => {
                        self.stop_for_alert(&mut armed, &mut active);
                    }
                    Some(_) => {}
                    None => {
                        delay.await;
                        break;
                    }
                }
            }
        }
    }

    /// Removes all faults if an alert fires.
    fn stop_for_alert(&self, armed: &mut Armed, active: &mut Vec<Active>) {
        if active.is_empty() {
            return;
        }
        let Some(reason) = self.alert() else { return };
        tracing::warn!(target: "resilient_chaos::monkey", monkey = %self.config.name, reason, "all faults are removed");
        self.journal.add(EntryKind::Aborted { reason });
        armed.roll_back();
        active.clear();
    }

    /// Renews the faults, and removes those that are over.
    fn look_after(&self, now: Duration, armed: &mut Armed, active: &mut Vec<Active>) {
        while let Some(gone) = armed.renew(self.lease).map(str::to_owned) {
            self.end(&gone, armed);
            active.retain(|active| active.id != gone);
        }
        for over in active.iter().filter(|active| now >= active.until) {
            self.end(&over.id, armed);
        }
        active.retain(|active| now < active.until);
    }

    fn end(&self, id: &str, armed: &mut Armed) {
        let injected = Some(armed.remove(id));
        self.journal.add(EntryKind::Step { step: id.to_owned(), runs: false, injected });
    }

    fn alert(&self) -> Option<String> {
        let stats = self.registry.stats();
        let firing = stats.alert.iter().find(|(_, alert)| alert.severity.is_some());
        firing.map(|(name, _)| format!("the alert `{name}` fires"))
    }

    fn decide(&self, now: Duration, decider: &mut Decider, armed: &mut Armed, active: &mut Vec<Active>) {
        let local = (self.wall)().to_zoned_datetime(self.config.time_zone.clone()).datetime();
        let other = runner::running(&self.registry).filter(|_| active.is_empty());
        let blocked =
            self.alert().or_else(|| other.map(|other| format!("the experiment `{}` runs", other.name())));
        let busy: BTreeSet<_> = active.iter().map(|active| active.group.clone()).collect();
        let mut decision = decider.decide(now, local, blocked.as_deref(), &busy);
        if let Decision::Inject { fault } = &decision
            && let Some(fault) = self.config.faults.iter().find(|known| known.id == *fault)
            && let Err(reason) = self.inject(now, fault, armed, active)
        {
            decision = Decision::Skip { reason };
        }
        let (fault, reason) = match decision {
            Decision::Inject { fault } => (Some(fault), "chosen".to_owned()),
            Decision::Skip { reason } => (None, reason),
        };
        let name = &self.config.name;
        tracing::info!(target: "resilient_chaos::monkey", monkey = %name, fault, reason, %local, "decision");
        self.journal.add(EntryKind::Decision { fault, reason, local: local.to_string() });
    }

    fn inject(
        &self,
        now: Duration,
        fault: &AllowedFault,
        armed: &mut Armed,
        active: &mut Vec<Active>,
    ) -> Result<(), String> {
        let claim = match active.first() {
            Some(first) => Arc::clone(&first.claim),
            None => Arc::new(
                Claim::new(&self.registry, &self.config.name, &self.journal)
                    .map_err(|other| format!("the experiment `{other}` runs"))?,
            ),
        };
        let arm = Arm {
            fault: &fault.fault,
            rate: fault.rate,
            // Each injection hits other calls.
            seed: self.config.seed.wrapping_add(u64::try_from(now.as_millis()).unwrap_or_default()),
            ttl: self.lease,
            max_active: None,
            by: &format!("monkey {} fault {}", self.config.name, fault.id),
        };
        armed.arm(&fault.id, &arm)?;
        self.journal.add(EntryKind::Step { step: fault.id.clone(), runs: true, injected: None });
        let (id, group) = (fault.id.clone(), fault.group.clone());
        active.push(Active { id, group, until: now + fault.duration, claim });
        Ok(())
    }
}

#[cfg(test)]
mod tests;
