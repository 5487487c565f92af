//! Leaders that are not polled, or whose result cannot be cloned.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::*;

/// The interval at which a follower checks the leader.
const LOOK: Duration = Duration::from_secs(1);

/// A result whose first clones panic.
#[derive(Debug)]
struct Fragile {
    panics: Arc<AtomicU32>,
    value: u32,
}

impl Clone for Fragile {
    fn clone(&self) -> Self {
        let left = self.panics.load(Ordering::Relaxed);
        if left > 0 {
            self.panics.store(left - 1, Ordering::Relaxed);
            std::panic::resume_unwind(Box::new("this cannot be cloned"));
        }
        Self { panics: Arc::clone(&self.panics), value: self.value }
    }
}

#[test]
fn a_follower_takes_over_if_cloning_the_result_panics() {
    let (_, coalesce) = coalesce();
    let (panics, made) = (Arc::new(AtomicU32::new(1)), Cell::new(0));
    let ask = || {
        coalesce.call_async(&1, async || -> Result<Fragile, Rejection> {
            made.set(made.get() + 1);
            let value = made.get();
            pause(1).await;
            Ok(Fragile { panics: Arc::clone(&panics), value })
        })
    };
    let (mut leader, mut followers) = (Box::pin(ask()), [Box::pin(ask()), Box::pin(ask())]);
    assert!(poll(leader.as_mut()).is_pending());
    followers.iter_mut().for_each(|follower| assert!(poll(follower.as_mut()).is_pending()));
    assert!(catch_unwind(AssertUnwindSafe(|| poll(leader.as_mut()))).is_err());
    // A call that starts now has its own flight and must not affect the followers.
    let mut later = Box::pin(ask());
    assert!(poll(later.as_mut()).is_pending());
    assert!(poll(followers[0].as_mut()).is_pending(), "it runs its own work");
    assert!(poll(followers[1].as_mut()).is_pending());
    for follower in followers {
        let Poll::Ready(Ok(answer)) = poll(pin!(follower)) else { panic!("it waits forever") };
        assert_eq!(answer.value, 3);
    }
    let Poll::Ready(Ok(answer)) = poll(later.as_mut()) else { panic!("it lost its flight") };
    assert_eq!(answer.value, 2);
    drop((leader, later));
    assert_eq!(coalesce.stats().in_flight, 0);
}

