//! How many permits or threads a fault holds.

use std::fmt;

use super::problem::Problems;
use crate::ratio::Ratio;

/// The permits or threads that a fault holds: a share of them, or a number.
///
/// ```
/// use resilient_runtime::chaos::Amount;
///
/// assert_eq!(Amount::share(0.8).to_string(), "80 %");
/// assert_eq!(Amount::count(3).to_string(), "3");
/// assert_eq!(Amount::ALL, Amount::share(1.0));
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Amount(Unit);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Unit {
    Share(f64),
    Count(u32),
}

impl Amount {
    /// All permits or threads.
    pub const ALL: Self = Self(Unit::Share(1.0));

    /// A share, over 0 and at most 1. It is rounded to the nearest whole number, and follows changes of the limit.
    ///
    /// ```
    /// use resilient_runtime::{Component, Kind, Registry, chaos::{Amount, Fault}};
    ///
    /// let registry = Registry::new();
    /// let gateway = registry.bulkhead("gateway");
    /// let most = Fault::hold_permits(Amount::share(0.75)).component(Kind::Bulkhead, "gateway");
    /// let _fault = registry.chaos().inject(most).unwrap();
    /// assert_eq!(gateway.stats().available, 16, "of 64");
    /// ```
    pub const fn share(share: f64) -> Self {
        Self(Unit::Share(share))
    }

    /// A number, at least 1. At most all permits or threads are held.
    ///
    /// ```
    /// use resilient_runtime::{Component, Kind, Registry, chaos::{Amount, Fault}};
    ///
    /// let registry = Registry::new();
    /// let gateway = registry.bulkhead("gateway");
    /// let three = Fault::hold_permits(Amount::count(3)).component(Kind::Bulkhead, "gateway");
    /// let _fault = registry.chaos().inject(three).unwrap();
    /// assert_eq!(gateway.stats().available, 61);
    /// ```
    pub const fn count(count: u32) -> Self {
        Self(Unit::Count(count))
    }

    pub(super) fn check(self, problems: &mut Problems) {
        match self.0 {
            Unit::Share(share) => problems.require(share > 0.0 && share <= 1.0, || {
                format!("the share {share} is not over 0 and at most 1; 0.8 stands for 80 %")
            }),
            Unit::Count(count) => {
                problems.require(count > 0, || "0 cannot be held: at least 1".to_owned());
            }
        }
    }

    /// Returns `rate` of the amount, of `all`.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // from 0 to `all`
    pub(super) fn of(self, all: u32, rate: f64) -> u32 {
        let amount = match self.0 {
            Unit::Share(share) => share * f64::from(all),
            Unit::Count(count) => f64::from(count),
        };
        ((amount * rate).round() as u32).min(all)
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Unit::Share(share) => Ratio::new(share).unwrap_or(Ratio::ZERO).fmt(f),
            Unit::Count(count) => count.fmt(f),
        }
    }
}
