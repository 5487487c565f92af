//! Waiting for a token.

use super::*;
use std::sync::Arc;

#[test]
fn waiting_calls_are_admitted_in_order_of_arrival() {
    let (time, limiter) = limiter(rate("10/s").algorithm(Algorithm::LeakyBucket).max_wait(MS * 1000));
    let mut turns: Vec<_> = (0..5).map(|_| Box::pin(limiter.acquire())).collect();
    let mut ready = Vec::new();
    for _ in 0..5 {
        // The last future is polled first.
        for (number, turn) in turns.iter_mut().enumerate().rev() {
            if !ready.contains(&number) && poll(turn.as_mut()).is_ready() {
                ready.push(number);
            }
        }
        time.advance(MS * 100);
    }
    assert_eq!(ready, [4, 3, 2, 1, 0], "the order of arrival is the order of the first polls");
    assert_eq!((limiter.stats().queued, limiter.stats().waited), (0, 4));
}

#[test]
fn the_turn_of_a_dropped_call_passes_to_the_next() {
    let (time, limiter) = limiter(rate("10/s").algorithm(Algorithm::LeakyBucket).max_wait(MS * 1000));
    assert!(limiter.try_acquire().is_ok());
    let (mut first, mut second) = (Box::pin(limiter.acquire()), Box::pin(limiter.acquire()));
    assert!(poll(first.as_mut()).is_pending() && poll(second.as_mut()).is_pending());
    drop(first);
    time.advance(MS * 100);
    assert!(poll(second.as_mut()).is_ready());
    assert!(limiter.try_acquire().is_err(), "only one call was admitted");
}

#[test]
fn calls_do_not_overtake_those_that_wait_for_the_same_key() {
    let (time, limiter) = limiter(rate("10/s").burst(1).max_wait(MS * 1000));
    assert!(limiter.try_acquire().is_ok());
    let mut waiting = Box::pin(limiter.acquire());
    assert!(poll(waiting.as_mut()).is_pending());
    assert!(limiter.check_key("other").allowed);
    time.advance(MS * 100);
    let refused = limiter.try_acquire().unwrap_err();
    assert!(refused.retry_after().unwrap() >= MS * 100, "{refused}");
    assert!(poll(waiting.as_mut()).is_ready());
}

fn is_ok<T>(poll: &Poll<Result<T, Rejection>>) -> bool {
    matches!(poll, Poll::Ready(Ok(_)))
}

#[test]
fn an_unpolled_waiter_does_not_delay_others_after_its_deadline() {
    // A future that was polled once and then stays unpolled.
    let (time, limiter) = limiter(rate("1/s").burst(1).max_wait(MS * 2000));
    assert!(limiter.try_acquire().is_ok());
    let mut unpolled = Box::pin(limiter.acquire());
    assert!(poll(unpolled.as_mut()).is_pending());
    time.advance(Duration::from_hours(1));
    for attempt in 0..10 {
        if attempt % 2 == 0 {
            assert!(is_ok(&poll(pin!(limiter.acquire()))), "{attempt}");
        } else {
            assert!(limiter.try_acquire().is_ok(), "{attempt}");
        }
        time.advance(MS * 1000);
    }
    assert_eq!(limiter.stats().queued, 0);
    assert!(limiter.try_acquire().is_ok());
    assert!(matches!(poll(unpolled.as_mut()), Poll::Ready(Err(_))), "its deadline has passed");
    drop(unpolled);
    assert_eq!(limiter.stats().queued, 0);
}

