//! The single steps of a call, as generated code runs them.

#[tokio::test]
async fn attempt() {
    use crate::{
        __rt::{Attempt, Call},
        Registry,
    };

    let pipeline = Registry::new().pipeline("order").timeout("db").build();
    let mut call = Call::begin(&pipeline);
    assert!(call.enter());
    let attempt: Attempt<'_, '_, _> = call.attempt(async { 7 });
    assert_eq!(attempt.await.unwrap(), 7);
}

#[tokio::test]
async fn untimed_attempt() {
    use crate::{
        __rt::{Call, UntimedAttempt},
        Registry,
    };

    let pipeline = Registry::new().pipeline("order").build();
    let mut call = Call::begin(&pipeline);
    call.begin_attempt();
    let attempt: UntimedAttempt<'_, '_, _> = call.attempt_untimed(async { "done" });
    assert_eq!(attempt.await, "done");
}

#[test]
fn call_loop() {
    use crate::{
        __rt::{Call, Next},
        Registry, Verdict,
    };

    let pipeline = Registry::new().pipeline("order").retry("db").bulkhead("db").build();
    let mut call = Call::begin(&pipeline);
    let order = loop {
        call.enter_blocking().unwrap();
        let order = call.attempt_sync(|| Some(7));
        if call.finish(Verdict::of(&order)) != Next::Retry {
            break order;
        }
    };
    drop(call);
    assert_eq!((order, pipeline.stats().succeeded), (Some(7), 1));
}

#[test]
fn next() {
    use crate::{
        __rt::{Call, Next},
        Registry, Verdict,
        clock::ManualClock,
    };

    let registry = Registry::with_clock(ManualClock::new().clock());
    let (once, again) = (registry.pipeline("post").build(), registry.pipeline("get").retry("db").build());
    let failed = Verdict::of(&None::<u32>);
    assert_eq!(Call::begin(&once).finish(failed), Next::Fail);
    assert_eq!(Call::begin(&again).finish(failed), Next::Retry);
    assert_eq!(Call::begin(&once).finish(Verdict::Success), Next::Return);
}

#[test]
fn begin() {
    use crate::{__rt::Call, Registry};

    let pipeline = Registry::new().pipeline("order").build();
    let call = Call::begin(&pipeline);
    assert_eq!(pipeline.stats().in_flight, 1);
    drop(call);
    assert_eq!(pipeline.stats().cancelled, 1, "it was not executed");
}

#[test]
fn set_priority() {
    use crate::{__rt::Call, Component, Priority, Registry};

    let registry = Registry::new();
    let pipeline = registry.pipeline("pay").load_shed("api").build();
    let mut call = Call::begin(&pipeline);
    call.set_priority(Priority::Critical);
    call.enter_blocking().unwrap();
    assert_eq!(registry.load_shedder("api").stats().classes.critical.admitted, 1);
}

#[test]
fn set_rate_key() {
    use crate::{
        __rt::Call,
        Component, Registry,
        rate_limit::{Config, Rate},
    };

    let registry = Registry::new();
    registry
        .rate_limiter("users")
        .reconfigure(Config::default().rate("1/h".parse::<Rate>().unwrap()))
        .unwrap();
    let pipeline = registry.pipeline("search").rate_limit("users").build();
    let enters = |user: &str| {
        let mut call = Call::begin(&pipeline);
        call.set_rate_key(user);
        call.enter_blocking().is_ok()
    };
    assert_eq!((enters("ada"), enters("ada"), enters("bob")), (true, false, true));
}

#[test]
fn set_weight() {
    use crate::{
        __rt::Call,
        Component, Registry,
        rate_limit::{Config, Rate},
    };

    let registry = Registry::new();
    registry
        .rate_limiter("rows")
        .reconfigure(Config::default().rate("500/h".parse::<Rate>().unwrap()))
        .unwrap();
    let pipeline = registry.pipeline("export").rate_limit("rows").build();
    let mut call = Call::begin(&pipeline);
    call.set_weight(501);
    assert!(call.enter_blocking().is_err());
}

