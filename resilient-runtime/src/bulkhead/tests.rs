use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Poll, Waker};

use super::*;
use crate::clock::ManualClock;
use crate::registry::Registry;

const MS: fn(u64) -> Duration = Duration::from_millis;

fn fixture(config: Config) -> (ManualClock, Arc<Bulkhead>) {
    let time = ManualClock::new();
    let bulkhead = Registry::with_clock(time.clock()).bulkhead("b");
    bulkhead.reconfigure(config).unwrap();
    (time, bulkhead)
}

fn queued(permits: u32, queue: u32) -> Config {
    Config::default().max_concurrent(permits).max_queue(queue).max_wait(MS(50))
}

fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    std::pin::Pin::new(future).poll(&mut std::task::Context::from_waker(Waker::noop()))
}

fn enqueue(bulkhead: &Bulkhead, priority: Priority) -> Admission<'_> {
    let mut admission = bulkhead.queue(priority, Instant::NEVER);
    assert!(poll(&mut admission).is_pending(), "the call waits");
    admission
}

#[test]
fn waiting_calls_that_time_out_leak_no_permit() {
    // T48
    let (time, bulkhead) = fixture(queued(8, 8));
    let permits: Vec<_> = (0..8).map(|_| bulkhead.try_acquire().unwrap()).collect();
    let mut waiters: Vec<_> = (0..8).map(|_| enqueue(&bulkhead, Priority::Normal)).collect();
    time.advance(MS(50));
    for waiter in &mut waiters {
        let Poll::Ready(Err(rejection)) = poll(waiter) else { panic!("its deadline has passed") };
        assert_eq!(rejection.kind(), RejectionKind::BulkheadFull);
    }
    drop(permits);
    let stats = bulkhead.stats();
    assert_eq!((stats.in_use, stats.queued, stats.rejected, stats.waited), (0, 0, 8, 8));
    assert_eq!((0..8).filter_map(|_| bulkhead.try_acquire().ok().map(std::mem::forget)).count(), 8);
}

#[test]
fn a_permit_granted_to_a_waiter_that_is_dropped_goes_to_the_next() {
    // T50
    let (_, bulkhead) = fixture(queued(1, 4));
    let held = bulkhead.try_acquire().unwrap();
    let first = enqueue(&bulkhead, Priority::Normal);
    let mut second = enqueue(&bulkhead, Priority::Normal);
    drop(held);
    assert_eq!(bulkhead.stats().in_use, 1, "the first call was granted the permit");
    drop(first);
    assert_eq!(poll(&mut second), Poll::Ready(Ok(())));
    bulkhead.release();
    assert_eq!((bulkhead.stats().in_use, bulkhead.stats().queued), (0, 0));
}

#[test]
fn a_permit_that_an_unpolled_waiter_does_not_pick_up_goes_to_the_next() {
    // A future that was polled once and then stays unpolled.
    let (time, bulkhead) = fixture(queued(1, 4));
    let held = bulkhead.try_acquire().unwrap();
    let mut unpolled = enqueue(&bulkhead, Priority::Normal);
    drop(held);
    assert!(bulkhead.try_acquire().is_err(), "the permit is reserved for the waiting call for a second");
    time.advance(Duration::from_hours(1));
    assert_eq!(bulkhead.stats().in_use, 0);
    for _ in 0..10 {
        assert!(bulkhead.try_acquire().is_ok());
        assert_eq!(bulkhead.call(|| Some(1)), Some(1));
    }
    let permit = bulkhead.try_acquire().unwrap();
    let Poll::Ready(Err(rejection)) = poll(&mut unpolled) else { panic!("its deadline has passed") };
    assert_eq!(rejection.kind(), RejectionKind::BulkheadFull);
    drop((unpolled, permit));
    assert_eq!((bulkhead.stats().in_use, bulkhead.stats().queued), (0, 0));
}

#[test]
fn calls_behind_an_unpolled_waiter_get_its_permit_within_two_seconds() {
    let (time, bulkhead) = fixture(queued(1, 4).max_wait(Duration::from_mins(1)));
    let held = bulkhead.try_acquire().unwrap();
    let unpolled = enqueue(&bulkhead, Priority::Normal);
    let mut behind = enqueue(&bulkhead, Priority::Normal);
    drop(held);
    let mut looks = 0;
    while poll(&mut behind).is_pending() {
        looks += 1;
        time.advance(MS(1000));
    }
    assert_eq!(looks, 2);
    drop(unpolled);
    assert_eq!(bulkhead.stats().in_use, 1, "there is one permit");
    bulkhead.release();
    assert_eq!(bulkhead.stats().in_use, 0);
}

