//! The probes of a half-open circuit: who may go, and what their results decide.

use std::time::Duration;

use super::config::Config;
use super::state::Lease;
use crate::clock::Instant;
use crate::outage::OpenReason;
use crate::ratio::Ratio;

/// Probes on their way, each with a lease, and the results so far.
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

/// What the probes decided.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Decision {
    Close,
    Reopen(OpenReason),
}

impl Probes {
    /// A new half-open period.
    pub(super) fn restart(&mut self) {
        self.out.clear();
        (self.good, self.bad) = (0, 0);
    }

    pub(super) fn out(&self) -> u32 {
        u32::try_from(self.out.len()).unwrap_or(u32::MAX)
    }

    pub(super) fn good(&self) -> u32 {
        self.good
    }

    pub(super) fn bad(&self) -> u32 {
        self.bad
    }

    /// Lets a probe go, if one may. Those whose lease is over are given up for it, and not before: whether the result of
    /// a lost one counts does not depend on who was refused meanwhile.
    pub(super) fn grant(&mut self, lease: Lease, now: Instant, config: &Config) -> bool {
        let longest = now.after(config.probe_lease);
        for probe in &mut self.out {
            // No lease ends later than one that begins now: not if the clock went back or the lease shrank.
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
        // Where a number of successes decides, there is no number of probes that must do.
        let ended = if config.success_threshold.is_some() { 0 } else { self.ended() };
        out.saturating_add(ended) >= config.half_open_calls
    }

    /// How long nobody may go even if no probe ends; `None` when somebody may. A lost probe holds no place,
    /// though its result still counts if it comes before another probe has the place.
    pub(super) fn full_for(&self, now: Instant, config: &Config) -> Option<Duration> {
        let mut held: Vec<_> =
            self.out.iter().map(|probe| probe.until).filter(|until| now < *until).collect();
        held.sort_unstable();
        // Where fewer are permitted than when they went, the end of the first lease makes no place yet.
        let full = (1..=u32::try_from(held.len()).unwrap_or(u32::MAX)).rev();
        let (last, _) = held.iter().zip(full).take_while(|(_, out)| self.is_full(*out, config)).last()?;
        Some(last.since(now).min(config.probe_lease))
    }

    /// Takes a probe back; `false` when it was given up before.
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

    /// As early as the outcome is certain (T8).
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
    fn the_decision_falls_as_soon_as_it_is_certain() {
        // T8, T17
        let config = Config::default().half_open_calls(10).failure_rate(Ratio::HALF);
        assert!(reopens(&config, "xxxxx"), "5 of 10 cannot be undone");
        assert_eq!(decision(&config, "xxxx....."), None, "the last one decides");
        assert!(reopens(&config, "xxxx.....x"));
        assert_eq!(decision(&config, "xxxx......"), Some(Decision::Close));
        assert_eq!(decision(&config, "....."), None, "five more could fail");
        assert_eq!(decision(&config, "......"), Some(Decision::Close));
    }

    #[test]
    fn with_every_number_of_probes_all_results_together_decide() {
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
    fn a_success_threshold_wants_a_row_without_a_failure() {
        let config = Config::default().success_threshold(4);
        assert_eq!(decision(&config, "..."), None);
        assert_eq!(decision(&config, "...."), Some(Decision::Close));
        assert!(reopens(&config, "...x"));
    }

    #[test]
    fn a_lost_probe_is_given_up_with_its_lease() {
        let config = Config::default().half_open_calls(1);
        let start = Instant::from_nanos(0);
        let mut probes = Probes::default();
        assert!(probes.grant(lease(1), start, &config));
        assert_eq!(probes.full_for(start, &config), Some(config.probe_lease));
        let later = start.after(config.probe_lease);
        assert!(!probes.grant(lease(2), Instant::from_nanos(later.as_nanos() - 1), &config));
        assert!(probes.grant(lease(3), later, &config));
        assert!(!probes.take_back(lease(1)), "it has no lease any more");
        assert!(probes.take_back(lease(3)));
        assert_eq!(probes.full_for(later, &config), None);
    }

    #[test]
    fn with_fewer_probes_allowed_those_left_still_fill_the_place_of_a_lost_one() {
        // T117
        let config = Config::default().half_open_calls(2);
        let mut probes = Probes::default();
        let (start, later) = (Instant::from_nanos(0), Instant::from_nanos(500));
        assert!(probes.grant(lease(1), start, &config) && probes.grant(lease(2), later, &config));
        let one = config.half_open_calls(1);
        let lost = start.after(one.probe_lease);
        assert_eq!(probes.full_for(lost, &one), Some(Duration::from_nanos(500)), "the second is still out");
    }

    #[test]
    fn the_result_of_a_lost_probe_counts_until_another_has_its_place() {
        // T117: a refusal in between, which may or may not have taken the lock, changes nothing.
        let config = Config::default().half_open_calls(2);
        let mut probes = Probes::default();
        let (start, later) = (Instant::from_nanos(0), Instant::from_nanos(500));
        assert!(probes.grant(lease(1), start, &config) && probes.grant(lease(2), later, &config));
        let one = config.half_open_calls(1);
        assert!(!probes.grant(lease(3), start.after(one.probe_lease), &one), "the second is still out");
        assert!(probes.take_back(lease(1)));
    }

    #[test]
    fn a_clock_that_went_back_does_not_lengthen_a_lease() {
        // T10
        let config = Config::default().half_open_calls(1);
        let mut probes = Probes::default();
        assert!(probes.grant(lease(1), Instant::from_nanos(u64::MAX / 2), &config));
        assert!(!probes.grant(lease(2), Instant::from_nanos(0), &config));
        assert!(probes.grant(lease(3), Instant::from_nanos(0).after(config.probe_lease), &config));
    }
}
