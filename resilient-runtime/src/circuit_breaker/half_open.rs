//! The probes of a half-open circuit: which calls are admitted, and what their results decide.

use std::time::Duration;

use super::config::Config;
use super::state::Lease;
use crate::clock::Instant;
use crate::outage::OpenReason;
use crate::ratio::Ratio;

/// Probes in flight, each with a lease, and the results so far.
#[derive(Debug, Default)]
pub(super) struct Probes {
    out: Vec<Probe>,
    good: u32,
    bad: u32,
}

#[derive(Debug)]
struct Probe {
    lease: Lease,
    until: Instant,
}

/// The decision that the probe results lead to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Decision {
    Close,
    Reopen(OpenReason),
}

impl Probes {
    /// Starts a new half-open period.
    pub(super) fn restart(&mut self) {
        self.out.clear();
        (self.good, self.bad) = (0, 0);
    }

    pub(super) fn out(&self) -> u32 {
        u32::try_from(self.out.len()).unwrap_or(u32::MAX)
    }

    /// Whether a probe is in flight whose lease has not expired.
    pub(super) fn in_flight(&self, now: Instant) -> bool {
        self.out.iter().any(|probe| now < probe.until)
    }

    pub(super) fn good(&self) -> u32 {
        self.good
    }

    pub(super) fn bad(&self) -> u32 {
        self.bad
    }

    /// Admits a probe if a slot is free.
    ///
    /// Probes whose lease has expired are dropped only when a new probe is admitted. A rejection in between
    /// therefore does not change whether the result of a lost probe counts.
    pub(super) fn grant(&mut self, lease: Lease, now: Instant, config: &Config) -> bool {
        let longest = now.after(config.probe_lease);
        for probe in &mut self.out {
            // No lease ends later than one that starts now, even if the clock stepped back or the lease was
            // shortened.
            probe.until = probe.until.min(longest);
        }
        let is_lost = |probe: &Probe| probe.until <= now;
        let lost = u32::try_from(self.out.iter().filter(|probe| is_lost(probe)).count()).unwrap_or(u32::MAX);
        if self.is_full(self.out().saturating_sub(lost), config) {
            return false;
        }
        self.out.retain(|probe| !is_lost(probe));
        self.out.push(Probe { lease, until: longest });
        true
    }

    fn is_full(&self, out: u32, config: &Config) -> bool {
        // If a number of successes decides, the total number of probes is not limited.
        let ended = if config.success_threshold.is_some() { 0 } else { self.ended() };
        out.saturating_add(ended) >= config.half_open_calls
    }

    /// Returns how long no probe can be admitted if none ends, or `None` if one can be admitted now.
    ///
    /// A lost probe does not occupy a slot, but its result still counts until another probe takes the slot.
    pub(super) fn full_for(&self, now: Instant, config: &Config) -> Option<Duration> {
        let mut held: Vec<_> =
            self.out.iter().map(|probe| probe.until).filter(|until| now < *until).collect();
        held.sort_unstable();
        // If `half_open_calls` was lowered, the end of the first lease does not free a slot yet.
        let full = (1..=u32::try_from(held.len()).unwrap_or(u32::MAX)).rev();
        let (last, _) = held.iter().zip(full).take_while(|(_, out)| self.is_full(*out, config)).last()?;
        Some(last.since(now).min(config.probe_lease))
    }

    /// Removes a probe. Returns `false` if it was dropped before.
    pub(super) fn take_back(&mut self, lease: Lease) -> bool {
        let before = self.out.len();
        self.out.retain(|probe| probe.lease != lease);
        self.out.len() < before
    }

    pub(super) fn ended(&self) -> u32 {
        self.good.saturating_add(self.bad)
    }

    pub(super) fn record(&mut self, bad: bool) {
        let count = if bad { &mut self.bad } else { &mut self.good };
        *count = count.saturating_add(1);
    }