#[test]
fn begin_attempt() {
    use crate::{
        __rt::{Call, Next},
        Registry, Verdict,
    };

    let pipeline = Registry::new().pipeline("plain").build();
    let mut call = Call::begin(&pipeline);
    call.begin_attempt();
    let outcome = call.attempt_sync(|| Some(7));
    assert_eq!(call.finish(Verdict::of(&outcome)), Next::Return);
}

#[test]
fn enter() {
    use crate::{__rt::Call, Registry};

    let registry = Registry::new();
    let pipeline = registry.pipeline("order").circuit_breaker("db").build();
    assert!(Call::begin(&pipeline).enter());
    registry.circuit_breaker("db").force_open();
    assert!(!Call::begin(&pipeline).enter(), "the circuit breaker must decide");
}

#[tokio::test]
async fn admitted() {
    use crate::{__rt::Call, Registry, RejectionKind};

    let registry = Registry::new();
    registry.circuit_breaker("db").force_open();
    let pipeline = registry.pipeline("order").circuit_breaker("db").build();
    let mut call = Call::begin(&pipeline);
    let refused = call.admitted().await.unwrap_err();
    assert_eq!(refused.kind(), RejectionKind::CircuitOpen);
}

#[test]
fn enter_blocking() {
    use crate::{__rt::Call, Component, Registry};

    let registry = Registry::new();
    let pipeline = registry.pipeline("order").bulkhead("db").build();
    let mut call = Call::begin(&pipeline);
    call.enter_blocking().unwrap();
    assert_eq!(registry.bulkhead("db").stats().in_use, 1);
}

#[test]
fn must_pause() {
    use crate::{__rt::Call, Registry, Verdict, clock::ManualClock};

    let pipeline = Registry::with_clock(ManualClock::new().clock()).pipeline("order").retry("db").build();
    let mut call = Call::begin(&pipeline);
    call.enter_blocking().unwrap();
    assert!(!call.must_pause());
    call.finish(Verdict::of(&None::<u32>));
    assert!(call.must_pause(), "it is retried");
}

#[tokio::test(start_paused = true)]
async fn pause() {
    use crate::{
        __rt::{Call, Next},
        Registry, Verdict,
        clock::Clock,
    };

    let pipeline = Registry::with_clock(Clock::tokio()).pipeline("order").retry("db").build();
    let mut call = Call::begin(&pipeline);
    assert!(call.enter());
    assert_eq!(call.finish(Verdict::of(&None::<u32>)), Next::Retry);
    assert!(call.must_pause());
    call.pause().await;
    assert!(!call.must_pause());
}

#[test]
fn pause_blocking() {
    use crate::{
        __rt::{Call, Next},
        Registry, Verdict,
        clock::ManualClock,
    };

    let time = ManualClock::new();
    let pipeline = Registry::with_clock(time.clock()).pipeline("order").retry("db").build();
    let (mut call, before) = (Call::begin(&pipeline), time.clock().now());
    call.begin_attempt();
    assert_eq!(call.finish(Verdict::of(&None::<u32>)), Next::Retry);
    call.pause_blocking();
    assert!(time.clock().now() > before);
}

#[test]
fn attempt_sync() {
    use crate::{__rt::Call, Registry, deadline};

    let pipeline = Registry::new().pipeline("order").timeout("db").build();
    let mut call = Call::begin(&pipeline);
    call.enter_blocking().unwrap();
    let remaining = call.attempt_sync(deadline::remaining);
    assert!(remaining.is_some(), "it has the deadline of the call");
}

#[tokio::test(start_paused = true)]
async fn attempt_call() {
    use crate::{__rt::Call, Registry, RejectionKind, clock::Clock};

    let pipeline = Registry::with_clock(Clock::tokio()).pipeline("order").timeout("db").build();
    let mut call = Call::begin(&pipeline);
    assert!(call.enter());
    let late = call.attempt(std::future::pending::<()>()).await.unwrap_err();
    assert_eq!(late.kind(), RejectionKind::TotalTimeout);
}

#[tokio::test]
async fn attempt_untimed() {
    use crate::{__rt::Call, Registry};

    let pipeline = Registry::new().pipeline("order").build();
    let mut call = Call::begin(&pipeline);
    call.begin_attempt();
    assert_eq!(call.attempt_untimed(async { 7 }).await, 7);
}

