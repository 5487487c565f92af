//! Compares the circuit breaker with a simple model, in random sequences of steps.

use std::collections::VecDeque;
use std::time::Duration;

use proptest::prelude::*;

use super::{CircuitBreaker, Config, State, Ticket, Window};
use crate::classify::{Class, Verdict};
use crate::clock::ManualClock;
use crate::component::{Component, Core, Create};
use crate::ratio::Ratio;

const MS: u64 = 1;
const SLOW: u64 = 400 * MS;

#[derive(Clone, Copy, Debug)]
enum Result {
    Good,
    Failed,
    FailedWithHint,
    Neutral,
}

#[derive(Clone, Debug)]
enum Step {
    Admit,
    /// The index of the call in flight, counted from the oldest.
    Settle(usize, Result),
    /// A call that ends after this many milliseconds.
    Call(u64, Result),
    Advance(u64),
    ForceOpen,
    ForceClosed,
    Disable,
    Resume,
    Reset,
    Reconfigure(Settings),
}

/// The settings that the model supports.
#[derive(Clone, Copy, Debug)]
struct Settings {
    window: Window,
    failure_rate: Option<f64>,
    min_calls: u32,
    low_volume: u32,
    threshold: Option<u32>,
    slow: bool,
    slow_rate: Option<f64>,
    probes: u32,
    successes: Option<u32>,
}

const OPEN_FOR: u64 = 1000 * MS;
const OPEN_MAX: u64 = 5000 * MS;
const LEASE: u64 = 3000 * MS;
const HINT: u64 = 7000 * MS;

fn millis(count: u64) -> Duration {
    Duration::from_millis(count)
}

impl Settings {
    fn config(self) -> Config {
        let share = |share: Option<f64>| share.and_then(Ratio::new);
        Config::default()
            .window(self.window)
            .failure_rate(share(self.failure_rate))
            .min_calls(self.min_calls)
            .low_volume_failures(self.low_volume)
            .failure_threshold(self.threshold)
            .slow_call(self.slow.then(|| millis(SLOW)))
            .slow_rate(share(self.slow_rate.filter(|_| self.slow)))
            .half_open_calls(self.probes)
            .success_threshold(self.successes)
            .open_for(millis(OPEN_FOR))
            .open_max(millis(OPEN_MAX))
            .open_jitter(Ratio::ZERO)
            .probe_lease(millis(LEASE))
    }

    fn rate(self) -> Option<f64> {
        self.failure_rate.or(if self.threshold.is_none() { Some(0.5) } else { None })
    }

    fn own_slow_rate(self) -> Option<f64> {
        self.slow_rate.filter(|_| self.slow)
    }
}

#[derive(Clone, Copy, Debug)]
struct Ended {
    at: u64,
    failed: bool,
    slow: bool,
}

#[derive(Clone, Copy, Debug)]
struct Call {
    admitted: u64,
    epoch: u64,
    state: State,
    /// Identifies a probe.
    number: u64,
}

/// The expected behavior of the breaker, implemented as simply as possible.
struct Model {
    settings: Settings,
    now: u64,
    state: State,
    epoch: u64,
    /// Start of the window's buckets.
    window_begin: u64,
    window: VecDeque<Ended>,
    row: u32,
    open_until: u64,
    reopened: u32,
    probes: Vec<(u64, u64)>,
    probes_good: u32,
    probes_bad: u32,
    calls: u64,
    successful: u64,
    failed: u64,
    slow: u64,
    ignored: u64,
    late: u64,
    rejected: u64,
}

impl Model {
    fn new(settings: Settings) -> Self {
        Self {
            settings,
            now: 0,
            state: State::Closed,
            epoch: 0,
            window_begin: 0,
            window: VecDeque::new(),
            row: 0,
            open_until: 0,
            reopened: 0,
            probes: Vec::new(),
            probes_good: 0,
            probes_bad: 0,
            calls: 0,
            successful: 0,
            failed: 0,
            slow: 0,
            ignored: 0,
            late: 0,
            rejected: 0,
        }
    }

    fn go(&mut self, state: State) {
        self.state = state;
        self.epoch += 1;
        self.probes.clear();
        (self.probes_good, self.probes_bad) = (0, 0);
        if matches!(state, State::Closed | State::ForcedClosed) {
            (self.row, self.reopened) = (0, 0);
            self.window.clear();
            self.window_begin = self.now;
        }
    }