#[test]
fn unpolled_waiters_do_not_fill_the_queue_and_are_skipped() {
    let (time, bulkhead) = fixture(queued(1, 2));
    let held = bulkhead.try_acquire().unwrap();
    let mut unpolled = [enqueue(&bulkhead, Priority::Critical), enqueue(&bulkhead, Priority::Normal)];
    time.advance(MS(51));
    let mut waiter = enqueue(&bulkhead, Priority::Normal);
    assert_eq!(bulkhead.stats().queued, 1);
    drop(held);
    assert_eq!(poll(&mut waiter), Poll::Ready(Ok(())));
    assert!(unpolled.iter_mut().all(|waiter| matches!(poll(waiter), Poll::Ready(Err(_)))));
    bulkhead.release();
    assert_eq!((bulkhead.stats().in_use, bulkhead.stats().queued), (0, 0));
}

#[test]
fn a_thread_in_the_queue_gets_the_permit_that_a_future_does_not_pick_up() {
    let bulkhead = Registry::with_clock(crate::clock::Clock::system()).bulkhead("b");
    bulkhead.reconfigure(queued(1, 4).max_wait(Duration::from_mins(9))).unwrap();
    let held = bulkhead.try_acquire().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let entered = runtime.enter();
    let unpolled = enqueue(&bulkhead, Priority::High);
    drop(entered);
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| bulkhead.acquire_blocking().map(drop));
        while bulkhead.stats().queued < 2 {
            std::thread::yield_now();
        }
        drop(held);
        assert_eq!(waiter.join().unwrap(), Ok(()));
    });
    drop(unpolled);
    assert_eq!((bulkhead.stats().in_use, bulkhead.stats().queued), (0, 0));
}

#[test]
fn a_full_queue_rejects_at_once() {
    let (_, bulkhead) = fixture(queued(1, 1));
    let _held = bulkhead.try_acquire().unwrap();
    let _waiter = enqueue(&bulkhead, Priority::Normal);
    let mut next = bulkhead.queue(Priority::Normal, Instant::NEVER);
    assert!(matches!(poll(&mut next), Poll::Ready(Err(_))));
}

#[test]
fn a_lower_limit_applies_as_calls_end() {
    // T51
    let (_, bulkhead) = fixture(Config::default().max_concurrent(5));
    let mut permits: Vec<_> = (0..5).map(|_| bulkhead.try_acquire().unwrap()).collect();
    bulkhead.reconfigure(Config::default().max_concurrent(2)).unwrap();
    for left in (2..5).rev() {
        permits.pop();
        assert_eq!(bulkhead.stats().in_use, left);
        assert!(bulkhead.try_acquire().is_err(), "{left} calls are in flight");
    }
    permits.pop();
    assert!(bulkhead.try_acquire().is_ok());
}

#[test]
fn a_higher_limit_admits_waiting_calls_at_once() {
    // T52, T117
    let (_, bulkhead) = fixture(queued(2, 8));
    let _permits: Vec<_> = (0..2).map(|_| bulkhead.try_acquire().unwrap()).collect();
    let mut waiters: Vec<_> = (0..4).map(|_| enqueue(&bulkhead, Priority::Normal)).collect();
    bulkhead.reconfigure(queued(5, 8)).unwrap();
    let admitted =
        waiters.iter_mut().filter_map(|waiter| (poll(waiter) == Poll::Ready(Ok(()))).then_some(())).count();
    assert_eq!(admitted, 3);
    assert_eq!((bulkhead.stats().in_use, bulkhead.stats().queued), (5, 1));
}

#[test]
fn a_panic_releases_the_permit() {
    // T55
    let (_, bulkhead) = fixture(Config::default().max_concurrent(1));
    let panicked =
        catch_unwind(AssertUnwindSafe(|| bulkhead.call(|| -> Result<(), Rejection> { panic!("body") })));
    assert!(panicked.is_err());
    assert_eq!(bulkhead.stats().in_use, 0);
}

