//! What happened, as a bounded stream that nobody can stall.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use tokio::sync::broadcast;

use super::{Event, Subscription};
use crate::error_text::Texts;

/// Events held for a subscriber that does not keep up; then the oldest are dropped, and counted.
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

/// The sending side; cheap to clone.
///
/// All events pass one queue, in the order in which they are put there. A component that changes under a lock puts its event
/// there under the same lock, before anybody sees the change, and lets it be delivered when it has let go of the lock: so
/// events are in the order of what they tell of, whichever thread is faster afterwards.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events(Arc<Shared>);

#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) subscribers: AtomicUsize,
    sender: OnceLock<broadcast::Sender<Event>>,
    outbox: Mutex<Outbox>,
    texts: Texts,
    /// Events that the outbox had no room for.
    pub(super) lost: AtomicU64,
}

/// At most [`EVENT_CAPACITY`], should the thread that delivers be held up by who is woken.
#[derive(Debug, Default)]
struct Outbox {
    waiting: VecDeque<Event>,
    /// A thread delivers; others leave their events to it.
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

    /// Whether anybody listens.
    #[inline]
    pub(crate) fn are_wanted(&self) -> bool {
        self.0.subscribers.load(Ordering::Relaxed) > 0
    }

    /// Never blocks and never fails; one load where nobody listens.
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

    /// Gives an event its place. Calls nothing foreign, so that it may be done under a lock; to be
    /// [delivered](Self::deliver) after that.
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

    /// Delivers what waits, unless another thread is about to. To be called with no lock held: it wakes whoever waits for
    /// an event.
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
                // The last subscriber may have just gone.
                let _ = sender.send(event);
            }
            outbox = self.0.outbox();
        }
        // Under the lock that found it empty: who puts something there now delivers it.
        outbox.is_being_delivered = false;
        std::mem::forget(turn);
    }

    pub(crate) fn subscribe(&self) -> Subscription {
        let sender = self.0.sender.get_or_init(|| broadcast::Sender::new(EVENT_CAPACITY));
        let receiver = sender.subscribe();
        let mut outbox = self.0.outbox();
        let lost_before = self.0.lost.load(Ordering::Relaxed);
        if self.0.subscribers.fetch_add(1, Ordering::Relaxed) == 0 && !outbox.is_being_delivered {
            // What was put there for those who have gone.
            outbox.waiting.clear();
        }
        drop(outbox);
        Subscription::new(Arc::clone(&self.0), receiver, lost_before)
    }
}

/// The turn of a thread to deliver; given up also when a waker panics.
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
    fn a_slow_subscriber_loses_the_oldest_and_knows_how_many() {
        let events = Events::default();
        let mut slow = events.subscribe();
        for number in 0..EVENT_CAPACITY + 10 {
            events.publish(|| event(&number.to_string()));
        }
        assert_eq!(slow.try_recv().unwrap().component, "10");
        assert_eq!(slow.dropped(), 10);
    }

    #[test]
    fn an_event_that_was_put_under_a_lock_comes_before_one_that_is_published_later() {
        // D2
        let events = Events::default();
        let mut subscription = events.subscribe();
        events.put(|| event("first"));
        assert_eq!(subscription.try_recv(), None, "it is not delivered under the lock");
        events.publish(|| event("second"));
        events.deliver();
        let order: Vec<_> =
            std::iter::from_fn(|| subscription.try_recv()).map(|event| event.component).collect();
        assert_eq!(order, ["first", "second"]);
    }

    #[test]
    fn a_waker_that_publishes_or_panics_holds_nobody_up() {
        // D2, T23
        struct Calls(Events, AtomicU64);
        impl std::task::Wake for Calls {
            fn wake(self: Arc<Self>) {
                self.0.publish(|| event("of the waker"));
                self.1.fetch_add(1, Ordering::Relaxed);
                std::panic::resume_unwind(Box::new("the waker fell"));
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
    fn nothing_is_made_where_nobody_listens() {
        let events = Events::default();
        events.publish(|| unreachable!("no subscriber"));
        let mut subscription = events.subscribe();
        events.publish(|| event("a"));
        assert_eq!(subscription.try_recv(), Some(event("a")));
        drop(subscription);
        events.publish(|| unreachable!("the subscriber has gone"));
    }
}