#[test]
fn finish() {
    use crate::{
        __rt::{Call, Next},
        Class, Component, Registry, Verdict,
    };

    let registry = Registry::new();
    let pipeline = registry.pipeline("user").circuit_breaker("users").build();
    let mut call = Call::begin(&pipeline);
    call.enter_blocking().unwrap();
    assert_eq!(call.finish(Verdict::Failure(Class::Ignored)), Next::Return, "returned like a success");
    assert_eq!(registry.circuit_breaker("users").stats().failed, 0);
}

#[test]
fn finish_with() {
    use crate::{
        __rt::{Call, Next},
        Class, Registry, Verdict,
    };

    let pipeline = Registry::new().pipeline("user").build();
    let mut call = Call::begin(&pipeline);
    call.enter_blocking().unwrap();
    let failed = Verdict::Failure(Class::Permanent);
    assert_eq!(call.finish_with(failed, |words| words.display(&"no such table")), Next::Fail);
    assert_eq!(pipeline.stats().last_error.unwrap().text, "no such table");
}

#[tokio::test(start_paused = true)]
async fn stopped_for_good() {
    use crate::{
        __rt::{Call, Stop},
        Class, Component, Judgement, Registry, Rejection,
        clock::Clock,
    };

    let registry = Registry::with_clock(Clock::tokio());
    let pipeline = registry.pipeline("order").circuit_breaker("db").timeout("db").build();
    let mut call = Call::begin(&pipeline);
    assert!(call.enter());
    let late = call.attempt(std::future::pending::<()>()).await.unwrap_err();
    let rule = |late: &Option<Rejection>| {
        assert!(late.as_ref().is_some_and(Rejection::is_timeout));
        Judgement::from(Class::Ignored)
    };
    assert!(call.stopped_for_good(Stop::CutOff, late, Some, rule).is_some());
    drop(call);
    assert_eq!(registry.circuit_breaker("db").stats().failed, 0);
    assert_eq!(pipeline.stats().timed_out, 1);
}

#[test]
fn stopped() {
    use crate::{
        __rt::{Call, Stop},
        Class, Component, Judgement, Registry, Rejection,
        bulkhead::Config,
    };

    let registry = Registry::new();
    registry.bulkhead("pool").reconfigure(Config::default().max_concurrent(1)).unwrap();
    let pipeline = registry.pipeline("order").retry("db").bulkhead("pool").build();
    let pool = registry.bulkhead("pool");
    let held = pool.try_acquire();
    let mut call = Call::begin(&pipeline);
    let full = call.enter_blocking().unwrap_err();
    let refused = || full.clone();
    let unknown = Judgement::from(Class::UNKNOWN);
    assert_eq!(
        call.stopped(Stop::Refused, refused(), |it| it, unknown),
        Some(full.clone()),
        "it has no hint"
    );
    let insist = |_: &Rejection| unknown.retry_when(true);
    assert_eq!(call.stopped(Stop::Refused, refused(), |it| it, insist), None);
    drop(held);
}

#[tokio::test]
async fn hedged() {
    use crate::{__rt::Call, Class, Judgement, Registry, Rejection};

    let pipeline = Registry::new().pipeline("read").hedge("replicas").build();
    let mut call = Call::begin(&pipeline);
    let hear = |_: &Rejection| Judgement::from(Class::UNKNOWN);
    let work = async || None::<u32>;
    let read = call.hedged(work, Judgement::of, |_, words| words.display(&"no row"), hear).await;
    assert!(read.unwrap().0.is_none());
    assert_eq!(pipeline.stats().last_error.unwrap().text, "no row");
}

#[tokio::test]
async fn no_winner() {
    use crate::{
        __rt::{Call, Stop},
        Class, Judgement, Registry, Rejection, RejectionKind,
    };

    let registry = Registry::new();
    registry.circuit_breaker("db").force_open();
    let pipeline = registry.pipeline("read").hedge("db").circuit_breaker("db").build();
    let mut call = Call::begin(&pipeline);
    let unknown = Judgement::from(Class::UNKNOWN);
    let hear = |_: &Rejection| unknown;
    let refused = call
        .hedged(async || Some(7), Judgement::of, |_, words| words.display(&"failed"), hear)
        .await
        .unwrap_err();
    let open = call.stopped_for_good(Stop::NoWinner, refused, |it| it, unknown);
    assert_eq!(open.kind(), RejectionKind::CircuitOpen);
}

