//! A call that does not support a stage is rejected; no stage is skipped.

use super::*;
use crate::clock::Clock;

fn refusal<T: std::fmt::Debug>(outcome: Result<T, Error>) -> Rejection {
    match outcome {
        Err(Error::Rejected(rejection)) => rejection,
        other => panic!("not rejected: {other:?}"),
    }
}

fn unreachable() -> Outcome {
    unreachable!("the work must not run without a stage of its pipeline")
}

#[test]
fn a_pipeline_with_a_coalescer_rejects_a_call_without_a_key() {
    let registry = Registry::new();
    let pipeline = registry.pipeline("rates").coalesce("rates").build();
    let refused = refusal(pipeline.call(unreachable));
    assert_eq!((refused.kind(), refused.component()), (RejectionKind::Unsupported, "rates"));
    assert_eq!(refused.classify(), Class::Permanent);
    let text = refused.to_string();
    let expected =
        "unsupported call of pipeline `rates`: `call` does not support coalescing: add `coalesce_key(..)`";
    assert!(text.starts_with(expected), "{text}");
    assert_eq!(pipeline.stats().rejected, 1);
    assert_eq!(pipeline.request().coalesce_key("EUR").call(|| Some(1)), Some(1));
}

#[test]
fn synchronous_calls_reject_unsupported_stages() {
    let registry = Registry::new();
    let fallback = registry.pipeline("a").fallback("f").build();
    assert_eq!(refusal(fallback.call(unreachable)).kind(), RejectionKind::Unsupported);
    assert_eq!(fallback.request().fallback(|| Chain::of(Level::Default, |_| Some(1))).call(|| None), Some(1));

    let hedged = registry.pipeline("b").hedge("h").build();
    assert_eq!(refusal(hedged.call(unreachable)).kind(), RejectionKind::Unsupported);
    assert_eq!(refusal(hedged.request().call_in_threads(unreachable)).kind(), RejectionKind::Unsupported);

    registry.bulkhead("b").reconfigure(bulkhead::Config::default().threads(1)).unwrap();
    let threads = registry.pipeline("c").bulkhead("b").build();
    let refused = refusal(threads.call(unreachable)).to_string();
    assert!(refused.contains("bulkhead threads: use `call_in_threads`"), "{refused}");
    assert_eq!(threads.request().call_in_threads(|| Some(1)), Some(1));

    let limit = timeout::Config::default().attempt(MS(100));
    registry.timeout("t").reconfigure(limit).unwrap();
    let timed = registry.pipeline("d").timeout("t").build();
    assert_eq!(refusal(timed.call(unreachable)).kind(), RejectionKind::Unsupported);
    assert_eq!(
        refusal(timed.request().call_in_threads(unreachable)).kind(),
        RejectionKind::Unsupported,
        "without threads"
    );
    let timed = registry.pipeline("d").timeout("t").bulkhead("b").build();
    assert_eq!(timed.request().call_in_threads(|| Some(1)), Some(1));
}

#[tokio::test(start_paused = true)]
async fn asynchronous_calls_reject_unsupported_stages() {
    let registry = Registry::with_clock(Clock::tokio());
    let coalesced = registry.pipeline("a").coalesce("c").build();
    let refused = refusal(coalesced.call_async(async || unreachable()).await);
    assert_eq!(refused.kind(), RejectionKind::Unsupported);
    let fallback = registry.pipeline("b").fallback("f").build();
    assert!(fallback.call_async(async || unreachable()).await.is_err());
    assert!(fallback.request().coalesce_key("key").call_async(async || None::<u32>).await.is_none());
    let both = registry.pipeline("c").fallback("f").coalesce("c").build();
    let chain = || {
        AsyncChain::of(Level::Default, |why| {
            assert_eq!(why.rejection().unwrap().kind(), RejectionKind::Unsupported);
            async { Some(7) }
        })
    };
    assert_eq!(
        both.request().fallback(chain).call_async(async || -> Option<u32> { unreachable!() }).await,
        Some(7)
    );
    let repeated = registry.pipeline("d").retry("r").build();
    let (held, _) = repeated.request().judge(Verdict::of).call_held_async(async { unreachable() }).await;
    assert_eq!(refusal(held).kind(), RejectionKind::Unsupported);
    let hedged = registry.pipeline("e").hedge("h").timeout("t").retry("r").bulkhead("b").build();
    assert_eq!(hedged.call_async(async || Some(1)).await, Some(1));
}

