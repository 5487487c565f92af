//! A function that is told what happens.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use super::{Event, Subscription};
use crate::sync::{AtomicBool, AtomicU64, Ordering};

/// A listener, as long as it is kept; see [`Registry::listen`](crate::Registry::listen).
///
/// It runs on a thread of its own, fed by a bounded stream: one that is slow loses the oldest events, one that stalls all
/// but what the stream holds, one that panics that event. No call waits for it (T128).
///
/// ```
/// use std::sync::mpsc;
/// use resilient_runtime::{Listener, Registry};
///
/// let (tell, told) = mpsc::channel();
/// let registry = Registry::new();
/// let _listener: Listener = registry.listen(move |event| tell.send(event.component).unwrap())?;
/// registry.circuit_breaker("payment").force_open();
/// assert_eq!(told.recv(), Ok("payment"));
/// # Ok::<_, std::io::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "it is told nothing any more when this is dropped"]
pub struct Listener {
    shared: Arc<Shared>,
    /// Not joined: it may stall.
    thread: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Shared {
    has_ended: AtomicBool,
    panics: AtomicU64,
    dropped: AtomicU64,
}

impl Listener {
    /// # Errors
    /// When there is no thread to be had.
    pub(crate) fn start(
        mut events: Subscription,
        mut listener: impl FnMut(&Event) + Send + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let told = Arc::clone(&shared);
        let run = move || {
            while let Some(event) = next(&mut events, &told.has_ended) {
                told.dropped.store(events.dropped(), Ordering::Relaxed);
                if catch_unwind(AssertUnwindSafe(|| listener(&event))).is_err() {
                    told.panics.fetch_add(1, Ordering::Relaxed);
                }
            }
        };
        let thread = std::thread::Builder::new().name("resilient-listener".to_owned()).spawn(run)?;
        Ok(Self { shared, thread })
    }

    /// How often it has panicked.
    ///
    /// ```
    /// let listener = resilient_runtime::Registry::new().listen(|_| panic!("a mistake of the listener"))?;
    /// assert_eq!(listener.panics(), 0, "it was told nothing yet");
    /// # Ok::<_, std::io::Error>(())
    /// ```
    pub fn panics(&self) -> u64 {
        self.shared.panics.load(Ordering::Relaxed)
    }

    /// Events that it was too slow for.
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
    /// What it is being told now it still hears to its end.
    fn drop(&mut self) {
        // Release and Acquire by `unpark` and `park`.
        self.shared.has_ended.store(true, Ordering::Relaxed);
        self.thread.thread().unpark();
    }
}

/// The next event; blocks the thread until there is one, or it is to end.
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
    fn a_listener_that_panics_is_told_the_next_event_and_no_call_notices() {
        // T128
        let registry = Registry::new();
        let (sender, told) = channel();
        let listener = registry
            .listen(move |event| {
                sender.send(event.component).unwrap();
                assert_ne!(event.component, "first", "of the listener");
            })
            .unwrap();
        for name in ["first", "second"] {
            registry.circuit_breaker(name).reset();
            assert_eq!(told.recv_timeout(Duration::from_secs(10)).unwrap(), name);
        }
        assert_eq!((listener.panics(), listener.dropped()), (1, 0));
        drop(listener);
        registry.circuit_breaker("third").reset();
        assert!(told.recv_timeout(Duration::from_secs(10)).is_err(), "it is told nothing any more");
    }

    #[test]
    fn a_listener_that_stalls_loses_events_and_no_call_waits_for_it() {
        // T128
        let registry = Registry::new();
        let breaker = registry.circuit_breaker("busy");
        let (end, stalled) = channel::<()>();
        let (sender, told) = channel();
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
        // Some before it took the first and stalled, the rest when it goes on.
        while listener.dropped() < 3000 {
            assert!(told.recv_timeout(Duration::from_secs(10)).is_ok(), "{} dropped", listener.dropped());
        }
    }
}
