//! Coordinates the circuit breakers of several instances through a store.
//!
//! Each instance keeps its own window and opens its own circuit. With the setting `store`, it also *votes*: while its
//! circuit is open by its own evidence, it tells the store. The **shared circuit** opens when enough instances vote:
//! `quorum` instances, or `quorum_share` of all, by default at least two and 30 %. One instance with a broken network
//! therefore does not open the circuit of the others, and an instance that is alone uses its own circuit only.
//!
//! `coordinate` selects the effect of an open shared circuit:
//!
//! | `coordinate` | instances with a closed circuit | instances with an open circuit |
//! |---|---|---|
//! | `observe` | nothing; the shared state is shown only | continue with their own circuit |
//! | `advise` (default) | open at their first failure | wait for a probe slot |
//! | `enforce` | open at once | wait for a probe slot |
//!
//! - **Probes.** When the open period of the shared circuit is over, `half_open_calls` probes of all instances decide,
//!   one for each instance at a time. If more than half of them succeed, all instances close. If at least half of them
//!   fail, in at least two instances, the shared circuit opens again, for twice as long. An instance whose probe failed waits for its own open
//!   period before its next one.
//! - **Limits.** A shared opening that its voters do not renew ends after `max_shared_open`.
//! - **Scope.** Instances with different `scope`, such as a zone, do not affect each other.
//! - **Manual control** has precedence: a forced or disabled circuit ignores the shared one and does not vote. After
//!   [`reset`](crate::Component::reset), the instance ignores the current shared opening.
//!   [`reset_all`](crate::CircuitBreaker::reset_all) resets all instances, and fails if the store fails.
//! - **No requests in calls.** A background thread exchanges votes and states, when something changes, when the store
//!   reports a change of another instance, and after `poll` at the latest. Calls read only the local state.
//! - **Without the store**, each instance continues with its own circuit after three times `poll`. Instances that were
//!   open then probe at different moments.
//!
//! ```
//! use std::sync::Arc;
//! use resilient_runtime::{Component, Registry, circuit_breaker::{Config, shared::MemoryCircuits}, clock::Clock};
//!
//! // With `resilient-redis`: registry.use_store("shared", RedisStore::connect_lazily("redis://..")?);
//! let registry = Registry::new();
//! registry.use_store("shared", MemoryCircuits::new(Clock::system()));
//! let payment = registry.circuit_breaker("payment");
//! payment.reconfigure(Config::default().store("shared").scope("zone-a").quorum(3)).unwrap();
//! ```
//!
//! The quorum follows a proposal for Polly (issue 287): a single sick instance must not open the circuits of all. The
//! cached view of the shared state and the shared probes follow the library interlock.

mod exchange;
mod govern;
mod guarded;
mod memory;
mod stats;

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::{Arc, OnceLock, Weak};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;

pub use crate::store::circuits::{
    CircuitStore, Ended, Listener, ProbeRequest, Report, Rule, Shared, SharedState,
};
pub(super) use govern::Governed;
pub use memory::MemoryCircuits;
pub use stats::SharedStats;

use super::CircuitBreaker;
use crate::clock::{BoxedTimer, Clock, Instant};
use crate::observe::LogLimit;
use crate::store::{Backend, Guard, NamedStores, OnReady};
use crate::sync::Mutex;

/// Where a circuit breaker finds its store.
#[derive(Debug, Default)]
pub(super) struct Home {
    stores: Option<Arc<NamedStores>>,
    me: OnceLock<Weak<CircuitBreaker>>,
}

impl Home {
    pub(super) fn new(stores: Arc<NamedStores>) -> Self {
        Self { stores: Some(stores), me: OnceLock::new() }
    }
}

/// The shared side of a circuit breaker. Exists once `store` was set.
#[derive(Debug)]
pub(super) struct Coordination {
    signal: Arc<Signal>,
    view: Mutex<View>,
    log_limit: LogLimit,
}

/// The shared circuit, as this instance knows it.
#[derive(Debug, Default)]
struct View {
    /// The store that the current background task uses.
    guard: Option<Weak<Guard>>,
    /// The number of the current background task.
    task: u64,
    /// The last answer, and when it arrived.
    shared: Option<(Shared, Instant)>,
    /// When the exchange began to fail.
    failing_since: Option<Instant>,
    /// Whether the instance continues without the store.
    is_lost: bool,
    problem: Option<Arc<str>>,
    /// The number of rejected calls at the last report.
    rejected: u64,
    /// The store that reports changes.
    subscribed: Option<Weak<dyn Backend>>,
}

