use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::*;
use crate::Verdict;
use crate::classify::Class;
use crate::clock::{Instant, ManualClock};
use crate::registry::Registry;
use crate::store::wait::{Mode, blocking};
use crate::stored;

mod clients;
mod faults;
pub(super) mod model;

type Outcome = Result<u32, Rejection>;

const MS: fn(u64) -> Duration = Duration::from_millis;
const SECONDS: fn(u64) -> Duration = Duration::from_secs;

/// Two hosts that share one store.
struct Fixture {
    time: ManualClock,
    store: Arc<MemoryStore>,
    once: Arc<Idempotency>,
    other: Arc<Idempotency>,
}

impl Fixture {
    fn new(config: Config) -> Self {
        let time = ManualClock::new();
        let store = Arc::new(MemoryStore::new(time.clock(), 100));
        let [once, other] = [config.clone(), config].map(|config| {
            let once = Registry::with_clock(time.clock()).idempotency("pay");
            once.set_store(store.clone());
            once.reconfigure(config).unwrap();
            once
        });
        Self { time, store, once, other }
    }
}

fn config() -> Config {
    Config::default().lease(SECONDS(30)).max_wait(SECONDS(2))
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn kind(outcome: Outcome) -> RejectionKind {
    outcome.unwrap_err().kind()
}

const A: Fingerprint = Fingerprint(1);
const B: Fingerprint = Fingerprint(2);

#[test]
fn one_of_two_hosts_executes_the_call_and_the_other_waits_for_its_result() {
    // T104
    let fixture = Fixture::new(config());
    let (effects, is_ready) = (Cell::new(0), Cell::new(false));
    let effect = async || {
        effects.set(effects.get() + 1);
        std::future::poll_fn(|_| if is_ready.get() { Poll::Ready(()) } else { Poll::Pending }).await;
        Outcome::Ok(7)
    };
    let mut first = pin!(fixture.once.call_async("k", A, effect));
    let mut second = pin!(fixture.other.call_async("k", A, effect));
    assert!(poll(first.as_mut()).is_pending());
    assert!(poll(second.as_mut()).is_pending());
    fixture.time.advance(SECONDS(1));
    assert!(poll(second.as_mut()).is_pending(), "it still waits");
    is_ready.set(true);
    assert_eq!(poll(first.as_mut()), Poll::Ready(Ok(7)));
    assert!(!replayed());
    fixture.time.advance(SECONDS(1));
    assert_eq!(poll(second.as_mut()), Poll::Ready(Ok(7)));
    // T111
    assert!(replayed());
    assert_eq!(effects.get(), 1);
    let (one, other) = (fixture.once.stats(), fixture.other.stats());
    assert_eq!((one.executed, other.executed, other.replayed, other.waited), (1, 0, 1, 1));
}

#[test]
fn a_call_that_waited_max_wait_is_rejected_with_retry_after() {
    // T104
    let fixture = Fixture::new(config());
    let mut first = pin!(fixture.once.call_async("k", A, std::future::pending::<Outcome>));
    assert!(poll(first.as_mut()).is_pending());
    let began = fixture.time.clock().now();
    let rejection = fixture.other.call("k", A, || Outcome::Ok(1)).unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::InProgress);
    // A blocking wait advances the manual clock: 2 of the 30 seconds have passed.
    assert_eq!(fixture.time.clock().now().since(began), SECONDS(2));
    assert!(rejection.retry_after().is_some_and(|after| after > SECONDS(27) && after <= SECONDS(28)));
    fixture.other.reconfigure(config().max_wait(Duration::ZERO)).unwrap();
    assert_eq!(kind(fixture.other.call("k", A, || Ok(1))), RejectionKind::InProgress);
    assert_eq!(fixture.time.clock().now().since(began), SECONDS(2), "without a wait");
    assert_eq!(fixture.other.stats().in_progress, 2);
}

#[test]
fn another_payload_is_rejected_whatever_the_state_of_the_record() {
    // T108
    let fixture = Fixture::new(config());
    let lease = claimed(&fixture.once, "running");
    assert_eq!(kind(fixture.other.call("running", B, || Ok(1))), RejectionKind::KeyReused);
    assert_eq!(fixture.other.stats().waited, 0);
    drop(lease);
    assert_eq!(fixture.once.call("done", A, || Outcome::Ok(1)), Ok(1));
    assert_eq!(kind(fixture.once.call("done", B, || Ok(2))), RejectionKind::KeyReused);
    assert_eq!(fixture.once.call("done", A, || Outcome::Ok(2)), Ok(1));
    fixture.time.advance(SECONDS(31));
    assert_eq!(
        kind(fixture.once.call("running", B, || Ok(1))),
        RejectionKind::KeyReused,
        "also if the call was lost"
    );
    assert_eq!((fixture.once.stats().key_reused, fixture.other.stats().key_reused), (2, 1));
}

