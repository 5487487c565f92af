//! Computes the next limit from a window of calls.

use std::time::Duration;

use super::stats::{AdaptiveLimitStats, LimitReason};
use super::window::{Log, Reading, Sums, Totals, from_f64};
use crate::clock::Instant;

/// The minimum length of a window.
const WINDOW: Duration = Duration::from_millis(250);

/// The maximum length of a window, however slow the calls are.
pub(super) const LONGEST: Duration = Duration::from_hours(1);
/// The minimum length of a window, in latencies.
const LATENCIES: f64 = 5.0;
/// The number of calls needed to evaluate a window.
const CALLS: u64 = 50;
/// The number of calls needed once a window is [`PATIENCE`] times as long as planned.
const FEW_CALLS: u64 = 10;
const PATIENCE: u32 = 4;
/// The time to wait after a change, in latencies, until calls that started before it have ended.
const SETTLING: f64 = 2.0;
/// Windows between two probes: few at first, twice as many after each probe that confirms the baseline.
const PROBE_SOON: u32 = 2;
const PROBE_LATE: u32 = 32;
/// How far a confirmed baseline can be off, as a logarithm: 10 %.
const CONFIRMED: f64 = 0.138;
/// How far the latency can exceed the baseline and still count as equal.
const TOLERANCE: f64 = 1.1;
/// The share of overloaded calls that is ignored.
const OVERLOAD: f64 = 0.05;
/// The percentage by which the latency falls per percent of lower concurrency, above which calls were waiting for
/// each other: 1 if all of them waited, 0 if none did.
const WAITING: f64 = 0.8;
/// A latency below the baseline by at least this much, a fifth, is adopted immediately. Smaller differences can be
/// noise and are adopted by half. As a logarithm.
const LOWER: f64 = 0.32;

#[derive(Clone, Copy, Debug)]
enum Phase {
    /// The limit is in effect.
    Cruising,
    /// Calls that started under another limit are still in flight.
    Settling,
    /// Settling before a probe.
    SettlingToProbe(Probe),
    Probing(Probe),
}

/// The state before a probe.
#[derive(Clone, Copy, Debug)]
struct Probe {
    limit: f64,
    reading: Reading,
}

#[derive(Debug)]
pub(super) struct Control {
    min: u32,
    max: u32,
    limit: f64,
    reason: LimitReason,
    phase: Phase,
    /// A logarithm of nanoseconds, like `latency`.
    baseline: Option<f64>,
    latency: Option<f64>,
    peak: u32,
    windows: u64,
    /// Windows until the next probe.
    quiet: u32,
    /// Windows between that probe and the one after it.
    interval: u32,
    /// Consecutive probes that found calls waiting for each other.
    waiting: u32,
    /// The sums at the start of the window.
    sums: Option<Sums>,
    since: Instant,
    span: Duration,
}

impl Control {
    pub(super) fn new(initial: u32, min: u32, max: u32) -> Self {
        let (min, max) = (min.max(1), max.max(min.max(1)));
        Self {
            min,
            max,
            limit: f64::from(initial.clamp(min, max)),
            reason: LimitReason::Initial,
            // Some of the first calls started when there were no others yet.
            phase: Phase::Settling,
            baseline: None,
            latency: None,
            peak: 0,
            windows: 0,
            // The first window can be full of calls that wait for each other.
            quiet: 0,
            interval: PROBE_SOON,
            waiting: 0,
            sums: None,
            since: Instant::from_nanos(0),
            span: WINDOW,
        }
    }

    pub(super) fn limit(&self) -> u32 {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // between two `u32`, and no NaN
        let limit = self.limit as u32;
        limit.clamp(self.min, self.max)
    }

    pub(super) fn usual(&self) -> Log {
        self.latency.map_or(0, from_f64)
    }

    pub(super) fn set_bounds(&mut self, min: u32, max: u32) {
        self.min = min.max(1);
        self.max = max.max(self.min);
        self.limit = self.clamped(self.limit);
    }

