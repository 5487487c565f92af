//! Runs a scenario in a shorter time.

use std::time::Duration;

use super::{Expected, Rate, Scenario};
use crate::probe::{Measure, Mode};

/// The shortest window of a probe, and the shortest step.
const SHORTEST: Duration = Duration::from_millis(100);

impl Scenario {
    /// Divides the times of the scenario by `divisor`, for a short run in continuous integration.
    ///
    /// These times become shorter: the observation before the first fault, the start and duration of the steps, their
    /// ramps, the windows of probes, the debounce times, the deadlines of expectations, the recovery and
    /// `max_duration`. Windows and steps stay at least 100 ms long. The faults and the limits of latencies do not
    /// change, because customers do not become faster. The program needs settings that fit: for example, a circuit
    /// breaker that stays open for a shorter time, and alerts with a shorter window.
    ///
    /// A `divisor` below 1, or one that is not a number, changes nothing.
    ///
    /// ```
    /// use std::time::Duration;
    ///
    /// let scenario = resilient_chaos::scenario::shipped("dependency-down").unwrap().scenario();
    /// let quick = scenario.clone().in_less_time(5.0);
    /// assert_eq!(quick.end_of_steps(), scenario.end_of_steps() / 5);
    /// assert_eq!(scenario.clone().in_less_time(0.0), scenario);
    /// ```
    #[must_use]
    pub fn in_less_time(mut self, divisor: f64) -> Self {
        if !divisor.is_finite() || divisor <= 1.0 {
            return self;
        }
        let short = |time: &mut Duration| *time = time.div_f64(divisor);
        let bounded = |time: &mut Duration| *time = time.div_f64(divisor).max(SHORTEST.min(*time));
        short(&mut self.observe_before);
        bounded(&mut self.max_duration);
        for step in &mut self.steps {
            short(&mut step.start);
            bounded(&mut step.duration);
            if let Rate::Ramp { over, .. } = &mut step.rate {
                short(over);
            }
        }
        for each in &mut self.steady_state {
            short(&mut each.debounce);
            window(&mut each.probe.measure).into_iter().for_each(bounded);
        }
        for rule in &mut self.abort_when {
            short(&mut rule.debounce);
            window(&mut rule.probe.measure).into_iter().for_each(bounded);
        }
        for expectation in &mut self.expectations {
            // A name by default contains the deadline.
            let is_default = expectation.id == expectation.what.name(&expectation.of);
            if let Expected::Breaker { within, .. } | Expected::Alert { within, .. } = &mut expectation.what {
                bounded(within);
            }
            if is_default {
                expectation.id = expectation.what.name(&expectation.of);
            }
        }
        bounded(&mut self.recovery.within);
        short(&mut self.recovery.hold);
        self
    }
}

fn window(measure: &mut Measure) -> Option<&mut Duration> {
    match measure {
        Measure::SuccessRate { window, .. }
        | Measure::DegradedRate { window, .. }
        | Measure::Latency { window, .. }
        | Measure::Metric { mode: Mode::Rate { window }, .. } => Some(window),
        _ => None,
    }
}
