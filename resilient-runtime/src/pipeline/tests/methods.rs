//! A6: a stage that a call cannot honour refuses it, and is never passed over.

use super::*;
use crate::clock::Clock;

fn refusal<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Rejection {
    match outcome {
        Err(Error::Rejected(rejection)) => rejection,
        other => panic!("not refused: {other:?}"),
    }
}

fn unreachable() -> Outcome {
    unreachable!("the work must not run without a stage of its pipeline")
}

#[test]
fn a_pipeline_with_a_coalescer_is_not_called_without_a_key() {
    let registry = Registry::new();
    let pipeline = registry.pipeline("rates").coalesce("rates").build();
    let refused = refusal(pipeline.call(unreachable));
    assert_eq!((refused.kind(), refused.component()), (RejectionKind::Unsupported, "rates"));
    assert_eq!(refused.classify(), Class::Permanent);
    let text = refused.to_string();
    let expected =
        "this call of pipeline `rates` is not possible: `call` does not honour coalescing: use `call_shared`";
    assert!(text.starts_with(expected), "{text}");
    assert_eq!(pipeline.stats().rejected, 1);
    assert_eq!(pipeline.call_shared("EUR", || Some(1)), Some(1));
}

#[test]
fn synchronous_calls_refuse_what_they_cannot_do() {
    let registry = Registry::new();
    let fallback = registry.pipeline("a").fallback("f").build();
    assert_eq!(refusal(fallback.call(unreachable)).kind(), RejectionKind::Unsupported);
    assert_eq!(fallback.call_or(|| None, || Chain::of(Level::Default, |_| Some(1))), Some(1));

    let hedged = registry.pipeline("b").hedge("h").build();
    assert_eq!(refusal(hedged.call(unreachable)).kind(), RejectionKind::Unsupported);
    assert_eq!(refusal(hedged.run(unreachable)).kind(), RejectionKind::Unsupported);

    registry.bulkhead("b").reconfigure(bulkhead::Config::default().threads(1)).unwrap();
    let threads = registry.pipeline("c").bulkhead("b").build();
    let refused = refusal(threads.call(unreachable)).to_string();
    assert!(refused.contains("the threads of the bulkhead: use `run`"), "{refused}");
    assert_eq!(threads.run(|| Some(1)), Some(1));

    let limit = timeout::Config::default().attempt(MS(100));
    registry.timeout("t").reconfigure(limit).unwrap();
    let timed = registry.pipeline("d").timeout("t").build();
    assert_eq!(refusal(timed.call(unreachable)).kind(), RejectionKind::Unsupported);
    assert_eq!(refusal(timed.run(unreachable)).kind(), RejectionKind::Unsupported, "in place");
    let timed = registry.pipeline("d").timeout("t").bulkhead("b").build();
    assert_eq!(timed.run(|| Some(1)), Some(1));
}

#[tokio::test(start_paused = true)]
async fn asynchronous_calls_refuse_what_they_cannot_do() {
    let registry = Registry::with_clock(Clock::tokio());
    let coalesced = registry.pipeline("a").coalesce("c").build();
    let refused = refusal(coalesced.call_async(async || unreachable()).await);
    assert_eq!(refused.kind(), RejectionKind::Unsupported);
    let fallback = registry.pipeline("b").fallback("f").build();
    assert!(fallback.call_async(async || unreachable()).await.is_err());
    assert!(fallback.call_shared_async("key", async || None::<u32>).await.is_none());
    let both = registry.pipeline("c").fallback("f").coalesce("c").build();
    let chain = || {
        AsyncChain::of(Level::Default, |why| {
            assert_eq!(why.rejection().unwrap().kind(), RejectionKind::Unsupported);
            async { Some(7) }
        })
    };
    assert_eq!(both.call_or_async(async || -> Option<u32> { unreachable!() }, chain).await, Some(7));
    let repeated = registry.pipeline("d").retry("r").build();
    let (held, _) = repeated.call_held_async(Priority::Normal, async { unreachable() }, Verdict::of).await;
    assert_eq!(refusal(held).kind(), RejectionKind::Unsupported);
    let hedged = registry.pipeline("e").hedge("h").timeout("t").retry("r").bulkhead("b").build();
    assert_eq!(hedged.call_async(async || Some(1)).await, Some(1));
}

#[test]
fn what_explain_lists_is_what_calls_do() {
    let registry = Registry::new();
    let called_by = |pipeline: Pipeline| pipeline.explain().called_by.unwrap();
    let plain = called_by(registry.pipeline("a").retry("r").circuit_breaker("b").build());
    assert!(
        plain.contains(&"call") && plain.contains(&"run_or_async") && !plain.contains(&"call_held_async")
    );
    assert_eq!(called_by(registry.pipeline("b").coalesce("c").hedge("h").build()), ["call_shared_async"]);
    assert_eq!(registry.validate(), Ok(()));
    assert!(called_by(registry.pipeline("both").coalesce("c").fallback("f").build()).is_empty());
    let problem = registry.validate().unwrap_err().to_string();
    let expected =
        "pipeline `both`: no method honours all of its stages (fallback, coalesce): nest two pipelines";
    assert_eq!(problem, expected);
}

#[test]
fn a_key_is_asked_for_before_anything_else() {
    let registry = Registry::new();
    let pipeline = registry.pipeline("a").idempotency("i").coalesce("c").build();
    assert_eq!(refusal(pipeline.call(unreachable)).kind(), RejectionKind::InvalidKey);
    let keyed = pipeline.call_once(&"key", crate::idempotency::Fingerprint::NONE, || None::<u32>);
    assert_eq!(keyed, None, "coalescing is not honoured by it");
    assert_eq!(registry.idempotency("i").stats().executed, 0);
}