    pub(super) fn stats(&self) -> AdaptiveLimitStats {
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates
        let span = |log: f64| Duration::from_nanos(log.exp2() as u64);
        AdaptiveLimitStats {
            limit: self.limit(),
            min: self.min,
            max: self.max,
            reason: self.reason,
            latency: self.latency.map(span),
            baseline: self.baseline.map(span),
            peak: self.peak,
            windows: self.windows,
        }
    }

    fn clamped(&self, limit: f64) -> f64 {
        limit.clamp(f64::from(self.min), f64::from(self.max))
    }

    // The window -------------------------------------------------------------------------------------------

    /// Evaluates the window if it is over and holds enough calls. Returns when to evaluate again.
    pub(super) fn evaluate(&mut self, now: Instant, totals: &Totals) -> Instant {
        let sums = totals.sums();
        let Some(before) = self.sums else {
            return self.open(now, sums);
        };
        if now < self.since {
            // The call ended before the window began and is reported late. If the difference is larger than any
            // window, the clock moved back, and the window starts again.
            let is_late = self.since.since(now) < LONGEST;
            return if is_late { self.since.after(self.span) } else { self.open(now, sums) };
        }
        let age = now.since(self.since);
        if age < self.span {
            return self.since.after(self.span);
        }
        let window = sums.since(&before);
        let enough = match self.phase {
            Phase::Settling | Phase::SettlingToProbe(_) => true,
            _ if age >= self.span * PATIENCE => window.calls() >= FEW_CALLS,
            _ => window.calls() >= CALLS,
        };
        if !enough {
            return now.after(self.span / 4);
        }
        let (peak, slowest) = (totals.take_peak(), totals.take_slowest());
        let window = window.bounded(peak, slowest);
        match self.phase {
            Phase::Settling => {
                self.phase = Phase::Cruising;
                // Set the latency, so that the next window is long enough.
                self.latency = self.latency.or(window.reading().map(|reading| reading.latency));
            }
            Phase::SettlingToProbe(probe) => self.phase = Phase::Probing(probe),
            Phase::Cruising => self.cruised(&window, peak),
            Phase::Probing(probe) => self.probed(&window, probe),
        }
        self.open(now, sums)
    }

    /// Starts a window.
    fn open(&mut self, now: Instant, sums: Sums) -> Instant {
        let latency = self.latency.map_or(0.0, f64::exp2);
        let (latencies, least) = match self.phase {
            Phase::Settling | Phase::SettlingToProbe(_) => (SETTLING, Duration::ZERO),
            Phase::Cruising | Phase::Probing(_) => (LATENCIES, WINDOW),
        };
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // saturates
        let span = Duration::from_nanos((latency * latencies) as u64);
        self.span = span.max(least).min(LONGEST);
        self.since = now;
        self.sums = Some(sums);
        now.after(self.span)
    }

    // The rules --------------------------------------------------------------------------------------------

    /// Evaluates a window at the normal limit.
    fn cruised(&mut self, window: &Sums, peak: u32) {
        self.windows += 1;
        self.peak = peak;
        if self.is_overloaded(window) {
            return;
        }
        let Some(reading) = window.reading() else { return };
        self.latency = Some(reading.latency);
        let baseline = self.follow(reading.latency);
        let low = self.low();
        if f64::from(peak) <= low && peak < self.limit() {
            // A probe would change nothing. If any calls wait, they belong to other clients.
            self.baseline = Some(baseline + (reading.latency - baseline).max(0.0) / 8.0);
            self.reason = LimitReason::LowDemand;
            return;
        }
        let can_probe = low < f64::from(self.limit());
        if !can_probe {
            // At the minimum there is no lower limit to compare with.
            self.baseline = Some(baseline + (reading.latency - baseline).max(0.0) / 4.0);
        }
        let next = self.gradient(self.limit, baseline, reading.latency);
        let cut = self.limit - next > self.allowance(self.limit);
        if (cut || self.quiet == 0) && can_probe {
            self.phase = Phase::SettlingToProbe(Probe { limit: self.limit, reading });
            self.limit = low;
            self.reason = LimitReason::Probing;
            return;
        }
        self.quiet = self.quiet.saturating_sub(1);
        self.set(next);
    }

