//! Compares the bulkhead with a simple model.

use std::task::{Context, Poll, Waker};
use std::time::Duration;

use proptest::prelude::*;

use super::{Admission, Bulkhead, Component, Config, Instant};
use crate::clock::ManualClock;
use crate::priority::Priority;
use crate::registry::Registry;

const WAIT: u64 = 100;
/// How long a permit is reserved for a call that does not pick it up.
const KEPT: u64 = 1000;

#[derive(Clone, Debug)]
enum Step {
    /// Arrives, and waits if needed.
    Arrive(usize),
    /// Arrives, and does not wait.
    Try(usize),
    /// One running call ends.
    Leave,
    /// The waiting call at this index leaves the queue.
    GiveUp(usize),
    /// The future of the waiting call at this index stays alive but is no longer polled.
    Forget(usize),
    Wait(u64),
    Resize(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..4usize).prop_map(Step::Arrive),
        2 => (0..4usize).prop_map(Step::Try),
        4 => Just(Step::Leave),
        1 => any::<usize>().prop_map(Step::GiveUp),
        1 => any::<usize>().prop_map(Step::Forget),
        1 => (0..WAIT).prop_map(Step::Wait),
        1 => Just(Step::Wait(KEPT)),
        1 => (3..8u32).prop_map(Step::Resize),
    ]
}

/// Waiting calls in order of arrival, searched from the front each time.
struct Model {
    config: Config,
    in_use: u32,
    waiting: Vec<(u32, Priority, u64)>,
    admitted: Vec<u32>,
    forgotten: Vec<u32>,
    /// The times at which permits of unpolled calls expire.
    unclaimed: Vec<u64>,
}

impl Model {
    fn may_enter(&self, priority: Priority) -> bool {
        let reserved = match priority {
            Priority::Critical => 0,
            Priority::High => self.config.reserve_critical,
            _ => self.config.reserve_critical + self.config.reserve_high,
        };
        self.in_use + reserved < self.config.max_concurrent
    }

    fn may_pass(&self, priority: Priority) -> bool {
        self.waiting.iter().all(|(_, waiter, _)| *waiter < priority) && self.may_enter(priority)
    }

    /// Admits waiting calls: the highest class first, then the earliest. Stops at the first that cannot be admitted.
    fn admit(&mut self, now: u64) {
        while let Some(best) = self.waiting.iter().map(|(_, class, _)| *class).max() {
            if !self.may_enter(best) {
                return;
            }
            let index = self.waiting.iter().position(|(_, class, _)| *class == best).unwrap();
            let (id, ..) = self.waiting.remove(index);
            if self.forgotten.contains(&id) {
                self.unclaimed.push(now + KEPT);
            } else {
                self.admitted.push(id);
            }
            self.in_use += 1;
        }
    }

    /// Removes expired calls. Unpolled calls are removed by others, and so a moment later.
    fn expire(&mut self, now: u64) {
        let forgotten = &self.forgotten;
        self.waiting.retain(|(id, _, until)| *until > now || (*until == now && forgotten.contains(id)));
        let before = self.unclaimed.len();
        self.unclaimed.retain(|until| *until >= now);
        self.in_use -= u32::try_from(before - self.unclaimed.len()).unwrap();
    }
}

struct Waiter<'a> {
    id: u32,
    admission: Admission<'a>,
}

/// Polls every waiting call. Returns the admitted ones and drops the rejected ones.
fn poll_all(waiters: &mut Vec<Waiter<'_>>) -> Vec<u32> {
    let mut cx = Context::from_waker(Waker::noop());
    let mut entered = Vec::new();
    waiters.retain_mut(|waiter| match std::pin::Pin::new(&mut waiter.admission).poll(&mut cx) {
        Poll::Pending => true,
        Poll::Ready(Ok(())) => {
            entered.push(waiter.id);
            false
        }
        Poll::Ready(Err(_)) => false,
    });
    entered
}

