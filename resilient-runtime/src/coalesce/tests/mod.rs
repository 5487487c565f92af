mod crowd;
mod take_over;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::*;
use crate::clock::{Clock, ManualClock};
use crate::registry::Registry;

type Outcome = Result<u32, Rejection>;

fn coalesce() -> (ManualClock, Arc<Coalesce>) {
    let time = ManualClock::new();
    let coalesce = Registry::with_clock(time.clock()).coalesce("c");
    (time, coalesce)
}

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// Pending for `polls` polls.
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
fn concurrent_calls_with_the_same_key_share_one_result() {
    let (_, coalesce) = coalesce();
    let made = Cell::new(0);
    let ask = |key: &'static str| {
        coalesce.call_async(key, async || -> Outcome {
            made.set(made.get() + 1);
            pause(1).await;
            Ok(made.get())
        })
    };
    let (mut first, mut second, mut other) = (pin!(ask("a")), pin!(ask("a")), pin!(ask("b")));
    assert!(poll(first.as_mut()).is_pending());
    assert!(poll(second.as_mut()).is_pending());
    assert!(poll(other.as_mut()).is_pending());
    assert_eq!(made.get(), 2, "another key has its own call");
    assert_eq!(poll(first), Poll::Ready(Ok(2)));
    assert_eq!(poll(second), Poll::Ready(Ok(2)));
    assert_eq!(poll(other), Poll::Ready(Ok(2)));
    // T101: results are not stored.
    assert!(poll(pin!(ask("a"))).is_pending());
    assert_eq!(made.get(), 3);
    let stats = coalesce.stats();
    assert_eq!((stats.led, stats.shared, stats.in_flight), (3, 1, 0));
}

#[test]
fn when_the_leader_is_dropped_one_follower_takes_over() {
    // T99
    let (_, coalesce) = coalesce();
    let made = RefCell::new(Vec::new());
    let ask = |caller: u32| {
        let (coalesce, made) = (&coalesce, &made);
        async move {
            let work = async || -> Outcome {
                made.borrow_mut().push(caller);
                pause(1).await;
                Ok(caller)
            };
            coalesce.call_async(&7, work).await
        }
    };
    let mut leader = Box::pin(ask(0));
    assert!(poll(leader.as_mut()).is_pending());
    let mut followers: Vec<_> = (1..=3).map(|caller| Box::pin(ask(caller))).collect();
    for follower in &mut followers {
        assert!(poll(follower.as_mut()).is_pending());
    }
    drop(leader);
    for follower in &mut followers {
        assert!(poll(follower.as_mut()).is_pending());
    }
    assert_eq!(*made.borrow(), [0, 1], "only one follower runs its work");
    let answers: Vec<_> = followers.iter_mut().map(|follower| poll(follower.as_mut())).collect();
    assert_eq!(answers, vec![Poll::Ready(Ok(1)); 3], "and all get its result");
    assert_eq!((coalesce.stats().handed_over, coalesce.stats().in_flight), (1, 0));
}