#[test]
fn the_order_is_by_priority_then_arrival() {
    // T56, T63
    let (_, bulkhead) = fixture(queued(1, 8));
    let held = bulkhead.try_acquire().unwrap();
    let classes = [Priority::Low, Priority::Normal, Priority::Critical, Priority::Normal, Priority::High];
    let mut waiters: Vec<_> = classes.iter().map(|class| Some(enqueue(&bulkhead, *class))).collect();
    drop(held);
    let mut order = Vec::new();
    while order.len() < classes.len() {
        let has_permit = |waiter: &mut Option<Admission<'_>>| {
            waiter.as_mut().is_some_and(|waiter| poll(waiter) == Poll::Ready(Ok(())))
        };
        let index = waiters.iter_mut().position(has_permit).expect("one call has the permit");
        waiters[index] = None;
        order.push(index);
        bulkhead.release();
    }
    assert_eq!(order, [2, 4, 1, 3, 0]);
}

#[test]
fn calls_of_one_class_do_not_overtake_each_other() {
    // T56
    let (_, bulkhead) = fixture(queued(1, 2000));
    let held = bulkhead.try_acquire().unwrap();
    let mut waiters: Vec<_> = (0..1000).map(|_| enqueue(&bulkhead, Priority::Normal)).collect();
    drop(held);
    for waiter in &mut waiters {
        assert!(bulkhead.try_acquire().is_err(), "a newcomer of the same class");
        assert_eq!(poll(waiter), Poll::Ready(Ok(())));
        bulkhead.release();
    }
    assert!(bulkhead.try_acquire().is_ok());
}

#[test]
fn reserved_permits_are_for_the_higher_classes() {
    // T63
    let config = Config::default().max_concurrent(10).reserve_critical(2).reserve_high(3);
    let (_, bulkhead) = fixture(config);
    let take = |class, times: u32| {
        (0..times).filter_map(|_| bulkhead.try_acquire_as(class).ok()).collect::<Vec<_>>()
    };
    let flood = take(Priority::Low, 100);
    assert_eq!(flood.len(), 5);
    assert!(bulkhead.try_acquire().is_err());
    let high = take(Priority::High, 100);
    assert_eq!(high.len(), 3);
    assert_eq!(take(Priority::Critical, 100).len(), 2);
}

#[test]
fn a_critical_call_overtakes_calls_that_cannot_be_admitted() {
    let (_, bulkhead) = fixture(queued(2, 8).reserve_critical(1));
    let _normal = bulkhead.try_acquire().unwrap();
    let _waits = enqueue(&bulkhead, Priority::Normal);
    assert!(bulkhead.try_acquire_as(Priority::Critical).is_ok());
}

#[test]
fn a_waiting_call_that_leaves_unblocks_the_next() {
    let (_, bulkhead) = fixture(queued(2, 8));
    let one = bulkhead.try_acquire().unwrap();
    let two = bulkhead.try_acquire().unwrap();
    let critical = enqueue(&bulkhead, Priority::Critical);
    let mut normal = enqueue(&bulkhead, Priority::Normal);
    drop(critical);
    assert!(poll(&mut normal).is_pending());
    drop(one);
    assert_eq!(poll(&mut normal), Poll::Ready(Ok(())));
    drop(two);
    bulkhead.release();
    assert_eq!(bulkhead.stats().in_use, 0);
}

#[test]
fn the_callers_deadline_ends_the_wait() {
    let (time, bulkhead) = fixture(queued(1, 1));
    let _held = bulkhead.try_acquire().unwrap();
    let mut waiter = bulkhead.queue(Priority::Normal, time.clock().now().after(MS(10)));
    assert!(poll(&mut waiter).is_pending());
    time.advance(MS(10));
    assert!(matches!(poll(&mut waiter), Poll::Ready(Err(_))));
    assert_eq!(time.timers(), 0);
}

#[test]
fn a_blocking_wait_gets_the_permit_that_another_thread_releases() {
    let bulkhead = Registry::new().bulkhead("b");
    let config = Config::default().max_concurrent(1).max_queue(8).max_wait(Duration::from_mins(1));
    bulkhead.reconfigure(config).unwrap();
    let inside = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let outcome: Result<(), Rejection> = bulkhead.call(|| {
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "only one call runs");
                        inside.fetch_sub(1, Ordering::SeqCst);
                        Ok(())
                    });
                    outcome.unwrap();
                }
            });
        }
    });
    assert_eq!((bulkhead.stats().in_use, bulkhead.stats().queued), (0, 0));
}

