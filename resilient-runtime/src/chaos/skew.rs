//! How a fault skews the clock of a registry.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use super::armed::Armed;
use super::on_component::Affected;
use super::problem::Problems;
use super::shared::Shared;
use crate::clock::{Skewed, SpeedFault};
use crate::kind::Kind;
use crate::settings::duration_text;

/// How a fault skews the clock of a registry.
///
/// ```
/// use std::time::Duration;
/// use resilient_runtime::chaos::Skew;
///
/// assert_eq!(Skew::jump(Duration::from_mins(5)).to_string(), "5m ahead");
/// assert_eq!(Skew::speed(0.5).to_string(), "at 0.5 times the speed");
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Skew {
    jump: Duration,
    speed: f64,
}

const LONGEST_JUMP: Duration = Duration::from_hours(720);
const HIGHEST_SPEED: f64 = 1000.0;

impl Skew {
    /// The clock jumps ahead by `span` when the fault is armed, from 1 ns to 720 h.
    ///
    /// It does not jump back when the fault ends, because the clock is monotonic.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{Registry, chaos::{Fault, Skew}, clock::ManualClock};
    ///
    /// let registry = Registry::with_clock(ManualClock::new().clock().skewable());
    /// let before = registry.clock().now();
    /// let jump = Fault::skew_clock(Skew::jump(Duration::from_hours(1)));
    /// drop(registry.chaos().inject(jump).unwrap());
    /// assert_eq!(registry.clock().now().since(before), Duration::from_hours(1));
    /// ```
    pub const fn jump(span: Duration) -> Self {
        Self { jump: span, speed: 1.0 }
    }

    /// The clock runs faster or slower by this factor, from 0 to 1000, until the fault ends.
    ///
    /// With 0 it stands still. A slow clock falls behind other clocks.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient_runtime::{Registry, chaos::{Fault, Skew}, clock::ManualClock};
    ///
    /// let time = ManualClock::new();
    /// let registry = Registry::with_clock(time.clock().skewable());
    /// let _fault = registry.chaos().inject(Fault::skew_clock(Skew::speed(0.5))).unwrap();
    /// let before = registry.clock().now();
    /// time.advance(Duration::from_secs(10));
    /// assert_eq!(registry.clock().now().since(before), Duration::from_secs(5));
    /// ```
    pub const fn speed(factor: f64) -> Self {
        Self { jump: Duration::ZERO, speed: factor }
    }

    pub(super) fn check(self, problems: &mut Problems) {
        problems.require((0.0..=HIGHEST_SPEED).contains(&self.speed), || {
            format!("the speed {} of the clock is not from 0 to {HIGHEST_SPEED}", self.speed)
        });
        let does_something = !self.jump.is_zero() || (self.speed - 1.0).abs() > f64::EPSILON;
        problems.require(does_something && self.jump <= LONGEST_JUMP, || {
            "the clock jumps by 1ns to 720h, or runs at a speed other than 1".to_owned()
        });
    }

    /// Returns the jump and the speed.
    pub(crate) fn parts(self) -> (Duration, f64) {
        (self.jump, self.speed)
    }
}

impl fmt::Display for Skew {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.jump.is_zero() {
            write!(f, "at {} times the speed", self.speed)
        } else {
            write!(f, "{} ahead", duration_text(self.jump))
        }
    }
}

impl SpeedFault for Armed {
    fn is_over(&self) -> bool {
        Self::is_over(self)
    }

    fn end(&self) -> u64 {
        self.end_on_registry()
    }

    fn left(&self) -> Duration {
        Self::left(self)
    }
}

impl Affected for Skewed {
    fn add_fault(&self, shared: &Arc<Shared>, armed: &Arc<Armed>) {
        // Weak: a fault has this clock.
        let fault: Weak<Armed> = Arc::downgrade(armed);
        self.skew(armed.jump(), armed.speed(), fault);
        armed.count_on(shared, (Kind::Chaos, "clock"));
        Skewed::update(self);
    }

    fn update(&self) {
        Skewed::update(self);
    }
}