    fn open(&mut self, result: Result) {
        let period = (OPEN_FOR << self.reopened.min(20)).min(OPEN_MAX);
        let hint = if matches!(result, Result::FailedWithHint) { HINT } else { 0 };
        self.open_until = self.now + period.max(hint);
        self.go(State::Open);
    }

    /// Returns the calls in the window.
    fn held(&self) -> Vec<Ended> {
        match self.settings.window {
            Window::Count(_) => self.window.iter().copied().collect(),
            Window::Time(span) => {
                let width = u64::try_from(span.as_millis()).unwrap() / 10;
                let bucket = |at: u64| (at - self.window_begin) / width;
                let first = bucket(self.now).saturating_sub(9);
                self.window.iter().filter(|ended| bucket(ended.at) >= first).copied().collect()
            }
        }
    }

    fn admit(&mut self) -> Option<Call> {
        if self.state == State::Open && self.now >= self.open_until {
            self.go(State::HalfOpen);
        }
        let passes = match self.state {
            State::Open | State::ForcedOpen => false,
            State::HalfOpen => {
                let now = self.now;
                let out = self.probes.iter().filter(|(_, until)| now < *until).count();
                let ended =
                    if self.settings.successes.is_some() { 0 } else { self.probes_good + self.probes_bad };
                u32::try_from(out).unwrap() + ended < self.settings.probes
            }
            _ => true,
        };
        if !passes {
            self.rejected += 1;
            return None;
        }
        self.calls += 1;
        if self.state == State::HalfOpen {
            self.probes.retain(|(_, until)| self.now < *until);
            self.probes.push((self.calls, self.now + LEASE));
        }
        Some(Call { admitted: self.now, epoch: self.epoch, state: self.state, number: self.calls })
    }

    fn settle(&mut self, call: Call, result: Result) {
        if call.state == State::Disabled {
            return;
        }
        if call.epoch != self.epoch {
            self.late += 1;
            return;
        }
        if call.state == State::HalfOpen {
            let Some(index) = self.probes.iter().position(|(number, _)| *number == call.number) else {
                self.late += 1;
                return;
            };
            self.probes.remove(index);
        }
        let failed = match result {
            Result::Neutral => {
                self.ignored += 1;
                return;
            }
            Result::Good => false,
            Result::Failed | Result::FailedWithHint => true,
        };
        let slow = self.settings.slow && self.now - call.admitted >= SLOW;
        *(if failed { &mut self.failed } else { &mut self.successful }) += 1;
        self.slow += u64::from(slow);
        if call.state == State::HalfOpen {
            *(if failed || slow { &mut self.probes_bad } else { &mut self.probes_good }) += 1;
            return self.decide(result);
        }
        self.window.push_back(Ended { at: self.now, failed, slow });
        self.evict();
        if call.state == State::Closed {
            self.judge(failed, slow, result);
        }
    }

    fn judge(&mut self, failed: bool, slow: bool, result: Result) {
        let bad = failed || slow && self.settings.own_slow_rate().is_none();
        self.row = if bad { self.row + 1 } else { 0 };
        if !failed && !slow {
            return;
        }
        let held = self.held();
        let all = held.len() as f64;
        let share =
            |counts: &dyn Fn(&Ended) -> bool| held.iter().filter(|call| counts(call)).count() as f64 / all;
        let settings = self.settings;
        let in_row = settings.threshold.is_some_and(|limit| self.row >= limit);
        let by_share = if held.len() < settings.min_calls as usize {
            let classic = settings.rate().is_none();
            !classic && settings.low_volume > 0 && self.row >= settings.low_volume
        } else {
            let failures = match settings.own_slow_rate() {
                Some(_) => share(&|call| call.failed),
                None => share(&|call| call.failed || call.slow),
            };
            settings.rate().is_some_and(|limit| failures >= limit)
                || settings.own_slow_rate().is_some_and(|limit| share(&|call| call.slow) >= limit)
        };
        if in_row || by_share {
            self.open(result);
        }
    }