#[test]
fn a_blocking_wait_on_a_manual_clock_ends_when_the_clock_is_advanced() {
    let (time, bulkhead) = fixture(queued(1, 1));
    let _held = bulkhead.try_acquire().unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| bulkhead.acquire_blocking().map(drop));
        while bulkhead.stats().queued == 0 {
            std::thread::yield_now();
        }
        time.advance(MS(50));
        assert!(waiter.join().unwrap().is_err());
    });
    assert_eq!((time.timers(), bulkhead.stats().queued), (0, 0));
}

#[test]
fn without_a_timer_a_waiting_call_is_rejected_and_leaves_the_queue() {
    // T149
    let bulkhead = Registry::new().bulkhead("b");
    bulkhead.reconfigure(queued(1, 1)).unwrap();
    let held = bulkhead.try_acquire().unwrap();
    let mut waiter = bulkhead.queue(Priority::Normal, Instant::NEVER);
    let Poll::Ready(Err(rejection)) = poll(&mut waiter) else { panic!("no timer is available") };
    assert_eq!(rejection.kind(), RejectionKind::NoTimer);
    assert_eq!((bulkhead.stats().queued, bulkhead.stats().rejected), (0, 1));
    drop(held);
    assert_eq!(bulkhead.stats().in_use, 0);
}

/// Counts the calls inside, also when a call is dropped there.
struct Inside<'a>(&'a AtomicU32);

impl<'a> Inside<'a> {
    fn enter(count: &'a AtomicU32, limit: u32) -> Self {
        assert!(count.fetch_add(1, Ordering::SeqCst) < limit, "at most {limit}");
        Self(count)
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn dropping_calls_at_any_point_leaks_no_permit() {
    // T50, T150
    let bulkhead = Registry::new().bulkhead("b");
    bulkhead.reconfigure(queued(3, 16)).unwrap();
    let inside = Arc::new(AtomicU32::new(0));
    let storm = |number: u32| {
        let (bulkhead, inside) = (Arc::clone(&bulkhead), Arc::clone(&inside));
        async move {
            for round in 0..200 {
                let call = async {
                    let _permit = bulkhead.acquire_as(Priority::ALL[((number + round) % 4) as usize]).await?;
                    let _inside = Inside::enter(&inside, 3);
                    tokio::task::yield_now().await;
                    Ok::<_, Rejection>(())
                };
                let patience = async {
                    for _ in 0..(number * 7 + round) % 11 {
                        tokio::task::yield_now().await;
                    }
                };
                tokio::select! {
                    _ = call => {}
                    () = patience => {}
                }
            }
        }
    };
    let tasks: Vec<_> = (0..32).map(|number| tokio::spawn(storm(number))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!((bulkhead.stats().in_use, bulkhead.stats().queued), (0, 0));
}

#[test]
fn invalid_settings_are_rejected_as_a_whole() {
    // T127
    let (_, bulkhead) = fixture(Config::default());
    let refused = |config: Config| {
        let error = bulkhead.reconfigure(config).unwrap_err();
        error.problems().iter().map(|problem| problem.field).collect::<Vec<_>>()
    };
    assert_eq!(refused(Config::default().max_concurrent(0)), ["max_concurrent"]);
    assert_eq!(refused(Config::default().max_queue(5)), ["max_queue"]);
    assert_eq!(refused(Config::default().max_wait(MS(5))), ["max_wait"]);
    assert_eq!(refused(Config::default().max_concurrent(4).reserve_critical(4)), ["reserve_critical"]);
    let sum = Config::default().max_concurrent(4).reserve_critical(2).reserve_high(u32::MAX);
    assert_eq!(refused(sum), ["reserve_high"]);
    assert_eq!(*bulkhead.config(), Config::default());
}

#[test]
fn it_is_small() {
    assert!(size_of::<Bulkhead>() <= 512, "{}", size_of::<Bulkhead>());
    assert!(size_of::<Admission<'_>>() <= 64, "{}", size_of::<Admission<'_>>());
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_blocks_under_a_paused_clock_times_out() {
    // T148
    let bulkhead = Registry::with_clock(crate::clock::Clock::tokio()).bulkhead("b");
    bulkhead.reconfigure(queued(1, 1).max_wait(MS(1))).unwrap();
    let _held = bulkhead.try_acquire().unwrap();
    let refused = bulkhead.acquire_blocking().unwrap_err();
    assert_eq!(refused.kind(), RejectionKind::BulkheadFull);
    assert_eq!(bulkhead.stats().queued, 0);
}