#[test]
fn a_follower_dropped_after_it_was_woken_to_lead_passes_the_lead_on() {
    // T99, T146
    let (_, coalesce) = coalesce();
    let ask = || coalesce.call_async(&7, async || -> Outcome { std::future::pending().await });
    let mut leader = Box::pin(ask());
    assert!(poll(leader.as_mut()).is_pending());
    let (mut second, mut third) = (Box::pin(ask()), Box::pin(ask()));
    let woken = Arc::new(Woken::default());
    assert!(poll(second.as_mut()).is_pending());
    let waker = Waker::from(Arc::clone(&woken));
    assert!(third.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    drop(leader);
    assert_eq!(woken.0.load(Ordering::Relaxed), 0, "the second call is woken first");
    drop(second);
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert!(poll(third.as_mut()).is_pending());
    assert_eq!(coalesce.stats().handed_over, 1, "the third call leads");
    drop(third);
    assert_eq!(coalesce.stats().in_flight, 0);
}

#[derive(Default)]
struct Woken(AtomicU32);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_call_dropped_at_any_poll_leaves_no_flight_behind() {
    // T146
    let (_, coalesce) = coalesce();
    for polls in 0..4 {
        for of_leader in [false, true] {
            let ask = || {
                coalesce.call_async(&1, async || -> Outcome {
                    pause(2).await;
                    Ok(1)
                })
            };
            let (mut leader, mut follower) = (Box::pin(ask()), Box::pin(ask()));
            assert!(poll(leader.as_mut()).is_pending());
            let dropped = if of_leader { &mut leader } else { &mut follower };
            let ended = (0..polls).any(|_| poll(dropped.as_mut()).is_ready());
            drop((leader, follower));
            assert_eq!(coalesce.stats().in_flight, 0, "{polls} polls, ended: {ended}");
        }
    }
}

#[test]
fn a_follower_keeps_its_own_deadline() {
    let (time, coalesce) = coalesce();
    coalesce.reconfigure(Config::default().max_wait(Duration::from_secs(1))).unwrap();
    let ask = || coalesce.call_async(&1, async || -> Outcome { std::future::pending().await });
    let (mut leader, mut follower) = (pin!(ask()), pin!(ask()));
    assert!(poll(leader.as_mut()).is_pending());
    assert!(poll(follower.as_mut()).is_pending());
    time.advance(Duration::from_secs(1));
    assert!(poll(leader).is_pending());
    let Poll::Ready(Err(rejection)) = poll(follower) else { panic!("it still waits") };
    assert_eq!(rejection.kind(), RejectionKind::QueueTimeout);
    assert_eq!(coalesce.stats().gave_up, 1);
}

#[test]
fn share_errors_decides_whether_a_failure_is_shared() {
    // T101
    let (_, coalesce) = coalesce();
    let made = Cell::new(0);
    let ask = || {
        coalesce.call_async(&1, async || -> Result<u32, Rejection> {
            made.set(made.get() + 1);
            pause(1).await;
            Err(Rejection::new(RejectionKind::Shed, "inner"))
        })
    };
    for (shared, expected) in [(true, 1), (false, 2)] {
        coalesce.reconfigure(Config::default().share_errors(shared)).unwrap();
        made.set(0);
        let (mut first, mut second) = (pin!(ask()), pin!(ask()));
        assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
        assert!(poll(first).is_ready());
        let _ = poll(second);
        assert_eq!(made.get(), expected);
    }
}

#[test]
fn a_call_nested_in_a_call_with_its_key_does_not_wait_for_it() {
    let (_, coalesce) = coalesce();
    let inner = || coalesce.call(&1, || -> Outcome { Ok(5) });
    assert_eq!(coalesce.call(&1, inner), Ok(5));
    let nested = coalesce.call_async(&1, async || {
        pause(1).await;
        coalesce.call_async(&1, async || -> Outcome { Ok(6) }).await
    });
    let mut nested = pin!(nested);
    assert!(poll(nested.as_mut()).is_pending());
    assert_eq!(poll(nested), Poll::Ready(Ok(6)));
    assert_eq!(coalesce.stats().alone, 2);
}

#[test]
fn a_panic_of_the_leader_does_not_affect_later_calls() {
    let (_, coalesce) = coalesce();
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        coalesce.call(&1, || -> Outcome { std::panic::resume_unwind(Box::new("on purpose")) })
    }));
    assert!(panicked.is_err());
    assert_eq!(coalesce.call(&1, || -> Outcome { Ok(1) }), Ok(1));
    assert_eq!(coalesce.stats().in_flight, 0);
}

