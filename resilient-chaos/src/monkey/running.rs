//! The monkeys that run in this process: at most one per registry.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use resilient_runtime::Registry;
use tokio::sync::watch;

use crate::report::{EntryKind, Journal};

/// A monkey that runs in this process.
///
/// ```
/// use resilient_chaos::monkey;
///
/// assert!(monkey::running(&resilient_runtime::Registry::new()).is_none());
/// ```
#[derive(Clone)]
pub struct Running {
    registry: Registry,
    name: Arc<str>,
    journal: Journal,
    stop: Arc<watch::Sender<bool>>,
}

static ALL: Mutex<Vec<Running>> = Mutex::new(Vec::new());

fn all() -> MutexGuard<'static, Vec<Running>> {
    ALL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the monkey that runs in a registry, if there is one.
///
/// ```
/// let registry = resilient_runtime::Registry::new();
/// if let Some(running) = resilient_chaos::monkey::running(&registry) {
///     running.stop("the operator pressed the button");
/// }
/// ```
pub fn running(registry: &Registry) -> Option<Running> {
    all().iter().find(|running| running.registry.is_same(registry)).cloned()
}

impl Running {
    /// Returns the name of the monkey.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the journal, which grows with each decision.
    pub fn journal(&self) -> Journal {
        self.journal.clone()
    }

    /// Stops the monkey. All of its faults are removed.
    pub fn stop(&self, reason: &str) {
        if !self.stop.send_replace(true) {
            self.journal.add(EntryKind::Aborted { reason: reason.to_owned() });
        }
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The right to run a monkey in a registry. Released when it is dropped, which also ends the journal.
#[derive(Debug)]
pub(super) struct Run(Running);

impl Run {
    /// Fails with the reason if another monkey runs in the registry.
    pub(super) fn new(registry: &Registry, name: &str, journal: &Journal) -> Result<Self, String> {
        let mut all = all();
        if let Some(other) = all.iter().find(|running| running.registry.is_same(registry)) {
            return Err(format!("the monkey `{}` runs in this registry; stop it first", other.name));
        }
        let (stop, _) = watch::channel(false);
        let (registry, name, journal) = (registry.clone(), name.into(), journal.clone());
        let running = Running { registry, name, journal, stop: Arc::new(stop) };
        running.journal.set_ended(false);
        all.push(running.clone());
        Ok(Self(running))
    }

    /// Waits until the monkey shall stop.
    pub(super) async fn stop_requested(&self) {
        let mut stop = self.0.stop.subscribe();
        // Cannot fail: `self` keeps the sender.
        let _ = stop.wait_for(|stop| *stop).await;
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        all().retain(|running| !Arc::ptr_eq(&running.stop, &self.0.stop));
        self.0.journal.set_ended(true);
    }
}