#[test]
fn enter_level() {
    use crate::{__rt::Call, Component, Level, Registry};

    let registry = Registry::new();
    let pipeline = registry.pipeline("rate").fallback("rate").build();
    let mut call = Call::begin(&pipeline);
    let asking = call.enter_level(Level::Replica).unwrap();
    assert_eq!(registry.fallback("rate").stats().in_flight, 1);
    drop(asking);
    assert_eq!(registry.fallback("rate").stats().in_flight, 0);
}

#[test]
fn enter_default() {
    use crate::{__rt::Call, Component, Level, Registry};

    let registry = Registry::new();
    let pipeline = registry.pipeline("rate").fallback("rate").build();
    drop(Call::begin(&pipeline).enter_default());
    assert_eq!(registry.fallback("rate").stats().levels[&Level::Default].asked, 1);
}

#[tokio::test]
async fn ask() {
    use crate::{__rt::Call, Level, Registry};

    let pipeline = Registry::new().pipeline("rate").fallback("rate").build();
    let mut call = Call::begin(&pipeline);
    let asking = call.enter_level(Level::Backup).unwrap();
    assert_eq!(call.ask(asking, async { 1.1 }).await, Ok(1.1));
}

#[tokio::test]
async fn ask_default() {
    use crate::{__rt::Call, Registry};

    let pipeline = Registry::new().pipeline("rate").fallback("rate").build();
    let mut call = Call::begin(&pipeline);
    let asking = call.enter_default();
    assert_eq!(call.ask_default(asking, async { 100 }).await, 100);
}

#[test]
fn is_watched() {
    use crate::{__rt::Call, Degradation, Registry};

    let pipeline = Registry::new().pipeline("rate").fallback("rate").build();
    let is_watched = || Call::begin(&pipeline).is_watched();
    assert!(!is_watched());
    assert!(Degradation::collect(is_watched).0);
}

#[test]
fn may_tell() {
    use crate::{__rt::Call, Registry, fallback::Why, observe::ErrorText};

    let registry = Registry::new();
    registry.set_error_text(ErrorText::redacted(|text| text.replace("hunter2", "***")));
    let pipeline = registry.pipeline("rate").fallback("rate").build();
    let why = Call::begin(&pipeline).may_tell(&Why::new(None, "wrong password hunter2"));
    assert_eq!(&**why.text(), "wrong password ***");
}

#[test]
fn level_served() {
    use crate::{__rt::Call, Level, Registry};

    let pipeline = Registry::new().pipeline("rate").fallback("rate").build();
    let mut call = Call::begin(&pipeline);
    call.level_served(Level::Default, None, None);
    drop(call);
    assert_eq!(pipeline.stats().fell_back, 1);
}

#[test]
fn level_failed() {
    use crate::{__rt::Call, Component, Level, Registry};

    let registry = Registry::new();
    let pipeline = registry.pipeline("rate").fallback("rate").build();
    Call::begin(&pipeline).level_failed(Level::Replica);
    assert_eq!(registry.fallback("rate").stats().all_failed, 1, "it was the last level");
}

#[test]
fn fallback_name() {
    use crate::{__rt::Call, Registry};

    let registry = Registry::new();
    let (with, without) =
        (registry.pipeline("rate").fallback("rates").build(), registry.pipeline("stock").build());
    assert_eq!(Call::begin(&with).fallback_name(), "rates");
    assert_eq!(Call::begin(&without).fallback_name(), "stock");
}

#[test]
fn keep() {
    use crate::{__rt::Call, Component, Registry};

    let registry = Registry::new();
    let pipeline = registry.pipeline("rate").fallback("rate").build();
    Call::begin(&pipeline).keep(7, &1.1);
    assert_eq!(registry.fallback("rate").stats().cache.entries, 1);
}

