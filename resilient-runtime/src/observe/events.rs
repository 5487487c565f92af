//! What happened, as a bounded stream that nobody can stall.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::broadcast;

use super::Texts;
use crate::component::Kind;
use crate::correlation::CorrelationId;
use crate::priority::Priority;
use crate::rejection::{OpenReason, RejectionKind};

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

/// Something a component did. A subscriber gets the events of a component in the order in which it did it.
///
/// ```
/// use resilient_runtime::{Component, Registry};
///
/// let registry = Registry::new();
/// let mut events = registry.subscribe();
/// registry.timeout("report").reset();
/// let event = serde_json::to_string(&events.try_recv().unwrap()).unwrap();
/// assert_eq!(event, r#"{"kind":"timeout","component":"report","what":{"event":"reset"}}"#);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Event {
    /// The kind of the component.
    pub kind: Kind,
    /// Its name.
    pub component: &'static str,
    /// What it did.
    pub what: EventKind,
    /// The id of the request in whose course it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<CorrelationId>,
}

impl Event {
    /// With the correlation id of the scope around this code.
    pub(crate) fn now(kind: Kind, component: &'static str, what: EventKind) -> Self {
        Self { kind, component, what, correlation_id: CorrelationId::current() }
    }
}

/// What happened.
///
/// ```
/// use resilient_runtime::{EventKind, Registry, RejectionKind};
///
/// let registry = Registry::new();
/// let breaker = registry.circuit_breaker("payment");
/// breaker.force_open();
/// let mut events = registry.subscribe();
/// breaker.call(|| Some(995));
/// let refused = EventKind::Rejected { rejection: RejectionKind::CircuitOpen, retry_after: None };
/// assert_eq!(events.try_recv().unwrap().what, refused);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "event")]
#[non_exhaustive]
pub enum EventKind {
    /// A circuit breaker changed its state.
    Transition {
        /// The state before.
        from: &'static str,
        /// The state after.
        to: &'static str,
        /// Why the circuit is open, where it is.
        reason: Option<OpenReason>,
        /// The text of the failure that opened it.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Arc<str>>,
    },
    /// A call was refused or cut off.
    Rejected {
        /// By what rule.
        rejection: RejectionKind,
        /// When another call has a chance.
        retry_after: Option<Duration>,
    },
    /// A load shedder has begun or ended to shed classes of calls, because a delay stands.
    Shedding {
        /// The highest class shed before; those below it are, too.
        from: Option<Priority>,
        /// The highest class shed now.
        to: Option<Priority>,
    },
    /// A failed attempt will be repeated.
    Retrying {
        /// The attempt that failed, from 1.
        attempt: u32,
        /// How long the call waits first.
        delay: Duration,
        /// The text of its error.
        #[serde(skip_serializing_if = "Option::is_none")]
        error: Option<Arc<str>>,
    },
    /// Another attempt was sent besides a slow or failed one.
    Hedged {
        /// Its number, from 1.
        attempt: u32,
    },
    /// A failed attempt was not repeated, because the budget had nothing left.
    BudgetExhausted,
    /// A failed attempt was not repeated, because the server asks for a longer wait than the retry allows.
    RetryAfterTooLong {
        /// How long the server asks to wait.
        retry_after: Duration,
        /// The setting `max_retry_after`.
        most: Duration,
    },
    /// A failed attempt was not repeated, because it may have had an effect and the call is not idempotent.
    NotRepeated,
    /// A call got the answer of an earlier one with the same idempotency key.
    Replayed,
    /// A running call has lost the lease on its idempotency key.
    LeaseLost,
    /// The answer of an idempotent call was not saved: a call with the same key will not get it.
    Unsaved {
        /// Such as `too_large`.
        reason: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// A store could not do what it was asked.
    StoreFailed {
        /// What is wrong.
        problem: String,
    },
    /// A fallback level answered.
    FallbackServed {
        /// The level.
        level: &'static str,
    },
    /// A fallback level was cut off or passed over.
    FallbackMissed {
        /// The level.
        level: &'static str,
        /// `timed_out`, `refused` or `out_of_time`.
        why: &'static str,
    },
    /// Every fallback level failed.
    FallbackFailed,
    /// A health check changed its mind.
    HealthChanged {
        /// `pass`, `warn` or `fail`.
        status: &'static str,
    },
    /// An alert fires, got worse or better, or ended.
    AlertChanged {
        /// `warning` or `critical`; none: it ended.
        severity: Option<&'static str>,
        /// The signal.
        value: Option<f64>,
    },
    /// Somebody with the right to it pulled a lever from outside; what it did has an event of its own.
    OperatorAction {
        /// Which lever, such as `reset`.
        action: String,
    },
    /// The settings changed.
    Reconfigured,
    /// The component was reset.
    Reset,
    /// Two places give this component different settings; the first in the order of the source is in force.
    SettingsConflict {
        /// The place that is not heard.
        ignored: String,
        /// The place that is.
        in_force: String,
    },
    /// There are more names of a kind than a registry holds: this one and all further ones share one component.
    TooManyNames {
        /// The first of them.
        name: String,
    },
    /// Settings from outside are for components that are not there so far.
    SettingsUnused {
        /// One line for each component.
        settings: Vec<String>,
    },
    /// Settings from outside are in force.
    SettingsApplied {
        /// Components that they changed.
        changed: usize,
    },
    /// Settings from outside were refused, and those before stay; or an inline setting or a name was; the default stands in its place.
    SettingsRefused {
        /// What is wrong.
        problem: String,
    },
}

/// The sending side; cheap to clone.
///
/// All events pass one queue, in the order in which they are put there. A component that changes under a lock puts its event
/// there under the same lock, before anybody sees the change, and lets it be delivered when it has let go of the lock: so
/// events are in the order of what they tell of, whichever thread is faster afterwards.
#[derive(Clone, Debug, Default)]
pub(crate) struct Events(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    subscribers: AtomicUsize,
    sender: OnceLock<broadcast::Sender<Event>>,
    outbox: Mutex<Outbox>,
    texts: Texts,
    /// Events that the outbox had no room for.
    lost: AtomicU64,
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
        Subscription { shared: Arc::clone(&self.0), receiver, dropped: 0, lost_before }
    }
}