fn run(config: Config, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let time = ManualClock::new();
    let bulkhead = Registry::with_clock(time.clock()).bulkhead("b");
    bulkhead.reconfigure(config.clone()).unwrap();
    let bulkhead: &Bulkhead = &bulkhead;
    let mut model = Model {
        config,
        in_use: 0,
        waiting: Vec::new(),
        admitted: Vec::new(),
        forgotten: Vec::new(),
        unclaimed: Vec::new(),
    };
    let mut waiters: Vec<Waiter<'_>> = Vec::new();
    let mut unpolled: Vec<Waiter<'_>> = Vec::new();
    let mut now = 0;
    for (id, step) in (0..).zip(steps) {
        match step {
            Step::Arrive(class) => {
                let priority = Priority::ALL[class];
                let mut admission = bulkhead.queue(priority, Instant::NEVER);
                let poll = std::pin::Pin::new(&mut admission).poll(&mut Context::from_waker(Waker::noop()));
                if model.may_pass(priority) {
                    model.in_use += 1;
                    prop_assert_eq!(poll, Poll::Ready(Ok(())));
                } else if model.waiting.len() < model.config.max_queue as usize {
                    model.waiting.push((id, priority, now + WAIT));
                    prop_assert!(poll.is_pending());
                    waiters.push(Waiter { id, admission });
                } else {
                    prop_assert!(matches!(poll, Poll::Ready(Err(_))));
                }
            }
            Step::Try(class) => {
                let priority = Priority::ALL[class];
                let entered = bulkhead.admit(priority).is_ok();
                prop_assert_eq!(entered, model.may_pass(priority));
                model.in_use += u32::from(entered);
            }
            Step::Leave => {
                if model.in_use as usize > model.unclaimed.len() {
                    model.in_use -= 1;
                    bulkhead.release();
                }
            }
            Step::GiveUp(index) => {
                if !waiters.is_empty() {
                    let waiter = waiters.remove(index % waiters.len());
                    model.waiting.retain(|(id, ..)| *id != waiter.id);
                }
            }
            Step::Forget(index) => {
                if !waiters.is_empty() {
                    let waiter = waiters.remove(index % waiters.len());
                    model.forgotten.push(waiter.id);
                    unpolled.push(waiter);
                }
            }
            Step::Wait(millis) => {
                now += millis;
                time.advance(Duration::from_millis(millis));
                model.expire(now);
            }
            Step::Resize(permits) => {
                model.config.max_concurrent = permits;
                bulkhead.reconfigure(model.config.clone()).unwrap();
            }
        }
        model.admit(now);
        // Any access to the bulkhead removes expired calls.
        bulkhead.stats();
        let mut entered = poll_all(&mut waiters);
        entered.sort_unstable();
        let mut expected = std::mem::take(&mut model.admitted);
        expected.sort_unstable();
        prop_assert_eq!(entered, expected);
        let stats = bulkhead.stats();
        prop_assert_eq!((stats.in_use, stats.queued), (model.in_use, model.waiting.len() as u64));
    }
    // Dropping unpolled calls must not release permits that they no longer have.
    let in_use = model.in_use - u32::try_from(model.unclaimed.len()).unwrap();
    drop((waiters, unpolled));
    let stats = bulkhead.stats();
    prop_assert_eq!((stats.in_use, stats.queued), (in_use, 0));
    Ok(())
}

proptest! {
    #[test]
    fn it_admits_the_same_calls_as_the_model(
        permits in 3..6u32,
        queue in 0..5u32,
        critical in 0..2u32,
        high in 0..2u32,
        steps in prop::collection::vec(step(), 1..120),
    ) {
        // T48, T52, T56
        let config = Config::default()
            .max_concurrent(permits)
            .max_queue(queue)
            .reserve_critical(critical)
            .reserve_high(high);
        let config = if queue > 0 { config.max_wait(Duration::from_millis(WAIT)) } else { config };
        run(config, steps)?;
    }
}