    fn decide(&mut self, result: Result) {
        let (good, bad) = (self.probes_good, self.probes_bad);
        let (reopen, close) = if let Some(successes) = self.settings.successes {
            (bad > 0, good >= successes)
        } else {
            // Is the decision the same whatever number of the remaining probes fails?
            let all = self.settings.probes.max(good + bad);
            let limit = self.settings.rate().unwrap_or(0.5);
            let mut ends = (bad..=all - good).map(|bad| f64::from(bad) / f64::from(all) >= limit);
            (ends.clone().all(|reopens| reopens), !ends.any(|reopens| reopens))
        };
        if reopen {
            self.reopened += 1;
            self.open(result);
        } else if close {
            self.go(State::Closed);
        }
    }

    fn reconfigure(&mut self, settings: Settings) {
        self.settings = settings;
        self.evict();
        if self.state == State::HalfOpen {
            self.decide(Result::Good);
        }
    }

    fn evict(&mut self) {
        if let Window::Count(size) = self.settings.window {
            let surplus = self.window.len().saturating_sub(size as usize);
            self.window.drain(..surplus);
        }
    }

    fn shown_state(&self) -> State {
        if self.state == State::Open && self.now >= self.open_until { State::HalfOpen } else { self.state }
    }
}

/// The model and the breaker, side by side.
struct Pair {
    model: Model,
    breaker: CircuitBreaker,
    time: ManualClock,
    in_flight: Vec<(Call, Ticket, crate::clock::Instant)>,
}

impl Pair {
    fn new(settings: Settings) -> Self {
        let time = ManualClock::new();
        let core = Core::for_test("model", time.clock(), settings.config());
        let breaker = CircuitBreaker::create(core);
        Self { model: Model::new(settings), breaker, time, in_flight: Vec::new() }
    }

    fn advance(&mut self, span: u64) {
        self.model.now += span;
        self.time.advance(millis(span));
    }

    fn admit(&mut self) {
        let now = self.time.clock().now();
        let refuses = self.breaker.would_refuse(now);
        let ticket = self.breaker.admit(|| now);
        let call = self.model.admit();
        assert_eq!(ticket.is_ok(), call.is_some(), "admission");
        assert_eq!(ticket.is_err(), refuses, "would_refuse");
        if let Err(rejection) = &ticket {
            let open = self.model.state == State::Open;
            let left = open.then(|| millis(self.model.open_until - self.model.now));
            assert_eq!(rejection.retry_after(), left, "the time to wait");
        }
        self.in_flight.extend(call.zip(ticket.ok()).map(|(call, ticket)| (call, ticket, now)));
    }

    fn settle(&mut self, index: usize, result: Result) {
        let (call, ticket, started) = self.in_flight.remove(index);
        self.model.settle(call, result);
        let verdict = match result {
            Result::Good => Some(Verdict::Success),
            Result::Failed => Some(Verdict::Failure(Class::TRANSIENT)),
            Result::FailedWithHint => {
                Some(Verdict::Failure(Class::Overload { retry_after: Some(millis(HINT)) }))
            }
            Result::Neutral => None,
        };
        self.breaker.settle(ticket, verdict, None, started, || self.time.clock().now());
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Admit => self.admit(),
            Step::Settle(index, result) => {
                if !self.in_flight.is_empty() {
                    self.settle(index % self.in_flight.len(), result);
                }
            }
            Step::Call(span, result) => {
                let before = self.in_flight.len();
                self.admit();
                self.advance(span);
                if self.in_flight.len() > before {
                    self.settle(before, result);
                }
            }
            Step::Advance(span) => self.advance(span),
            Step::ForceOpen => self.force(State::ForcedOpen, CircuitBreaker::force_open),
            Step::ForceClosed => self.force(State::ForcedClosed, CircuitBreaker::force_closed),
            Step::Disable => self.force(State::Disabled, CircuitBreaker::disable),
            Step::Resume => {
                self.breaker.resume();
                if self.model.state.is_forced() {
                    self.model.go(State::Closed);
                }
            }
            Step::Reset => {
                self.breaker.reset();
                let (now, settings, epoch, calls) =
                    (self.model.now, self.model.settings, self.model.epoch, self.model.calls);
                self.model =
                    Model { now, window_begin: now, epoch: epoch + 1, calls, ..Model::new(settings) };
            }
            Step::Reconfigure(settings) => {
                // A time window keeps its span: other tests cover a change of the span.
                let window = match (self.model.settings.window, settings.window) {
                    (Window::Count(_), Window::Count(size)) => Window::Count(size),
                    (kept, _) => kept,
                };
                let settings = Settings { window, ..settings };
                self.breaker.reconfigure(settings.config()).unwrap();
                self.model.reconfigure(settings);
            }
        }
    }

    fn force(&mut self, state: State, force: fn(&CircuitBreaker)) {
        force(&self.breaker);
        if self.model.state != state {
            self.model.go(state);
        }
    }

    fn compare(&self) {
        let (model, stats) = (&self.model, self.breaker.stats());
        assert_eq!(stats.state, model.shown_state());
        assert_eq!(self.breaker.state(), model.shown_state());
        let held = model.held();
        let count = |counts: fn(&Ended) -> bool| held.iter().filter(|call| counts(call)).count() as u64;
        let window = (stats.window.calls, stats.window.failed, stats.window.slow);
        assert_eq!(window, (held.len() as u64, count(|call| call.failed), count(|call| call.slow)), "window");
        assert_eq!(stats.failures_in_a_row, model.row, "row");
        let seen = (stats.successful, stats.failed, stats.slow, stats.ignored, stats.late, stats.rejected);
        let expected =
            (model.successful, model.failed, model.slow, model.ignored, model.late, model.rejected);
        assert_eq!(seen, expected, "totals");
        let probes = (stats.probes.successful, stats.probes.failed);
        assert_eq!(probes, (model.probes_good, model.probes_bad), "probes");
    }
}