#[test]
fn explain_lists_the_calls_that_support_all_stages() {
    let registry = Registry::new();
    let called_by = |pipeline: Pipeline| pipeline.explain().called_by.unwrap();
    let plain = called_by(registry.pipeline("a").retry("r").circuit_breaker("b").build());
    let calls = [
        "call",
        "call_async",
        "request().call_in_threads",
        "request().call_in_threads_async",
        "open_request().call_open_async",
    ];
    assert_eq!(plain, calls);
    let hedged = called_by(registry.pipeline("b").coalesce("c").hedge("h").build());
    assert_eq!(hedged, ["request().coalesce_key(..).call_async"]);
    let both = called_by(registry.pipeline("both").coalesce("c").fallback("f").build());
    assert_eq!(both[0], "request().coalesce_key(..).fallback(..).call");
    assert_eq!(registry.validate(), Ok(()));

    registry.bulkhead("b").reconfigure(bulkhead::Config::default().threads(1)).unwrap();
    assert!(called_by(registry.pipeline("neither").hedge("h").bulkhead("b").build()).is_empty());
    let problem = registry.validate().unwrap_err().to_string();
    let expected =
        "pipeline `neither`: no call method supports all of its stages (hedge, bulkhead); nest two pipelines";
    assert_eq!(problem, expected);
}

#[test]
fn all_options_of_a_request_compose() {
    let registry = Registry::new();
    registry.bulkhead("b").reconfigure(bulkhead::Config::default().threads(1)).unwrap();
    let pipeline = registry.pipeline("a").fallback("f").coalesce("c").idempotency("i").bulkhead("b").build();
    let chain = || Chain::of(Level::Default, |_| Some(0));
    let call = |answer: Option<u32>| {
        let request = pipeline.request().key(&"7").coalesce_key("EUR").fallback(chain);
        request.priority(Priority::High).judge(Verdict::of).call_in_threads(move || answer)
    };
    assert_eq!(call(Some(1)), Some(1));
    assert_eq!(call(Some(2)), Some(1), "the stored result");
    let refused = pipeline.request().key(&"8").coalesce_key("EUR").fallback(chain).call(|| unreachable!());
    assert_eq!(
        refused,
        Some(0),
        "the work does not run on the caller's thread, and the fallback level serves"
    );
    assert_eq!((registry.idempotency("i").stats().executed, registry.coalesce("c").stats().led), (1, 2));
}

#[test]
fn a_fallback_value_is_not_stored_for_the_key() {
    // T114
    let registry = Registry::new();
    let pipeline = registry.pipeline("a").fallback("f").idempotency("i").build();
    let permanent = |outcome: &Option<u32>| match outcome {
        Some(_) => Verdict::Success,
        None => Verdict::Failure(Class::Permanent),
    };
    let call = |answer: Option<u32>| {
        let chain = || Chain::of(Level::Default, |_| Some(0));
        pipeline.request().key(&"7").judge(permanent).fallback(chain).call(|| answer)
    };
    assert_eq!((call(None), call(Some(1)), call(Some(2))), (Some(0), Some(1), Some(1)));
}

#[tokio::test]
async fn a_waiting_call_runs_its_own_fallback() {
    let registry = Registry::new();
    let pipeline = registry.pipeline("a").fallback("f").coalesce("c").build();
    let made = Cell::new(0);
    let work = async || {
        made.set(made.get() + 1);
        tokio::task::yield_now().await;
        None::<u32>
    };
    let call = || {
        let chain = || AsyncChain::of(Level::Default, |_| async { Some(0) });
        pipeline.request().coalesce_key("EUR").fallback(chain).call_async(work)
    };
    assert_eq!(tokio::join!(call(), call()), (Some(0), Some(0)));
    assert_eq!((made.get(), pipeline.stats().fell_back), (1, 2));
}

#[tokio::test]
async fn calls_of_all_options_can_be_sent() {
    let registry = Registry::new();
    let pipeline =
        Arc::new(registry.pipeline("a").fallback("f").coalesce("c").idempotency("i").hedge("h").build());
    let task = tokio::spawn(async move {
        let chain = || AsyncChain::of(Level::Default, |_| async { Some(0) });
        let request = pipeline.request().key(&"7").coalesce_key("EUR").judge(Verdict::of).fallback(chain);
        request.call_async(async || Some(1)).await
    });
    assert_eq!(task.await.unwrap(), Some(1));
}

#[test]
fn a_missing_key_is_reported_before_other_missing_options() {
    let registry = Registry::new();
    let pipeline = registry.pipeline("a").idempotency("i").coalesce("c").build();
    assert_eq!(refusal(pipeline.call(unreachable)).kind(), RejectionKind::InvalidKey);
    let keyed = pipeline.request().key(&"key").call(|| None::<u32>);
    assert_eq!(keyed, None, "it has no key for coalescing");
    assert_eq!(registry.idempotency("i").stats().executed, 0);
}