#[test]
fn calls_over_max_flights_are_not_coalesced() {
    let (_, coalesce) = coalesce();
    coalesce.reconfigure(Config::default().max_flights(16)).unwrap();
    let work = async || -> Outcome { std::future::pending().await };
    let keys: Vec<u32> = (0..1000).collect();
    let mut flights: Vec<_> = keys.iter().map(|key| Box::pin(coalesce.call_async(key, work))).collect();
    flights.iter_mut().for_each(|flight| assert!(poll(flight.as_mut()).is_pending()));
    let stats = coalesce.stats();
    assert!(stats.in_flight <= 16);
    assert_eq!(stats.alone, 1000 - stats.in_flight);
}

#[test]
fn concurrent_threads_share_results_and_all_get_one() {
    let coalesce = Registry::with_clock(Clock::system()).coalesce("c");
    let (made, barrier) = (AtomicU32::new(0), std::sync::Barrier::new(8));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                barrier.wait();
                let answer: Outcome = coalesce.call("k", || {
                    made.fetch_add(1, Ordering::Relaxed);
                    // Until another call shares the result, or all of them arrived too late.
                    let mut spins = 0;
                    while coalesce.stats().shared == 0 && spins < 1000 {
                        std::thread::yield_now();
                        spins += 1;
                    }
                    Ok(9)
                });
                assert_eq!(answer, Ok(9));
            });
        }
    });
    let stats = coalesce.stats();
    assert_eq!(u64::from(made.load(Ordering::Relaxed)), stats.led);
    assert_eq!((stats.led + stats.shared, stats.in_flight), (8, 0));
}

#[test]
fn falsy_results_are_shared_like_others() {
    // T102
    let (_, coalesce) = coalesce();
    let ask = || {
        coalesce.call_async("", async || -> Option<()> {
            pause(1).await;
            None
        })
    };
    let (mut first, mut second) = (pin!(ask()), pin!(ask()));
    assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
    assert_eq!((poll(first), poll(second)), (Poll::Ready(None), Poll::Ready(None)));
    assert_eq!(coalesce.stats().led, 1);
}

#[test]
fn invalid_settings_are_rejected() {
    let error = Config::default().max_flights(0).max_wait(Duration::ZERO);
    assert_eq!(coalesce().1.reconfigure(error).unwrap_err().problems().len(), 2);
}

#[test]
fn a_nested_call_on_a_bulkhead_thread_does_not_wait_for_its_outer_call() {
    let registry = Registry::with_clock(ManualClock::new().clock());
    registry.bulkhead("b").reconfigure(crate::bulkhead::Config::default().threads(1)).unwrap();
    let (threads, coalesce) = (registry.pipeline("p").bulkhead("b").build(), registry.coalesce("c"));
    let part = Arc::clone(&coalesce);
    let outer = coalesce.call(&1, || -> Outcome {
        let mut call = crate::__rt::Call::begin(&threads);
        call.enter_blocking()?;
        call.attempt_in_pool(move || part.call(&1, || -> Outcome { Ok(7) })).unwrap()
    });
    assert_eq!((outer, coalesce.stats().alone), (Ok(7), 1));
    let next = coalesce.call(&1, || -> Outcome {
        let mut call = crate::__rt::Call::begin(&threads);
        call.enter_blocking()?;
        call.attempt_in_pool(|| Ok(8)).unwrap()
    });
    assert_eq!((next, coalesce.stats().led), (Ok(8), 2), "the thread is no longer inside the flight");
}

#[tokio::test]
async fn a_nested_call_in_a_carried_task_does_not_wait_for_its_outer_call() {
    let coalesce = Registry::with_clock(ManualClock::new().clock()).coalesce("c");
    let part = Arc::clone(&coalesce);
    let outer = coalesce.call_async(&1, async move || -> Outcome {
        let part = async move {
            tokio::task::yield_now().await;
            part.call_async(&1, async || -> Outcome { Ok(7) }).await
        };
        tokio::spawn(crate::carry(part)).await.unwrap()
    });
    assert_eq!((outer.await, coalesce.stats().alone), (Ok(7), 1));
}
