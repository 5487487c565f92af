//! Measured times and the rows of the report.

use std::fmt;
use std::time::Duration;

#[derive(Debug, Default)]
pub(crate) struct Times(Vec<Duration>);

impl Times {
    pub(crate) fn add(&mut self, time: Duration) {
        self.0.push(time);
    }

    pub(crate) fn extend(&mut self, more: Self) {
        self.0.extend(more.0);
    }

    pub(crate) fn percentile(&self, percent: usize) -> Duration {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        let index = (sorted.len() * percent / 100).min(sorted.len().saturating_sub(1));
        sorted.get(index).copied().unwrap_or_default()
    }

    pub(crate) fn longest(&self) -> Duration {
        self.0.iter().max().copied().unwrap_or_default()
    }
}

#[derive(Debug)]
pub(crate) struct Row {
    what: String,
    result: String,
    ratio: String,
}

impl Row {
    /// The ratio compares the medians.
    pub(crate) fn times(what: &str, times: &Times, bare: Option<&Times>) -> Self {
        let (half, most) = (times.percentile(50), times.percentile(99));
        let ratio = bare.map(|bare| half.as_secs_f64() / bare.percentile(50).as_secs_f64());
        Self {
            what: what.to_owned(),
            result: format!("{} / {}", shown(half), shown(most)),
            ratio: ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
        }
    }

    pub(crate) fn rate(what: &str, per_second: f64) -> Self {
        let result = if per_second >= 1e6 {
            format!("{:.1} million/s", per_second / 1e6)
        } else {
            format!("{:.1} thousand/s", per_second / 1e3)
        };
        Self { what: what.to_owned(), result, ratio: String::new() }
    }

    pub(crate) fn text(what: &str, result: impl Into<String>) -> Self {
        Self { what: what.to_owned(), result: result.into(), ratio: String::new() }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "| {} | {} | {} |", self.what, self.result, self.ratio)
    }
}

pub(crate) fn shown(time: Duration) -> String {
    if time < Duration::from_millis(1) {
        format!("{:.0} us", time.as_secs_f64() * 1e6)
    } else {
        format!("{:.1} ms", time.as_secs_f64() * 1e3)
    }
}
