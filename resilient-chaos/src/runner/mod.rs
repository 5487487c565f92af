//! Runs experiments, and removes their faults whatever happens.
//!
//! An experiment has three parts: the steady state is observed, faults are injected step by step, and the return of the
//! steady state is awaited. All probes, abort rules and expectations are checked at each interval of the scenario, and
//! at once if a circuit breaker or an alert changes.
//!
//! All faults are removed, the last one first:
//! - when the last step ends;
//! - when the steady state or an expectation fails, unless the scenario says `on_deviation = "continue"`;
//! - when an abort rule applies, `max_duration` is over, a fault is removed by others, or the journal cannot be written;
//! - when the future passed to [`Runner::run`] completes, for example on Ctrl-C;
//! - when the runner panics, or its future is dropped;
//! - when the runner does not run any more: each fault is a lease of two intervals, which the runner renews.
//!
//! The report is made in all of these cases, except the last.

mod armed;
mod experiment;
mod outside;
mod phases;
mod plan;
mod prepare;
mod running;
mod tracker;
mod unwind;
mod watched;

use std::fmt;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use resilient_runtime::Registry;

pub(crate) use armed::Armed;
pub use plan::Plan;
pub(crate) use plan::{describe, describe_rate};
pub(crate) use prepare::environment as refused_in;
pub(crate) use running::Claim;
pub use running::{Running, running};

use crate::faults::{Faults, of_registry};
use crate::report::{EntryKind, Journal, Outcome, Report};
use crate::scenario::Scenario;
use experiment::Experiment;
use outside::Functions;

/// The environment variable with the name of the environment.
pub const ENVIRONMENT: &str = "RESILIENT_ENVIRONMENT";

/// Runs an experiment in a registry.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use resilient_chaos::{Runner, report::Outcome, scenario::shipped};
/// use resilient_runtime::{Registry, clock::Clock};
///
/// let registry = Registry::with_clock(Clock::tokio());
/// let scenario = shipped("dependency-down").unwrap().scenario();
/// let runner = Runner::new(&registry, scenario).environment("production");
/// let report = runner.run(std::future::pending()).await;
/// assert_eq!((report.outcome, report.exit_code()), (Outcome::Refused, 3), "not in production");
/// # }
/// ```
#[must_use = "a runner does nothing until `run`"]
pub struct Runner {
    registry: Registry,
    scenario: Scenario,
    faults: Arc<dyn Faults>,
    environment: Option<String>,
    folder: Option<PathBuf>,
    journal: Option<Journal>,
    functions: Functions,
    started: Option<String>,
    lease: Option<Duration>,
}

impl fmt::Debug for Runner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Runner").field("scenario", &self.scenario.name).finish_non_exhaustive()
    }
}

impl Runner {
    /// Creates a runner of a scenario in a registry.
    ///
    /// ```
    /// use resilient_chaos::{Runner, scenario::shipped};
    ///
    /// let registry = resilient_runtime::Registry::new();
    /// let runner = Runner::new(&registry, shipped("overload").unwrap().scenario());
    /// println!("{}", runner.plan());
    /// ```
    pub fn new(registry: &Registry, scenario: Scenario) -> Self {
        Self::with_faults(registry, scenario, of_registry(registry))
    }

    /// Creates a runner that injects faults with `faults` instead of the fault injection of the registry.
    pub fn with_faults(registry: &Registry, scenario: Scenario, faults: Arc<dyn Faults>) -> Self {
        let environment = std::env::var(ENVIRONMENT).ok().filter(|name| !name.is_empty());
        let (registry, functions) = (registry.clone(), Functions::new());
        Self {
            registry,
            scenario,
            faults,
            environment,
            folder: None,
            journal: None,
            functions,
            started: None,
            lease: None,
        }
    }

    /// Sets the name of the environment, instead of the variable `RESILIENT_ENVIRONMENT`.
    ///
    /// The experiment is refused if the scenario does not list it.
    pub fn environment(mut self, name: &str) -> Self {
        self.environment = Some(name.to_owned());
        self
    }

    /// Writes the journal to `NAME.jsonl` in this folder while the experiment runs, and the report to `NAME.md` and
    /// `NAME.html` when it ended. If the experiment is refused because one of the same name runs, it writes nothing.
    pub fn reports_in(mut self, folder: impl AsRef<Path>) -> Self {
        self.folder = Some(folder.as_ref().to_owned());
        self
    }

    /// Writes to this journal. By default the journal is in memory, or in the folder of
    /// [`reports_in`](Self::reports_in).
    pub fn journal(mut self, journal: &Journal) -> Self {
        self.journal = Some(journal.clone());
        self
    }

    /// Registers a function for probes with `probe = "custom"` and this name.
    ///
    /// It is called at each check, and must not block. `None` means that there is no value.
    pub fn probe(
        mut self,
        name: &str,
        read: impl Fn(&Registry) -> Option<f64> + Send + Sync + 'static,
    ) -> Self {
        self.functions.insert(name.to_owned(), Arc::new(read));
        self
    }

