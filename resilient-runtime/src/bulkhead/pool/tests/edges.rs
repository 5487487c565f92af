//! Edge cases: threads that cannot be started, changes of settings, nested calls, and calls whose caller stops
//! waiting.

use super::*;
use crate::bulkhead::pool::worker::NO_THREADS;
use tracing_core::span::Current;

use crate::clock::Clock;
use crate::context::Scope;
use crate::{Priority, Verdict, rate_limit};

#[test]
fn a_call_is_rejected_if_no_thread_can_be_started() {
    let fixture = fixture(2, 2);
    let (work, begun, go) = hanging();
    NO_THREADS.set(true);
    let refused = fixture.bulkhead.call_in_threads(|| Outcome::Ok(1)).unwrap_err();
    assert_eq!(refused.kind(), RejectionKind::BulkheadFull);
    let stats = fixture.bulkhead.stats();
    assert_eq!((stats.in_use, stats.queued, stats.rejected), (0, 0, 1));
    assert_eq!(stats.pool.unwrap().alive, 0);
    NO_THREADS.set(false);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| fixture.bulkhead.call_in_threads(work));
        begun.recv().unwrap();
        let second = scope.spawn(|| {
            NO_THREADS.set(true);
            fixture.bulkhead.call_in_threads(|| Outcome::Ok(2))
        });
        until("it waits for the existing thread", || fixture.bulkhead.stats().queued == 1);
        go.send(()).unwrap();
        assert_eq!((first.join().unwrap(), second.join().unwrap()), (Ok(1), Ok(2)));
    });
    assert_eq!(fixture.bulkhead.stats().in_use, 0);
}

#[test]
fn a_rejection_without_a_thread_is_not_a_failure_and_returns_the_token() {
    let fixture = fixture(2, 2);
    let limit = rate_limit::Config::default().rate("1/min".parse::<rate_limit::Rate>().unwrap());
    fixture.registry.rate_limiter("l").reconfigure(limit).unwrap();
    let pipeline = fixture.registry.pipeline("op").circuit_breaker("c").rate_limit("l").bulkhead("b").build();
    NO_THREADS.set(true);
    let refused = pipeline.request().call_in_threads(|| Outcome::Ok(1)).unwrap_err();
    assert_eq!(refused.kind(), RejectionKind::BulkheadFull);
    NO_THREADS.set(false);
    assert_eq!(
        pipeline.request().call_in_threads(|| Outcome::Ok(2)),
        Ok(2),
        "the only token of the minute was returned"
    );
    assert_eq!(
        pipeline.request().call_in_threads(|| Outcome::Ok(3)).unwrap_err().kind(),
        RejectionKind::RateLimited
    );
    let window = fixture.registry.circuit_breaker("c").stats().window;
    assert_eq!((window.failed, window.calls), (0, 1));
}

#[test]
fn queued_calls_use_all_added_threads() {
    // T52
    let fixture = fixture(1, 5);
    let bulkhead = &fixture.bulkhead;
    let (work, begun, go) = hanging();
    std::thread::scope(|scope| {
        let first = scope.spawn(|| bulkhead.call_in_threads(work));
        begun.recv().unwrap();
        // Each call waits for the others: they end only if all run at the same time.
        let all = Arc::new(std::sync::Barrier::new(4));
        let calls: Vec<_> = (1..=4)
            .map(|number| {
                let all = Arc::clone(&all);
                scope.spawn(move || {
                    bulkhead.call_in_threads(move || {
                        all.wait();
                        Outcome::Ok(number)
                    })
                })
            })
            .collect();
        until("they wait", || bulkhead.stats().queued == 4);
        bulkhead.reconfigure(Config::default().threads(5)).unwrap();
        assert!(calls.into_iter().all(|call| call.join().unwrap().is_ok()));
        go.send(()).unwrap();
        assert_eq!(first.join().unwrap(), Ok(1));
    });
    assert_eq!((bulkhead.stats().in_use, bulkhead.stats().pool.unwrap().alive), (0, 5));
}

