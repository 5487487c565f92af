//! Coalesced calls.

use std::cell::Cell;
use std::future::Future;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use super::*;
use crate::clock::Clock;

type Answer = Result<u32, Rejection>;

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn pipeline(fixture: &Fixture) -> Pipeline {
    fixture.registry.timeout("x").reconfigure(timeout::Config::default().total(MS(500))).unwrap();
    let stages = fixture.registry.pipeline("op").coalesce("x").retry("x").bulkhead("x").timeout("x");
    stages.build()
}

#[test]
fn a_call_that_shares_a_result_takes_no_permit_and_is_counted() {
    // T130
    let fixture = Fixture::new();
    let pipeline = pipeline(&fixture);
    let (made, is_ready) = (Cell::new(0), Cell::new(false));
    let ask = || {
        pipeline.request().coalesce_key("k").call_async(|| {
            made.set(made.get() + 1);
            std::future::poll_fn(|_| if is_ready.get() { Poll::Ready(Answer::Ok(3)) } else { Poll::Pending })
        })
    };
    let (mut first, mut second) = (pin!(ask()), pin!(ask()));
    assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
    assert_eq!(fixture.registry.bulkhead("x").stats().in_use, 1);
    is_ready.set(true);
    assert_eq!((poll(first), poll(second)), (Poll::Ready(Ok(3)), Poll::Ready(Ok(3))));
    let stats = pipeline.stats();
    assert_eq!((stats.calls, stats.succeeded, made.get()), (2, 2, 1));
    fixture.nothing_is_held();
}

#[test]
fn a_waiting_call_times_out_by_its_own_total() {
    let fixture = Fixture::new();
    let pipeline = pipeline(&fixture);
    let ask = || pipeline.request().coalesce_key("k").call_async(std::future::pending::<Answer>);
    let mut first = Box::pin(ask());
    assert!(poll(first.as_mut()).is_pending());
    fixture.time.advance(MS(400));
    let mut second = Box::pin(ask());
    assert!(poll(second.as_mut()).is_pending());
    fixture.time.advance(MS(100));
    assert!(matches!(poll(first.as_mut()), Poll::Ready(Err(rejection)) if rejection.is_timeout()));
    drop(first);
    assert!(poll(second.as_mut()).is_pending(), "its deadline has not passed");
    fixture.time.advance(MS(400));
    assert!(matches!(poll(second.as_mut()), Poll::Ready(Err(rejection)) if rejection.is_timeout()));
    drop(second);
    assert_eq!(pipeline.stats().timed_out, 2);
    fixture.nothing_is_held();
}

#[test]
fn a_call_that_takes_over_the_lead_reads_the_clock_again() {
    // T99
    let fixture = Fixture::new();
    let pipeline = pipeline(&fixture);
    let is_ready = Cell::new(false);
    let ask = || {
        pipeline.request().coalesce_key("k").call_async(|| {
            std::future::poll_fn(|_| if is_ready.get() { Poll::Ready(Answer::Ok(3)) } else { Poll::Pending })
        })
    };
    let (mut first, mut second) = (Box::pin(ask()), Box::pin(ask()));
    assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
    fixture.time.advance(MS(300));
    drop(first);
    is_ready.set(true);
    assert_eq!(poll(second.as_mut()), Poll::Ready(Ok(3)));
    let stats = pipeline.stats();
    assert_eq!((stats.cancelled, stats.succeeded), (1, 1));
    fixture.nothing_is_held();
}

#[test]
fn threads_share_one_call() {
    let registry = Registry::with_clock(Clock::system());
    let pipeline = registry.pipeline("op").coalesce("x").build();
    let answers: Vec<Answer> = std::thread::scope(|scope| {
        let ask = || {
            pipeline.request().coalesce_key(&1).call(|| {
                let mut spins = 0;
                while registry.coalesce("x").stats().shared == 0 && spins < 1000 {
                    std::thread::yield_now();
                    spins += 1;
                }
                Answer::Ok(5)
            })
        };
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    assert_eq!(answers, vec![Ok(5); 4]);
    assert_eq!((pipeline.stats().calls, pipeline.stats().succeeded), (4, 4));
}

#[test]
fn an_unused_key_is_rejected() {
    let fixture = Fixture::new();
    let pipeline = fixture.registry.pipeline("op").retry("x").build();
    let ask = || pipeline.request().coalesce_key(&1).call(|| Answer::Ok(1));
    let text = ask().unwrap_err().to_string();
    assert!(text.contains("add `coalesce(..)` to the pipeline, or remove the key"), "{text}");
    // While protection is off, the stages are bypassed, but an unused key is still rejected.
    let coalesced = fixture.registry.pipeline("shared").coalesce("x").build();
    fixture.registry.set_enabled(false);
    assert_eq!(coalesced.request().coalesce_key(&1).call(|| Answer::Ok(1)), Ok(1));
    assert!(ask().is_err());
}
