//! The results that a check observes while faults let it flap.

use std::sync::Arc;

use super::check_state::CheckState;
use super::{Config, HealthCheck, Inner, Last, State};
use crate::chaos::{Affected, Armed, Shared};
use crate::clock::Instant;
use crate::kind::Kind;
use crate::rejection::InjectedBy;

/// The true results are still recorded beside it, so that the check has its true status when the faults end.
#[derive(Debug)]
pub(super) struct Flap {
    streak: CheckState,
    last: Option<Last>,
}

/// The effect of faults on the result of a probe.
#[derive(Debug)]
pub(super) enum Drawn {
    /// No fault is in force.
    NoFault,
    True,
    Failure(InjectedBy),
}

impl Flap {
    pub(super) fn observed(&self) -> (bool, Option<&Last>) {
        (self.streak.passes, self.last.as_ref())
    }
}

impl State {
    /// Records the result that the check observes. Called before the true result is recorded.
    ///
    /// `is_over` tells whether the faults ended since they were drawn: then nothing would undo the failure.
    pub(super) fn flap(&mut self, drawn: Drawn, is_over: bool, config: &Config, last: &Last) {
        let drawn = if is_over { Drawn::NoFault } else { drawn };
        let mut last = last.clone();
        match drawn {
            Drawn::NoFault => {
                self.flap = None;
                return;
            }
            Drawn::True => {}
            Drawn::Failure(by) => {
                self.failed += u64::from(last.problem.is_none());
                last.problem = Some(by.to_string());
            }
        }
        let (streak, before) = (self.streak, self.last.clone());
        let flap = self.flap.get_or_insert(Flap { streak, last: before });
        flap.streak.observe(last.problem.is_none(), config);
        flap.last = Some(last);
    }
}

impl Inner {
    /// Draws the faults that affect the result of a probe.
    pub(super) fn drawn(&self, now: Instant) -> Drawn {
        if !self.faults.is_set() {
            return Drawn::NoFault;
        }
        if self.faults.in_force().is_empty() {
            return Drawn::NoFault;
        }
        let mut failure = None;
        let component = (Kind::Health, self.core.name);
        self.faults.draw_where(
            component,
            |armed| armed.fails_check(now),
            |hit| {
                failure = Some(hit.injected_by());
                false
            },
        );
        failure.map_or(Drawn::True, Drawn::Failure)
    }

    /// Returns to the true status if the faults are over.
    pub(super) fn end_flap(&self) {
        if self.faults.is_set() && self.faults.is_stale() {
            // Removes them from the registry, which updates this check.
            self.faults.prune();
            self.show_true_status();
        }
    }

    fn show_true_status(&self) {
        if self.faults.in_force().is_empty() {
            let (config, now) = (self.core.config(), self.core.clock().now());
            self.change(&config, now, |state| state.flap = None);
        }
    }
}

impl Affected for HealthCheck {
    fn add_fault(&self, shared: &Arc<Shared>, armed: &Arc<Armed>) {
        self.0.faults.add(shared, armed);
    }

    fn update(&self) {
        self.0.show_true_status();
    }
}
