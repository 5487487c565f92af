//! The settings of a load shedder and their defaults.

use std::time::Duration;

use super::throttle::ThrottleRule;
use crate::priority::Priority;
use crate::ratio::Ratio;
use crate::settings::{ConfigError, settings};

settings! {
    /// The settings of a [`LoadShedder`](crate::LoadShedder).
    ///
    /// ```
    /// use resilient_runtime::{Ratio, load_shed::Config, settings::Settings};
    ///
    /// let config = Config::default().max_in_flight(500).share_low(Ratio::percent(25.0).unwrap());
    /// assert!(config.validate().is_ok());
    /// assert!(config.share_low(Ratio::ONE).validate().is_err(), "more than normal calls have");
    /// ```
    pub struct Config {
        /// Calls in flight up to which critical ones are admitted; 1 to 1 000 000. None: 1000 where the limit is
        /// `adaptive`, else no limit.
        pub max_in_flight: Option<u32> = None,
        /// Whether a limit below that is found from how long calls take.
        pub adaptive: bool = true,
        /// The least that is found; 1 to `max_in_flight`.
        pub min_in_flight: u32 = 10,
        /// What it begins with, and again after a reset, within these bounds; 1 to 1 000 000.
        pub initial_in_flight: u32 = 100,
        /// The share of the limit that low calls may fill; more than 0, at most that of normal ones.
        pub share_low: Ratio = percent(50.0),
        /// The share of the limit that low and normal calls may fill; at most that of high ones.
        pub share_normal: Ratio = percent(80.0),
        /// The share of the limit that all but critical calls may fill.
        pub share_high: Ratio = percent(90.0),
        /// The longest wait in a queue that may be the shortest of a whole `interval`; more than 0, at most 1 h.
        pub target_delay: Duration = Duration::from_millis(20),
        /// The longest time, from admission to the end, that may be the shortest of a whole `interval`; more than 0,
        /// at most 1 h. None: the time in queues alone counts.
        pub target_latency: Option<Duration> = None,
        /// How long a delay must stand before a class is shed, and the pace at which it comes back; 1 ms to 1 min.
        pub interval: Duration = Duration::from_millis(100),
        /// Whether calls that the other side would not accept are refused here.
        pub throttle: bool = false,
        /// Calls that are sent for each that the other side accepts; 1 to 100. The smaller, the stricter.
        pub throttle_factor: f64 = 2.0,
        /// The time whose calls count for that; 100 ms to 1 h.
        pub throttle_window: Duration = Duration::from_mins(2),
        /// The share of calls that is sent however few are accepted, so that recovery is seen; 1 to 100 %.
        pub throttle_floor: Ratio = percent(10.0),
        /// Fewer calls of a class in the window are too few to judge by; 1 to 1 000 000.
        pub throttle_min_calls: u32 = 20,
        /// What a refused call is told to wait; more than 0, at most 1 h. Each is told up to a half more or less,
        /// so that they do not come back together.
        pub retry_after: Duration = Duration::from_secs(1),
        /// Whether calls are refused at all.
        pub enabled: bool = true,
    }
}

fn percent(percent: f64) -> Ratio {
    Ratio::percent(percent).unwrap_or(Ratio::ONE)
}

impl Config {
    pub(super) fn check(&self, error: &mut ConfigError) {
        const MOST: u32 = 1_000_000;
        let limit = self.max_in_flight.is_none_or(|limit| (1..=MOST).contains(&limit));
        error.require(limit, "max_in_flight", self.max_in_flight, "1 to 1000000 calls");
        let least = (1..=self.most()).contains(&self.min_in_flight) || !self.adaptive;
        let allowed = format!("1 to max_in_flight = {}", self.most());
        error.require(least, "min_in_flight", self.min_in_flight, allowed);
        let initial = (1..=MOST).contains(&self.initial_in_flight);
        error.require(initial, "initial_in_flight", self.initial_in_flight, "1 to 1000000 calls");
        self.check_shares(error);
        self.check_delays(error);
        let factor = (1.0..=100.0).contains(&self.throttle_factor);
        error.require(factor, "throttle_factor", self.throttle_factor, "1 to 100");
        let window = (Duration::from_millis(100)..=Duration::from_hours(1)).contains(&self.throttle_window);
        error.require(window, "throttle_window", self.throttle_window, "100 ms to 1 h");
        let floor = self.throttle_floor >= percent(1.0);
        error.require(floor, "throttle_floor", self.throttle_floor, "1 to 100 %, or recovery is never seen");
        let calls = (1..=MOST).contains(&self.throttle_min_calls);
        error.require(calls, "throttle_min_calls", self.throttle_min_calls, "1 to 1000000 calls");
    }

    fn check_shares(&self, error: &mut ConfigError) {
        let low = self.share_low > Ratio::ZERO && self.share_low <= self.share_normal;
        error.require(low, "share_low", self.share_low, "more than 0, at most share_normal");
        let normal = self.share_normal <= self.share_high;
        error.require(normal, "share_normal", self.share_normal, "at most share_high");
    }

    fn check_delays(&self, error: &mut ConfigError) {
        const HOUR: Duration = Duration::from_hours(1);
        const ALLOWED: &str = "more than 0, at most 1 h";
        let fits = |span: Duration| !span.is_zero() && span <= HOUR;
        error.require(fits(self.target_delay), "target_delay", self.target_delay, ALLOWED);
        error.require(self.target_latency.is_none_or(fits), "target_latency", self.target_latency, ALLOWED);
        let interval = (Duration::from_millis(1)..=Duration::from_mins(1)).contains(&self.interval);
        error.require(interval, "interval", self.interval, "1 ms to 1 min");
        error.require(fits(self.retry_after), "retry_after", self.retry_after, ALLOWED);
    }

    /// What calls go by: no limits where the shedder is switched off.
    pub(super) fn in_force(&self) -> std::borrow::Cow<'_, Self> {
        if self.enabled {
            return std::borrow::Cow::Borrowed(self);
        }
        let off = self.clone().max_in_flight(None).adaptive(false).throttle(false).target_latency(None);
        std::borrow::Cow::Owned(
            off.share_low(Ratio::ONE)
                .share_normal(Ratio::ONE)
                .share_high(Ratio::ONE)
                .target_delay(Duration::MAX),
        )
    }

    /// The most that may be in flight; `u32::MAX` for no limit.
    pub(super) fn most(&self) -> u32 {
        self.max_in_flight.unwrap_or(if self.adaptive { 1000 } else { u32::MAX })
    }

    /// The share of the limit that this class may fill, together with those below it.
    pub(super) fn share(&self, priority: Priority) -> Ratio {
        match priority {
            Priority::Low => self.share_low,
            Priority::Normal => self.share_normal,
            Priority::High => self.share_high,
            Priority::Critical => Ratio::ONE,
        }
    }

    pub(super) fn throttle_rule(&self) -> ThrottleRule {
        ThrottleRule {
            factor: self.throttle_factor,
            floor: self.throttle_floor.get(),
            min_calls: self.throttle_min_calls,
        }
    }
}
