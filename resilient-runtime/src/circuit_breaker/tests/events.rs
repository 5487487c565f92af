//! Events and logs of state changes, which do not delay calls.

use std::sync::{Mutex, mpsc};

use super::*;
use crate::observe::{EventKind, Subscription};
use crate::rejection::RejectionKind;

fn kinds(subscription: &mut Subscription) -> Vec<EventKind> {
    std::iter::from_fn(|| subscription.try_recv()).map(|event| event.what).collect()
}

fn transition(from: &'static str, to: &'static str, reason: Option<OpenReason>) -> EventKind {
    EventKind::Transition { from, to, reason, error: None }
}

#[test]
fn every_state_change_and_rejection_is_reported_once() {
    let fixture = Fixture::new(config().failure_threshold(1).half_open_calls(1));
    let mut subscription = fixture.breaker.core.events().subscribe();
    fixture.call(FAILED);
    let _ = fixture.refused();
    fixture.time.advance(5 * SECOND);
    fixture.call(Verdict::Success);
    fixture.breaker.force_open();
    fixture.breaker.force_open();
    fixture.breaker.reset();
    let expected = [
        transition("closed", "open", Some(OpenReason::Consecutive { failures: 1 })),
        EventKind::Rejected { rejection: RejectionKind::CircuitOpen, retry_after: Some(5 * SECOND) },
        transition("open", "half_open", None),
        transition("half_open", "closed", None),
        transition("closed", "forced_open", Some(OpenReason::Forced)),
        transition("forced_open", "closed", None),
        EventKind::Reset,
    ];
    assert_eq!(kinds(&mut subscription), expected);
}

#[test]
fn threads_that_reach_the_limit_together_make_one_transition() {
    // T15
    for _ in 0..50 {
        let fixture = Fixture::new(config().failure_threshold(1));
        let mut subscription = fixture.breaker.core.events().subscribe();
        let tickets: Vec<_> = (0..16).map(|_| fixture.admitted()).collect();
        let barrier = std::sync::Barrier::new(tickets.len());
        std::thread::scope(|scope| {
            for ticket in tickets {
                let (fixture, barrier) = (&fixture, &barrier);
                scope.spawn(move || {
                    barrier.wait();
                    fixture.settle(ticket, FAILED);
                });
            }
        });
        assert_eq!(kinds(&mut subscription).len(), 1);
        let stats = fixture.stats();
        assert_eq!((stats.transitions, stats.failed + stats.late), (1, 16));
    }
}

/// Calls a closure for each log record.
struct Listener<F>(F);