#[test]
fn last_good() {
    use crate::{__rt::Call, Registry, fallback::NoAnswer};

    let pipeline = Registry::new().pipeline("rate").fallback("rate").build();
    let mut call = Call::begin(&pipeline);
    call.keep(7, &110);
    assert_eq!(call.last_good::<i32>(7).unwrap().0, 110);
    assert_eq!(call.last_good::<i32>(8), Err(NoAnswer::Empty));
}

#[tokio::test]
async fn claim() {
    use crate::{
        __rt::Call,
        Registry,
        idempotency::{ClaimOutcome, Fingerprint},
    };

    let pipeline = Registry::new().pipeline("charge").idempotency("charge").build();
    let mut call = Call::begin(&pipeline);
    let held = call.claim(&"order 7", Fingerprint::NONE).await.unwrap();
    assert!(matches!(held, ClaimOutcome::Run(Some(_))));
}

#[test]
fn claim_blocking() {
    use crate::{__rt::Call, Registry, RejectionKind, idempotency::Fingerprint};

    let pipeline = Registry::new().pipeline("charge").idempotency("charge").build();
    let refused = Call::begin(&pipeline).claim_blocking(&"", Fingerprint::NONE).unwrap_err();
    assert_eq!(refused.kind(), RejectionKind::InvalidKey);
}

#[test]
fn replay() {
    use crate::{
        __rt::Call,
        Registry,
        idempotency::{ClaimOutcome, Codec, Fingerprint},
    };

    let pipeline = Registry::new().pipeline("charge").idempotency("charge").build();
    pipeline.request().key(&"order 7").call(|| Some(995_u32));
    let mut call = Call::begin(&pipeline);
    let ClaimOutcome::Replay(stored) = call.claim_blocking(&"order 7", Fingerprint::NONE).unwrap() else {
        panic!()
    };
    assert_eq!(call.replay::<Option<u32>>(&stored, Codec::answers()), Ok(Some(995)));
}

#[tokio::test]
async fn conclude() {
    use crate::{
        __rt::Call,
        Component, Registry, Verdict,
        idempotency::{ClaimOutcome, Codec, Fingerprint},
    };

    let registry = Registry::new();
    let pipeline = registry.pipeline("charge").idempotency("charge").build();
    let mut call = Call::begin(&pipeline);
    let ClaimOutcome::Run(lease) = call.claim(&"order 7", Fingerprint::NONE).await.unwrap() else { panic!() };
    assert!(call.enter());
    let paid = call.attempt(async { Some(995) }).await.unwrap();
    call.finish(Verdict::of(&paid));
    call.conclude(lease, Codec::answers(), Some(&paid)).await;
    assert_eq!(registry.idempotency("charge").stats().executed, 1);
}

#[test]
fn conclude_blocking() {
    use crate::{
        __rt::Call,
        Class, Component, Registry, Verdict,
        idempotency::{ClaimOutcome, Codec, Fingerprint},
    };

    let registry = Registry::new();
    let pipeline = registry.pipeline("refund").idempotency("refund").build();
    let mut call = Call::begin(&pipeline);
    let ClaimOutcome::Run(lease) = call.claim_blocking(&"order 7", Fingerprint::NONE).unwrap() else {
        panic!()
    };
    call.enter_blocking().unwrap();
    let refused = call.attempt_sync(|| None::<u32>);
    call.finish(Verdict::Failure(Class::Permanent));
    call.conclude_blocking(lease, Codec::answers(), Some(&refused));
    assert_eq!(registry.idempotency("refund").stats().abandoned, 1, "the key is free");
}

#[test]
fn without_key() {
    use crate::{__rt::Call, Registry};

    Call::begin(&Registry::new().pipeline("charge").build()).without_key();
    assert!(!crate::replayed());
    assert_eq!(crate::unsaved(), None);
}

#[test]
fn attempt_in_pool() {
    use crate::{__rt::Call, Component, Registry, bulkhead::Config};

    let registry = Registry::new();
    registry.bulkhead("pdf").reconfigure(Config::default().threads(1)).unwrap();
    let pipeline = registry.pipeline("print").bulkhead("pdf").build();
    let mut call = Call::begin(&pipeline);
    call.enter_blocking().unwrap();
    let there = call.attempt_in_pool(|| std::thread::current().id()).unwrap();
    assert_ne!(there, std::thread::current().id());
}

