//! Loom models of the circuit breaker: all interleavings of a few threads. Run with
//! `RUSTFLAGS="--cfg resilient_loom" cargo test -p resilient-runtime --lib --release loom`.

use std::time::Duration;

use loom::sync::Arc;
use loom::thread;

use super::window::{Content, CountWindow, Grade, TimeWindow};
use super::{CircuitBreaker, Config, State, Ticket};
use crate::classify::{Class, Verdict};
use crate::clock::{Instant, ManualClock};
use crate::component::{Component, Core, Create};
use crate::observe::Striped;
use crate::outage::OpenReason;
use crate::ratio::Ratio;

const FAILED: Verdict = Verdict::Failure(Class::TRANSIENT);
const SPAN: Duration = Duration::from_secs(10);
const START: Instant = Instant::from_nanos(1 << 40);

/// Explores all interleavings of up to two threads besides the main one, with a bounded number of preemptions.
fn explore(preemptions: usize, model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(model);
}

struct Timed {
    window: TimeWindow,
    counters: Striped<4>,
}

impl Timed {
    fn new() -> Self {
        Self { window: TimeWindow::new(SPAN, START), counters: Striped::new() }
    }

    fn record(&self, grade: Grade, now: Instant) {
        self.window.touch(now, &self.counters);
        self.counters.add(grade as usize);
    }

    fn content(&self, now: Instant) -> Content {
        self.window.content(now, &self.counters)
    }
}

#[test]
fn loom_an_edge_between_buckets_counts_each_call_once() {
    // T154, T155
    explore(3, || {
        let timed = Arc::new(Timed::new());
        timed.record(Grade::Failed, START);
        let edge = START.after(SPAN / 10);
        let threads = [Grade::Good, Grade::Slow].map(|grade| {
            let timed = Arc::clone(&timed);
            thread::spawn(move || timed.record(grade, edge))
        });
        let seen = timed.content(edge);
        assert!(seen.failed == 1 && seen.calls <= 3, "{seen:?}");
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let all = Content { calls: 3, failed: 1, slow: 1, failed_or_slow: 2 };
        assert_eq!(timed.content(edge), all);
        // They leave in time, whichever bucket they were counted in: the first call leaves first.
        assert!(timed.content(START.after(SPAN)).calls <= 2);
        assert_eq!(timed.content(START.after(2 * SPAN)).calls, 0);
    });
}

#[test]
fn loom_after_a_long_pause_the_window_holds_only_the_new_calls() {
    // T12, T155
    explore(3, || {
        let timed = Arc::new(Timed::new());
        timed.record(Grade::Failed, START);
        let morning = START.after(1000 * SPAN);
        let threads = [Grade::Good, Grade::Slow].map(|grade| {
            let timed = Arc::clone(&timed);
            thread::spawn(move || timed.record(grade, morning))
        });
        assert_eq!(timed.content(morning).failed, 0);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(timed.content(morning), Content { calls: 2, failed: 0, slow: 1, failed_or_slow: 1 });
    });
}

#[test]
fn loom_a_reader_with_a_late_clock_reads_one_consistent_base() {
    // T154
    explore(3, || {
        let timed = Arc::new(Timed::new());
        timed.record(Grade::Good, START);
        timed.record(Grade::Failed, START);
        let moving = {
            let timed = Arc::clone(&timed);
            thread::spawn(move || timed.window.touch(START.after(1000 * SPAN), &timed.counters))
        };
        let seen = timed.content(START);
        assert!(matches!((seen.calls, seen.failed), (2, 1) | (0, 0)), "{seen:?}");
        moving.join().unwrap();
    });
}

#[test]
fn loom_an_evicted_result_is_subtracted_once_and_completely() {
    // T19, T154
    explore(3, || {
        let window = Arc::new(CountWindow::new(1));
        window.record(Grade::FailedSlow);
        let threads = [Grade::Good, Grade::Failed].map(|grade| {
            let window = Arc::clone(&window);
            thread::spawn(move || window.record(grade))
        });
        let seen = window.content();
        assert!(seen.calls <= 3 && seen.failed <= 3 && seen.slow <= 1, "{seen:?}");
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let of = |failed| Content { calls: 1, failed, slow: 0, failed_or_slow: failed };
        let held = window.content();
        assert!(held == of(0) || held == of(1), "{held:?}");
        window.record(Grade::Good);
        assert_eq!(window.content(), of(0), "the totals match the slots");
    });
}

#[test]
fn loom_a_shrinking_window_clears_the_removed_slots() {
    // T117, T154
    explore(3, || {
        let window = Arc::new(CountWindow::new(3));
        window.record(Grade::Failed);
        let recorder = {
            let window = Arc::clone(&window);
            thread::spawn(move || {
                window.record(Grade::Slow);
                window.record(Grade::Failed);
            })
        };
        window.resize(1);
        recorder.join().unwrap();
        assert_eq!(window.content().calls, 1);
        window.record(Grade::Good);
        assert_eq!(window.content(), Content { calls: 1, ..Content::default() });
    });
}