fn results() -> impl Strategy<Value = Result> {
    prop_oneof![
        4 => Just(Result::Good),
        6 => Just(Result::Failed),
        1 => Just(Result::FailedWithHint),
        1 => Just(Result::Neutral),
    ]
}

fn settings(window: impl Strategy<Value = Window>) -> impl Strategy<Value = Settings> {
    let share = || proptest::option::of(prop_oneof![Just(0.2), Just(0.5), Just(0.75), Just(1.0)]);
    (
        (window, share(), 1..6_u32, 0..6_u32),
        (proptest::option::of(1..6_u32), any::<bool>(), share(), 1..5_u32, proptest::option::of(1..4_u32)),
    )
        .prop_map(
            |(
                (window, failure_rate, min_calls, low_volume),
                (threshold, slow, slow_rate, probes, successes),
            )| {
                Settings {
                    window,
                    failure_rate,
                    min_calls,
                    low_volume,
                    threshold,
                    slow,
                    slow_rate,
                    probes,
                    successes,
                }
            },
        )
}

fn count_windows() -> impl Strategy<Value = Window> {
    (5..200_u32).prop_map(Window::Count)
}

fn time_windows() -> impl Strategy<Value = Window> {
    prop_oneof![Just(500_u64), Just(2000), Just(10_000)].prop_map(|span| Window::Time(millis(span)))
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        6 => Just(Step::Admit),
        6 => (any::<usize>(), results()).prop_map(|(index, result)| Step::Settle(index, result)),
        12 => (prop_oneof![3 => Just(0_u64), 1 => 0..2 * SLOW], results())
            .prop_map(|(span, result)| Step::Call(span, result)),
        4 => (0..6000_u64).prop_map(Step::Advance),
        1 => Just(Step::Advance(86_400_000)),
        1 => Just(Step::ForceOpen),
        1 => Just(Step::ForceClosed),
        1 => Just(Step::Disable),
        2 => Just(Step::Resume),
        1 => Just(Step::Reset),
        2 => settings(count_windows()).prop_map(Step::Reconfigure),
    ];
    proptest::collection::vec(step, 1..150)
}

fn run(settings: Settings, steps: &[Step]) {
    let mut pair = Pair::new(settings);
    for step in steps {
        pair.step(step);
        pair.compare();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(1000) })]

    #[test]
    fn a_breaker_with_a_count_window_matches_the_model(
        settings in settings(count_windows()), steps in steps()
    ) {
        run(settings, &steps);
    }

    #[test]
    fn a_breaker_with_a_time_window_matches_the_model(
        settings in settings(time_windows()), steps in steps()
    ) {
        run(settings, &steps);
    }
}