fn claimed<'a>(once: &'a Idempotency, key: &str) -> Lease<'a> {
    match once.claim_blocking(key, A) {
        Ok(ClaimOutcome::Run(Some(lease))) => lease,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_lost_call_is_rejected_until_its_record_expires() {
    // T105
    let fixture = Fixture::new(config().ttl(SECONDS(1)));
    drop(claimed(&fixture.once, "k"));
    fixture.time.advance(SECONDS(30));
    let refused = fixture.other.call("k", A, || -> Outcome { panic!("at most once") });
    assert_eq!(kind(refused), RejectionKind::OutcomeUnknown);
    assert_eq!(fixture.other.stats().outcome_unknown, 1);
    // This is longer than results are stored.
    fixture.time.advance(Duration::from_mins(59));
    assert_eq!(kind(fixture.other.call("k", A, || Ok(1))), RejectionKind::OutcomeUnknown);
    fixture.time.advance(Duration::from_mins(1));
    assert_eq!(fixture.other.call("k", A, || Outcome::Ok(1)), Ok(1));
}

#[test]
fn a_lost_call_is_executed_again_with_reexecute() {
    // T105
    let fixture = Fixture::new(config().on_unknown(OnUnknown::Reexecute));
    drop(claimed(&fixture.once, "k"));
    fixture.time.advance(SECONDS(29));
    // It waits until the lease expires and then takes over.
    assert_eq!(fixture.other.call("k", A, || Outcome::Ok(2)), Ok(2));
    assert_eq!(fixture.once.call("k", A, || Outcome::Ok(3)), Ok(2));
}

#[test]
fn a_call_that_outlives_its_lease_cannot_change_the_record_of_its_successor() {
    // T106
    let fixture = Fixture::new(config().on_unknown(OnUnknown::Reexecute));
    let slow = claimed(&fixture.once, "k");
    let slower = claimed(&fixture.once, "l");
    fixture.time.advance(SECONDS(31));
    assert!(slow.is_lost());
    assert_eq!(fixture.other.call("k", A, || Outcome::Ok(2)), Ok(2));
    let successor = claimed(&fixture.other, "l");
    assert!(!blocking(slow.complete(&1_u32)), "its result is not stored");
    blocking(slower.give_up());
    assert!(!successor.is_lost());
    assert!(blocking(successor.complete(&5_u32)), "it still holds the key");
    assert_eq!(fixture.once.call("k", A, || Outcome::Ok(9)), Ok(2));
    assert_eq!(fixture.once.call("l", A, || Outcome::Ok(9)), Ok(5));
    assert_eq!(fixture.once.stats().not_kept, 1);
}

#[test]
fn a_call_that_outlives_its_lease_can_still_complete_if_it_was_not_taken_over() {
    let fixture = Fixture::new(config());
    let slow = claimed(&fixture.once, "k");
    fixture.time.advance(SECONDS(31));
    assert_eq!(kind(fixture.other.call("k", A, || Ok(2))), RejectionKind::OutcomeUnknown);
    assert!(blocking(slow.complete(&1_u32)));
    assert_eq!(fixture.other.call("k", A, || Outcome::Ok(2)), Ok(1));
}

#[test]
fn a_lease_is_renewed_while_the_call_is_polled() {
    // T107
    let fixture = Fixture::new(config());
    let is_ready = Cell::new(false);
    let lost = Cell::new(true);
    let mut long = pin!(fixture.once.call_async("k", A, async || {
        std::future::poll_fn(|_| {
            lost.set(lease_is_lost());
            if is_ready.get() { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        Outcome::Ok(1)
    }));
    for _ in 0..100 {
        assert!(poll(long.as_mut()).is_pending());
        assert!(!lost.get());
        fixture.time.advance(SECONDS(10));
    }
    fixture.other.reconfigure(config().max_wait(Duration::ZERO)).unwrap();
    assert_eq!(kind(fixture.other.call("k", A, || Ok(2))), RejectionKind::InProgress);
    is_ready.set(true);
    assert_eq!(poll(long), Poll::Ready(Ok(1)));
    assert_eq!(fixture.other.call("k", A, || Outcome::Ok(2)), Ok(1));
    assert_eq!(fixture.once.stats().leases_lost, 0);
    assert_eq!(fixture.time.timers(), 0, "T69");
}

#[test]
fn work_that_was_not_polled_for_too_long_can_see_that_it_lost_its_lease() {
    // T107
    let fixture = Fixture::new(config().on_unknown(OnUnknown::Reexecute));
    let told = RefCell::new(Vec::new());
    let mut stalled = pin!(fixture.once.call_async("k", A, async || {
        std::future::poll_fn(|_| {
            told.borrow_mut().push(lease_is_lost());
            if told.borrow().len() == 3 { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
        Outcome::Ok(1)
    }));
    let mut events = fixture.once.core.events().subscribe();
    assert!(poll(stalled.as_mut()).is_pending());
    fixture.time.advance(SECONDS(40));
    assert_eq!(fixture.other.call("k", A, || Outcome::Ok(2)), Ok(2));
    assert!(poll(stalled.as_mut()).is_pending());
    assert_eq!(poll(stalled), Poll::Ready(Ok(1)));
    assert_eq!(*told.borrow(), [false, true, true]);
    assert!(!lease_is_lost(), "there is no lease outside of a call");
    assert!(std::iter::from_fn(|| events.try_recv()).any(|event| event.what == EventKind::LeaseLost));
    let stats = fixture.once.stats();
    assert_eq!((stats.leases_lost, stats.not_kept), (1, 1));
    assert_eq!(fixture.once.call("k", A, || Outcome::Ok(3)), Ok(2));
}

#[test]
fn a_failure_without_effect_frees_the_key_and_an_uncertain_one_does_not() {
    // T110, T105
    let fixture = Fixture::new(config());
    let call = |key: &str, verdict: Verdict| {
        let refused = Err(Rejection::new(RejectionKind::Shed, "x"));
        fixture.once.call_judged(key, A, Codec::answers(), || refused, |_: &Outcome| verdict)
    };
    let retry_after = None;
    for class in [
        Class::Transient { retry_after },
        Class::Overload { retry_after },
        Class::NotExecuted { retry_after },
        Class::Permanent,
        Class::Ignored,
    ] {
        assert_eq!(kind(call("k", Verdict::Failure(class))), RejectionKind::Shed);
        assert!(fixture.store.is_empty(), "{class:?}");
    }
    assert_eq!(fixture.once.stats().abandoned, 5);
    // A failure of an unknown class might have had an effect.
    for (key, class) in [("u", Class::Uncertain { retry_after }), ("v", Class::Unknown { retry_after })] {
        assert_eq!(kind(call(key, Verdict::Failure(class))), RejectionKind::Shed);
        assert_eq!(kind(fixture.other.call(key, A, || Ok(2))), RejectionKind::OutcomeUnknown);
    }
}

#[test]
fn a_panic_leaves_the_key_claimed() {
    // T105, T147
    let fixture = Fixture::new(config());
    let call = || fixture.once.call("k", A, || -> Outcome { panic!("halfway") });
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(call)).is_err());
    fixture.time.advance(SECONDS(30));
    assert_eq!(kind(fixture.once.call("k", A, || Ok(1))), RejectionKind::OutcomeUnknown);
    assert!(!lease_is_lost());
}

#[test]
fn a_permanent_error_is_replayed_with_keep_errors() {
    // T110, T111
    type Failed = Result<u32, String>;
    let fixture = Fixture::new(config());
    let call = |answer: Failed, class: Class| {
        let claimed = fixture.once.claim_blocking("k", A).unwrap();
        let (codec, verdict) = (Codec::answers_and_errors(), Verdict::Failure(class));
        match claimed {
            ClaimOutcome::Run(Some(lease)) => {
                let ending = fixture.once.ending(Effect::of(verdict), (Some(&answer), ""), codec);
                lease.end_blocking(ending);
                answer
            }
            ClaimOutcome::Run(None) => panic!("the store works"),
            ClaimOutcome::Replay(stored) => stored.outcome(codec).unwrap(),
        }
    };
    assert_eq!(call(Err("no funds".into()), Class::Permanent), Err("no funds".into()));
    assert!(fixture.store.is_empty(), "errors are not stored by default");
    fixture.once.reconfigure(config().keep_errors(true)).unwrap();
    assert_eq!(call(Err("hiccup".into()), Class::TRANSIENT), Err("hiccup".into()));
    assert!(fixture.store.is_empty(), "a transient error is never stored");
    assert_eq!(call(Err("no funds".into()), Class::Permanent), Err("no funds".into()));
    assert_eq!(call(Err("another".into()), Class::Permanent), Err("no funds".into()));
    assert!(replayed());
    // A call whose codec has no errors cannot read the stored error.
    assert_eq!(kind(fixture.once.call("k", A, || Ok(1))), RejectionKind::StoredValueMismatch);
}

#[test]
fn falsy_and_extreme_results_are_replayed_unchanged() {
    // T102
    fn same<T>(answer: T)
    where
        T: serde::Serialize + serde::de::DeserializeOwned + PartialEq + std::fmt::Debug + Clone,
    {
        let fixture = Fixture::new(config());
        let once = |value: &T| fixture.once.call("k", A, || Ok::<_, Rejection>(value.clone()));
        assert_eq!(once(&answer), Ok(answer.clone()));
        let again = fixture.once.call("k", A, || -> Result<T, Rejection> { panic!("twice") });
        assert_eq!(again, Ok(answer));
        assert!(replayed());
    }
    same(());
    same(0);
    same(false);
    same(String::new());
    same(Vec::<u8>::new());
    same(None::<u32>);
    same(Some(0));
    same(u128::MAX);
    same(1_193.825_500_000_000_1_f64);
    same([None, Some(None), Some(Some(()))]);
    same(i64::MIN);
    same(-0.0_f64);
    same(f64::MIN_POSITIVE);
    let fixture = Fixture::new(config());
    let maybe = |key: &str, value: Option<u32>| fixture.once.call(key, A, || value.map(Some));
    assert_eq!(fixture.once.call("n", A, || Some(None::<u32>)), Some(None));
    assert_eq!(fixture.once.call("n", A, || Some(Some(1_u32))), Some(None));
    assert_eq!(maybe("k", None), None, "a failure is not stored");
    assert_eq!(maybe("k", Some(1)), None, "and its effect is unknown");
    assert_eq!(maybe("l", Some(1)), Some(Some(1)));
}

#[test]
fn a_stored_value_of_another_type_is_an_error_and_stays() {
    let fixture = Fixture::new(config());
    assert_eq!(fixture.once.call("k", A, || Ok::<_, Rejection>("text".to_owned())), Ok("text".to_owned()));
    let rejection = fixture.once.call("k", A, || Outcome::Ok(1)).unwrap_err();
    assert_eq!(rejection.kind(), RejectionKind::StoredValueMismatch);
    assert_eq!(
        rejection.to_string(),
        "the value that `pay` stored under the idempotency key is not a result of this call: found `String`, \
         expected `u32`"
    );
    assert!(!replayed());
    assert_eq!(fixture.once.call("k", A, || Ok::<_, Rejection>(String::new())), Ok("text".to_owned()));
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct OneWay {
    #[serde(skip_deserializing)]
    note: u32,
}

#[test]
fn a_result_that_cannot_be_stored_is_returned_and_the_call_is_not_repeated() {
    let fixture = Fixture::new(config().max_value(64));
    let mut events = fixture.once.core.events().subscribe();
    let long = fixture.once.call("k", A, || Ok::<_, Rejection>("x".repeat(64)));
    assert_eq!(long, Ok("x".repeat(64)));
    assert_eq!((unsaved(), replayed()), (Some(Unsaved::TooLarge), false));
    let one_way = fixture.once.call("l", A, || Ok::<_, Rejection>(OneWay { note: 7 }));
    assert_eq!(one_way, Ok(OneWay { note: 7 }));
    assert_eq!(unsaved(), Some(Unsaved::NotKeepable));
    assert_eq!(fixture.once.stats().not_kept, 2);
    let published: Vec<_> = std::iter::from_fn(|| events.try_recv()).map(|event| event.what).collect();
    assert!(
        matches!(&published[..], [EventKind::Unsaved { reason: "too_large", .. }, EventKind::Unsaved { reason: "not_keepable", problem }]
            if problem.contains("`OneWay` cannot be saved")),
        "{published:?}"
    );
    assert_eq!(fixture.once.call("m", A, || Outcome::Ok(1)), Ok(1));
    assert_eq!(unsaved(), None);
    fixture.time.advance(SECONDS(30));
    for key in ["k", "l"] {
        assert_eq!(kind(fixture.once.call(key, A, || Ok(1))), RejectionKind::OutcomeUnknown);
    }
}

#[test]
fn a_result_with_zero_ttl_is_not_stored_and_calls_still_exclude_each_other() {
    // T112
    let fixture = Fixture::new(config().max_wait(MS(0)));
    let lease = claimed(&fixture.once, "k");
    assert_eq!(kind(fixture.other.call("k", A, || Ok(3))), RejectionKind::InProgress);
    assert!(blocking(lease.complete_for(&4_u32, MS(0))));
    assert!(fixture.store.is_empty());
    assert_eq!(fixture.other.call("k", A, || Outcome::Ok(5)), Ok(5));
}

#[test]
fn a_result_is_stored_until_its_ttl_expires() {
    let fixture = Fixture::new(config().ttl(SECONDS(60)));
    assert_eq!(fixture.once.call("k", A, || Outcome::Ok(1)), Ok(1));
    fixture.time.advance(MS(59_999));
    assert_eq!(fixture.once.call("k", A, || Outcome::Ok(2)), Ok(1));
    fixture.time.advance(MS(1));
    assert_eq!(fixture.once.call("k", B, || Outcome::Ok(2)), Ok(2));
}

#[test]
fn invalid_keys_are_rejected_and_nothing_is_written() {
    let fixture = Fixture::new(config());
    for key in [String::new(), "k".repeat(1025), "k".repeat(1 << 20)] {
        let refused = fixture.once.call(&key, A, || Ok(1));
        assert_eq!(kind(refused), RejectionKind::InvalidKey, "{} bytes", key.len());
    }
    assert!(fixture.store.is_empty());
    assert_eq!(fixture.once.call(&"k".repeat(1024), A, || Outcome::Ok(1)), Ok(1));
    assert_eq!(fixture.once.call("\0", A, || Outcome::Ok(2)), Ok(2));
}

#[test]
fn components_that_share_a_store_do_not_share_keys() {
    let fixture = Fixture::new(config());
    let refund = Registry::with_clock(fixture.time.clock()).idempotency("refund");
    refund.set_store(fixture.store.clone());
    assert_eq!(fixture.once.call("k", A, || Outcome::Ok(1)), Ok(1));
    assert_eq!(refund.call("k", B, || Outcome::Ok(2)), Ok(2));
    assert_eq!(fixture.store.len(), 2);
}

#[test]
fn a_call_that_is_dropped_while_it_waits_or_claims_leaves_the_key_free() {
    // T146
    let fixture = Fixture::new(config());
    let lease = claimed(&fixture.once, "k");
    let mut waiting = Box::pin(fixture.other.call_async("k", A, async || Outcome::Ok(2)));
    assert!(poll(waiting.as_mut()).is_pending());
    drop(waiting);
    blocking(lease.give_up());
    assert!(fixture.store.is_empty());
    assert_eq!(fixture.time.timers(), 0);
}

#[test]
fn a_full_memory_store_rejects_new_keys_and_drops_no_live_record() {
    let time = ManualClock::new();
    let store = Arc::new(MemoryStore::new(time.clock(), 10));
    let once = Registry::with_clock(time.clock()).idempotency("pay");
    once.set_store(store.clone());
    for key in 0..10 {
        assert_eq!(once.call(&key.to_string(), A, || Outcome::Ok(key)), Ok(key));
    }
    assert_eq!(kind(once.call("one too many", A, || Ok(1))), RejectionKind::StoreUnavailable);
    for key in 0..10 {
        assert_eq!(once.call(&key.to_string(), A, || Outcome::Ok(99)), Ok(key));
    }
    time.advance(Duration::from_hours(1));
    assert_eq!(once.call("one too many", A, || Outcome::Ok(1)), Ok(1));
    assert_eq!(store.len(), 1, "expired records are removed");
}

#[test]
fn all_settings_out_of_range_are_reported_together() {
    let once = Registry::new().idempotency("pay");
    let config = Config::default()
        .ttl(Duration::from_hours(24 * 32))
        .lease(MS(9))
        .max_wait(Duration::MAX)
        .store_timeout(Duration::ZERO)
        .max_value(0);
    let error = once.reconfigure(config).unwrap_err();
    let fields: Vec<_> = error.problems().iter().map(|problem| problem.field).collect();
    assert_eq!(fields, ["ttl", "lease", "max_wait", "store_timeout", "max_value"]);
    assert_eq!(*once.config(), Config::default());
}

#[test]
fn settings_changed_during_a_call_apply_to_what_follows() {
    // T117
    let fixture = Fixture::new(config());
    let lease = claimed(&fixture.once, "k");
    fixture.once.reconfigure(config().lease(SECONDS(1)).ttl(SECONDS(5))).unwrap();
    fixture.time.advance(SECONDS(29));
    assert!(!lease.is_lost(), "a lease keeps its duration");
    assert!(blocking(lease.complete(&1_u32)));
    fixture.time.advance(SECONDS(5));
    assert!(!claimed(&fixture.once, "k").is_lost(), "the result was stored for the new ttl");
}

#[test]
fn a_ttl_of_less_than_a_second_is_rejected() {
    // T112
    let once = Registry::new().idempotency("pay");
    for ttl in [MS(0), Duration::from_nanos(1), MS(999)] {
        let error = once.reconfigure(Config::default().ttl(ttl)).unwrap_err();
        assert!(error.to_string().contains("1 s to 31 days"), "{error}");
    }
    once.reconfigure(Config::default().ttl(SECONDS(1))).unwrap();
}

#[test]
fn operations_that_share_a_component_do_not_get_each_others_results() {
    let registry = Registry::new();
    let [charge, refund] =
        ["shop::charge", "shop::refund"].map(|name| registry.pipeline(name).idempotency("shared").build());
    assert_eq!(charge.request().key(&"7").fingerprint(A).call(|| Outcome::Ok(995)), Ok(995));
    let refused = refund
        .request()
        .key(&"7")
        .fingerprint(A)
        .call(|| -> Outcome { panic!("the key belongs to another operation") })
        .unwrap_err();
    assert_eq!(
        (refused.kind(), refused.to_string().as_str()),
        (
            RejectionKind::KeyReused,
            "the idempotency key of `shared` was used before by another operation: `shop::charge`; this operation is `shop::refund`"
        )
    );
    let text =
        refund.request().key(&"7").fingerprint(A).call(|| Ok::<_, Rejection>(String::new())).unwrap_err();
    assert_eq!(text.kind(), RejectionKind::KeyReused, "the operation is checked before the type");
    assert_eq!(charge.request().key(&"7").fingerprint(A).call(|| Outcome::Ok(1)), Ok(995));
    // The same while the first call runs.
    let mut running = crate::__rt::Call::begin(&charge);
    let Ok(ClaimOutcome::Run(lease)) = running.claim_blocking(&"8", A) else {
        panic!("the key should be free")
    };
    assert_eq!(
        refund.request().key(&"8").fingerprint(A).call(|| Outcome::Ok(1)).unwrap_err().kind(),
        RejectionKind::KeyReused
    );
    drop(lease);
    assert_eq!(registry.idempotency("shared").stats().key_reused, 3);
}

#[test]
fn the_operation_in_the_stored_result_is_checked_if_the_store_keeps_none() {
    let fixture = Fixture::new(config());
    let (answer, _) = stored::keep(stored::Side::Ok, "shop::charge", &7_u32).unwrap();
    let claim = Claim {
        key: "pay\0k".into(),
        fingerprint: A,
        operation: "",
        owner: Owner(1),
        lease: SECONDS(1),
        lost_for: SECONDS(1),
        takes_over: false,
        client: None,
    };
    blocking(fixture.store.claim(claim)).unwrap();
    assert_eq!(blocking(fixture.store.complete("pay\0k", Owner(1), answer, SECONDS(60))), Ok(true));
    let asked =
        |operation| fixture.once.claim_until_blocking("pay\0k".into(), (A, operation), Instant::NEVER);
    let read = |operation| match asked(operation) {
        Ok(ClaimOutcome::Replay(stored)) => {
            stored.outcome(Codec::<Outcome>::answers()).and_then(|outcome| outcome)
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(read("shop::charge"), Ok(7));
    let refused = read("shop::refund");
    assert_eq!(refused.unwrap_err().kind(), RejectionKind::KeyReused);
}