/// Wakes the background task.
#[derive(Debug, Default)]
struct Signal {
    wake: Notify,
    circuit: Mutex<String>,
}

impl Listener for Signal {
    fn changed(&self, circuit: Option<&str>) {
        if circuit.is_none_or(|circuit| circuit == *self.circuit.lock()) {
            self.wake.notify_one();
        }
    }
}

impl Coordination {
    fn new() -> Self {
        Self { signal: Arc::default(), view: Mutex::default(), log_limit: LogLimit::default() }
    }
}

impl Drop for Coordination {
    fn drop(&mut self) {
        // The background task ends.
        self.signal.wake.notify_one();
    }
}

impl OnReady for CircuitBreaker {
    fn store_is_ready(&self) {
        self.coordinate();
    }
}

impl CircuitBreaker {
    /// Called once the component has its place in the registry.
    pub(super) fn settle_in(self: &Arc<Self>) {
        if self.home.me.set(Arc::downgrade(self)).is_ok() {
            self.coordinate();
        }
    }

    /// The problem with the store named in the settings, if it is not registered.
    pub(crate) fn store_problem(&self) -> Option<String> {
        let name = self.core.config().store.clone()?;
        self.home.stores.as_ref()?.get(&name).err()
    }

    /// Tells the background task that something has changed.
    #[cold]
    pub(super) fn wake(&self) {
        if let Some(coordination) = self.coordination.get() {
            coordination.signal.wake.notify_one();
        }
    }

    /// Starts the background task if the settings name a store that is registered.
    pub(super) fn coordinate(&self) {
        let (Some(stores), Some(me)) = (&self.home.stores, self.home.me.get()) else { return };
        let config = self.core.config();
        if config.store.is_none() && self.coordination.get().is_none() {
            return;
        }
        let coordination = self.coordination.get_or_init(|| {
            let me: Weak<Self> = Weak::clone(me);
            stores.when_ready(me);
            Box::new(Coordination::new())
        });
        // After `when_ready`: a store that is registered at the same time tells this circuit breaker.
        let guard = config.store.as_ref().and_then(|name| stores.get(name).ok());
        let Some(guard) = guard else { return self.wake() };
        let task = {
            let mut view = coordination.view.lock();
            let is_same = view.guard.as_ref().is_some_and(|known| known.as_ptr() == Arc::as_ptr(&guard));
            if is_same {
                None
            } else {
                view.guard = Some(Arc::downgrade(&guard));
                view.task += 1;
                Some(view.task)
            }
        };
        let Some(task) = task else { return self.wake() };
        let signal = Arc::clone(&coordination.signal);
        let clock = self.core.clock().clone();
        let run = run(Weak::clone(me), Arc::downgrade(&guard), signal, clock, task);
        if let Err(problem) = guard.start(run) {
            coordination.view.lock().guard = None;
            let name = self.core.name;
            tracing::error!(target: super::transition::TARGET, circuit_breaker = name, problem, "the circuit is not shared");
        }
    }
}

/// Exchanges votes and states until the circuit breaker, its store, or the setting is gone.
async fn run(
    breaker: Weak<CircuitBreaker>,
    guard: Weak<Guard>,
    signal: Arc<Signal>,
    clock: Clock,
    task: u64,
) {
    let _ends = Ends { breaker: Weak::clone(&breaker), task };
    loop {
        let pause = {
            let (Some(breaker), Some(guard)) = (breaker.upgrade(), guard.upgrade()) else { return };
            match breaker.exchange(&guard, task).await {
                Some(pause) => pause,
                None => return,
            }
        };
        if wait(&signal, &clock, pause).await.is_err() {
            return;
        }
    }
}

/// When the background task ends, also by a panic, the next change of the settings or of the store starts another one.
struct Ends {
    breaker: Weak<CircuitBreaker>,
    task: u64,
}

impl Drop for Ends {
    fn drop(&mut self) {
        let Some(breaker) = self.breaker.upgrade() else { return };
        let Some(coordination) = breaker.coordination.get() else { return };
        let mut view = coordination.view.lock();
        if view.task == self.task {
            view.guard = None;
        }
    }
}

/// Waits for a signal or until the time is over.
async fn wait(signal: &Signal, clock: &Clock, span: Duration) -> Result<(), crate::clock::NoTimer> {
    let mut timer = BoxedTimer::armed(clock, clock.now().after(span))?;
    let mut signal = pin!(signal.wake.notified());
    poll_fn(|cx| {
        if signal.as_mut().poll(cx).is_ready() || pin!(&mut timer).poll(cx).is_ready() {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    })
    .await
}

#[cfg(all(test, not(resilient_loom)))]
mod tests;
