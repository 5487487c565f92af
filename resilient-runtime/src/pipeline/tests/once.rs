//! Calls with an idempotency key.

use std::cell::RefCell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use super::*;
use crate::idempotency::{self, Codec, Fingerprint, MemoryStore, OnUnknown};
use crate::{Idempotency, replayed};

type Answer = Result<u32, Rejection>;

const A: Fingerprint = Fingerprint(1);

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// A pipeline of all stages, and its store.
fn pipeline(fixture: &Fixture) -> (Pipeline, Arc<Idempotency>, Arc<MemoryStore>) {
    drop(fixture.all());
    let stages = fixture.registry.pipeline("op").idempotency("x").circuit_breaker("x").retry("x");
    let once = fixture.registry.idempotency("x");
    let store = Arc::new(MemoryStore::new(fixture.time.clock(), 100));
    once.set_store(store.clone());
    once.reconfigure(idempotency::Config::default().max_wait(Duration::ZERO)).unwrap();
    (stages.bulkhead("x").timeout("x").build(), once, store)
}

/// Makes a call with a key, whose errors implement `Classify`.
fn call_once(pipeline: &Pipeline, key: u32, work: impl FnMut() -> Outcome) -> Outcome {
    pipeline.request().key_with(&key, Codec::answers()).fingerprint(A).judge(Verdict::by_class).call(work)
}

/// Is pending for `polls` polls.
async fn pause(polls: u32) {
    let left = Cell::new(polls);
    std::future::poll_fn(|_| {
        if left.get() == 0 {
            return Poll::Ready(());
        }
        left.set(left.get() - 1);
        Poll::Pending
    })
    .await;
}

#[test]
fn all_attempts_share_one_record_and_a_repeated_call_returns_the_stored_result() {
    // T115, T111, T130
    let fixture = Fixture::new();
    let (pipeline, once, _) = pipeline(&fixture);
    let calls = Cell::new(0);
    let charge = || {
        call_once(&pipeline, 7, || {
            calls.set(calls.get() + 1);
            if calls.get() < 2 { Err(Error::Down) } else { Outcome::Ok(calls.get()) }
        })
    };
    assert_eq!(charge().unwrap(), 2);
    assert!(!replayed());
    assert_eq!(charge().unwrap(), 2);
    assert!(replayed());
    let stats = once.stats();
    assert_eq!((calls.get(), stats.executed, stats.replayed), (2, 1, 1));
    let stats = pipeline.stats();
    assert_eq!((stats.calls, stats.succeeded, stats.in_flight), (2, 2, 0));
    assert_eq!(fixture.registry.circuit_breaker("x").stats().window.calls, 2, "a replay is not counted");
    fixture.nothing_is_held();
}

#[test]
fn a_shed_call_claims_no_key_and_a_replay_does_not_count_for_the_shedder() {
    // T115, T34: the claim comes after the load shedder.
    let fixture = Fixture::new();
    let (_, once, store) = pipeline(&fixture);
    let shedder = fixture.registry.load_shedder("x");
    let config = crate::load_shed::Config::default().adaptive(false).max_in_flight(1).throttle(true);
    shedder.reconfigure(config).unwrap();
    let stages = fixture.registry.pipeline("op").load_shed("x").idempotency("x");
    let pipeline = stages.bulkhead("x").build();
    let held = shedder.try_acquire().unwrap();
    let shed = pipeline.request().key(&1).fingerprint(A).call(|| Answer::Ok(1)).unwrap_err();
    assert_eq!((shed.kind(), store.is_empty(), once.stats().executed), (RejectionKind::Shed, true, 0));
    drop(held);
    let charge = || pipeline.request().key(&1).fingerprint(A).call(|| Answer::Ok(1));
    assert_eq!((charge(), charge(), charge()), (Ok(1), Ok(1), Ok(1)));
    assert_eq!((once.stats().executed, once.stats().replayed), (1, 2));
    let stats = shedder.stats();
    assert_eq!((stats.in_flight, stats.admitted()), (0, 4), "one directly");
    let class = stats.classes.normal;
    assert_eq!((class.requests, class.accepts), (1, 1), "the call that was executed");
    fixture.nothing_is_held();
}

