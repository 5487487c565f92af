//! The decisions that a monkey would make.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;

use super::decide::Decider;
use super::{AllowedFault, Config, Decision};

/// The longest time that is looked at. Nothing that recurs less often than weekly decides.
const LONGEST: Duration = Duration::from_hours(14 * 24);

/// A decision that a monkey would make.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Forecast {
    /// The time since the start of the monkey.
    pub at: Duration,
    /// The date and time in the time zone of the settings.
    pub local: DateTime,
    /// The decision.
    pub decision: Decision,
}

impl Config {
    /// Returns the decisions of a monkey that starts at `start`, up to a number of injections or for two weeks. It
    /// assumes that no alert fires and no experiment runs.
    ///
    /// ```
    /// use resilient_chaos::monkey::{Config, Decision};
    ///
    /// let config = Config::parse(r#"
    /// [monkey]
    /// version = 1
    /// name = "staging-monkey"
    /// owner = "team-pay"
    /// environment = ["staging"]
    ///
    /// [[fault]]
    /// id = "charge-fails"
    /// fault = { type = "error", on = "charge" }
    /// rate = "10%"
    /// for = "1m"
    /// "#).unwrap();
    /// let decisions = config.forecast("2026-12-01T09:00:00Z".parse().unwrap(), 3);
    /// let injections = decisions.iter().filter(|it| matches!(it.decision, Decision::Inject { .. }));
    /// assert_eq!(injections.count(), 3);
    /// ```
    pub fn forecast(&self, start: Timestamp, injections: usize) -> Vec<Forecast> {
        let mut decider = Decider::new(self.clone());
        let mut active: Vec<(Duration, &AllowedFault)> = Vec::new();
        let mut decisions = Vec::new();
        let mut left = injections;
        while left > 0 && decider.next() < LONGEST {
            let at = decider.next();
            // The end of the calendar.
            let Ok(time) = start.checked_add(at) else { break };
            let local = time.to_zoned_datetime(self.time_zone.clone()).datetime();
            active.retain(|(until, _)| *until > at);
            let busy: BTreeSet<_> = active.iter().map(|(_, fault)| fault.group.clone()).collect();
            let decision = decider.decide(at, local, None, &busy);
            if let Decision::Inject { fault } = &decision
                && let Some(fault) = self.faults.iter().find(|known| known.id == *fault)
            {
                active.push((at + fault.duration, fault));
                left -= 1;
            }
            decisions.push(Forecast { at, local, decision });
        }
        decisions
    }
}

impl AllowedFault {
    /// Describes the fault for people.
    ///
    /// ```
    /// # let text = "[monkey]\nversion = 1\nname = \"m\"\nowner = \"o\"\nenvironment = [\"staging\"]\n[[fault]]\nid = \"a\"\nfault = { type = \"hang\", on = \"charge\" }\nrate = 0.1\nfor = \"1m\"";
    /// let config = resilient_chaos::monkey::Config::parse(text).unwrap();
    /// assert_eq!(config.faults[0].describe(), "hang on charge");
    /// ```
    pub fn describe(&self) -> String {
        crate::runner::describe(&self.fault)
    }
}