    /// Evaluates a window at the lower limit of a probe: how much faster were calls?
    fn probed(&mut self, window: &Sums, probe: Probe) {
        self.quiet = self.interval;
        self.phase = Phase::Settling;
        if self.is_overloaded(window) {
            return;
        }
        let Some(Reading { latency, in_flight }) = window.reading() else {
            self.limit = probe.limit;
            return;
        };
        let before = self.baseline.unwrap_or(latency);
        let baseline = self.follow(latency);
        let fewer = (probe.reading.in_flight / in_flight).log2();
        if fewer < 0.05 {
            // The concurrency was not lower: demand has changed in the meantime.
            self.limit = probe.limit;
            self.reason = LimitReason::LowDemand;
            return;
        }
        let waiting = (probe.reading.latency - latency) / fewer;
        if waiting < WAITING {
            self.waiting = 0;
            let confirmed = (latency - before).abs() < CONFIRMED;
            self.interval = if confirmed { (self.interval * 2).min(PROBE_LATE) } else { PROBE_SOON };
            self.baseline = Some(latency);
            let next = self.gradient(probe.limit, latency, probe.reading.latency);
            self.limit = probe.limit;
            self.set(next);
            return;
        }
        // Calls wait for each other even at the lower limit, and the baseline can include such waiting. Lower the
        // limit halfway at first, because noise can look the same. Then lower it fully, and further if the baseline
        // demands it.
        self.waiting += 1;
        (self.quiet, self.interval) = (0, PROBE_SOON);
        let known = self.gradient(self.limit, baseline, latency);
        let half_way = f64::midpoint(probe.limit, self.limit);
        let most = if self.waiting > 1 { self.limit } else { half_way };
        self.limit = self.clamped(known.clamp(self.limit / 2.0, most));
        self.reason = LimitReason::Queueing;
    }

    /// Returns whether too many calls were overloaded. If so, lowers the limit by their share.
    fn is_overloaded(&mut self, window: &Sums) -> bool {
        let share = window.overloaded();
        if share <= OVERLOAD {
            return false;
        }
        self.limit = self.clamped(self.limit * (1.0 - share).max(0.5));
        self.reason = LimitReason::Overloaded;
        self.phase = Phase::Settling;
        true
    }

    /// Lowers the baseline to this latency if it is lower, by half for a small difference. Returns the baseline.
    fn follow(&mut self, latency: f64) -> f64 {
        let baseline = match self.baseline {
            Some(baseline) if latency >= baseline => baseline,
            Some(baseline) if baseline - latency < LOWER => f64::midpoint(baseline, latency),
            _ => {
                // Even these calls can have waited for each other; a probe will show it.
                (self.quiet, self.interval) = (0, PROBE_SOON);
                latency
            }
        };
        self.baseline = Some(baseline);
        baseline
    }

    /// Returns the number of calls that are being worked on, plus an allowance.
    fn gradient(&self, limit: f64, baseline: f64, latency: f64) -> f64 {
        let share = (baseline - latency).min(0.0).exp2();
        self.clamped(limit * (TOLERANCE * share).max(0.5) + self.allowance(limit))
    }

    /// Returns how much the limit grows if no calls wait, and how many calls can wait.
    #[allow(clippy::unused_self)]
    fn allowance(&self, limit: f64) -> f64 {
        (limit.sqrt() / 2.0).max(1.0)
    }

    /// Returns the limit of a probe: a quarter less, or half for small limits.
    fn low(&self) -> f64 {
        let less = (self.limit / 4.0).max((1.5 * self.limit.sqrt()).min(self.limit / 2.0));
        self.clamped((self.limit - less).round())
    }

    fn set(&mut self, next: f64) {
        let step = next - self.limit;
        self.reason = match step {
            _ if step > 1.0 => LimitReason::Growing,
            _ if step < -1.0 => LimitReason::Queueing,
            _ => LimitReason::Steady,
        };
        self.limit = next;
    }
}
