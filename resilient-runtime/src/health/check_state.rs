//! The pass/fail state of a check, with thresholds before it changes.

use super::config::{CheckKind, Config};

/// Whether the check passes, and how close it is to changing. A check that has never passed starts as failed,
/// except for liveness: a process counts as alive until a probe shows otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CheckState {
    pub(super) passes: bool,
    /// Consecutive probes with the opposite result.
    against: u32,
}

impl CheckState {
    pub(super) fn new(kind: CheckKind) -> Self {
        Self { passes: kind == CheckKind::Liveness, against: 0 }
    }

    /// Records the result of a probe. Returns whether the state changed.
    pub(super) fn observe(&mut self, succeeded: bool, config: &Config) -> bool {
        if succeeded == self.passes {
            self.against = 0;
            return false;
        }
        self.against += 1;
        let needed = if succeeded { config.successes } else { config.failures };
        if self.against < needed {
            return false;
        }
        *self = Self { passes: succeeded, against: 0 };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(kind: CheckKind, probes: &str) -> String {
        let (mut check_state, config) = (CheckState::new(kind), Config::default());
        let mut see = |probe| {
            check_state.observe(probe == '+', &config);
            if check_state.passes { '+' } else { '-' }
        };
        probes.chars().map(&mut see).collect()
    }

    #[test]
    fn three_consecutive_failures_fail_a_check_and_one_success_passes_it() {
        // T133
        assert_eq!(after(CheckKind::Readiness, "+--+---+-"), "++++++-++");
        assert_eq!(after(CheckKind::Readiness, "+-+-+-+-+-"), "++++++++++", "flapping is suppressed");
    }

    #[test]
    fn a_check_that_never_passed_is_not_ready_but_alive() {
        // T136
        assert_eq!(after(CheckKind::Readiness, "--+"), "--+");
        assert_eq!(after(CheckKind::Liveness, "---+"), "++-+");
    }
}
