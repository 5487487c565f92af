//! Error texts in statistics, events, logs, spans and rejections.

use std::fmt::Write;
use std::sync::Mutex;

use tracing::field::{Field, Visit};

use super::*;
use crate::circuit_breaker;
use crate::clock::Clock;
use crate::correlation::CorrelationId;
use crate::error_text::{ErrorText, Words};
use crate::observe::EventKind;
use crate::rate_limit;

/// The log lines with their level and fields.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let _ = write!(self.0, " {}={value:?}", field.name());
    }
}

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("resilient")
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        self.0.lock().unwrap().push(line.0);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

impl Log {
    fn with(&self, words: &str) -> Vec<String> {
        self.0.lock().unwrap().iter().filter(|line| line.contains(words)).cloned().collect()
    }
}

type Io<T> = std::io::Result<T>;

fn words(error: &std::io::Error, words: &mut Words) {
    words.error(error);
}

/// Fails with each of these errors, then succeeds.
fn failing<'a>(texts: &'a [&'a str]) -> impl FnMut() -> Io<u32> + 'a {
    let mut texts = texts.iter();
    move || texts.next().map_or(Ok(7), |text| Err(std::io::Error::other((*text).to_owned())))
}

#[test]
fn the_error_of_an_attempt_that_was_retried_is_in_statistics_events_and_the_log() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let time = ManualClock::new();
    let registry = Registry::with_clock(time.clock());
    let mut events = registry.subscribe();
    let pipeline = registry.pipeline("load").retry("disk").build();
    let (id, mut work) = (CorrelationId::parse("order-7").unwrap(), failing(&["first", "second"]));
    let scope = id.clone().enter();
    assert_eq!(pipeline.request().judge(Verdict::of).describe(words).call(&mut work).unwrap(), 7);
    drop(scope);
    time.advance(Duration::from_secs(9));
    let last = pipeline.stats().last_error.unwrap();
    assert_eq!((&*last.text, last.attempt, last.correlation_id), ("second", 2, Some(id)));
    assert!(last.age >= Duration::from_secs(9));
    assert_eq!(registry.retry("disk").stats().last_error.unwrap().text, "second");
    assert_eq!(registry.stats().total.last_error.unwrap().text, "second");
    let told = std::iter::from_fn(|| events.try_recv()).filter_map(|event| match event.what {
        EventKind::Retrying { attempt, error, .. } => Some((attempt, error.unwrap().to_string())),
        _ => None,
    });
    assert_eq!(told.collect::<Vec<_>>(), [(1, "first".to_owned()), (2, "second".to_owned())]);
    let lines = log.with("attempt failed, will retry");
    assert!(lines.len() == 2 && lines[0].contains("error=\"first\""), "{lines:?}");
}