#[test]
fn keys_apply_while_protection_is_off() {
    // T124: without the key, the payment would be made twice.
    let fixture = Fixture::new();
    let (pipeline, _, _) = pipeline(&fixture);
    fixture.registry.set_enabled(false);
    let calls = Cell::new(0);
    let charge =
        || pipeline.request().key(&1).fingerprint(A).call(|| Answer::Ok(calls.replace(calls.get() + 1)));
    assert_eq!((charge(), charge()), (Ok(0), Ok(0)));
    assert_eq!(calls.get(), 1);
}

#[test]
fn a_local_rejection_frees_the_key() {
    // T110
    let fixture = Fixture::new();
    let (pipeline, _, store) = pipeline(&fixture);
    let bulkhead = fixture.registry.bulkhead("x");
    let permit = bulkhead.try_acquire().unwrap();
    assert!(pipeline.request().key(&1).fingerprint(A).call(|| Answer::Ok(1)).is_err());
    assert!(store.is_empty());
    drop(permit);
    fixture.registry.circuit_breaker("x").force_open();
    assert!(pipeline.request().key(&1).fingerprint(A).call(|| Answer::Ok(1)).is_err());
    assert!(store.is_empty());
    fixture.registry.circuit_breaker("x").reset();
    assert_eq!(pipeline.request().key(&1).fingerprint(A).call(|| Answer::Ok(1)), Ok(1));
}

#[test]
fn the_key_is_freed_if_all_attempts_failed_transiently() {
    // T110
    let fixture = Fixture::new();
    let (pipeline, once, store) = pipeline(&fixture);
    assert!(call_once(&pipeline, 1, || Err(Error::Down)).is_err());
    assert!(store.is_empty());
    assert_eq!((once.stats().executed, once.stats().abandoned), (1, 1));
}

#[test]
fn a_failure_of_unknown_effect_is_not_retried_and_keeps_the_key_claimed() {
    // T110
    let fixture = Fixture::new();
    let (pipeline, once, store) = pipeline(&fixture);
    let calls = Cell::new(0);
    let fail = || {
        calls.set(calls.get() + 1);
        None::<u32>
    };
    assert!(pipeline.request().key(&1).fingerprint(A).call(fail).is_none());
    assert_eq!((calls.get(), store.len(), once.stats().abandoned), (1, 1, 0));
    assert_eq!(fixture.registry.retry("x").stats().may_have_run, 1);
    let next = pipeline.request().key(&1).fingerprint(A).call(|| Answer::Ok(1)).unwrap_err();
    assert_eq!(next.kind(), RejectionKind::OutcomeUnknown, "it ran only once");
    once.reconfigure(idempotency::Config::default().on_unknown(OnUnknown::Reexecute)).unwrap();
    fixture.registry.circuit_breaker("x").reset();
    assert!(pipeline.request().key(&2).fingerprint(A).call(fail).is_none());
    assert!(calls.get() > 2, "it is retried until the circuit opens");
    fixture.nothing_is_held();
}

#[test]
fn the_last_attempt_does_not_undo_the_possible_effect_of_an_earlier_one() {
    // T105
    let fixture = Fixture::new();
    let (pipeline, once, store) = pipeline(&fixture);
    once.reconfigure(idempotency::Config::default().on_unknown(OnUnknown::Reexecute)).unwrap();
    let mut classes = [Class::UNCERTAIN, Class::Ignored].into_iter();
    let calls = RefCell::new(&mut classes);
    let judge = |_: &Outcome| Verdict::Failure(calls.borrow_mut().next().unwrap());
    assert!(pipeline.request().key(&1).fingerprint(A).judge(judge).call(|| Err(Error::Down)).is_err());
    assert_eq!((store.len(), once.stats().abandoned), (1, 0));
}