#[tokio::test]
async fn attempt_in_pool_async() {
    use crate::{__rt::Call, Component, Registry, bulkhead::Config};

    let registry = Registry::new();
    registry.bulkhead("zip").reconfigure(Config::default().threads(1)).unwrap();
    let pipeline = registry.pipeline("pack").bulkhead("zip").build();
    let mut call = Call::begin(&pipeline);
    assert!(call.enter());
    assert_eq!(call.attempt_in_pool_async(|| 7).await.unwrap(), 7);
}

#[tokio::test]
async fn pool_attempt() {
    use crate::{
        __rt::{Call, PoolAttempt},
        Component, Registry,
        bulkhead::Config,
    };

    let registry = Registry::new();
    registry.bulkhead("ocr").reconfigure(Config::default().threads(1)).unwrap();
    let pipeline = registry.pipeline("scan").bulkhead("ocr").build();
    let mut call = Call::begin(&pipeline);
    assert!(call.enter());
    let attempt: PoolAttempt<'_, '_, _> = call.attempt_in_pool_async(|| "text");
    assert_eq!(attempt.await.unwrap(), "text");
}

#[test]
fn shared() {
    use crate::{
        __rt::{Call, Shared},
        Registry,
    };

    let pipeline = Registry::new().pipeline("rate").coalesce("rates").build();
    let shared = Call::begin(&pipeline).share_blocking::<Option<f64>, _>("EUR").unwrap();
    assert!(matches!(shared, Shared::Lead(Some(_))), "no other call has the key");
}

#[tokio::test]
async fn share() {
    use crate::{
        __rt::{Call, Shared},
        Registry,
    };

    let pipeline = Registry::new().pipeline("rate").coalesce("rates").build();
    let (mut first, mut second) = (Call::begin(&pipeline), Call::begin(&pipeline));
    let Shared::Lead(lead) = first.share::<Option<f64>, _>("EUR").await.unwrap() else { panic!() };
    let (shared, ()) = tokio::join!(second.share("EUR"), async { first.publish(lead, &Some(1.1), None) });
    assert!(matches!(shared.unwrap(), Shared::Answer(Some(1.1))));
}

#[test]
fn share_blocking() {
    use crate::{
        __rt::{Call, Shared},
        Registry,
    };

    let pipeline = Registry::new().pipeline("rate").build();
    let shared = Call::begin(&pipeline).share_blocking::<Option<f64>, _>("EUR").unwrap();
    assert!(matches!(shared, Shared::Lead(None)), "without a coalescer");
}

#[test]
fn publish() {
    use crate::{
        __rt::{Call, Shared},
        Component, Registry,
    };

    let registry = Registry::new();
    let pipeline = registry.pipeline("rate").coalesce("rates").build();
    let mut call = Call::begin(&pipeline);
    let Shared::Lead(lead) = call.share_blocking::<Option<f64>, _>("EUR").unwrap() else { panic!() };
    assert_eq!(registry.coalesce("rates").stats().in_flight, 1);
    call.publish(lead, &Some(1.1), None);
    assert_eq!(registry.coalesce("rates").stats().in_flight, 0);
}

#[test]
fn led() {
    assert_eq!(crate::__rt::led(None, || Some(1.1)), (Some(1.1), None), "no fallback level served it");
}

#[tokio::test]
async fn led_async() {
    use crate::__rt::led_async;

    assert_eq!(led_async(None, async { Some(1.1) }).await, (Some(1.1), None));
}

#[test]
fn set_arrived_at() {
    use crate::{__rt::Call, Priority, Registry, clock::ManualClock};
    use std::time::Duration;

    let time = ManualClock::new();
    let registry = Registry::with_clock(time.clock());
    let pipeline = registry.pipeline("pay").load_shed("api").build();
    for _ in 0..20 {
        let arrived = time.clock().now();
        time.advance(Duration::from_millis(35));
        Call::begin(&pipeline).set_arrived_at(arrived);
    }
    assert!(
        registry.load_shedder("api").try_acquire_as(Priority::Low).is_err(),
        "the queue has a standing delay"
    );
}
