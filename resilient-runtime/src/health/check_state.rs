//! What a check is worth after what its probes said: with patience before it changes its mind.

use super::config::{CheckKind, Config};

/// Passed or failed, and how far it is from changing. Who has never passed is failed, but for liveness: a process is alive
/// until it is shown that it is not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CheckState {
    pub(super) passes: bool,
    /// Probes in a row that said the opposite.
    against: u32,
}

impl CheckState {
    pub(super) fn new(kind: CheckKind) -> Self {
        Self { passes: kind == CheckKind::Liveness, against: 0 }
    }

    /// Takes note of a probe; whether that changed anything.
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
    fn three_failures_in_a_row_fail_it_and_one_success_passes_it() {
        // T133
        assert_eq!(after(CheckKind::Readiness, "+--+---+-"), "++++++-++");
        assert_eq!(after(CheckKind::Readiness, "+-+-+-+-+-"), "++++++++++", "flapping is suppressed");
    }

    #[test]
    fn who_has_never_passed_is_not_ready_but_alive() {
        // T136
        assert_eq!(after(CheckKind::Readiness, "--+"), "--+");
        assert_eq!(after(CheckKind::Liveness, "---+"), "++-+");
    }
}