    /// Decides as soon as the outcome is certain (T8).
    pub(super) fn decide(&self, config: &Config) -> Option<Decision> {
        let (reopen, close) = if let Some(successes) = config.success_threshold {
            (self.bad > 0, self.good >= successes)
        } else {
            let limit = config.rate_rule().unwrap_or(Ratio::HALF);
            let all = u64::from(config.half_open_calls.max(self.ended()));
            let worst = all - u64::from(self.good);
            (Ratio::of(self.bad.into(), all) >= limit, Ratio::of(worst, all) < limit)
        };
        let reason = OpenReason::ProbesFailed { failed: self.bad, ended: self.ended() };
        if reopen { Some(Decision::Reopen(reason)) } else { close.then_some(Decision::Close) }
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use super::*;

    fn lease(number: u64) -> Lease {
        Lease::new(number).unwrap()
    }

    fn decision(config: &Config, results: &str) -> Option<Decision> {
        let mut probes = Probes::default();
        results.chars().for_each(|result| probes.record(result == 'x'));
        probes.decide(config)
    }

    fn reopens(config: &Config, results: &str) -> bool {
        matches!(decision(config, results), Some(Decision::Reopen(_)))
    }

    #[test]
    fn the_decision_is_made_as_soon_as_it_is_certain() {
        // T8, T17
        let config = Config::default().half_open_calls(10).failure_rate(Ratio::HALF);
        assert!(reopens(&config, "xxxxx"), "5 of 10 failures are already decisive");
        assert_eq!(decision(&config, "xxxx....."), None, "the last probe decides");
        assert!(reopens(&config, "xxxx.....x"));
        assert_eq!(decision(&config, "xxxx......"), Some(Decision::Close));
        assert_eq!(decision(&config, "....."), None, "five more could fail");
        assert_eq!(decision(&config, "......"), Some(Decision::Close));
    }

    #[test]
    fn the_share_of_all_results_decides_for_every_number_of_probes() {
        for (probes, percent) in (1_u8..=12).flat_map(|n| [1_u8, 33, 50, 67, 100].map(|percent| (n, percent)))
        {
            let limit = Ratio::percent(f64::from(percent)).unwrap();
            let config = Config::default().half_open_calls(u32::from(probes)).failure_rate(limit);
            for bad in 0..=probes {
                let results = "x".repeat(bad.into()) + &".".repeat((probes - bad).into());
                let reopens = f64::from(bad) / f64::from(probes) >= limit.get();
                let reason = OpenReason::ProbesFailed { failed: bad.into(), ended: probes.into() };
                let expected = if reopens { Decision::Reopen(reason) } else { Decision::Close };
                assert_eq!(decision(&config, &results), Some(expected), "{results} at {limit}");
            }
        }
    }

    #[test]
    fn a_success_threshold_requires_successes_without_a_failure() {
        let config = Config::default().success_threshold(4);
        assert_eq!(decision(&config, "..."), None);
        assert_eq!(decision(&config, "...."), Some(Decision::Close));
        assert!(reopens(&config, "...x"));
    }

    #[test]
    fn a_lost_probe_is_dropped_when_its_lease_expires() {
        let config = Config::default().half_open_calls(1);
        let start = Instant::from_nanos(0);
        let mut probes = Probes::default();
        assert!(probes.grant(lease(1), start, &config));
        assert_eq!(probes.full_for(start, &config), Some(config.probe_lease));
        let later = start.after(config.probe_lease);
        assert!(!probes.grant(lease(2), Instant::from_nanos(later.as_nanos() - 1), &config));
        assert!(probes.grant(lease(3), later, &config));
        assert!(!probes.take_back(lease(1)), "the lease has expired");
        assert!(probes.take_back(lease(3)));
        assert_eq!(probes.full_for(later, &config), None);
    }

    #[test]
    fn after_lowering_the_limit_the_remaining_probe_fills_the_only_slot() {
        // T117
        let config = Config::default().half_open_calls(2);
        let mut probes = Probes::default();
        let (start, later) = (Instant::from_nanos(0), Instant::from_nanos(500));
        assert!(probes.grant(lease(1), start, &config) && probes.grant(lease(2), later, &config));
        let one = config.half_open_calls(1);
        let lost = start.after(one.probe_lease);
        assert_eq!(
            probes.full_for(lost, &one),
            Some(Duration::from_nanos(500)),
            "the second probe is in flight"
        );
    }

    #[test]
    fn the_result_of_a_lost_probe_counts_until_another_takes_its_slot() {
        // T117: a rejection in between, with or without the lock, changes nothing.
        let config = Config::default().half_open_calls(2);
        let mut probes = Probes::default();
        let (start, later) = (Instant::from_nanos(0), Instant::from_nanos(500));
        assert!(probes.grant(lease(1), start, &config) && probes.grant(lease(2), later, &config));
        let one = config.half_open_calls(1);
        assert!(!probes.grant(lease(3), start.after(one.probe_lease), &one), "the second probe is in flight");
        assert!(probes.take_back(lease(1)));
    }

    #[test]
    fn a_clock_that_steps_back_does_not_lengthen_a_lease() {
        // T10
        let config = Config::default().half_open_calls(1);
        let mut probes = Probes::default();
        assert!(probes.grant(lease(1), Instant::from_nanos(u64::MAX / 2), &config));
        assert!(!probes.grant(lease(2), Instant::from_nanos(0), &config));
        assert!(probes.grant(lease(3), Instant::from_nanos(0).after(config.probe_lease), &config));
    }
}
