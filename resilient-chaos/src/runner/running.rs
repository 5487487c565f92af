//! The experiments that run in this process: at most one per registry.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use resilient_runtime::Registry;
use tokio::sync::Notify;

use crate::report::Journal;

/// An experiment that runs in this process.
///
/// ```
/// use resilient_chaos::runner;
///
/// assert!(runner::running(&resilient_runtime::Registry::new()).is_none());
/// ```
#[derive(Clone)]
pub struct Running {
    registry: Registry,
    name: Arc<str>,
    journal: Journal,
    stop: Arc<Stop>,
}

#[derive(Debug, Default)]
pub(super) struct Stop {
    reason: Mutex<Option<String>>,
    notify: Notify,
}

impl Stop {
    /// Waits until the experiment shall stop, and returns the reason.
    pub(super) async fn requested(&self) -> String {
        loop {
            let notified = self.notify.notified();
            if let Some(reason) = self.reason.lock().unwrap_or_else(PoisonError::into_inner).clone() {
                return reason;
            }
            notified.await;
        }
    }
}

static ALL: Mutex<Vec<Running>> = Mutex::new(Vec::new());

fn all() -> std::sync::MutexGuard<'static, Vec<Running>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the experiment that runs in a registry, if there is one.
///
/// ```
/// let registry = resilient_runtime::Registry::new();
/// if let Some(running) = resilient_chaos::runner::running(&registry) {
///     running.stop("the operator pressed the button");
/// }
/// ```
pub fn running(registry: &Registry) -> Option<Running> {
    all().iter().find(|running| running.registry.is_same(registry)).cloned()
}

impl Running {
    /// Returns the name of the scenario.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the journal, which grows while the experiment runs.
    pub fn journal(&self) -> Journal {
        self.journal.clone()
    }

    /// Aborts the experiment. All of its faults are removed, and a report is made.
    pub fn stop(&self, reason: &str) {
        self.stop
            .reason
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get_or_insert_with(|| reason.to_owned());
        self.stop.notify.notify_waiters();
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The right to run an experiment in a registry. Released when it is dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    registry: Registry,
    pub(super) stop: Arc<Stop>,
}

impl Claim {
    /// Claims the registry. Fails with the name of the experiment that already runs there.
    pub(crate) fn new(registry: &Registry, name: &str, journal: &Journal) -> Result<Self, String> {
        let mut all = all();
        if let Some(other) = all.iter().find(|running| running.registry.is_same(registry)) {
            return Err(other.name.to_string());
        }
        let stop = Arc::<Stop>::default();
        let (registry, name) = (registry.clone(), name.into());
        all.push(Running {
            registry: registry.clone(),
            name,
            journal: journal.clone(),
            stop: Arc::clone(&stop),
        });
        Ok(Self { registry, stop })
    }
}

impl Claim {
    /// Returns why it shall be released, if [`Running::stop`] was called.
    pub(crate) fn stopped(&self) -> Option<String> {
        self.stop.reason.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        all().retain(|running| !running.registry.is_same(&self.registry));
    }
}