impl<F: Fn() + 'static> tracing::Subscriber for Listener<F> {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.target() == super::super::transition::TARGET && *metadata.level() <= tracing::Level::INFO
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {
        (self.0)();
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn a_listener_can_call_back_into_the_breaker() {
    // T23
    let fixture = Fixture::new(config().failure_threshold(1));
    let seen = Arc::new(Mutex::new(Vec::new()));
    let (breaker, clock, log) = (Arc::clone(&fixture.breaker), fixture.time.clock(), Arc::clone(&seen));
    let listener = Listener(move || {
        let refused = breaker.admit(|| clock.now()).is_err();
        log.lock().unwrap().push((breaker.state(), breaker.stats().transitions, refused));
        breaker.resume();
    });
    tracing::subscriber::with_default(listener, || fixture.call(FAILED));
    assert_eq!(*seen.lock().unwrap(), [(State::Open, 1, true)]);
}

#[test]
fn a_slow_listener_does_not_delay_other_calls() {
    // T23
    let fixture = Fixture::new(config().failure_threshold(1));
    let (entered, has_entered) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    let breaker = Arc::clone(&fixture.breaker);
    let clock = fixture.time.clock();
    let opening = std::thread::spawn(move || {
        let listener = Listener(move || {
            entered.send(()).unwrap();
            may_go_on.lock().unwrap().recv().unwrap();
        });
        tracing::subscriber::with_default(listener, || {
            let ticket = breaker.admit(|| clock.now()).unwrap();
            breaker.settle(ticket, Some(FAILED), None, clock.now(), || clock.now());
        });
    });
    has_entered.recv().unwrap();
    // The listener still blocks the thread that opened the circuit.
    fixture.refused();
    fixture.time.advance(5 * SECOND);
    fixture.calls(2, Verdict::Success);
    fixture.assert_state(State::Closed);
    assert_eq!(fixture.stats().transitions, 3);
    go_on.send(()).unwrap();
    opening.join().unwrap();
}

/// Checks the event order of a breaker: each transition starts in the state where the last one ended, and no call is
/// rejected while the circuit is reported as closed.
#[derive(Default)]
struct Order {
    state: Option<&'static str>,
    transitions: u64,
    refusals: u64,
}

impl Order {
    fn follow(&mut self, what: &EventKind) {
        match what {
            EventKind::Transition { from, to, .. } => {
                assert_eq!(*from, self.state.unwrap_or("closed"), "transition {}", self.transitions);
                self.state = Some(to);
                self.transitions += 1;
            }
            EventKind::Rejected { .. } => {
                assert!(
                    matches!(self.state, Some("open" | "half_open" | "forced_open")),
                    "rejected after transition {} to {:?}",
                    self.transitions,
                    self.state
                );
                self.refusals += 1;
            }
            _ => {}
        }
    }
}

#[test]
fn transitions_are_in_order_and_rejections_follow_their_transition() {
    // T15, T156
    let settings = config().failure_threshold(1).half_open_calls(2).success_threshold(1).open_for(SECOND);
    let fixture = Fixture::new(settings);
    let mut subscription = fixture.breaker.core.events().subscribe();
    let mut order = Order::default();
    // Each round has fewer events than a subscription can hold.
    for _ in 0..50 {
        std::thread::scope(|scope| {
            for thread in 0..8_u64 {
                let fixture = &fixture;
                scope.spawn(move || {
                    for call in 0..40_u64 {
                        match fixture.admit() {
                            Ok(ticket) if (thread + call).is_multiple_of(3) => {
                                fixture.settle(ticket, Verdict::Success);
                            }
                            Ok(ticket) => fixture.settle(ticket, FAILED),
                            Err(_) => fixture.time.advance(SECOND / 8),
                        }
                        match (thread, call) {
                            (0, 10) => fixture.breaker.force_open(),
                            (0, 15) => fixture.breaker.resume(),
                            _ => {}
                        }
                    }
                });
            }
        });
        kinds(&mut subscription).iter().for_each(|what| order.follow(what));
    }
    let stats = fixture.stats();
    assert_eq!(subscription.dropped(), 0);
    assert_eq!((order.transitions, order.refusals), (stats.transitions, stats.rejected));
    assert!(order.transitions > 50, "only {} transitions", order.transitions);
}

#[test]
fn a_thread_that_is_delayed_after_a_state_change_does_not_affect_the_order() {
    let fixture = Fixture::new(config());
    let breaker = &fixture.breaker;
    let mut subscription = breaker.core.events().subscribe();
    let forced = Some(OpenReason::Forced);
    let opened = breaker.change(&mut breaker.inner.lock(), State::ForcedOpen, forced, None, fixture.now());
    // The lock is released, but the change is not reported yet: other threads are faster.
    let _ = fixture.refused();
    breaker.resume();
    breaker.tell(Some(&opened));
    let expected = [
        transition("closed", "forced_open", forced),
        EventKind::Rejected { rejection: RejectionKind::CircuitOpen, retry_after: None },
        transition("forced_open", "closed", None),
    ];
    assert_eq!(kinds(&mut subscription), expected);
}

#[test]
fn no_call_is_rejected_before_the_transition_is_reported() {
    // There is no moment between the state change and its event.
    for _ in 0..200 {
        let fixture = Fixture::new(config().failure_threshold(1));
        let mut subscription = fixture.breaker.core.events().subscribe();
        let tickets: Vec<_> = (0..4).map(|_| fixture.admitted()).collect();
        std::thread::scope(|scope| {
            for ticket in tickets {
                let fixture = &fixture;
                scope.spawn(move || {
                    fixture.settle(ticket, FAILED);
                    let _ = fixture.admit();
                });
            }
        });
        let mut order = Order::default();
        kinds(&mut subscription).iter().for_each(|what| order.follow(what));
        assert_eq!((order.transitions, order.refusals), (1, 4));
    }
}