#[test]
fn removed_threads_finish_the_queue_and_can_be_added_again() {
    let fixture = fixture(1, 5);
    let bulkhead = &fixture.bulkhead;
    let (work, begun, go) = hanging();
    let here = std::thread::current().id();
    let place = || Ok::<_, Rejection>(std::thread::current().id());
    std::thread::scope(|scope| {
        let first = scope.spawn(|| bulkhead.call_in_threads(work));
        begun.recv().unwrap();
        let second = scope.spawn(|| bulkhead.call_in_threads(place));
        until("it waits", || bulkhead.stats().queued == 1);
        bulkhead.reconfigure(Config::default()).unwrap();
        assert_eq!(bulkhead.call_in_threads(place), Ok(here), "on the caller's thread");
        assert_eq!(bulkhead.stats().in_use, 2, "calls in the pool stay there");
        go.send(()).unwrap();
        assert_eq!(first.join().unwrap(), Ok(1));
        assert_ne!(second.join().unwrap().unwrap(), here);
    });
    until("the threads have ended", || bulkhead.stats().pool.is_none());
    assert_eq!(bulkhead.stats().in_use, 0);
    bulkhead.reconfigure(Config::default().threads(1)).unwrap();
    assert_ne!(bulkhead.call_in_threads(place).unwrap(), here);
}

#[test]
fn a_pipeline_without_threads_runs_work_on_the_callers_thread() {
    let fixture = fixture(1, 0);
    let here = std::thread::current().id();
    let place = || Ok::<_, Rejection>(std::thread::current().id());
    let without = fixture.registry.pipeline("without").retry("r").build();
    assert_eq!(without.request().call_in_threads(place), Ok(here), "there is no bulkhead");
    let plain = fixture.registry.pipeline("plain").bulkhead("plain").build();
    assert_eq!(plain.request().call_in_threads(place), Ok(here));
    let panicked = std::panic::catch_unwind(AssertUnwindSafe(|| {
        plain.request().call_in_threads(|| -> Outcome { panic!("here") })
    }));
    assert!(panicked.is_err());
    assert_eq!((plain.stats().panicked, fixture.registry.bulkhead("plain").stats().in_use), (1, 0));
}

#[test]
fn without_threads_work_waits_for_a_permit() {
    let fixture = fixture(1, 0);
    let config = Config::default().max_concurrent(1).max_queue(1).max_wait(Duration::from_secs(1));
    fixture.bulkhead.reconfigure(config).unwrap();
    let permit = fixture.bulkhead.try_acquire().unwrap();
    std::thread::scope(|scope| {
        let here = scope.spawn(|| {
            let here = std::thread::current().id();
            fixture
                .bulkhead
                .call_in_threads(move || Outcome::Ok(u32::from(std::thread::current().id() == here)))
        });
        until("it waits", || fixture.bulkhead.stats().queued == 1);
        drop(permit);
        assert_eq!(here.join().unwrap(), Ok(1));
    });
    assert_eq!(fixture.bulkhead.stats().in_use, 0);
}

#[test]
fn a_nested_call_through_another_pool_does_not_deadlock() {
    let fixture = fixture(1, 1);
    let other = fixture.registry.bulkhead("other");
    other.reconfigure(Config::default().threads(1)).unwrap();
    let (first, second) = (Arc::clone(&fixture.bulkhead), Arc::clone(&other));
    let name = || Ok::<_, Rejection>(std::thread::current().name().map(str::to_owned));
    let around =
        fixture.bulkhead.call_in_threads(move || second.call_in_threads(move || first.call_in_threads(name)));
    assert_eq!(around.unwrap().as_deref(), Some("resilient-other-1"), "on its current thread");
    assert_eq!((fixture.bulkhead.stats().in_use, other.stats().in_use), (0, 0));
    assert_eq!(fixture.bulkhead.call_in_threads(name).unwrap().as_deref(), Some("resilient-b-1"));
}

/// Without a pipeline, inside a deadline of one second.
fn by_hand(fixture: &Fixture, work: impl FnOnce() -> Outcome + Send + 'static) -> Outcome {
    let clock = fixture.time.clock();
    let deadline = clock.now().after(Duration::from_secs(1));
    let _scope = Scope::current().with_deadline(deadline, &clock).enter();
    fixture.bulkhead.call_in_threads(work)
}

#[test]
fn a_deadline_rejection_tells_whether_the_work_had_started() {
    // T33
    let fixture = fixture(1, 1);
    let (work, begun, go) = hanging();
    std::thread::scope(|scope| {
        let runs = scope.spawn(|| by_hand(&fixture, work));
        begun.recv().unwrap();
        let waits = scope.spawn(|| by_hand(&fixture, || unreachable!("it is withdrawn")));
        until("both wait for their deadline", || fixture.time.timers() == 2);
        fixture.time.advance(Duration::from_secs(1));
        assert_eq!(runs.join().unwrap().unwrap_err().kind(), RejectionKind::TotalTimeout);
        assert_eq!(waits.join().unwrap().unwrap_err().kind(), RejectionKind::QueueTimeout);
    });
    assert_eq!(fixture.bulkhead.stats().in_use, 1);
    go.send(()).unwrap();
    until("it has ended", || fixture.bulkhead.stats().in_use == 0);
}

