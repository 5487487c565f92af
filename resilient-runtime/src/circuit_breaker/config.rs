//! Settings of a circuit breaker and their defaults.

use std::sync::Arc;
use std::time::Duration;

use super::window::Window;
use crate::ratio::Ratio;
use crate::settings::{ConfigError, settings, words};

/// The effect of a shared circuit on an instance. See [`shared`](super::shared).
///
/// ```
/// use resilient_runtime::circuit_breaker::{Config, Coordinate};
///
/// assert_eq!(Config::default().coordinate, Coordinate::Advise);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
#[non_exhaustive]
pub enum Coordinate {
    /// Nothing. The shared state is shown only.
    Observe,
    /// While it is open, the first failure opens the circuit of the instance.
    #[default]
    Advise,
    /// While it is open, the circuit of the instance is open.
    Enforce,
}

words!(Coordinate { "observe" = Observe, "advise" = Advise, "enforce" = Enforce });

settings! {
    /// Settings of a [`CircuitBreaker`](crate::CircuitBreaker).
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{Ratio, circuit_breaker::Config};
    ///
    /// let by_rate = Config::default().failure_rate(Ratio::HALF).window(Duration::from_secs(10)).min_calls(50);
    /// let classic = Config::default().failure_threshold(5).success_threshold(2).open_for(Duration::from_secs(30));
    /// # assert_ne!(by_rate, classic);
    /// ```
    pub struct Config: circuit_breaker, check {
        window: Window,
        failure_rate: Option<Ratio>,
        min_calls: Option<u32>,
        low_volume_failures: u32,
        failure_threshold: Option<u32>,
        slow_call: Option<Duration>,
        slow_rate: Option<Ratio>,
        slow_in_flight: bool,
        open_for: Duration,
        open_max: Option<Duration>,
        open_jitter: Ratio,
        probe_lease: Duration,
        half_open_calls: u32,
        success_threshold: Option<u32>,
        store: Option<Arc<str>>,
        coordinate: Coordinate,
        quorum: Option<u32>,
        quorum_share: Option<Ratio>,
        scope: Option<Arc<str>>,
        max_shared_open: Duration,
        poll: Duration,
        enabled: bool,
    }
}

impl Config {
    pub(super) fn check(&self, error: &mut ConfigError) {
        // T18: a window that cannot hold enough calls would never open the circuit.
        if let (Some(calls), Window::Count(size)) = (self.min_calls, self.window) {
            let allowed =
                format!("it is more than the window of {size} calls, so the rates would never be checked");
            error.require(calls <= size, "min_calls", self.min_calls, allowed);
        }
        let slow = self.slow_call.is_some();
        let allowed = "it needs `slow_call`, the duration from which a call is slow";
        error.require(slow || self.slow_rate.is_none(), "slow_rate", self.slow_rate, allowed);
        error.require(slow || !self.slow_in_flight, "slow_in_flight", self.slow_in_flight, allowed);
        if let Some(longest) = self.open_max.filter(|longest| *longest < self.open_for) {
            error.require(
                false,
                "open_max",
                longest,
                format!("must be from open_for = {:?} to 24 h", self.open_for),
            );
        }
        self.check_shared(error);
    }

    fn check_shared(&self, error: &mut ConfigError) {
        let both = "use one of them: `quorum`, a number of instances, or `quorum_share`, a share of them";
        error.require(
            self.quorum.is_none() || self.quorum_share.is_none(),
            "quorum_share",
            self.quorum_share,
            both,
        );
        if self.store.is_some() {
            return;
        }
        let alone = "it needs `store`, the name of the store that shares the circuit";
        error.require(self.coordinate == Coordinate::default(), "coordinate", self.coordinate, alone);
        error.require(self.quorum.is_none(), "quorum", self.quorum, alone);
        error.require(self.quorum_share.is_none(), "quorum_share", self.quorum_share, alone);
        error.require(self.scope.is_none(), "scope", self.scope.clone(), alone);
    }

    /// Returns the share of failed calls that opens the circuit, if that rule applies.
    pub(super) fn rate_rule(&self) -> Option<Ratio> {
        self.failure_rate.or_else(|| self.failure_threshold.is_none().then_some(Ratio::HALF))
    }

    pub(super) fn fewest_calls(&self) -> u32 {
        let default = match self.window {
            Window::Time(_) => 20,
            Window::Count(size) => size.min(20),
        };
        self.min_calls.unwrap_or(default)
    }

    pub(super) fn longest_open(&self) -> Duration {
        self.open_max.unwrap_or_else(|| self.open_for.max(Duration::from_mins(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Settings;

    fn refused(config: &Config) -> Vec<&'static str> {
        config.validate().map_or_else(|error| error.problems().iter().map(|p| p.field).collect(), |()| vec![])
    }

    #[test]
    fn settings_that_could_never_open_the_circuit_are_rejected() {
        // T18
        let base = || Config::default().window(10);
        assert_eq!(refused(&base().min_calls(11)), ["min_calls"]);
        assert_eq!(refused(&base().min_calls(10)), [""; 0]);
        assert_eq!(base().fewest_calls(), 10, "the default never exceeds the window");
        assert_eq!(Config::default().fewest_calls(), 20);
    }

    #[test]
    fn every_problem_is_reported_with_its_field() {
        let mut config =
            Config::default().window(0).failure_rate(Ratio::ZERO).failure_threshold(0).min_calls(0);
        config = config.slow_rate(Ratio::HALF).slow_in_flight(true).half_open_calls(0).success_threshold(0);
        config = config.open_for(Duration::from_secs(9)).open_max(Duration::from_secs(8));
        config = config.probe_lease(Duration::ZERO);
        let fields = [
            "window",
            "failure_rate",
            "min_calls",
            "failure_threshold",
            "slow_rate",
            "slow_in_flight",
            "open_max",
            "probe_lease",
            "half_open_calls",
            "success_threshold",
        ];
        assert_eq!(refused(&config), fields);
        let text = config.validate().unwrap_err().to_string();
        assert!(text.contains("`open_max` = 8s is invalid: must be from open_for = 9s to 24 h"), "{text}");
    }

    #[test]
    fn a_failure_threshold_alone_switches_the_rate_off() {
        assert_eq!(Config::default().rate_rule(), Some(Ratio::HALF));
        let classic = Config::default().failure_threshold(3);
        assert_eq!(classic.rate_rule(), None);
        assert_eq!(classic.failure_rate(Ratio::ONE).rate_rule(), Some(Ratio::ONE));
    }

    #[test]
    fn the_longest_open_period_follows_a_long_first_one() {
        let config = |secs| Config::default().open_for(Duration::from_secs(secs));
        assert_eq!(config(5).longest_open(), Duration::from_mins(1));
        assert_eq!(config(90).longest_open(), Duration::from_secs(90));
        assert_eq!(refused(&config(90)), [""; 0]);
    }
}
