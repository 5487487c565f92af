//! Many calls that start, are dropped and panic in any order, and are only polled when woken.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::Wake;

use proptest::prelude::*;

use super::*;

const KEYS: usize = 3;

#[derive(Clone, Copy, Debug)]
enum Act {
    /// Starts a call with this key.
    Start(usize),
    /// Polls the call if it was woken.
    Poll(usize),
    /// Drops the call.
    Drop(usize),
    /// Completes the call's work, if it is the leader.
    Finish(usize),
    /// Lets the call's work panic, if it is the leader.
    Panic(usize),
}

fn act() -> impl Strategy<Value = Act> {
    let caller = 0_usize..24;
    prop_oneof![
        3 => (0..KEYS).prop_map(Act::Start),
        4 => caller.clone().prop_map(Act::Poll),
        1 => caller.clone().prop_map(Act::Drop),
        1 => caller.clone().prop_map(Act::Finish),
        1 => caller.prop_map(Act::Panic),
    ]
}

#[derive(Debug)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Pending,
    Done,
    Panics,
}

/// One call.
struct Caller<'a> {
    key: usize,
    future: Option<Pin<Box<dyn Future<Output = Outcome> + 'a>>>,
    woken: Arc<Flag>,
    work: &'a Cell<Work>,
    /// Whether the call is the leader. If not, it is not woken for its work.
    works: &'a Cell<bool>,
}

impl Caller<'_> {
    /// Polls the call if it was woken. Returns whether it was.
    fn poll(&mut self) -> bool {
        let Some(future) = &mut self.future else { return false };
        if !self.woken.0.swap(false, Ordering::Relaxed) {
            return false;
        }
        let waker = Waker::from(Arc::clone(&self.woken));
        let polled = || future.as_mut().poll(&mut Context::from_waker(&waker));
        match catch_unwind(AssertUnwindSafe(polled)) {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(answer)) => {
                answer.expect("an answer");
                self.future = None;
            }
            Err(_) => {
                assert_eq!(self.work.get(), Work::Panics, "the panic of another call");
                self.future = None;
            }
        }
        true
    }

    fn is_woken(&self) -> bool {
        self.woken.0.load(Ordering::Relaxed)
    }

    fn finish(&self, how: Work) {
        self.work.set(how);
        if self.works.get() {
            self.woken.0.store(true, Ordering::Relaxed);
        }
    }
}

/// Counts the calls that run the work of a key at the same time.
struct Working<'a>(&'a Cell<u32>);

impl<'a> Working<'a> {
    fn new(count: &'a Cell<u32>) -> Self {
        count.set(count.get() + 1);
        Self(count)
    }
}

impl Drop for Working<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// T99, T146, T147: a key has at most one running call, every waiting call is woken, and no flight is left behind.
    #[test]
    fn calls_that_are_dropped_or_panic_leave_the_others_with_a_result(acts in prop::collection::vec(act(), 1..160)) {
        let (_, coalesce) = coalesce();
        let working: [Cell<u32>; KEYS] = Default::default();
        let works: Vec<(Cell<Work>, Cell<bool>)> =
            acts.iter().map(|_| (Cell::new(Work::Pending), Cell::new(false))).collect();
        let mut callers: Vec<Caller<'_>> = Vec::new();
        for (number, act) in acts.iter().enumerate() {
            let find = |caller: usize| caller % callers.len().max(1);
            match *act {
                Act::Start(key) => {
                    let ((work, works), busy, coalesce) = (&works[number], &working[key], &coalesce);
                    let future = async move {
                        let body = async || {
                            let _working = Working::new(busy);
                            works.set(true);
                            std::future::poll_fn(|_| match work.get() {
                                Work::Pending => Poll::Pending,
                                Work::Done => Poll::Ready(Outcome::Ok(1)),
                                Work::Panics => std::panic::resume_unwind(Box::new("on purpose")),
                            })
                            .await
                        };
                        coalesce.call_async(&key, body).await
                    };
                    let woken = Arc::new(Flag(AtomicBool::new(true)));
                    callers.push(Caller { key, future: Some(Box::pin(future)), woken, work, works });
                }
                _ if callers.is_empty() => {}
                Act::Poll(caller) => {
                    let caller = find(caller);
                    callers[caller].poll();
                }
                Act::Drop(caller) => {
                    let caller = find(caller);
                    callers[caller].future = None;
                }
                Act::Finish(caller) => callers[find(caller)].finish(Work::Done),
                Act::Panic(caller) => callers[find(caller)].finish(Work::Panics),
            }
            for (key, busy) in working.iter().enumerate() {
                prop_assert!(busy.get() <= 1, "two calls run for one key");
                let mut there = callers.iter().filter(|caller| caller.key == key && caller.future.is_some());
                let is_idle = there.clone().next().is_some() && busy.get() == 0;
                prop_assert!(!is_idle || there.any(Caller::is_woken), "no call runs and none was woken");
            }
        }
        // Complete all work. Waiting calls are still polled only when woken.
        for caller in &callers {
            if caller.work.get() == Work::Pending {
                caller.finish(Work::Done);
            }
        }
        while callers.iter_mut().map(Caller::poll).filter(|polled| *polled).count() > 0 {}
        let waiting = callers.iter().filter(|caller| caller.future.is_some()).count();
        prop_assert_eq!((waiting, coalesce.stats().in_flight), (0, 0), "a call was not woken, or a flight was left behind");
    }
}

#[test]
fn a_reused_flight_behaves_like_a_new_one() {
    let (_, coalesce) = coalesce();
    for round in 0..100_u32 {
        assert_eq!(coalesce.call(&round, || Outcome::Ok(round)), Ok(round));
        let key = round % 3;
        let ask = || {
            coalesce.call_async(&key, async || {
                pause(1).await;
                Outcome::Ok(round)
            })
        };
        let (mut leader, mut follower) = (Box::pin(ask()), Box::pin(ask()));
        assert!(poll(leader.as_mut()).is_pending() && poll(follower.as_mut()).is_pending());
        if round.is_multiple_of(2) {
            drop(leader);
            assert!(poll(follower.as_mut()).is_pending(), "it runs its own work now");
        } else {
            assert_eq!(poll(leader.as_mut()), Poll::Ready(Ok(round)));
        }
        assert_eq!(poll(follower.as_mut()), Poll::Ready(Ok(round)));
        assert_eq!(coalesce.stats().in_flight, 0);
    }
}
