//! The injected faults of an experiment, and their removal.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use resilient_runtime::clock::Clock;

use crate::faults::{Arm, FaultId, Faults};
use crate::report::{EntryKind, Journal};

/// The injected faults, in the order of their injection. Dropping it removes all of them, the last one first.
pub(crate) struct Armed {
    faults: Arc<dyn Faults>,
    clock: Clock,
    journal: Journal,
    stack: Vec<(String, FaultId)>,
}

impl fmt::Debug for Armed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Armed").field(&self.stack).finish()
    }
}

impl Armed {
    pub(crate) fn new(faults: Arc<dyn Faults>, clock: Clock, journal: Journal) -> Self {
        Self { faults, clock, journal, stack: Vec::new() }
    }

    /// Injects the fault of a step.
    pub(crate) fn arm(&mut self, step: &str, arm: &Arm<'_>) -> Result<(), String> {
        let id = self.faults.arm(arm)?;
        self.stack.push((step.to_owned(), id));
        Ok(())
    }

    /// Extends the leases. Returns the first step whose fault has ended.
    pub(crate) fn renew(&self, ttl: Duration) -> Option<&str> {
        let gone = self.stack.iter().find(|(_, id)| !self.faults.renew(*id, ttl));
        gone.map(|(step, _)| step.as_str())
    }

    pub(super) fn set_rate(&self, step: &str, rate: f64) {
        if let Some(id) = self.id(step) {
            self.faults.set_rate(id, rate);
        }
    }

    /// Removes the fault of a step, and returns how many calls it hit.
    pub(crate) fn remove(&mut self, step: &str) -> u64 {
        let Some(index) = self.stack.iter().rposition(|(armed, _)| armed == step) else { return 0 };
        let (_, id) = self.stack.remove(index);
        let injected = self.faults.injected(id).unwrap_or_default();
        self.faults.remove(id);
        injected
    }

    fn id(&self, step: &str) -> Option<FaultId> {
        self.stack.iter().find(|(armed, _)| armed == step).map(|(_, id)| *id)
    }

    /// Removes all faults, the last one first. Returns the steps with the number of calls that they hit.
    pub(crate) fn roll_back(&mut self) -> Vec<(String, u64)> {
        let start = self.clock.now();
        let mut removed = Vec::new();
        while let Some((step, id)) = self.stack.pop() {
            let injected = self.faults.injected(id).unwrap_or_default();
            self.faults.remove(id);
            removed.push((step, injected));
        }
        if !removed.is_empty() {
            for (step, injected) in &removed {
                let injected = Some(*injected);
                self.journal.add(EntryKind::Step { step: step.clone(), runs: false, injected });
            }
            let steps = removed.iter().map(|(step, _)| step.clone()).collect();
            let took = self.clock.now().since(start).as_secs_f64();
            self.journal.add(EntryKind::RolledBack { steps, took });
        }
        removed
    }
}

impl Drop for Armed {
    fn drop(&mut self) {
        self.roll_back();
    }
}