#[test]
fn calls_behind_an_unpolled_waiter_are_admitted_after_its_deadline() {
    let (time, limiter) = limiter(rate("1/s").burst(1).max_wait(MS * 2000));
    assert!(limiter.try_acquire().is_ok());
    let mut unpolled = Box::pin(limiter.acquire());
    assert!(poll(unpolled.as_mut()).is_pending());
    time.advance(MS * 900);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut behind = Box::pin(limiter.acquire());
    assert!(behind.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    time.advance(MS * 1100);
    assert!(poll(behind.as_mut()).is_pending(), "the deadline of the first has not passed");
    assert!(behind.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    woken.0.store(0, Ordering::Relaxed);
    time.advance(MS);
    assert!(woken.0.load(Ordering::Relaxed) > 0, "its own timer wakes it");
    assert!(is_ok(&poll(behind.as_mut())));
    assert!(limiter.try_acquire().is_err(), "only one token was available");
}

#[test]
fn unpolled_waiters_do_not_fill_the_queue() {
    let (time, limiter) = limiter(rate("1/s").burst(1).max_wait(MS * 3000).max_queue(2));
    assert!((0..3u32).all(|key| limiter.check_key(&key).allowed));
    let mut unpolled = [Box::pin(limiter.acquire_key(&0u32)), Box::pin(limiter.acquire_key(&1u32))];
    assert!(unpolled.iter_mut().all(|turn| poll(turn.as_mut()).is_pending()));
    assert!(poll(pin!(limiter.acquire_key(&2u32))).is_ready(), "the queue is full");
    time.advance(MS * 3001);
    assert!(limiter.check_key(&2u32).allowed);
    let mut next = Box::pin(limiter.acquire_key(&2u32));
    assert!(poll(next.as_mut()).is_pending(), "there is room");
}

#[test]
fn a_call_that_cannot_get_a_token_in_time_does_not_wait() {
    let config = rate("10/s").algorithm(Algorithm::LeakyBucket).max_wait(MS * 250).max_queue(3);
    let (_, limiter) = limiter(config.clone());
    let mut turns: Vec<_> = (0..6).map(|_| Box::pin(limiter.acquire())).collect();
    let polls: Vec<_> = turns.iter_mut().map(|turn| poll(turn.as_mut())).collect();
    let ready = polls.iter().filter(|poll| poll.is_ready()).count();
    assert_eq!(ready, 4, "one is admitted, two wait, three are rejected");
    let Poll::Ready(Err(refused)) = &polls[5] else { panic!("the last call waits") };
    assert!(refused.retry_after().unwrap() > MS * 250);
    drop(polls);
    drop(turns);
    limiter.reconfigure(config.max_wait(MS * 60_000)).unwrap();
    let mut turns: Vec<_> = (0..9).map(|_| Box::pin(limiter.acquire())).collect();
    let waiting = turns.iter_mut().filter_map(|turn| poll(turn.as_mut()).is_pending().then_some(())).count();
    assert_eq!(waiting, 3, "the queue is bounded");
}

#[test]
fn dropping_a_future_at_any_poll_restores_the_queue() {
    // T146
    for polls in 0..4 {
        let (time, limiter) = limiter(rate("10/s").burst(1).max_wait(MS * 1000));
        assert!(limiter.try_acquire().is_ok());
        let mut waiting = Box::pin(limiter.acquire());
        for _ in 0..polls {
            assert!(poll(waiting.as_mut()).is_pending());
        }
        drop(waiting);
        assert_eq!((limiter.stats().queued, time.timers()), (0, 0));
        time.advance(MS * 100);
        assert!(limiter.try_acquire().is_ok());
    }
}

#[test]
fn blocked_threads_are_admitted() {
    let limiter = Registry::with_clock(Clock::system()).rate_limiter("r");
    limiter.reconfigure(rate("200/s").algorithm(Algorithm::LeakyBucket).max_wait(MS * 60_000)).unwrap();
    let began = Clock::system();
    let start = began.now();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert!((0..5).all(|_| limiter.acquire_blocking().is_ok())));
        }
    });
    assert!(began.now().since(start) >= MS * 95, "19 intervals of 5 ms");
    assert_eq!(limiter.stats().queued, 0);
}

#[derive(Default)]
struct Woken(AtomicU64);

impl std::task::Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn waiting_calls_are_woken_by_a_returned_token_and_a_new_rate() {
    let (_, limiter) = limiter(rate("1/h").max_wait(Duration::from_hours(2)));
    let token = limiter.try_acquire().unwrap();
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut cx = Context::from_waker(&waker);
    let (mut first, mut second) = (Box::pin(limiter.acquire()), Box::pin(limiter.acquire()));
    assert!(first.as_mut().poll(&mut cx).is_pending() && second.as_mut().poll(&mut cx).is_pending());
    token.give_back();
    assert_eq!(woken.0.swap(0, Ordering::Relaxed), 1);
    assert!(first.as_mut().poll(&mut cx).is_ready());
    assert!(second.as_mut().poll(&mut cx).is_pending(), "now first in the queue, an hour before its token");
    woken.0.store(0, Ordering::Relaxed);
    limiter.reconfigure(Config::default().max_wait(Duration::from_hours(2))).unwrap();
    assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    assert!(second.as_mut().poll(&mut cx).is_ready());
}

#[test]
fn weighted_and_keyed_calls_wait() {
    let (time, limiter) = limiter(rate("10/s").burst(5).max_wait(MS * 1000));
    assert!(limiter.try_acquire_weighted(5).is_ok() && limiter.try_acquire_weighted(1).is_err());
    let (mut heavy, mut keyed) = (Box::pin(limiter.acquire_weighted(3)), Box::pin(limiter.acquire_key("k")));
    assert!(poll(heavy.as_mut()).is_pending());
    assert!(poll(keyed.as_mut()).is_ready(), "the key has its own limit");
    time.advance(MS * 299);
    assert!(poll(heavy.as_mut()).is_pending());
    time.advance(MS);
    assert!(poll(heavy.as_mut()).is_ready());
    let mut impossible = Box::pin(limiter.acquire_weighted(6));
    assert!(matches!(poll(impossible.as_mut()), Poll::Ready(Err(_))), "T89: rejected at once");
}

#[tokio::test(start_paused = true)]
async fn a_thread_that_blocks_under_a_paused_clock_is_admitted() {
    let limiter = Registry::with_clock(Clock::tokio()).rate_limiter("r");
    limiter.reconfigure(rate("100/s").burst(1).max_wait(MS * 1000)).unwrap();
    assert!(limiter.try_acquire().is_ok());
    assert!(limiter.acquire_blocking().is_ok());
    assert_eq!(limiter.stats().queued, 0);
}