/// The turn of a thread to deliver; given up also when a waker panics.
struct Turn<'a>(&'a Shared);

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.0.outbox().is_being_delivered = false;
    }
}

/// A stream of [`Event`]s. It holds the newest [`EVENT_CAPACITY`]; who reads too slowly loses the oldest and
/// can see how many. A subscriber never delays a call.
///
/// ```
/// let registry = resilient_runtime::Registry::new();
/// registry.circuit_breaker("payment").force_open();
/// let mut events = registry.subscribe();
/// assert!(events.try_recv().is_none(), "only what happens from now on");
/// ```
#[derive(Debug)]
pub struct Subscription {
    shared: Arc<Shared>,
    receiver: broadcast::Receiver<Event>,
    dropped: u64,
    /// What the outbox had lost before this began.
    lost_before: u64,
}

impl Subscription {
    /// The next event; waits for one.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{EventKind, Registry, Component};
    ///
    /// let registry = Registry::new();
    /// let mut events = registry.subscribe();
    /// let (event, ()) = tokio::join!(events.recv(), async { registry.timeout("report").reset() });
    /// assert_eq!(event.unwrap().what, EventKind::Reset);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future loses no event.
    pub async fn recv(&mut self) -> Option<Event> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(missed)) => self.dropped += missed,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// The next event, if there is one already.
    ///
    /// ```
    /// let registry = resilient_runtime::Registry::new();
    /// let mut events = registry.subscribe();
    /// registry.circuit_breaker("payment").force_open();
    /// assert_eq!(events.try_recv().unwrap().component, "payment");
    /// assert!(events.try_recv().is_none());
    /// ```
    pub fn try_recv(&mut self) -> Option<Event> {
        loop {
            match self.receiver.try_recv() {
                Ok(event) => return Some(event),
                Err(broadcast::error::TryRecvError::Lagged(missed)) => self.dropped += missed,
                Err(_) => return None,
            }
        }
    }

    /// How many events were lost so far because this side read too slowly.
    ///
    /// ```
    /// let events = resilient_runtime::Registry::new().subscribe();
    /// assert_eq!(events.dropped(), 0);
    /// ```
    pub fn dropped(&self) -> u64 {
        self.dropped + self.shared.lost.load(Ordering::Relaxed).saturating_sub(self.lost_before)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.subscribers.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
