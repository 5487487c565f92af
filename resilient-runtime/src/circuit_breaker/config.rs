//! The settings of a circuit breaker and their defaults.

use std::time::Duration;

use super::window::Window;
use crate::ratio::Ratio;
use crate::settings::{ConfigError, settings};

settings! {
    /// The settings of a [`CircuitBreaker`](crate::CircuitBreaker).
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{Ratio, circuit_breaker::Config};
    ///
    /// let by_rate = Config::default().failure_rate(Ratio::HALF).window(Duration::from_secs(10)).min_calls(50);
    /// let classic = Config::default().failure_threshold(5).success_threshold(2).open_for(Duration::from_secs(30));
    /// # assert_ne!(by_rate, classic);
    /// ```
    pub struct Config {
        /// The calls that are judged: those of a span of time (10 ms to 1 h), or the last so many (1 to
        /// 10 000).
        pub window: Window = Window::Time(Duration::from_secs(30)),
        /// The share of failed calls in the window that opens the circuit; more than 0. None: 50 %, or no
        /// such rule if `failure_threshold` is given.
        pub failure_rate: Option<Ratio> = None,
        /// With fewer calls in the window no share is judged; at least 1. None: 20, or the whole window if
        /// it holds fewer.
        pub min_calls: Option<u32> = None,
        /// So many failures in a row open the circuit while the window holds fewer than `min_calls`; 0 for
        /// never. Not in force where `failure_threshold` is given and `failure_rate` is not.
        pub low_volume_failures: u32 = 5,
        /// So many failures in a row open the circuit, whatever the window holds; at least 1.
        pub failure_threshold: Option<u32> = None,
        /// A call that takes at least this long is slow; more than 0.
        pub slow_call: Option<Duration> = None,
        /// The share of slow calls in the window that opens the circuit; more than 0. None: a slow call
        /// counts as failed.
        pub slow_rate: Option<Ratio> = None,
        /// Also counts calls that have not ended yet, but are slow already. Costs each call a lock.
        pub slow_in_flight: bool = false,
        /// How long the circuit stays open the first time, before jitter; up to 24 h. Doubles each time the
        /// probes fail.
        pub open_for: Duration = Duration::from_secs(5),
        /// The longest open period; `open_for` to 24 h. None: 60 s, or `open_for` if that is longer.
        pub open_max: Option<Duration> = None,
        /// How much of the open period is left to chance, so that not all instances probe together; 0 to 1.
        pub open_jitter: Ratio = Ratio::HALF,
        /// Probes that may be on their way at once in the half-open circuit, and, without
        /// `success_threshold`, whose results decide; 1 to 1000.
        pub half_open_calls: u32 = 3,
        /// So many successful probes close the circuit, and one failed probe opens it again; 1 to 1 000 000.
        /// None: `half_open_calls` probes are judged by `failure_rate`.
        pub success_threshold: Option<u32> = None,
        /// A probe that has not ended by then is given up, and another may run; more than 0, up to 24 h.
        pub probe_lease: Duration = Duration::from_mins(1),
        /// Whether the circuit acts at all. Switched off, it is as after
        /// [`disable`](crate::CircuitBreaker::disable): every call passes, and none is counted.
        pub enabled: bool = true,
    }
}

const DAY: Duration = Duration::from_hours(24);

impl Config {
    pub(super) fn check(&self, error: &mut ConfigError) {
        self.window.check(error);
        self.check_rules(error);
        self.check_times(error);
        let probes = (1..=1000).contains(&self.half_open_calls);
        error.require(probes, "half_open_calls", self.half_open_calls, "1 to 1000 probes");
        let successes = self.success_threshold.is_none_or(|count| (1..=1_000_000).contains(&count));
        error.require(successes, "success_threshold", self.success_threshold, "1 to 1000000 successes");
    }

    fn check_rules(&self, error: &mut ConfigError) {
        let above_zero = |rate: Option<Ratio>| rate.is_none_or(|rate| rate > Ratio::ZERO);
        let share = "more than 0, up to 1: a share of 0 is reached before anything happened";
        error.require(above_zero(self.failure_rate), "failure_rate", self.failure_rate, share);
        let some = self.min_calls.is_none_or(|calls| calls > 0);
        error.require(some, "min_calls", self.min_calls, "at least 1");
        // T18: a window that can never hold enough calls would never decide.
        if let (Some(calls), Window::Count(size)) = (self.min_calls, self.window) {
            let allowed = format!("at most window = {size}, or the share is never judged");
            error.require(calls <= size, "min_calls", self.min_calls, allowed);
        }
        let some = self.failure_threshold.is_none_or(|count| count > 0);
        error.require(some, "failure_threshold", self.failure_threshold, "at least 1 failure");
        let slow = self.slow_call.is_some();
        error.require(above_zero(self.slow_rate), "slow_rate", self.slow_rate, share);
        let allowed = "only together with slow_call, which says what slow is";
        error.require(slow || self.slow_rate.is_none(), "slow_rate", self.slow_rate, allowed);
        error.require(slow || !self.slow_in_flight, "slow_in_flight", self.slow_in_flight, allowed);
    }

    fn check_times(&self, error: &mut ConfigError) {
        let allowed = "more than 0, up to 24 h";
        let possible = |span: Duration| !span.is_zero() && span <= DAY;
        error.require(self.slow_call.is_none_or(possible), "slow_call", self.slow_call, allowed);
        error.require(possible(self.open_for), "open_for", self.open_for, allowed);
        if let Some(longest) = self.open_max {
            let allowed = format!("open_for = {:?} to 24 h", self.open_for);
            error.require(longest >= self.open_for && longest <= DAY, "open_max", longest, allowed);
        }
        error.require(possible(self.probe_lease), "probe_lease", self.probe_lease, allowed);
    }

    /// The share of failed calls that opens the circuit, where that rule is in force.
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
    fn what_could_never_decide_is_refused() {
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
        config =
            config.slow_rate(Ratio::HALF).slow_in_flight(true).half_open_calls(0u32).success_threshold(0);
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
        assert!(text.contains("`open_max` = 8s is refused: open_for = 9s to 24 h"), "{text}");
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
