//! A function that is called with each event.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use super::{Event, Subscription};
use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// A listener started by [`Registry::listen`](crate::Registry::listen).
///
/// It runs until it is dropped, on a separate thread that reads a bounded stream. A slow listener loses the oldest
/// events, and one that blocks loses everything beyond the capacity of the stream. A listener that panics loses
/// that event only. Calls never wait for a listener.
///
/// ```
/// use std::sync::mpsc;
/// use resilient_runtime::{Listener, Registry};
///
/// let (sender, received) = mpsc::channel();
/// let registry = Registry::new();
/// let _listener: Listener = registry.listen(move |event| sender.send(event.component).unwrap())?;
/// registry.circuit_breaker("payment").force_open();
/// assert_eq!(received.recv(), Ok("payment"));
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "the listener stops when this is dropped"]
pub struct Listener {
    shared: Arc<Shared>,
    /// Not joined, because the listener can block.
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    has_ended: AtomicBool,
    panics: AtomicU64,
    dropped: AtomicU64,
}

impl Listener {
    /// Starts the thread of the listener.
    ///
    /// # Errors
    /// Returns an error if no thread can be started.
    pub(crate) fn start(
        mut events: Subscription,
        mut listener: impl FnMut(&Event) + Send + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let counters = Arc::clone(&shared);
        let run = move || {
            while let Some(event) = next(&mut events, &counters.has_ended) {
                counters.dropped.store(events.dropped(), Ordering::Relaxed);
                if catch_unwind(AssertUnwindSafe(|| listener(&event))).is_err() {
                    counters.panics.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        let thread = std::thread::Builder::new().name("resilient-listener".to_owned()).spawn(run)?;
        Ok(Self { shared, thread })
    }

    /// Returns how often the listener panicked.
    ///
    /// ```
    /// let listener = resilient_runtime::Registry::new().listen(|_| panic!("a bug in the listener"))?;
    /// assert_eq!(listener.panics(), 0, "no event yet");
    /// # Ok::<_, std::io::Error>(())
    /// ```
    pub fn panics(&self) -> u64 {
        self.shared.panics.load(Ordering::Relaxed)
    }

    /// Returns the number of events dropped because the listener was too slow.
    ///
    /// ```
    /// let listener = resilient_runtime::Registry::new().listen(|event| println!("{event:?}"))?;
    /// assert_eq!(listener.dropped(), 0);
    /// # Ok::<_, std::io::Error>(())
    /// ```
    pub fn dropped(&self) -> u64 {
        self.shared.dropped.load(Ordering::Relaxed)
    }
}

impl Drop for Listener {
    /// Stops the listener after the event it is processing.
    fn drop(&mut self) {
        // Relaxed: `unpark` and `park` provide Release and Acquire.
        self.shared.has_ended.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
    }
}

/// Returns the next event. Blocks the thread until there is one, or until the listener must stop.
fn next(events: &mut Subscription, has_ended: &AtomicBool) -> Option<Event> {
    let waker = crate::clock::unparker();
    let mut next = pin!(events.recv());
    loop {
        if has_ended.load(Ordering::Relaxed) {
            return None;
        }
        match next.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(event) => return event,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[cfg(all(test, not(resilient_loom)))]
mod tests {
    use std::sync::mpsc::channel;
    use std::time::Duration;

    use crate::{Component, Registry, Rejection};

    #[test]
    fn a_listener_that_panics_receives_the_next_event_and_calls_are_unaffected() {
        // T128
        let registry = Registry::new();
        let (sender, received) = channel();
        let listener = registry
            .listen(move |event| {
                sender.send(event.component).unwrap();
                assert_ne!(event.component, "first", "a panic of the listener");
            })
            .unwrap();
        for name in ["first", "second"] {
            registry.circuit_breaker(name).reset();
            assert_eq!(received.recv_timeout(Duration::from_secs(10)).unwrap(), name);
        }
        assert_eq!((listener.panics(), listener.dropped()), (1, 0));
        drop(listener);
        registry.circuit_breaker("third").reset();
        assert!(received.recv_timeout(Duration::from_secs(10)).is_err(), "the listener has stopped");
    }

    #[test]
    fn a_listener_that_blocks_loses_events_and_no_call_waits_for_it() {
        // T128
        let registry = Registry::new();
        let breaker = registry.circuit_breaker("busy");
        let (end, stalled) = channel::<()>();
        let (sender, received) = channel();
        let listener = registry
            .listen(move |_| {
                let _ = stalled.recv();
                let _ = sender.send(());
            })
            .unwrap();
        for _ in 0..5000 {
            breaker.reset();
            assert_eq!(breaker.call(|| Ok::<_, Rejection>(1)).unwrap(), 1);
        }
        drop(end);
        // Some events were dropped before it took the first one and blocked, the rest when it continues.
        while listener.dropped() < 3000 {
            assert!(received.recv_timeout(Duration::from_secs(10)).is_ok(), "{} dropped", listener.dropped());
        }
    }
}
