//! The receiving side of events.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::broadcast;

use super::Event;
use super::events::Shared;

/// A stream of [`Event`]s.
///
/// It holds the newest [`EVENT_CAPACITY`](super::EVENT_CAPACITY) events. A subscriber that reads too slowly loses
/// the oldest events and can read how many it lost. A subscriber never delays a call.
///
/// ```
/// let registry = resilient_runtime::Registry::new();
/// registry.circuit_breaker("payment").force_open();
/// let mut events = registry.subscribe();
/// assert!(events.try_recv().is_none(), "only later events are received");
/// ```
#[derive(Debug)]
pub struct Subscription {
    shared: Arc<Shared>,
    receiver: broadcast::Receiver<Event>,
    dropped: u64,
    /// The number of events that the outbox had dropped before this subscription.
    lost_before: u64,
}

impl Subscription {
    pub(super) fn new(shared: Arc<Shared>, receiver: broadcast::Receiver<Event>, lost_before: u64) -> Self {
        Self { shared, receiver, dropped: 0, lost_before }
    }

    /// Waits for the next event.
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
    /// This method is cancel safe. If the future is dropped, no event is lost.
    pub async fn recv(&mut self) -> Option<Event> {
        loop {
            match self.receiver.recv().await {
                Ok(event) => return Some(event),
                Err(broadcast::error::RecvError::Lagged(missed)) => self.dropped += missed,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// Returns the next event, if there is one.
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

    /// Returns the number of events lost because this subscription was read too slowly.
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
