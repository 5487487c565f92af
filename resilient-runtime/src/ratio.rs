//! A ratio from 0 to 1.

use std::fmt;

use serde::Serialize;

/// A ratio from 0 to 1. It is never NaN.
///
/// ```
/// use resilient_runtime::Ratio;
/// assert_eq!(Ratio::percent(50.0), Ratio::new(0.5));
/// assert_eq!(Ratio::new(1.5), None);
/// assert_eq!(Ratio::new(0.25).unwrap().to_string(), "25 %");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct Ratio(f64);

impl Ratio {
    /// 0.
    pub const ZERO: Self = Self(0.0);
    /// 0.5.
    pub const HALF: Self = Self(0.5);
    /// 1.
    pub const ONE: Self = Self(1.0);

    /// Creates a ratio from a number. Returns `None` if it is not from 0 to 1.
    ///
    /// ```
    /// use resilient_runtime::Ratio;
    ///
    /// assert_eq!(Ratio::new(0.5), Some(Ratio::HALF));
    /// assert_eq!(Ratio::new(f64::NAN), None);
    /// ```
    pub fn new(share: f64) -> Option<Self> {
        (0.0..=1.0).contains(&share).then_some(Self(share))
    }

    /// Creates a ratio from a percentage. Returns `None` if it is not from 0 to 100.
    ///
    /// ```
    /// use resilient_runtime::Ratio;
    ///
    /// assert_eq!(Ratio::percent(30.0), Ratio::new(0.3));
    /// assert_eq!(Ratio::percent(101.0), None);
    /// ```
    pub fn percent(percent: f64) -> Option<Self> {
        Self::new(percent / 100.0)
    }

    /// Returns `part / whole`, at most 1, and 0 if `whole` is 0.
    pub(crate) fn of(part: u64, whole: u64) -> Self {
        if whole == 0 { Self::ZERO } else { Self((part as f64 / whole as f64).min(1.0)) }
    }

    /// Returns the ratio as a number from 0 to 1.
    ///
    /// ```
    /// assert_eq!(resilient_runtime::Ratio::HALF.get(), 0.5);
    /// ```
    pub const fn get(self) -> f64 {
        self.0
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // At most one decimal: `33.3 %`, `50 %`.
        let percent = (self.0 * 1000.0).round() / 10.0;
        write!(f, "{percent} %")
    }
}
