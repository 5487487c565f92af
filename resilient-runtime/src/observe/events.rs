//! A bounded stream of events that never blocks publishers.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::broadcast;

use super::{Event, Subscription};
use crate::error_text::Texts;

/// The capacity of the event stream, per subscriber.
///
/// If a subscriber does not keep up, the oldest events are dropped and counted.
///
/// ```
/// use resilient_runtime::{Registry, observe::EVENT_CAPACITY};
///
/// let registry = Registry::new();
/// let (mut events, breaker) = (registry.subscribe(), registry.circuit_breaker("payment"));
/// for _ in 0..EVENT_CAPACITY {
///     breaker.force_open();
///     breaker.resume();
/// }
/// let held = std::iter::from_fn(|| events.try_recv()).count();
/// assert_eq!((held, events.dropped()), (EVENT_CAPACITY, EVENT_CAPACITY as u64));
/// ```
pub const EVENT_CAPACITY: usize = 1024;

/// The publishing side. Cheap to clone.
///
/// All events pass through one queue, in the order in which they are queued. A component that changes under a lock
/// queues its event under the same lock, before the change is visible, and delivers it after releasing the lock.
/// Events are therefore in the order of the changes, whichever thread is faster afterwards.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events(Arc<Shared>);

#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) subscribers: AtomicUsize,
    sender: OnceLock<broadcast::Sender<Event>>,
    outbox: Mutex<Outbox>,
    texts: Texts,
    /// The number of events dropped because the outbox was full.
    pub(super) lost: AtomicU64,
}

/// Holds at most [`EVENT_CAPACITY`] events, in case the delivering thread is held up by a waker.
#[derive(Debug, Default)]
struct Outbox {
    waiting: VecDeque<Event>,
    /// Whether a thread is delivering. Other threads leave their events to it.
    is_being_delivered: bool,
}

impl Shared {
    fn outbox(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Events {
    pub(crate) fn texts(&self) -> &Texts {
        &self.0.texts
    }

    /// Returns whether there are subscribers.
    #[inline]
    pub(crate) fn are_wanted(&self) -> bool {
        self.0.subscribers.load(Ordering::Relaxed) > 0
    }

    /// Publishes an event. Never blocks and never fails. Costs one load without subscribers.
    #[inline]
    pub(crate) fn publish(&self, event: impl FnOnce() -> Event) {
        if self.are_wanted() {
            self.send(event());
        }
    }

    #[cold]
    fn send(&self, event: Event) {
        self.put(|| event);
        self.deliver();
    }

    /// Queues an event. Calls no foreign code, so it can be called under a lock. Call [`deliver`](Self::deliver)
    /// after releasing the lock.
    pub(crate) fn put(&self, event: impl FnOnce() -> Event) {
        if !self.are_wanted() {
            return;
        }
        let event = event();
        let mut outbox = self.0.outbox();
        if outbox.waiting.len() >= EVENT_CAPACITY {
            outbox.waiting.pop_front();
            self.0.lost.fetch_add(1, Ordering::Relaxed);
        }
        outbox.waiting.push_back(event);
    }

    /// Delivers queued events, unless another thread is doing so. Must be called without a lock held, because it
    /// wakes subscribers.
    pub(crate) fn deliver(&self) {
        if !self.are_wanted() {
            return;
        }
        let mut outbox = self.0.outbox();
        if outbox.is_being_delivered {
            return;
        }
        outbox.is_being_delivered = true;
        let turn = Turn(&self.0);
        while let Some(event) = outbox.waiting.pop_front() {
            drop(outbox);
            if let Some(sender) = self.0.sender.get() {
                // The last subscriber can be gone.
                let _ = sender.send(event);
            }
            outbox = self.0.outbox();
        }
        // Clear the flag under the lock that found the queue empty: threads that queue an event later deliver it
        // themselves.
        outbox.is_being_delivered = false;
        std::mem::forget(turn);
    }

    pub(crate) fn subscribe(&self) -> Subscription {
        let sender = self.0.sender.get_or_init(|| broadcast::Sender::new(EVENT_CAPACITY));
        let receiver = sender.subscribe();
        let mut outbox = self.0.outbox();
        let lost_before = self.0.lost.load(Ordering::Relaxed);
        if self.0.subscribers.fetch_add(1, Ordering::Relaxed) == 0 && !outbox.is_being_delivered {
            // Events queued for subscribers that are gone.
            outbox.waiting.clear();
        }
        drop(outbox);
        Subscription::new(Arc::clone(&self.0), receiver, lost_before)
    }
}

/// The right of a thread to deliver. Released even if a waker panics.
struct Turn<'a>(&'a Shared);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.outbox().is_being_delivered = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::component::Kind;
    use crate::observe::EventKind;

    fn event(component: &str) -> Event {
        Event::now(Kind::Bulkhead, crate::component::lasting(component), EventKind::Reset)
    }

    #[test]
    fn a_slow_subscriber_loses_the_oldest_events_and_counts_them() {
        let events = Events::default();
        let mut slow = events.subscribe();
        for number in 0..EVENT_CAPACITY + 10 {
            events.publish(|| event(&number.to_string()));
        }
        assert_eq!(slow.try_recv().unwrap().component, "10");
        assert_eq!(slow.dropped(), 10);
    }

    #[test]
    fn an_event_queued_under_a_lock_precedes_one_published_later() {
        let events = Events::default();
        let mut subscription = events.subscribe();
        events.put(|| event("first"));
        assert_eq!(subscription.try_recv(), None, "events are not delivered under the lock");
        events.publish(|| event("second"));
        events.deliver();
        let order: Vec<_> =
            std::iter::from_fn(|| subscription.try_recv()).map(|event| event.component).collect();
        assert_eq!(order, ["first", "second"]);
    }

    #[test]
    fn a_waker_that_publishes_or_panics_does_not_block_delivery() {
        // T23
        struct Calls(Events, AtomicU64);
        impl std::task::Wake for Calls {
            fn wake(self: Arc<Self>) {
                self.0.publish(|| event("of the waker"));
                self.1.fetch_add(1, Ordering::Relaxed);
                std::panic::resume_unwind(Box::new("the waker panicked"));
            }
        }
        let events = Events::default();
        let calls = Arc::new(Calls(events.clone(), AtomicU64::new(0)));
        let mut waiting = events.subscribe();
        {
            let waker = std::task::Waker::from(Arc::clone(&calls));
            let mut next = std::pin::pin!(waiting.recv());
            assert!(next.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());
            let published =
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| events.publish(|| event("first"))));
            assert!(published.is_err());
        }
        assert_eq!(calls.1.load(Ordering::Relaxed), 1);
        events.publish(|| event("third"));
        let order: Vec<_> = std::iter::from_fn(|| waiting.try_recv()).map(|event| event.component).collect();
        assert_eq!(order, ["first", "of the waker", "third"]);
    }

    #[test]
    fn no_event_is_created_without_subscribers() {
        let events = Events::default();
        events.publish(|| unreachable!("no subscriber"));
        let mut subscription = events.subscribe();
        events.publish(|| event("a"));
        assert_eq!(subscription.try_recv(), Some(event("a")));
        drop(subscription);
        events.publish(|| unreachable!("the subscriber has gone"));
    }
}
