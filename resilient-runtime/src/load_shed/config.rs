//! Settings of a load shedder and their defaults.

use std::time::Duration;

use super::throttle::ThrottleRule;
use crate::priority::Priority;
use crate::ratio::Ratio;
use crate::settings::{ConfigError, settings};

settings! {
    /// Settings of a [`LoadShedder`](crate::LoadShedder).
    ///
    /// ```
    /// use resilient_runtime::{Ratio, load_shed::Config, settings::Settings};
    ///
    /// let config = Config::default().max_in_flight(500).share_low(Ratio::percent(25.0).unwrap());
    /// assert!(config.validate().is_ok());
    /// assert!(config.share_low(Ratio::ONE).validate().is_err(), "more than the share of normal calls");
    /// ```
    pub struct Config: load_shed, check {
        max_in_flight: Option<u32>,
        adaptive: bool,
        min_in_flight: u32,
        initial_in_flight: u32,
        share_low: Ratio,
        share_normal: Ratio,
        share_high: Ratio,
        target_delay: Duration,
        target_latency: Option<Duration>,
        interval: Duration,
        retry_after: Duration,
        throttle: bool,
        throttle_factor: f64,
        throttle_window: Duration,
        throttle_floor: Ratio,
        throttle_min_calls: u32,
        enabled: bool,
    }
}

impl Config {
    pub(super) fn check(&self, error: &mut ConfigError) {
        let least = self.min_in_flight <= self.most() || !self.adaptive;
        let allowed = format!("must be from 1 to max_in_flight = {}", self.most());
        error.require(least, "min_in_flight", self.min_in_flight, allowed);
        let low = self.share_low <= self.share_normal;
        error.require(low, "share_low", self.share_low, "must be more than 0, at most share_normal");
        let normal = self.share_normal <= self.share_high;
        error.require(normal, "share_normal", self.share_normal, "must be at most share_high");
    }

    /// Returns the settings in effect: without limits if the shedder is disabled.
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

    /// Returns the maximum number of calls in flight. `u32::MAX` if there is no limit.
    pub(super) fn most(&self) -> u32 {
        self.max_in_flight.unwrap_or(if self.adaptive { 1000 } else { u32::MAX })
    }

    /// Returns the share of the limit that this class and the classes below it can fill.
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
