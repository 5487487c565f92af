//! Decides when a fault is injected, and which.

use std::collections::{BTreeSet, VecDeque};
use std::time::Duration;

use jiff::civil::DateTime;

use super::Config;
use crate::random::Random;

const HOUR: Duration = Duration::from_hours(1);

/// A decision of the monkey.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Decision {
    /// Injects the fault with this id.
    Inject {
        /// The id of the fault.
        fault: String,
    },
    /// Injects nothing now.
    Skip {
        /// The reason.
        reason: String,
    },
}

/// Makes the decisions. They depend only on the settings and on what is passed in.
#[derive(Clone, Debug)]
pub(super) struct Decider {
    config: Config,
    random: Random,
    /// The times of the injections in the last hour.
    injections: VecDeque<Duration>,
    /// The start of the current slot, and the time of its decision.
    slot: Duration,
    next: Duration,
}

impl Decider {
    pub(super) fn new(config: Config) -> Self {
        let random = Random::new(config.seed);
        let mut decider =
            Self { config, random, injections: VecDeque::new(), slot: Duration::ZERO, next: Duration::ZERO };
        decider.next = decider.moment();
        decider
    }

    /// Returns the time of the next decision, from the start of the monkey.
    pub(super) fn next(&self) -> Duration {
        self.next
    }

    /// Returns a random moment of the current slot. There is one slot for each fault of the budget.
    fn moment(&mut self) -> Duration {
        let length = HOUR / self.config.budget_per_hour;
        self.slot + length.mul_f64(self.random.unit())
    }

    /// Decides, and moves to the next slot.
    pub(super) fn decide(
        &mut self,
        now: Duration,
        local: DateTime,
        blocked: Option<&str>,
        busy: &BTreeSet<String>,
    ) -> Decision {
        // Draws the same numbers whatever the decision is, so that one decision does not change the later ones.
        let luck = self.random.unit();
        let length = HOUR / self.config.budget_per_hour;
        while self.slot + length <= now.max(self.next) {
            self.slot += length;
        }
        if self.slot <= self.next {
            self.slot += length;
        }
        self.next = self.moment();
        let decision = self.choose(now, local, blocked, busy, luck);
        if matches!(decision, Decision::Inject { .. }) {
            self.injections.push_back(now);
        }
        decision
    }

    fn choose(
        &mut self,
        now: Duration,
        local: DateTime,
        blocked: Option<&str>,
        busy: &BTreeSet<String>,
        luck: f64,
    ) -> Decision {
        let skip = |reason: String| Decision::Skip { reason };
        if !self.config.days.contains(&local.date().weekday()) {
            return skip("today is not one of `days`".to_owned());
        }
        let time = Duration::from_secs(
            u64::try_from(
                i64::from(local.hour()) * 3600 + i64::from(local.minute()) * 60 + i64::from(local.second()),
            )
            .unwrap_or_default(),
        );
        if time < self.config.from || time >= self.config.to {
            return skip("it is outside of the business hours".to_owned());
        }
        if let Some(reason) = blocked {
            return skip(reason.to_owned());
        }
        while self.injections.front().is_some_and(|at| now.saturating_sub(*at) >= HOUR) {
            self.injections.pop_front();
        }
        if self.injections.len() >= self.config.budget_per_hour as usize {
            return skip("the budget of this hour is spent".to_owned());
        }
        let to = self.config.to;
        let fits = |fault: &&super::AllowedFault| !busy.contains(&fault.group) && time + fault.duration <= to;
        let choices: Vec<_> = self.config.faults.iter().filter(fits).collect();
        let total: u64 = choices.iter().map(|fault| fault.weight).sum();
        let mut rest = luck * total as f64;
        for fault in choices {
            rest -= fault.weight as f64;
            if rest < 0.0 {
                return Decision::Inject { fault: fault.id.clone() };
            }
        }
        skip("every group has a fault already, or no fault would end within the business hours".to_owned())
    }
}