#[test]
fn no_work_starts_after_the_deadline() {
    let fixture = fixture(1, 1);
    let clock = fixture.time.clock();
    let _scope = Scope::current().with_deadline(clock.now(), &clock).enter();
    let late = fixture.bulkhead.call_in_threads(|| -> Outcome { unreachable!("too late") });
    assert_eq!(late.unwrap_err().kind(), RejectionKind::QueueTimeout);
    assert_eq!(fixture.bulkhead.stats().pool.unwrap().alive, 0);
}

#[tokio::test(start_paused = true)]
async fn an_enclosing_deadline_ends_an_async_wait() {
    let registry = Registry::with_clock(Clock::tokio());
    let bulkhead = registry.bulkhead("b");
    bulkhead.reconfigure(Config::default().threads(1).max_queue(1)).unwrap();
    let (work, begun, go) = hanging();
    let clock = Clock::tokio();
    let deadline = clock.now().after(Duration::from_secs(1));
    let late = crate::context::scoped(
        Scope::current().with_deadline(deadline, &clock),
        bulkhead.call_in_threads_async(work),
    )
    .await;
    // The clock advances by itself while the test waits. The statistics show whether the thread was faster.
    let kind = late.unwrap_err().kind();
    let abandoned = bulkhead.stats().pool.unwrap().abandoned;
    assert_eq!(kind == RejectionKind::TotalTimeout, abandoned == 1, "{kind:?}");
    drop((begun, go));
    until("it has ended", || bulkhead.stats().in_use == 0);
}

#[test]
fn work_withdrawn_before_its_start_is_not_a_failure_and_returns_the_token() {
    let fixture = fixture(1, 1);
    let second = Duration::from_secs(1);
    let limit = rate_limit::Config::default().rate("1/min".parse::<rate_limit::Rate>().unwrap());
    fixture.registry.rate_limiter("l").reconfigure(limit).unwrap();
    fixture.registry.timeout("t").reconfigure(timeout::Config::default().total(second)).unwrap();
    let builder = fixture.registry.pipeline("op").circuit_breaker("c").rate_limit("l");
    let pipeline = builder.bulkhead("b").timeout("t").build();
    let (work, begun, go) = hanging();
    std::thread::scope(|scope| {
        let hangs = scope.spawn(|| fixture.bulkhead.call_in_threads(work));
        begun.recv().unwrap();
        let late = scope.spawn(|| pipeline.request().call_in_threads(|| Outcome::Ok(1)));
        until("it waits", || fixture.bulkhead.stats().queued == 1 && fixture.time.timers() > 0);
        fixture.time.advance(second);
        assert_eq!(late.join().unwrap().unwrap_err().kind(), RejectionKind::QueueTimeout);
        go.send(()).unwrap();
        assert_eq!(hangs.join().unwrap(), Ok(1));
    });
    assert_eq!(pipeline.request().call_in_threads(|| Outcome::Ok(2)), Ok(2), "its token was returned");
    let window = fixture.registry.circuit_breaker("c").stats().window;
    assert_eq!((window.failed, window.calls), (0, 1));
    assert_eq!(pipeline.stats().timed_out, 1);
}

#[test]
fn the_load_shedder_measures_the_queue_for_threads() {
    let fixture = fixture(1, 10);
    let interval = Duration::from_millis(100);
    let config = crate::load_shed::Config::default().adaptive(false).target_delay(interval / 10);
    fixture.registry.load_shedder("s").reconfigure(config.interval(interval)).unwrap();
    let pipeline = fixture.registry.pipeline("op").load_shed("s").bulkhead("b").build();
    for _ in 0..10 {
        let (work, begun, go) = hanging();
        std::thread::scope(|scope| {
            let hangs = scope.spawn(|| fixture.bulkhead.call_in_threads(work));
            begun.recv().unwrap();
            let waits = scope.spawn(|| {
                pipeline
                    .request()
                    .priority(Priority::High)
                    .judge(Verdict::of)
                    .call_in_threads(|| Outcome::Ok(1))
            });
            until("it waits or is shed", || fixture.bulkhead.stats().queued == 1 || waits.is_finished());
            fixture.time.advance(interval);
            go.send(()).unwrap();
            assert_eq!(hangs.join().unwrap(), Ok(1));
            let _ = waits.join().unwrap();
        });
    }
    assert!(
        fixture.registry.load_shedder("s").stats().shedding >= Some(Priority::Low),
        "the queue is standing"
    );
}

