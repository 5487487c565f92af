//! Switching protection off and on.

use super::*;

#[test]
fn while_off_a_call_bypasses_all_stages_and_is_counted() {
    // T124
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    fixture.registry.circuit_breaker("x").force_open();
    let full = fixture.registry.bulkhead("x");
    let permit = full.try_acquire().unwrap();
    fixture.registry.set_enabled(false);
    assert_eq!(pipeline.call(|| Outcome::Ok(1)).unwrap(), 1);
    let mut attempts = 0;
    let failed = pipeline.call(|| {
        attempts += 1;
        Outcome::Err(Error::Down)
    });
    assert!(failed.is_err());
    assert_eq!(attempts, 1, "not retried");
    let stats = pipeline.stats();
    assert_eq!((stats.calls, stats.succeeded, stats.failed, stats.in_flight), (2, 1, 1, 0));
    assert_eq!(fixture.registry.circuit_breaker("x").stats().rejected, 0);
    assert!(fixture.registry.stats().to_string().starts_with("! protection is turned off"));
    drop(permit);
    fixture.registry.set_enabled(true);
    assert!(pipeline.call(|| Outcome::Ok(1)).is_err(), "the circuit is open");
}

#[tokio::test]
async fn calls_in_flight_at_a_switch_are_accounted_for() {
    // T124
    let fixture = Fixture::new();
    let pipeline = fixture.all();
    let in_use = || fixture.registry.bulkhead("x").stats().in_use;
    let gate = tokio::sync::Notify::new();
    let call = || {
        pipeline.call_async(|| async {
            gate.notified().await;
            Outcome::Ok(1)
        })
    };

    let mut guarded = Box::pin(call());
    assert!(once(&mut guarded).await.is_none());
    assert_eq!(in_use(), 1);
    fixture.registry.set_enabled(false);
    let mut bare = Box::pin(call());
    assert!(once(&mut bare).await.is_none(), "it runs outside the bulkhead and does not queue");
    assert_eq!(in_use(), 1);
    gate.notify_waiters();
    assert_eq!(
        (once(&mut guarded).await.unwrap().unwrap(), in_use()),
        (1, 0),
        "the permit is released while off"
    );
    fixture.registry.set_enabled(true);
    let mut again = Box::pin(call());
    assert!(once(&mut again).await.is_none());
    assert_eq!(once(&mut bare).await.expect("it does not wait").unwrap(), 1);
    drop((guarded, bare));
    assert_eq!(in_use(), 1, "a call that began while off releases nothing");
    gate.notify_waiters();
    assert_eq!((once(&mut again).await.unwrap().unwrap(), in_use()), (1, 0));
    drop(again);
    assert_eq!(pipeline.stats().in_flight, 0);
    fixture.nothing_is_held();
}

#[tokio::test]
async fn while_off_a_hedged_call_makes_one_attempt() {
    // T124
    let fixture = Fixture::new();
    let pipeline = fixture.registry.pipeline("op").hedge("h").idempotent().build();
    let attempts = Cell::new(0);
    let call = || {
        pipeline.call_async(|| async {
            attempts.set(attempts.get() + 1);
            Outcome::Err(Error::Down)
        })
    };
    assert!(call().await.is_err());
    assert_eq!(attempts.take(), 2, "a failed attempt is hedged at once");
    fixture.registry.set_enabled(false);
    assert!(call().await.is_err());
    assert_eq!((attempts.take(), pipeline.stats().failed), (1, 2));
}

#[tokio::test]
async fn while_off_no_call_is_coalesced_hedged_or_timed_out() {
    let fixture = Fixture::new();
    let registry = &fixture.registry;
    fixture.all();
    let hedge = crate::hedge::Config::default().after(MS(50));
    registry.hedge("x").reconfigure(hedge).unwrap();
    let pipeline = registry.pipeline("op").coalesce("x").hedge("x").timeout("x").idempotent().build();
    let (made, gate) = (Cell::new(0), tokio::sync::Notify::new());
    let ask = || {
        pipeline.request().coalesce_key("key").call_async(|| async {
            made.set(made.get() + 1);
            gate.notified().await;
            Ok::<_, Rejection>(made.get())
        })
    };
    let mut on = [Box::pin(ask()), Box::pin(ask())];
    for call in &mut on {
        assert!(once(call).await.is_none());
    }
    fixture.time.advance(MS(50));
    assert!(once(&mut on[0]).await.is_none());
    assert_eq!(made.take(), 2, "one call for both, and its hedge");
    drop(on);

    registry.set_enabled(false);
    let mut off = [Box::pin(ask()), Box::pin(ask())];
    for call in &mut off {
        assert!(once(call).await.is_none());
    }
    fixture.time.advance(Duration::from_hours(1));
    for call in &mut off {
        assert!(once(call).await.is_none(), "no time limit");
    }
    assert_eq!((made.get(), fixture.time.timers()), (2, 0), "each makes its own call, and no hedge");
    gate.notify_waiters();
    for call in &mut off {
        assert_eq!(once(call).await.expect("it does not wait"), Ok(2));
    }
    fixture.nothing_is_held();
}

#[tokio::test]
async fn while_off_a_body_for_a_thread_pool_still_runs() {
    // T124
    let fixture = Fixture::new();
    let pipeline = fixture.registry.pipeline("op").bulkhead("x").build();
    fixture.registry.bulkhead("x").reconfigure(bulkhead::Config::default().threads(1)).unwrap();
    fixture.registry.set_enabled(false);
    let here = std::thread::current().id();
    let thread = || Ok::<_, Rejection>(std::thread::current().id());
    assert_eq!(pipeline.request().call_in_threads(thread).unwrap(), here);
    assert_ne!(
        pipeline.request().call_in_threads_async(thread).await.unwrap(),
        here,
        "it may block, and this thread must not"
    );
    let pipeline = Arc::new(pipeline);
    let shared = Arc::clone(&pipeline);
    let panics = tokio::spawn(async move {
        shared.request().call_in_threads_async(|| -> Outcome { panic!("of the body") }).await
    });
    assert!(panics.await.unwrap_err().is_panic());
    let stats = pipeline.stats();
    assert_eq!((stats.calls, stats.succeeded, stats.panicked, stats.in_flight), (3, 2, 1, 0));
    assert_eq!(fixture.registry.bulkhead("x").stats().in_use, 0);
}

/// Polls once, so that a call that waits by mistake fails the test instead of blocking it.
async fn once<F: Future>(future: &mut std::pin::Pin<Box<F>>) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        std::task::Poll::Ready(match future.as_mut().poll(cx) {
            std::task::Poll::Ready(output) => Some(output),
            std::task::Poll::Pending => None,
        })
    })
    .await
}
