//! Counts the running instances of a service.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Waker};
use std::time::Duration;

use super::guard::Guard;
use super::wait::guarded;
use super::worker::Need;
use super::{Answer, StoreError};
use crate::clock::{BoxedTimer, Instant};
use crate::sync::Ordering;

/// How often an instance announces itself.
const INTERVAL: Duration = Duration::from_secs(2);
/// How long an announcement lasts.
const LASTS: Duration = Duration::from_secs(7);

/// Counts the running instances that use the same store with the same prefix.
///
/// ```
/// use std::collections::BTreeSet;
/// use std::sync::Mutex;
/// use std::time::Duration;
/// use resilient_runtime::store::{Answer, InstanceStore};
///
/// /// Counts the instances of one process. Announcements do not expire.
/// #[derive(Debug, Default)]
/// struct Local(Mutex<BTreeSet<u128>>);
/// impl InstanceStore for Local {
///     fn announce(&self, instance: u128, _: Duration) -> Answer<'_, u32> {
///         let mut all = self.0.lock().unwrap();
///         all.insert(instance);
///         let count = all.len() as u32;
///         Box::pin(async move { Ok(count) })
///     }
///     fn leave(&self, instance: u128) -> Answer<'_, ()> {
///         self.0.lock().unwrap().remove(&instance);
///         Box::pin(async { Ok(()) })
///     }
/// }
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// let local = Local::default();
/// assert_eq!(local.announce(1, Duration::from_secs(7)).await, Ok(1));
/// assert_eq!(local.announce(2, Duration::from_secs(7)).await, Ok(2));
/// # }
/// ```
pub trait InstanceStore: Send + Sync + 'static {
    /// Announces an instance for the duration `lasts`, by the clock of the store. Returns the number of instances whose
    /// announcement has not expired, with this one.
    fn announce(&self, instance: u128, lasts: Duration) -> Answer<'_, u32>;

    /// Ends the announcement of an instance.
    ///
    /// The future is polled once and then dropped when the registry of the instance is dropped, so do as much as possible
    /// before it is first pending.
    fn leave(&self, instance: u128) -> Answer<'_, ()>;
}

impl Guard {
    /// Starts to announce this instance, in the background.
    pub(crate) fn announce(self: &Arc<Self>) {
        if !self.announces.swap(true, Ordering::Relaxed) {
            let guard = Arc::downgrade(self);
            if let Err(problem) = self.background.start(keep_announced(guard)) {
                self.announces.store(false, Ordering::Relaxed);
                tracing::error!(target: "resilient_runtime::store", store = self.name, problem, "this instance is not announced");
            }
        }
    }

    /// The number of running instances at the last announcement, at least 1.
    pub(crate) fn live_instances(&self) -> u32 {
        self.live.load(Ordering::Relaxed).max(1)
    }

    /// Ends the announcement, without waiting for the store.
    pub(super) fn leave(&self) {
        if !self.announces.load(Ordering::Relaxed) {
            return;
        }
        let Some(backend) = self.open_backend() else { return };
        if let Some(instances) = backend.instances() {
            let mut left = pin!(guarded(|| instances.leave(self.instance)));
            let _ = left.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        }
    }

    /// Identifies this instance in the store.
    pub(crate) fn instance(&self) -> u128 {
        self.instance
    }
}

async fn keep_announced(guard: Weak<Guard>) {
    // The last number of instances, and until when a smaller one is not used.
    let mut counted = (1, Instant::from_nanos(0));
    loop {
        let Some(strong) = guard.upgrade() else { return };
        let (instance, clock) = (strong.instance, strong.environment.clock.clone());
        let announced = strong.within(Need::Optional, move |backend| async move {
            let instances = backend.instances().ok_or_else(|| StoreError::Refused(NO_ROLE.to_owned()))?;
            guarded(|| instances.announce(instance, LASTS)).await
        });
        // If the store fails, the last number stays.
        if let Ok(live) = announced.await {
            // After an outage of the store, not all instances have announced themselves again.
            let (before, until) = counted;
            let now = clock.now();
            if live >= before || now >= until {
                counted = (live, now.after(LASTS));
                strong.live.store(live, Ordering::Relaxed);
            }
        }
        drop(strong);
        match BoxedTimer::armed(&clock, clock.now().after(INTERVAL)) {
            Ok(timer) => timer.await,
            Err(_) => return,
        }
    }
}

const NO_ROLE: &str = "the store does not count instances";