#[test]
fn a_timeout_leaves_the_key_claimed_and_is_not_retried() {
    // T105, T33
    let fixture = Fixture::new();
    let (pipeline, _, _) = pipeline(&fixture);
    fixture.limit_attempts();
    let began = Cell::new(0);
    let mut call = Box::pin(pipeline.request().key(&1).fingerprint(A).call_async(|| {
        began.set(began.get() + 1);
        std::future::pending::<Answer>()
    }));
    assert!(poll(call.as_mut()).is_pending());
    fixture.time.advance(MS(100));
    let Poll::Ready(Err(rejection)) = poll(call.as_mut()) else { panic!("the attempt timed out") };
    assert_eq!((rejection.kind(), began.get()), (RejectionKind::AttemptTimeout, 1));
    drop(call);
    fixture.all();
    let kind = |answer: Answer| answer.unwrap_err().kind();
    assert_eq!(kind(pipeline.request().key(&1).fingerprint(A).call(|| Ok(1))), RejectionKind::InProgress);
    fixture.time.advance(Duration::from_mins(1));
    assert_eq!(kind(pipeline.request().key(&1).fingerprint(A).call(|| Ok(1))), RejectionKind::OutcomeUnknown);
    fixture.nothing_is_held();
}

#[test]
fn a_call_that_may_run_again_is_retried_on_the_same_lease() {
    let fixture = Fixture::new();
    let (pipeline, once, _) = pipeline(&fixture);
    fixture.limit_attempts();
    once.reconfigure(idempotency::Config::default().on_unknown(OnUnknown::Reexecute)).unwrap();
    let began = Cell::new(0);
    let mut call = pin!(pipeline.request().key(&1).fingerprint(A).call_async(|| {
        began.set(began.get() + 1);
        let hangs = began.get() == 1;
        async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            Answer::Ok(5)
        }
    }));
    assert!(poll(call.as_mut()).is_pending());
    fixture.time.advance(MS(100));
    assert!(poll(call.as_mut()).is_pending());
    fixture.time.advance(MS(10));
    assert_eq!(poll(call.as_mut()), Poll::Ready(Ok(5)));
    assert_eq!((began.get(), once.stats().executed), (2, 1));
    fixture.all();
    assert_eq!(pipeline.request().key(&1).fingerprint(A).call(|| Answer::Ok(6)), Ok(5));
}

#[test]
fn a_later_rejection_does_not_hide_an_attempt_that_may_have_had_an_effect() {
    // T105
    let fixture = Fixture::new();
    let (_, once, store) = pipeline(&fixture);
    fixture.registry.circuit_breaker("x").reset();
    let stages = fixture.registry.pipeline("op").idempotency("x").retry("x").idempotent().build();
    let calls = Cell::new(0);
    let refused = Rejection::new(RejectionKind::CircuitOpen, "downstream");
    let outcome = stages
        .request()
        .key_with(&1, Codec::answers())
        .fingerprint(A)
        .judge(|_| {
            let retry_after = None;
            Verdict::Failure(match calls.get() {
                1 => Class::Uncertain { retry_after },
                _ => Class::NotExecuted { retry_after },
            })
        })
        .call(|| {
            calls.set(calls.get() + 1);
            Answer::Err(refused.clone())
        });
    assert_eq!((outcome.unwrap_err().kind(), calls.get()), (RejectionKind::CircuitOpen, 2));
    assert_eq!((store.len(), once.stats().abandoned), (1, 0));
}

#[test]
fn a_call_that_waits_for_the_same_key_keeps_its_own_deadline() {
    // T104
    let fixture = Fixture::new();
    let (pipeline, once, _) = pipeline(&fixture);
    once.reconfigure(idempotency::Config::default().max_wait(Duration::from_mins(1))).unwrap();
    let Ok(idempotency::ClaimOutcome::Run(Some(running))) = once.claim_blocking("1", A) else { panic!() };
    let mut second =
        Box::pin(pipeline.request().key(&1).fingerprint(A).call_async(|| async { Answer::Ok(1) }));
    let mut polls = 0;
    let answer = loop {
        match poll(second.as_mut()) {
            Poll::Ready(answer) => break answer,
            Poll::Pending => fixture.time.advance(MS(5)),
        }
        polls += 1;
        assert!(polls < 200, "it waits too long");
    };
    let rejection = answer.unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::InProgress);
    assert!(rejection.retry_after() > Some(Duration::from_secs(59)), "the rest of the lease: {rejection}");
    assert_eq!(polls, 100, "its total timeout is 500 ms");
    drop((second, running));
    assert_eq!(pipeline.stats().rejected, 1);
    fixture.nothing_is_held();
}

