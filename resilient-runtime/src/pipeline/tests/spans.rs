//! The `tracing` spans of a call.

use std::fmt::Write;
use std::sync::Mutex;

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};

use super::*;
use crate::clock::Clock;
use crate::correlation::CorrelationId;
use crate::fallback::AsyncChain;
use crate::level::Level;

/// The spans by number as `name in parent fields`, the entered spans, and their metadata.
type Spans = (Vec<String>, Vec<u64>, Vec<&'static Metadata<'static>>);

#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Spans>>);

struct Words<'w>(&'w mut String);

impl Visit for Words<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl Subscriber for Seen {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span()
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut seen = self.0.lock().unwrap();
        let around = seen.1.last().copied().filter(|_| span.is_contextual());
        let parent = span.parent().map(Id::into_u64).or(around).unwrap_or(0);
        let mut words = format!("{} in {parent}", span.metadata().name());
        span.record(&mut Words(&mut words));
        seen.0.push(words);
        seen.2.push(span.metadata());
        Id::from_u64(seen.0.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let at = usize::try_from(span.into_u64()).unwrap() - 1;
        values.record(&mut Words(&mut self.0.lock().unwrap().0[at]));
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}

    fn enter(&self, span: &Id) {
        self.0.lock().unwrap().1.push(span.into_u64());
    }

    fn current_span(&self) -> tracing_core::span::Current {
        let seen = self.0.lock().unwrap();
        let of = |id: &u64| {
            let at = usize::try_from(*id).unwrap() - 1;
            tracing_core::span::Current::new(Id::from_u64(*id), seen.2[at])
        };
        seen.1.last().map_or_else(tracing_core::span::Current::none, of)
    }

    fn clone_span(&self, id: &Id) -> Id {
        id.clone()
    }

    fn exit(&self, span: &Id) {
        assert_eq!(self.0.lock().unwrap().1.pop(), Some(span.into_u64()));
    }
}

#[tokio::test]
async fn a_call_has_a_span_with_a_nested_span_for_each_attempt() {
    let (seen, fixture) = (Seen::default(), Fixture::new());
    let _guard = tracing::subscriber::set_default(seen.clone());
    let pipeline = fixture.all();
    // The clock does not advance here.
    fixture.registry.retry("x").reconfigure(retry::Config::default().base(Duration::ZERO)).unwrap();
    let inside = || seen.0.lock().unwrap().1.last().copied();
    let attempts = Cell::new(0);
    let id = CorrelationId::parse("order-7").unwrap();
    let work = || async {
        attempts.set(attempts.get() + 1);
        assert_eq!(inside(), Some(attempts.get() + 1));
        tokio::task::yield_now().await;
        assert_eq!(inside(), Some(attempts.get() + 1), "after each suspension, too");
        if attempts.get() == 1 { Err(Error::Down) } else { Outcome::Ok(1) }
    };
    let call = pipeline
        .request::<Outcome>()
        .judge(Verdict::of)
        .describe(|error, words| words.error(error))
        .call_async(work);
    assert!(id.scope_async(call).await.is_ok());
    assert_eq!(inside(), None);
    let spans = seen.0.lock().unwrap().0.clone();
    assert_eq!(spans.len(), 3, "{spans:?}");
    assert!(spans[0].starts_with("resilient.call in 0 operation=\"op\" correlation_id=order-7"), "{spans:?}");
    assert!(spans[0].ends_with("error=\"down\" attempts=2 outcome=\"success\""), "{spans:?}");
    assert_eq!(
        spans[1..],
        ["resilient.attempt in 1 number=1 error=\"down\"", "resilient.attempt in 1 number=2"]
    );
}

#[tokio::test(start_paused = true)]
async fn concurrent_attempts_levels_and_spawned_tasks_are_in_the_span_of_their_call() {
    // T135
    let (seen, registry) = (Seen::default(), Registry::with_clock(Clock::tokio()));
    let _guard = tracing::subscriber::set_default(seen.clone());
    let after = Duration::from_millis(10);
    registry.hedge("h").reconfigure(crate::hedge::Config::default().after(after)).unwrap();
    let pipeline = registry.pipeline("outer").hedge("h").fallback("f").build();
    let inner = Arc::new(registry.pipeline("inner").build());
    let sent = Cell::new(0);
    let work = || {
        let number = sent.replace(sent.get() + 1);
        async move {
            tokio::time::sleep(Duration::from_millis(30 - 10 * number)).await;
            Err::<u32, _>(Error::Down)
        }
    };
    let chain = || {
        AsyncChain::of(Level::Replica, move |_: &_| async move {
            // A spawned task gets the span through `in_current_span`.
            let there = async move { inner.call_async(|| async { Ok::<_, Error>(7) }).await };
            tokio::spawn(tracing::Instrument::in_current_span(there)).await.unwrap()
        })
    };
    assert_eq!(pipeline.request().fallback(chain).call_async(work).await.unwrap(), 7);
    let mut spans = seen.0.lock().unwrap().0.clone();
    assert!(spans[0].starts_with("resilient.call in 0 operation=\"outer\""), "{spans:?}");
    assert!(spans[0].ends_with("attempts=2 outcome=\"fallback\""), "{spans:?}");
    // Without the attribute only the type name is known.
    let failed =
        |number| format!("resilient.attempt in 1 number={number} error=\"a failed `core::result::Result<");
    assert!(spans[1].starts_with(&failed(1)) && spans[2].starts_with(&failed(2)), "{spans:?}");
    spans.drain(..3);
    assert!(spans[0].starts_with("resilient.call in 1 operation=\"inner\""), "{spans:?}");
    assert_eq!(spans[1], "resilient.attempt in 4 number=1");
    assert!(seen.0.lock().unwrap().1.is_empty(), "no span is entered");
}

#[test]
fn a_body_that_panics_or_runs_on_a_thread_leaves_no_span_behind() {
    let (seen, fixture) = (Seen::default(), Fixture::new());
    let _guard = tracing::subscriber::set_default(seen.clone());
    let pipeline = fixture.registry.pipeline("op").bulkhead("pool").build();
    let panics = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        pipeline.call(|| -> Outcome { panic!("of the body") })
    }));
    assert!(panics.is_err());
    assert!(seen.0.lock().unwrap().1.is_empty());
    fixture.registry.bulkhead("pool").reconfigure(bulkhead::Config::default().threads(1)).unwrap();
    let span = tracing::Span::current;
    let here =
        pipeline.request().call_in_threads(move || Ok::<_, Rejection>(span().metadata().map(Metadata::name)));
    assert_eq!(here, Ok(Some("resilient.attempt")), "the span is current on the thread");
    let spans = seen.0.lock().unwrap().0.clone();
    assert!(spans[0].ends_with("attempts=1 outcome=\"panic\""), "{spans:?}");
}