    /// Sets the date and time that the report shows. By default, the current time.
    pub fn started(mut self, text: &str) -> Self {
        self.started = Some(text.to_owned());
        self
    }

    /// Sets how long a fault lasts if the runner does not run any more. By default two intervals of the scenario, which
    /// is also the shortest possible time.
    ///
    /// The time is measured on the registry's clock and on the machine's clock. Lengthen it if the machine is so slow
    /// that the runner misses two intervals.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = Some(lease);
        self
    }

    /// Returns what the experiment would do, and why it would be refused. Injects nothing.
    pub fn plan(&self) -> Plan {
        let mut problems = self.problems();
        if let Some(other) = running(&self.registry) {
            problems.push(already(other.name()));
        }
        Plan::new(self.scenario.clone(), problems)
    }

    fn problems(&self) -> Vec<String> {
        let mut problems: Vec<_> =
            prepare::environment(&self.scenario.environment, self.environment.as_deref())
                .into_iter()
                .collect();
        for step in &self.scenario.steps {
            let refused = self.faults.check(&step.fault).into_iter();
            problems.extend(refused.map(|what| format!("step `{}`: {what}", step.id)));
        }
        problems.extend(prepare::names(&self.scenario, &self.registry.stats(), &self.functions));
        problems
    }

    /// Observes the steady state without injecting anything.
    ///
    /// The outcome is [`Outcome::Held`] if it holds for the time `observe_before` of the scenario, and otherwise
    /// [`Outcome::Deviated`].
    ///
    /// # Cancel safety
    /// If the future is dropped, the report is still made.
    pub async fn probes_only(self) -> Report {
        self.start(true, std::future::pending()).await
    }

    /// Runs the experiment, until it ends or `cancel` completes.
    ///
    /// The program decides what cancels the experiment, for example `tokio::signal::ctrl_c()`.
    ///
    /// # Cancel safety
    /// If the future is dropped, all faults are removed and the report is made at once. If it is not polled any more,
    /// all faults end after two intervals.
    pub async fn run(self, cancel: impl Future<Output = ()> + Send) -> Report {
        self.start(false, cancel).await
    }

    async fn start(mut self, probes_only: bool, cancel: impl Future<Output = ()> + Send) -> Report {
        let mut reasons = Vec::new();
        let (journal, is_given) = match self.journal.take() {
            Some(journal) => (journal, true),
            None => (Journal::new(), false),
        };
        // Before the files are opened: files of this name can belong to the experiment that runs.
        let claim = Claim::new(&self.registry, &self.scenario.name, &journal);
        if let Err(other) = &claim {
            reasons.push(already(other));
            self.folder = self.folder.filter(|_| *other != self.scenario.name);
        }
        if let (Some(folder), false) = (&self.folder, is_given)
            && let Err(reason) = self.open(&journal, folder)
        {
            reasons.push(reason);
            self.folder = None;
        }
        let folder = self.folder.clone();
        reasons.extend(self.problems());
        let refused = |reasons, journal: &Journal, began| {
            journal.add(EntryKind::Began(Box::new(began)));
            journal.add(EntryKind::Refused { reasons });
            journal.add(EntryKind::Ended { outcome: Outcome::Refused });
            finish(journal, folder.as_deref())
        };
        let began =
            experiment::began(&self.scenario, self.environment.as_deref(), self.started.take(), probes_only);
        let claim = match claim {
            Ok(claim) if reasons.is_empty() => claim,
            _ => return refused(reasons, &journal, began),
        };
        journal.add(EntryKind::Began(Box::new(began)));
        let experiment = Experiment::new(self, journal.clone(), claim, probes_only);
        if let Err(panic) = unwind::catch(experiment.drive(cancel)).await {
            tracing::error!(target: "resilient_chaos", panic, "the runner of the experiment panicked; its faults are removed");
        }
        Report::of(journal.entries())
    }

    /// Lets the journal be written to its file in the folder.
    fn open(&self, journal: &Journal, folder: &Path) -> Result<(), String> {
        std::fs::create_dir_all(folder)
            .map_err(|error| format!("the folder `{}` cannot be created: {error}", folder.display()))?;
        journal
            .write_to(&folder.join(format!("{}.jsonl", self.scenario.name)))
            .map_err(|error| error.to_string())
    }
}

fn already(other: &str) -> String {
    format!("the experiment `{other}` runs in this registry; wait until it ends, or stop it")
}

/// Makes the report, and writes it to the folder.
fn finish(journal: &Journal, folder: Option<&Path>) -> Report {
    let report = Report::of(journal.entries());
    if let Some(folder) = folder
        && let Err(error) = report.write(folder)
    {
        let folder = folder.display();
        tracing::error!(target: "resilient_chaos", %folder, %error, "the report cannot be written");
        journal
            .add(EntryKind::Warning { text: format!("the report cannot be written to `{folder}`: {error}") });
    }
    report
}

#[cfg(test)]
pub(crate) mod tests;