#[test]
fn a_call_without_a_required_key_is_rejected() {
    let fixture = Fixture::new();
    let (pipeline, _, store) = pipeline(&fixture);
    let rejection = pipeline.call(|| Answer::Ok(1)).unwrap_err();
    assert_eq!((rejection.kind(), rejection.component()), (RejectionKind::InvalidKey, "op"));
    let mut call = pin!(pipeline.call_async(|| async { Answer::Ok(1) }));
    assert!(matches!(poll(call.as_mut()), Poll::Ready(Err(_))));
    assert_eq!(pipeline.stats().rejected, 2);
    assert!(store.is_empty());
    let keyless = fixture.registry.pipeline("free").retry("x").build();
    let unused = keyless.request().key(&1).fingerprint(A).call(|| Answer::Ok(1)).unwrap_err();
    assert_eq!(unused.kind(), RejectionKind::Unsupported);
    let text = unused.to_string();
    assert!(text.contains("add `idempotency(..)` to the pipeline, or remove the key"), "{text}");
}

#[test]
fn a_call_dropped_at_any_point_leaves_its_key_free_before_the_body_and_claimed_after() {
    // T146, T105
    for (polls, runs) in [(1, false), (2, false), (3, true), (4, true)] {
        let fixture = Fixture::new();
        let (pipeline, _, store) = pipeline(&fixture);
        fixture
            .registry
            .bulkhead("x")
            .reconfigure(bulkhead::Config::default().max_concurrent(1).max_queue(1).max_wait(MS(200)))
            .unwrap();
        let bulkhead = fixture.registry.bulkhead("x");
        let mut permit = Some(bulkhead.try_acquire().unwrap());
        let mut call = Box::pin(pipeline.request().key(&1).fingerprint(A).call_async(|| async {
            pause(5).await;
            Answer::Ok(1)
        }));
        for number in 1..=polls {
            if number == 3 {
                drop(permit.take());
            }
            assert!(poll(call.as_mut()).is_pending());
        }
        drop(call);
        drop(permit);
        assert_eq!(store.len(), usize::from(runs), "after {polls} polls");
        fixture.nothing_is_held();
        let stats = pipeline.stats();
        assert_eq!((stats.calls, stats.cancelled, stats.in_flight), (1, 1, 0));
    }
}

#[test]
fn a_call_dropped_while_a_retry_waits_frees_its_key_if_nothing_was_done() {
    let fixture = Fixture::new();
    let (pipeline, _, store) = pipeline(&fixture);
    let down = || async { Outcome::Err(Error::Down) };
    let call = pipeline.request().key(&1).fingerprint(A).judge(Verdict::by_class).call_async(down);
    let mut call = Box::pin(call);
    assert!(poll(call.as_mut()).is_pending());
    assert_eq!(store.len(), 1);
    drop(call);
    assert!(store.is_empty());
}

#[test]
fn a_panic_in_the_body_leaves_the_key_claimed() {
    // T147, T105
    let fixture = Fixture::new();
    let (pipeline, _, store) = pipeline(&fixture);
    let sync = || pipeline.request().key(&1).fingerprint(A).call(|| -> Answer { panic!("halfway") });
    assert!(catch_unwind(AssertUnwindSafe(sync)).is_err());
    let later = || {
        let body = || async { panic!("halfway") };
        poll(pin!(pipeline.request::<Answer>().key(&2).fingerprint(A).call_async(body)))
    };
    assert!(catch_unwind(AssertUnwindSafe(later)).is_err());
    assert_eq!(store.len(), 2);
    assert_eq!((pipeline.stats().panicked, pipeline.stats().in_flight), (2, 0));
    fixture.nothing_is_held();
}