#[test]
fn the_cause_of_an_open_circuit_is_in_its_event_the_log_and_each_rejection() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let time = ManualClock::new();
    let registry = Registry::with_clock(time.clock());
    let breaker = registry.circuit_breaker("db");
    breaker.reconfigure(circuit_breaker::Config::default().failure_threshold(2)).unwrap();
    let mut events = registry.subscribe();
    let pipeline = registry.pipeline("load").circuit_breaker("db").build();
    let mut work = failing(&["no route to host", "connection refused"]);
    let mut call = || pipeline.request().judge(Verdict::of).describe(words).call(&mut work);
    assert!(call().is_err() && call().is_err());
    time.advance(Duration::from_secs(1));
    let refused = call().unwrap_err().to_string();
    let reason =
        "circuit breaker `db` is open (2 failures in a row, last error: connection refused; opened 1.0s ago)";
    assert!(refused.starts_with(reason), "{refused}");
    let opened = events.try_recv().unwrap().what;
    assert!(
        matches!(opened, EventKind::Transition { error: Some(error), .. } if &*error == "connection refused")
    );
    assert!(log.with("circuit opened")[0].contains("error=\"connection refused\""));
    let text = registry.stats().to_string();
    assert!(text.contains("opened by: 2 failures in a row, last error: connection refused"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_total_timeout_in_a_later_attempt_includes_the_earlier_errors() {
    let registry = Registry::with_clock(Clock::tokio());
    registry.retry("disk").reconfigure(retry::Config::default().max(9)).unwrap();
    let pipeline = registry.pipeline("load").retry("disk").timeout("disk").idempotent().build();
    let calls = Cell::new(0);
    let work = || {
        let call = calls.replace(calls.get() + 1);
        async move {
            match call {
                0 => Err(std::io::Error::other("refused")),
                1 => Err(std::io::Error::other("reset")),
                _ => std::future::pending().await,
            }
        }
    };
    let late: Io<u32> = pipeline.request().judge(Verdict::of).describe(words).call_async(work).await;
    let text = late.unwrap_err().to_string();
    assert!(text.contains("; attempt 1 failed: refused; attempt 2 failed: reset"), "{text}");
    let last = pipeline.stats().last_error.unwrap();
    assert!(last.attempt == 3 && last.text.contains("attempt 1 failed: refused"), "{last:?}");
}

#[test]
fn a_rejected_retry_includes_the_earlier_errors() {
    // The caller gets the rejection, not the error.
    let registry = Registry::with_clock(ManualClock::new().clock());
    let once = rate_limit::Config::default().rate("1/h".parse::<rate_limit::Rate>().unwrap());
    registry.rate_limiter("disk").reconfigure(once).unwrap();
    let pipeline = registry.pipeline("load").retry("disk").rate_limit("disk").build();
    let refused = pipeline
        .request()
        .judge(Verdict::of)
        .describe(words)
        .call(failing(&["it is busy"]))
        .unwrap_err()
        .to_string();
    assert!(
        refused.starts_with("rate limit `disk` exceeded; attempt 1 failed: it is busy; try"),
        "{refused}"
    );
}

#[test]
fn the_error_text_setting_applies_everywhere() {
    let secret = |text: &str| text.contains("hunter2");
    for (rule, is_there) in [
        (ErrorText::Off, false),
        (ErrorText::redacted(|text| text.replace("hunter2", "***")), false),
        (ErrorText::Full, true),
    ] {
        let log = Log::default();
        let _guard = tracing::subscriber::set_default(log.clone());
        let registry = Registry::with_clock(ManualClock::new().clock());
        registry.set_error_text(rule);
        let breaker = registry.circuit_breaker("db");
        breaker.reconfigure(circuit_breaker::Config::default().failure_threshold(2)).unwrap();
        let mut events = registry.subscribe();
        let pipeline = registry.pipeline("login").circuit_breaker("db").retry("db").build();
        let mut work = failing(&["password hunter2", "password hunter2"]);
        assert!(pipeline.request().judge(Verdict::of).describe(words).call(&mut work).is_err());
        let mut told: Vec<String> =
            std::iter::from_fn(|| events.try_recv()).map(|event| format!("{event:?}")).collect();
        told.extend(log.0.lock().unwrap().iter().cloned());
        told.push(serde_json::to_string(&registry.stats()).unwrap());
        told.push(registry.stats().to_string());
        told.push(breaker.try_acquire().unwrap_err().to_string());
        assert_eq!(told.iter().any(|text| secret(text)), is_there, "{told:#?}");
    }
}

#[test]
fn the_error_text_setting_applies_to_the_reason_of_a_degraded_result() {
    let registry = Registry::new();
    registry.set_error_text(ErrorText::redacted(|text| text.replace("hunter2", "***")));
    let pipeline = registry.pipeline("rate").fallback("rate").build();
    let fails = || Err::<f64, crate::fallback::BoxError>("password hunter2\nforged".into());
    let chain = || Chain::of(Level::Default, |_| Ok(1.0));
    let (answer, seen) = crate::Degradation::collect(|| pipeline.request().fallback(chain).call(fails));
    assert_eq!((answer.unwrap(), &*seen.unwrap().reasons[0].text), (1.0, r"password ***\nforged"));
}

#[test]
fn ten_thousand_calls_on_an_open_circuit_log_a_line_a_second_and_each_transition() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let time = ManualClock::new();
    let registry = Registry::with_clock(time.clock());
    let pipeline = registry.pipeline("rate").circuit_breaker("bank").fallback("rate").build();
    registry.circuit_breaker("bank").force_open();
    let answer =
        |chain: fn() -> Chain<'static, Option<f64>>| pipeline.request().fallback(chain).call(|| Some(1.1));
    let flood = || {
        for _ in 0..10_000 {
            assert_eq!(answer(|| Chain::of(Level::Default, |_| Some(1.0))), Some(1.0));
            assert_eq!(answer(|| Chain::of(Level::Backup, |_| None)), None);
        }
    };
    flood();
    time.advance(Duration::from_secs(1));
    flood();
    let warnings = log.with("WARN");
    let of = |words: &str| warnings.iter().filter(|line| line.contains(words)).cloned().collect::<Vec<_>>();
    let degraded = of("call served by a fallback level");
    assert_eq!(
        (degraded.len(), of("every fallback level failed").len(), of("circuit opened").len()),
        (2, 2, 1)
    );
    assert!(degraded[1].contains("suppressed=9999"), "{degraded:?}");
    (0..100).for_each(|_| {
        registry.circuit_breaker("bank").resume();
        registry.circuit_breaker("bank").force_open();
    });
    assert_eq!(log.with("circuit opened").len(), 101, "transitions are always logged");
}

#[test]
fn an_exhausted_budget_is_logged_once_a_second() {
    let log = Log::default();
    let _guard = tracing::subscriber::set_default(log.clone());
    let registry = Registry::with_clock(ManualClock::new().clock());
    registry.retry("r").reconfigure(retry::Config::default().base(Duration::ZERO)).unwrap();
    let pipeline = registry.pipeline("load").retry("r").build();
    (0..1000).for_each(|_| assert_eq!(pipeline.call(|| None::<u32>), None));
    assert!(registry.retry("r").stats().denied_by_budget > 500);
    assert_eq!(log.with("the retry budget is exhausted").len(), 1);
}

#[test]
fn without_the_attribute_the_text_of_a_known_error_is_recorded_by_default() {
    let registry = Registry::with_clock(crate::clock::ManualClock::new().clock());
    let refused = || Err::<u32, std::io::Error>(std::io::Error::other("it is busy"));
    let opens = crate::circuit_breaker::Config::default().failure_threshold(1);
    let breaker = registry.circuit_breaker("by hand");
    breaker.reconfigure(opens).unwrap();
    breaker.call(refused).unwrap_err();
    assert!(breaker.try_acquire().unwrap_err().to_string().contains("last error: it is busy"));
    registry.retry("by hand").call(refused).unwrap_err();
    assert_eq!(registry.retry("by hand").stats().last_error.unwrap().text, "it is busy");
    let pipeline = registry.pipeline("by hand").build();
    pipeline.call(refused).unwrap_err();
    assert_eq!(pipeline.stats().last_error.unwrap().text, "it is busy");
    let boxed = || Err::<u32, Box<dyn std::error::Error>>("no such thing".into());
    pipeline.call(boxed).unwrap_err();
    assert_eq!(pipeline.stats().last_error.unwrap().text, "no such thing");
}
