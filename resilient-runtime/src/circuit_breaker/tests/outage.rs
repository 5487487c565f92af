//! The data of an outage: its reason, start, and probe results.

use super::*;
use crate::circuit_breaker::{LastProbe, Outage};
use crate::last_error::Cause;

impl Fixture {
    /// A call that fails with this text.
    fn fail(&self, text: &str) {
        let (ticket, now) = (self.admitted(), self.now());
        let cause = Some(Cause { text, attempt: 1 });
        self.breaker.settle(ticket, Some(FAILED), cause, now, || now);
    }
}

fn one_probe() -> Config {
    config().failure_threshold(2).half_open_calls(1).open_for(5 * SECOND)
}

#[test]
fn the_reason_of_an_outage_stays_the_first_cause_after_failed_probes() {
    let fixture = Fixture::new(one_probe());
    fixture.fail("no route to host");
    fixture.fail("connection refused");
    fixture.time.advance(5 * SECOND);
    fixture.fail("timed out");
    fixture.time.advance(3 * SECOND);
    let first = OpenReason::Consecutive { failures: 2 };
    let refused = fixture.refused();
    assert_eq!(refused.reason(), Some(first));
    assert_eq!(
        refused.to_string(),
        "circuit breaker `x` is open (2 failures in a row, last error: connection refused; opened 8.0s ago; \
         last probe failed 3.0s ago: timed out); try again in 7.0s"
    );
    let stats = fixture.stats();
    let Outage { reason, error, age, lasted, reopened, last_probe } = stats.outage.unwrap();
    assert_eq!((stats.reason, reason, error.as_deref()), (Some(first), first, Some("connection refused")));
    assert_eq!((age, lasted, reopened), (8 * SECOND, None, 1));
    let error = Some("timed out".into());
    assert_eq!(last_probe, Some(LastProbe { age: 3 * SECOND, failed: true, error }));
    assert_eq!(stats.last_error.unwrap().text, "timed out");
}

#[test]
fn after_recovery_the_outage_is_reported_as_the_last_one() {
    let fixture = Fixture::new(one_probe());
    fixture.fail("a");
    fixture.fail("b");
    fixture.time.advance(5 * SECOND);
    fixture.fail("c");
    fixture.time.advance(10 * SECOND);
    fixture.call(Verdict::Success);
    fixture.time.advance(SECOND);
    fixture.assert_state(State::Closed);
    let stats = fixture.stats();
    assert_eq!((stats.reason, stats.outage), (None, None));
    let last = stats.last_outage.unwrap();
    assert_eq!((last.reopened, last.lasted, last.age), (1, Some(15 * SECOND), 16 * SECOND));
    assert_eq!(last.to_string(), "2 failures in a row, last error: b; lasted 15.0s, opened 16.0s ago");
    fixture.breaker.reset();
    assert_eq!(fixture.stats().last_outage, None);
}

#[test]
fn a_rejection_keeps_the_outage_of_its_time() {
    let fixture = Fixture::new(one_probe());
    fixture.fail("a");
    fixture.fail("first outage");
    fixture.time.advance(SECOND);
    let refused = fixture.refused();
    fixture.breaker.force_closed();
    fixture.breaker.resume();
    fixture.fail("b");
    fixture.fail("second outage");
    let other = fixture.refused();
    assert!(refused.to_string().contains("first outage; opened 1.0s ago"), "{refused}");
    assert!(other.to_string().contains("last error: second outage)"), "{other}");
    assert_ne!(refused, other);
    drop(fixture);
    assert_eq!((refused.outage(), refused.reason()), (None, Some(OpenReason::Consecutive { failures: 2 })));
}

#[test]
fn a_slow_probe_and_a_forced_circuit_report_their_reason() {
    let fixture = Fixture::new(one_probe().slow_call(SECOND));
    fixture.fail("a");
    fixture.fail("b");
    fixture.time.advance(5 * SECOND);
    fixture.slow_call(2 * SECOND, Verdict::Success);
    let probe = fixture.stats().outage.unwrap().last_probe.unwrap();
    assert_eq!((probe.failed, probe.error.as_deref()), (true, Some("it was slow")));
    fixture.breaker.force_open();
    fixture.time.advance(SECOND);
    let stats = fixture.stats();
    assert_eq!((stats.reason, stats.outage.unwrap().age), (Some(OpenReason::Forced), SECOND));
    assert_eq!(stats.last_outage.unwrap().error.as_deref(), Some("b"));
}