#[test]
fn the_lease_is_renewed_over_attempts_and_pauses() {
    // T107
    let fixture = Fixture::new();
    let (_, once, _) = pipeline(&fixture);
    once.reconfigure(idempotency::Config::default().lease(MS(30)).max_wait(Duration::ZERO)).unwrap();
    let stages = fixture.registry.pipeline("op").idempotency("x").retry("x").build();
    let lost = RefCell::new(Vec::new());
    let work = || async {
        pause(10).await;
        lost.borrow_mut().push(idempotency::lease_is_lost());
        Outcome::Err(Error::Down)
    };
    let mut call =
        Box::pin(stages.request().key(&1).fingerprint(A).judge(Verdict::by_class).call_async(work));
    let mut polls = 0;
    while poll(call.as_mut()).is_pending() {
        fixture.time.advance(MS(10));
        assert!(
            stages
                .request()
                .key(&1)
                .fingerprint(A)
                .call(|| Answer::Ok(1))
                .is_err_and(|it| it.kind() == RejectionKind::InProgress)
        );
        polls += 1;
    }
    assert!(polls > 40, "{polls}");
    assert_eq!(*lost.borrow(), [false; 4]);
}

#[test]
fn a_lease_shorter_than_the_total_is_reported() {
    // T127
    let fixture = Fixture::new();
    let (_, once, _) = pipeline(&fixture);
    fixture.registry.validate().unwrap();
    once.reconfigure(idempotency::Config::default().lease(MS(499))).unwrap();
    assert_eq!(
        fixture.registry.validate().unwrap_err().to_string(),
        "idempotency: `x`: lease = 499ms is shorter than total = 500ms of timeout `x`"
    );
}

#[test]
fn explain_lists_the_stage_in_order() {
    let fixture = Fixture::new();
    let (pipeline, _, _) = pipeline(&fixture);
    let kinds: Vec<_> = pipeline.explain().stages.iter().map(|stage| stage.kind.as_str()).collect();
    assert_eq!(kinds, ["timeout", "idempotency", "retry", "circuit_breaker", "bulkhead"]);
    let text = pipeline.explain().to_string();
    assert!(text.contains("lease = 60s") && text.contains("max_wait = 0ns  (run-time)"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_hedge_runs_work_with_a_key_twice_only_if_allowed() {
    // T105: an attempt that fails at once, and a slow one
    for on_unknown in [OnUnknown::Reject, OnUnknown::Reexecute] {
        let registry = Registry::with_clock(crate::clock::Clock::tokio());
        let hedge = crate::hedge::Config::default().after(Duration::from_millis(5)).max(1);
        registry.hedge("x").reconfigure(hedge).unwrap();
        registry.idempotency("x").reconfigure(idempotency::Config::default().on_unknown(on_unknown)).unwrap();
        let pipeline = registry.pipeline("op").retry("x").hedge("x").idempotency("x").build();
        registry.retry("x").reconfigure(retry::Config::default().max(1)).unwrap();
        let expected = if on_unknown == OnUnknown::Reject { 1 } else { 2 };
        for is_slow in [false, true] {
            let made = Cell::new(0);
            let charge = async || -> Answer {
                made.set(made.get() + 1);
                if is_slow {
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    return Ok(1);
                }
                Err(Rejection::timed_out(RejectionKind::AttemptTimeout, "gateway", Duration::ZERO))
            };
            let ended = pipeline.request().key(&is_slow).fingerprint(A).call_async(charge).await;
            assert_eq!((ended.is_ok(), made.get()), (is_slow, expected), "{on_unknown:?}");
        }
        let told = registry.validate().map_or_else(|error| error.to_string(), |()| String::new());
        assert_eq!(told.contains("hedge: `x`: no attempt is hedged"), expected == 1, "{told}");
    }
}

#[cfg(feature = "tonic")]
#[test]
fn a_response_that_forbids_retries_may_have_had_an_effect() {
    let fixture = Fixture::new();
    let pipeline = fixture.registry.pipeline("charge").idempotency("x").retry("x").build();
    let charges = Cell::new(0);
    let charge = || {
        pipeline.request().key_with(&7, Codec::answers()).fingerprint(A).call(|| {
            charges.set(charges.get() + 1);
            let mut status = tonic::Status::unavailable("the connection broke");
            status.metadata_mut().insert("grpc-retry-pushback-ms", "-1".parse().unwrap());
            Err::<u32, std::io::Error>(std::io::Error::other(status))
        })
    };
    charge().unwrap_err();
    let (kind, _) = RejectionKind::found_in(&charge().unwrap_err()).unwrap();
    assert_eq!((kind, charges.get()), (RejectionKind::OutcomeUnknown, 1));
}