#[test]
fn options_and_fallback_chains_work_with_threads() {
    let fixture = fixture(1, 1);
    let pipeline = fixture.registry.pipeline("op").bulkhead("b").fallback("f").build();
    let failing = || Option::<u32>::None;
    let chain = || crate::fallback::Chain::of(crate::fallback::Level::Default, |_| Some(7));
    assert_eq!(pipeline.request().fallback(chain).call_in_threads(failing), Some(7));
    let ignored = |_: &Outcome| Verdict::Failure(crate::Class::Ignored);
    let pipeline = fixture.registry.pipeline("op").bulkhead("b").build();
    assert_eq!(
        pipeline.request().priority(Priority::High).judge(ignored).call_in_threads(|| Outcome::Ok(1)),
        Ok(1)
    );
    let stats = pipeline.stats();
    assert_eq!((stats.calls, stats.fell_back, stats.ignored), (2, 1, 1));
}

/// Records what it receives on a thread of the pool.
#[derive(Default)]
struct Reader {
    said: Arc<Mutex<Vec<&'static str>>>,
    /// The only span.
    span: Mutex<Option<&'static tracing::Metadata<'static>>>,
}

impl Reader {
    fn note(&self, what: &'static str) {
        if std::thread::current().name() == Some("resilient-b-1") {
            self.said.lock().push(what);
        }
    }
}

impl tracing::Subscriber for Reader {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, attributes: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        *self.span.lock() = Some(attributes.metadata());
        tracing::span::Id::from_u64(1)
    }
    fn current_span(&self) -> Current {
        let span = *self.span.lock();
        span.map_or_else(Current::none, |span| Current::new(tracing::span::Id::from_u64(1), span))
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        self.note(event.metadata().target());
    }
    fn enter(&self, _: &tracing::span::Id) {
        self.note("enter");
    }
    fn exit(&self, _: &tracing::span::Id) {
        self.note("exit");
    }
}

#[test]
fn the_thread_has_the_span_and_the_subscriber_of_the_call() {
    // T135
    let fixture = fixture(1, 0);
    let reader = Reader::default();
    let said = Arc::clone(&reader.said);
    tracing::subscriber::with_default(reader, || {
        let span = tracing::info_span!("around");
        let say = || {
            tracing::info!(target: "here", "said");
            Outcome::Ok(1)
        };
        assert_eq!(span.in_scope(|| fixture.bulkhead.call_in_threads(say)), Ok(1));
    });
    assert_eq!(*said.lock(), ["enter", "here", "exit"]);
}

#[tokio::test]
async fn the_thread_has_the_correlation_id_of_the_call() {
    // T135
    use crate::correlation::CorrelationId;
    let fixture = fixture(1, 0);
    let pipeline = fixture.registry.pipeline("op").bulkhead(&fixture.bulkhead).build();
    let seen = || Ok::<_, Rejection>(CorrelationId::current().map(|id| id.as_str().to_owned()));
    let id = CorrelationId::parse("order-7").unwrap();
    {
        let _entered = id.clone().enter();
        assert_eq!(pipeline.request().call_in_threads(seen), Ok(Some("order-7".into())));
    }
    assert_eq!(
        id.scope_async(pipeline.request().call_in_threads_async(seen)).await,
        Ok(Some("order-7".into()))
    );
    assert_eq!(pipeline.request().call_in_threads(seen), Ok(None), "the thread does not keep the id");
}

#[test]
fn an_abandoned_result_that_panics_on_drop_does_no_harm() {
    struct Panics;
    impl Drop for Panics {
        fn drop(&mut self) {
            // The panic payload also panics.
            std::panic::panic_any(Worse);
        }
    }
    struct Worse;
    impl Drop for Worse {
        fn drop(&mut self) {
            panic!("worse");
        }
    }
    let fixture = fixture(1, 1);
    let pipeline = fixture.registry.pipeline("op").bulkhead("b").build();
    let (work, begun, go) = hanging();
    let mut left = Box::pin(pipeline.request().call_in_threads_async(once(move || work().map(|_| Panics))));
    assert!(poll(left.as_mut()).is_pending());
    begun.recv().unwrap();
    drop(left);
    go.send(()).unwrap();
    assert_eq!(pipeline.request().call_in_threads(|| Outcome::Ok(1)), Ok(1), "on the same thread");
    let pool = fixture.bulkhead.stats().pool.unwrap();
    assert_eq!((pool.alive, pool.abandoned), (1, 0));
}