#[test]
fn a_follower_takes_over_from_a_leader_that_is_not_polled() {
    // For example, `select!` over `&mut leader` continues without polling it.
    let (time, coalesce) = coalesce();
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
    let (mut leader, mut followers) = (Box::pin(ask(0)), [Box::pin(ask(1)), Box::pin(ask(2))]);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    assert!(leader.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    let mut look = || {
        time.advance(LOOK);
        followers.each_mut().map(|follower| poll(follower.as_mut()))
    };
    assert!(look().iter().all(Poll::is_pending));
    assert!(look().iter().all(Poll::is_pending));
    assert!(woken.0.load(Ordering::Relaxed) > 0, "its task is woken first");
    assert!(look().iter().all(Poll::is_pending));
    assert_eq!(*made.borrow(), [0, 1], "one follower takes over");
    assert_eq!(look(), [Poll::Ready(Ok(1)), Poll::Ready(Ok(1))]);
    // The replaced leader returns its own result and does not affect a flight that started since.
    let (mut next, mut waiting) = (Box::pin(ask(3)), Box::pin(ask(4)));
    assert!(poll(next.as_mut()).is_pending() && poll(waiting.as_mut()).is_pending());
    assert_eq!(poll(leader.as_mut()), Poll::Ready(Ok(0)));
    assert_eq!(coalesce.stats().in_flight, 1);
    assert_eq!((poll(next.as_mut()), poll(waiting.as_mut())), (Poll::Ready(Ok(3)), Poll::Ready(Ok(3))));
    assert_eq!((coalesce.stats().handed_over, coalesce.stats().in_flight), (1, 0));
}

#[test]
fn a_leader_that_was_replaced_and_dropped_does_not_vacate_the_flight() {
    let (time, coalesce) = coalesce();
    let ask = |polls| {
        coalesce.call_async(&7, async move || -> Outcome {
            pause(polls).await;
            Ok(polls)
        })
    };
    let (mut leader, mut second, mut third) = (Box::pin(ask(9)), Box::pin(ask(1)), Box::pin(ask(9)));
    assert!(poll(leader.as_mut()).is_pending());
    for _ in 0..3 {
        assert!(poll(second.as_mut()).is_pending());
        time.advance(LOOK);
    }
    assert!(poll(third.as_mut()).is_pending());
    drop(leader);
    assert!(poll(third.as_mut()).is_pending(), "the second call leads");
    assert_eq!((poll(second.as_mut()), poll(third.as_mut())), (Poll::Ready(Ok(1)), Poll::Ready(Ok(1))));
    assert_eq!(coalesce.stats().in_flight, 0);
}

#[test]
fn a_slow_leader_that_is_polled_when_it_is_woken_is_not_replaced() {
    let (time, coalesce) = coalesce();
    let ask = || coalesce.call_async(&7, async || -> Outcome { std::future::pending().await });
    let (mut leader, mut follower) = (Box::pin(ask()), Box::pin(ask()));
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    assert!(leader.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    for _ in 0..50 {
        time.advance(LOOK);
        let _ = poll(follower.as_mut());
        if woken.0.swap(0, Ordering::Relaxed) > 0 {
            assert!(leader.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        }
    }
    assert_eq!(coalesce.stats().handed_over, 0);
}

#[test]
fn without_a_deadline_a_follower_waits_for_a_minute() {
    let (time, coalesce) = coalesce();
    let ask = || coalesce.call_async(&7, async || -> Outcome { std::future::pending().await });
    let (mut leader, mut follower) = (Box::pin(ask()), Box::pin(ask()));
    assert!(poll(leader.as_mut()).is_pending());
    for second in 0..60 {
        assert!(poll(follower.as_mut()).is_pending(), "after {second} s");
        time.advance(LOOK);
        assert!(poll(leader.as_mut()).is_pending());
    }
    let Poll::Ready(Err(rejection)) = poll(follower.as_mut()) else { panic!("it still waits") };
    assert_eq!(rejection.kind(), RejectionKind::QueueTimeout);
}

#[test]
fn a_blocking_call_takes_over_from_an_asynchronous_leader_that_is_not_polled() {
    let coalesce = Registry::with_clock(Clock::system()).coalesce("c");
    let mut leader = Box::pin(coalesce.call_async(&7, async || -> Outcome { std::future::pending().await }));
    assert!(poll(leader.as_mut()).is_pending());
    assert_eq!(coalesce.call(&7, || -> Outcome { Ok(1) }), Ok(1));
}

#[test]
fn without_timers_a_follower_is_rejected_and_does_not_wait_forever() {
    // There is no tokio runtime, no deadline and no `max_wait`.
    let coalesce = Registry::with_clock(Clock::system()).coalesce("c");
    let ask = || coalesce.call_async(&7, async || -> Outcome { std::future::pending().await });
    let (mut leader, mut follower) = (Box::pin(ask()), Box::pin(ask()));
    assert!(poll(leader.as_mut()).is_pending());
    let Poll::Ready(Err(rejection)) = poll(follower.as_mut()) else { panic!("it waits forever") };
    assert_eq!(rejection.kind(), RejectionKind::NoTimer);
    drop(leader);
    assert_eq!(coalesce.stats().in_flight, 0);
}

#[tokio::test(start_paused = true)]
async fn a_task_that_selects_over_a_leader_and_then_calls_with_its_key_gets_a_result() {
    // The other branch of `select!` ends while `leader` is alive and not polled.
    let coalesce = Registry::with_clock(Clock::tokio()).coalesce("c");
    let mut leader = Box::pin(coalesce.call_async(&7, async || -> Outcome { std::future::pending().await }));
    tokio::select! {
        _ = &mut leader => panic!("it never ends"),
        () = tokio::time::sleep(Duration::from_millis(10)) => {}
    }
    let began = tokio::time::Instant::now();
    let answer = coalesce.call_async(&7, async || -> Outcome { Ok(1) }).await;
    assert_eq!(answer, Ok(1));
    assert!(began.elapsed() <= LOOK * 3, "{:?}", began.elapsed());
    assert_eq!(coalesce.stats().handed_over, 1);
    drop(leader);
}