struct Fixture {
    time: ManualClock,
    breaker: CircuitBreaker,
}

impl Fixture {
    /// With a circuit that one failure has opened. If `half_open`, the open period has ended.
    fn open(config: Config, half_open: bool) -> Arc<Self> {
        let time = ManualClock::new();
        let config = config.failure_threshold(1).open_jitter(Ratio::ZERO);
        let breaker = CircuitBreaker::create(Core::for_test("x", time.clock(), config));
        let fixture = Self { time, breaker };
        let ticket = fixture.admit().expect("a closed circuit");
        fixture.settle(ticket, Some(FAILED));
        if half_open {
            fixture.time.advance(Duration::from_secs(5));
        }
        Arc::new(fixture)
    }

    fn now(&self) -> Instant {
        self.time.clock().now()
    }

    fn admit(&self) -> Option<Ticket> {
        self.breaker.admit(|| self.now()).ok()
    }

    fn settle(&self, ticket: Ticket, verdict: Option<Verdict>) {
        self.breaker.settle(ticket, verdict, None, self.now(), || self.now());
    }
}

#[test]
fn loom_two_callers_of_a_half_open_circuit_share_its_one_permit() {
    // T9, T154
    explore(2, || {
        let fixture = Fixture::open(Config::default().half_open_calls(1), true);
        let threads = [(); 2].map(|()| {
            let fixture = Arc::clone(&fixture);
            thread::spawn(move || fixture.admit())
        });
        let admitted: Vec<_> = threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect();
        assert_eq!(admitted.len(), 1);
        assert_eq!(fixture.breaker.stats().probes.in_flight, 1);
    });
}

#[test]
fn loom_a_returned_permit_is_granted_once() {
    // T4, T154
    explore(2, || {
        let fixture = Fixture::open(Config::default().half_open_calls(1), true);
        let probe = fixture.admit().expect("the first probe");
        let returning = {
            let fixture = Arc::clone(&fixture);
            thread::spawn(move || fixture.settle(probe, None))
        };
        let other = {
            let fixture = Arc::clone(&fixture);
            thread::spawn(move || fixture.admit())
        };
        let own = fixture.admit();
        returning.join().unwrap();
        let other = other.join().unwrap();
        let out = u32::from(own.is_some()) + u32::from(other.is_some());
        assert!(out <= 1, "{out} probes at once");
        // A rejection was correct: now one slot is free, or none.
        assert_eq!(fixture.admit().is_some(), out == 0);
    });
}

#[test]
fn loom_a_closing_probe_and_a_late_failure_leave_a_closed_circuit() {
    // T3, T154
    explore(2, || {
        let fixture = Fixture::open(Config::default().half_open_calls(1), true);
        let lost = fixture.admit().expect("the first probe");
        fixture.time.advance(Duration::from_mins(1));
        let probe = fixture.admit().expect("the lease of the first is over");
        let late = {
            let fixture = Arc::clone(&fixture);
            thread::spawn(move || fixture.settle(lost, Some(FAILED)))
        };
        fixture.settle(probe, Some(Verdict::Success));
        late.join().unwrap();
        let stats = fixture.breaker.stats();
        assert_eq!((stats.state, stats.late, stats.failed), (State::Closed, 1, 1));
    });
}

#[test]
fn loom_two_failures_that_both_reach_the_limit_open_the_circuit_once() {
    // T15
    explore(2, || {
        let fixture = Fixture::open(Config::default(), false);
        fixture.breaker.reset();
        let tickets = [(); 2].map(|()| fixture.admit().expect("a closed circuit"));
        let threads = tickets.map(|ticket| {
            let fixture = Arc::clone(&fixture);
            thread::spawn(move || fixture.settle(ticket, Some(FAILED)))
        });
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        let stats = fixture.breaker.stats();
        assert_eq!((stats.state, stats.transitions, stats.failed + stats.late), (State::Open, 1, 2));
    });
}

#[test]
fn loom_a_refusal_never_mixes_two_reasons() {
    explore(2, || {
        let fixture = Fixture::open(Config::default().half_open_calls(1), true);
        let probe = fixture.admit().expect("the first probe");
        let failing = {
            let fixture = Arc::clone(&fixture);
            thread::spawn(move || fixture.settle(probe, Some(FAILED)))
        };
        let rejection = fixture.breaker.admit(|| fixture.now()).expect_err("only one probe is admitted");
        let reason = rejection.reason();
        // The outage is half-open, or open again for ten seconds.
        let opened = Some(OpenReason::Consecutive { failures: 1 });
        let (before, after) = ((opened, None), (opened, Some(Duration::from_secs(10))));
        let seen = (reason, rejection.retry_after());
        assert!(seen == before || seen == after, "{seen:?}");
        failing.join().unwrap();
    });
}
