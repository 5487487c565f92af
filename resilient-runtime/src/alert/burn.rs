//! Error budget burn rates.
//!
//! The algorithm is the multi-window, multi-burn-rate alert of the *Site Reliability Workbook* (Google, 2018,
//! chapter 5).

use std::collections::VecDeque;
use std::time::Duration;

use super::judge::Severity;
use crate::clock::Instant;

const MINUTE: Duration = Duration::from_mins(1);
/// Three days of minutes, 24 bytes each.
const MAX_MINUTES: usize = 3 * 24 * 60;

/// A long window that shows significant budget consumption, and a short one that shows that it continues.
struct Tier {
    factor: f64,
    long: usize,
    short: usize,
    severity: Severity,
}

/// 2 %, 5 % and 10 % of a budget for 30 days.
const TIERS: [Tier; 3] = [
    Tier { factor: 14.4, long: 60, short: 5, severity: Severity::Critical },
    Tier { factor: 6.0, long: 360, short: 30, severity: Severity::Critical },
    Tier { factor: 1.0, long: MAX_MINUTES, short: 360, severity: Severity::Warning },
];

#[derive(Clone, Copy, Debug, Default)]
struct Minute {
    number: u64,
    calls: u64,
    errors: u64,
}

/// Calls and errors per minute.
#[derive(Debug, Default)]
pub(super) struct Burn {
    /// The latest is at the back. Minutes without an evaluation are absent.
    minutes: VecDeque<Minute>,
    seen: Option<(Instant, u64, u64)>,
}

impl Burn {
    /// Records the total number of calls and errors so far.
    ///
    /// Counts that accumulated over more than a minute without an evaluation are discarded. It is unknown when they
    /// happened, and added to a single minute they would distort every window.
    pub(super) fn observe(&mut self, now: Instant, calls: u64, errors: u64) {
        let number = now.as_nanos() / crate::clock::nanos(MINUTE);
        let (looked, calls_before, errors_before) =
            self.seen.replace((now, calls, errors)).unwrap_or((now, calls, errors));
        let unseen = now.since(looked) > MINUTE;
        // Counts start at zero again after a reset.
        let is_reset = calls < calls_before || errors < errors_before;
        let (calls_before, errors_before) = if is_reset { (0, 0) } else { (calls_before, errors_before) };
        let since = |now: u64, before: u64| if unseen { 0 } else { now.saturating_sub(before) };
        let (calls, errors) = (since(calls, calls_before), since(errors, errors_before));
        match self.minutes.back_mut() {
            Some(last) if last.number == number => {
                last.calls += calls;
                last.errors += errors;
            }
            _ => self.minutes.push_back(Minute { number, calls, errors }),
        }
        let oldest = number.saturating_sub(MAX_MINUTES as u64);
        while self.minutes.front().is_some_and(|minute| minute.number <= oldest) {
            self.minutes.pop_front();
        }
    }

    /// Returns the severity, and the burn rate over the last hour.
    pub(super) fn judge(&self, now: Instant, objective: f64, min_samples: u64) -> (Option<Severity>, f64) {
        let budget = 1.0 - objective;
        let current = now.as_nanos() / crate::clock::nanos(MINUTE);
        let rate = |span: usize| {
            let since = (current + 1).saturating_sub(span as u64);
            let recent = self.minutes.iter().rev().take_while(|minute| minute.number >= since);
            let (calls, errors) =
                recent.fold((0, 0), |sum, minute| (sum.0 + minute.calls, sum.1 + minute.errors));
            if calls == 0 || calls < min_samples { 0.0 } else { errors as f64 / calls as f64 / budget }
        };
        let burns = |tier: &&Tier| rate(tier.long) > tier.factor && rate(tier.short) > tier.factor;
        (TIERS.iter().find(burns).map(|tier| tier.severity), rate(60))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the minutes, with 1000 calls each, after which the warning and the critical severity fired.
    fn found(error_rate: f64, minutes: u64) -> (Option<u64>, Option<u64>) {
        let mut burn = Burn::default();
        let (mut calls, mut errors) = (0, 0);
        let (mut warned, mut critical) = (None, None);
        let mut look = |minute: u64, share: f64| {
            calls += 1000;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            {
                errors += (1000.0 * share) as u64;
            }
            let now = Instant::from_nanos(minute * 60_000_000_000);
            burn.observe(now, calls, errors);
            match burn.judge(now, 0.999, 20).0 {
                Some(Severity::Warning) => _ = warned.get_or_insert(minute),
                Some(Severity::Critical) => _ = critical.get_or_insert(minute),
                None => {}
            }
        };
        // Four days without errors first.
        (0..5760).for_each(|minute| look(minute, 0.0));
        (5760..5760 + minutes).for_each(|minute| look(minute, error_rate));
        (warned.map(|at| at - 5760), critical.map(|at| at - 5760))
    }

    #[test]
    fn a_faster_burn_is_detected_sooner() {
        assert_eq!(found(0.0, 100), (None, None));
        assert_eq!(found(0.001, 5000), (None, None), "exactly the sustainable rate");
        let (warned, critical) = found(0.002, 5000);
        assert_eq!(
            (warned.map(|minute| minute / 60), critical),
            (Some(36), None),
            "once half of the three days has the doubled rate"
        );
        let (_, critical) = found(0.010, 300);
        assert!((200..230).contains(&critical.unwrap()), "after 6/10 of the 6-hour window: {critical:?}");
        let (_, critical) = found(1.0, 60);
        assert!(critical.unwrap() <= 5, "{critical:?}");
    }

    #[test]
    fn few_calls_are_no_evidence() {
        let mut burn = Burn::default();
        let now = Instant::from_nanos(60_000_000_000);
        burn.observe(now, 0, 0);
        burn.observe(now, 5, 5);
        assert_eq!(burn.judge(now, 0.999, 20).0, None);
        burn.observe(now, 25, 25);
        assert!(burn.judge(now, 0.999, 20).0.is_some());
    }

    #[test]
    fn counts_from_a_gap_between_evaluations_are_discarded() {
        let mut burn = Burn::default();
        let at = |second: u64| Instant::from_nanos(second * 1_000_000_000);
        burn.observe(at(0), 0, 0);
        burn.observe(at(30), 1000, 0);
        burn.observe(at(7200), 2000, 900);
        assert_eq!(burn.judge(at(7200), 0.999, 20), (None, 0.0));
        burn.observe(at(7201), 3000, 901);
        let (severity, rate) = burn.judge(at(7201), 0.999, 20);
        assert_eq!((severity, rate.round()), (None, 1.0), "1 of 1000");
    }

    #[test]
    fn at_most_three_days_are_stored() {
        let mut burn = Burn::default();
        (0..10_000).for_each(|minute| burn.observe(Instant::from_nanos(minute * 60_000_000_000), minute, 0));
        assert_eq!(burn.minutes.len(), MAX_MINUTES);
    }
}
