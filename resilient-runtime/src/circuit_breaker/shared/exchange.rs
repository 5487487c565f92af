//! One exchange with the store: sends the vote of this instance, and applies the shared state.

use std::sync::{Arc, Weak};
use std::time::Duration;

use super::guarded::{self, lasting};
use super::{Coordination, View};
use crate::circuit_breaker::config::{Config, Coordinate};
use crate::circuit_breaker::transition::TARGET;
use crate::circuit_breaker::{CircuitBreaker, REJECTED, State};
use crate::component::Component;
use crate::observe::{EventKind, log_limited};
use crate::ratio::Ratio;
use crate::store::circuits::{Listener, Report, Rule, Shared, SharedState};
use crate::store::{Guard, StoreError};

/// Added to the remaining open period, so that it is over at the store when the next report arrives.
const AFTER_OPEN: Duration = Duration::from_millis(5);

impl CircuitBreaker {
    /// Exchanges the states once. Returns how long to wait for the next exchange, or `None` if the task has ended.
    pub(super) async fn exchange(&self, guard: &Arc<Guard>, task: u64) -> Option<Duration> {
        let coordination = self.coordination.get()?;
        let config = self.current(coordination, guard, task)?;
        let circuit = circuit_key(self.core.name, config.scope.as_deref());
        subscribe(coordination, guard, &circuit);
        // Twice if the vote did not count because the epoch was not known yet.
        for _ in 0..2 {
            let (report, sent) = self.next_report(coordination, guard, &config);
            match guarded::report(guard, &circuit, report).await {
                Ok(shared) => {
                    let is_known = shared.epoch == sent;
                    self.heard(coordination, &config, &shared);
                    if is_known || !self.votes(&config) {
                        break;
                    }
                }
                Err(error) => {
                    self.missed(coordination, &config, &error);
                    break;
                }
            }
        }
        let left = match &coordination.view.lock().shared {
            Some((shared, _)) if shared.state == SharedState::Open => shared.left.saturating_add(AFTER_OPEN),
            _ => Duration::MAX,
        };
        Some(config.poll.min(left))
    }

    /// Returns the settings if they still name the store of this task.
    fn current(&self, coordination: &Coordination, guard: &Arc<Guard>, task: u64) -> Option<Arc<Config>> {
        loop {
            let config = self.core.config();
            let named = config.store.as_ref().zip(self.home.stores.as_ref());
            // Without the lock: it can create a store, which tells this circuit breaker.
            let found = named.and_then(|(name, stores)| stores.get(name).ok());
            let mut view = coordination.view.lock();
            if view.task != task {
                return None;
            }
            if found.is_some_and(|found| Arc::ptr_eq(&found, guard)) {
                return Some(config);
            }
            // Settings that name the store again start no task while this one is known.
            if Arc::ptr_eq(&config, &self.core.config()) {
                *view = View { task, ..View::default() };
                drop(view);
                self.continue_alone();
                return None;
            }
        }
    }

    fn next_report(&self, coordination: &Coordination, guard: &Guard, config: &Config) -> (Report, u64) {
        let mut view = coordination.view.lock();
        let rejected = self.counters.sum(REJECTED);
        let is_asked = std::mem::replace(&mut view.rejected, rejected) < rejected;
        let epoch = view.shared.as_ref().map_or(0, |(shared, _)| shared.epoch);
        drop(view);
        let (open, request, probe) = self.own_state(is_asked, config.poll);
        let (instance, lasts, rule) = (guard.instance(), lasting(config.poll), rule(config));
        (Report { instance, epoch, open, lasts, request, probe, rule }, epoch)
    }

    /// Applies an answer of the store.
    fn heard(&self, coordination: &Coordination, config: &Config, shared: &Shared) {
        let now = self.core.clock().now();
        let (before, was_lost) = {
            let mut view = coordination.view.lock();
            view.failing_since = None;
            view.problem = None;
            let before = view.shared.replace((shared.clone(), now)).map(|(shared, _)| shared);
            (before, std::mem::take(&mut view.is_lost))
        };
        let known = before.as_ref().map(|before| before.epoch);
        self.publish_shared(before.as_ref().map_or(SharedState::Closed, |before| before.state), shared);
        if shared.is_mixed && !before.as_ref().is_some_and(|before| before.is_mixed) {
            self.warn_of_mixed(coordination);
        }
        if was_lost {
            tracing::info!(target: TARGET, circuit_breaker = self.core.name, "the circuit is shared again");
        }
        let change = self.govern(shared, known, config, now);
        self.tell(change.as_ref());
    }

    /// Logs that the instances use different settings, when that begins.
    fn warn_of_mixed(&self, coordination: &Coordination) {
        let name = self.core.name;
        log_limited!(
            coordination.log_limit, self.core.clock(), WARN, target: TARGET, circuit_breaker = name,
            "instances share the circuit with different settings: use the same settings in all instances, or a different \
             `scope` or prefix of the store"
        );
    }

    fn publish_shared(&self, before: SharedState, shared: &Shared) {
        let (is_closed, was_closed) = (shared.state == SharedState::Closed, before == SharedState::Closed);
        let (name, votes, instances) = (self.core.name, shared.votes, shared.instances);
        if was_closed && !is_closed {
            tracing::warn!(target: TARGET, circuit_breaker = name, votes, instances, "shared circuit opened");
            self.core.publish(Self::KIND, EventKind::SharedOpened { votes, instances });
        } else if is_closed && !was_closed {
            let why = shared.ended.as_str();
            tracing::info!(target: TARGET, circuit_breaker = name, why, "shared circuit closed");
            self.core.publish(Self::KIND, EventKind::SharedClosed { why });
        }
    }

    /// The store failed. If it fails for long, the instance continues with its own circuit.
    fn missed(&self, coordination: &Coordination, config: &Config, error: &StoreError) {
        let now = self.core.clock().now();
        let problem = self.core.environment.texts().clean(&error.to_string());
        let problem: Arc<str> = problem.as_deref().unwrap_or("the store failed").into();
        let is_lost = {
            let mut view = coordination.view.lock();
            view.problem = Some(Arc::clone(&problem));
            let since = *view.failing_since.get_or_insert(now);
            let is_over = view.shared.is_none() || now.since(since) >= lasting(config.poll);
            if is_over {
                // The next answer is compared with a closed circuit.
                view.shared = None;
            }
            is_over && !std::mem::replace(&mut view.is_lost, true)
        };
        if is_lost {
            let (name, problem) = (self.core.name, &*problem);
            log_limited!(
                coordination.log_limit, self.core.clock(), WARN, target: TARGET, circuit_breaker = name, problem,
                "the circuit is not shared: the instance uses its own circuit"
            );
            self.core.publish(Self::KIND, EventKind::StoreFailed { problem: problem.to_owned() });
            self.continue_alone();
        }
    }

    fn continue_alone(&self) {
        let config = self.core.config();
        let now = self.core.clock().now();
        let change = {
            let mut inner = self.inner.lock();
            self.stop_advising(&mut inner, &config);
            self.release(&mut inner, now)
        };
        self.tell(change.as_ref());
    }

    /// Closes the circuit in all instances that share it, and resets this one.
    ///
    /// The other instances learn of it when the store reports the change, or after their setting `poll`. Circuits that
    /// an operator has forced or disabled stay. [`reset`](Component::reset) resets this instance only.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Registry, circuit_breaker::{Config, shared::MemoryCircuits}, clock::Clock};
    ///
    /// let registry = Registry::new();
    /// let payment = registry.circuit_breaker("payment");
    /// let error = payment.reset_all().await.unwrap_err();
    /// assert!(error.to_string().contains("it has no `store`"), "{error}");
    ///
    /// registry.use_store("shared", MemoryCircuits::new(Clock::system()));
    /// payment.reconfigure(Config::default().store("shared")).unwrap();
    /// assert_eq!(payment.reset_all().await, Ok(()));
    /// # }
    /// ```
    ///
    /// # Errors
    /// Returns the failure of the store. Then no circuit was reset by this call, but after a timeout the store may
    /// still carry it out.
    ///
    /// # Cancel safety
    /// If the future is dropped, the other instances may have been reset.
    pub async fn reset_all(&self) -> Result<(), StoreError> {
        let name = self.core.name;
        let refused = |problem: String| {
            let text = format!("circuit breaker `{name}`: {problem}; reset each instance by itself");
            StoreError::Refused(text)
        };
        let config = self.core.config();
        let Some(store) = &config.store else {
            return Err(refused("it has no `store`, so no other instance shares it".to_owned()));
        };
        let stores = self.home.stores.as_ref();
        let found =
            stores.map_or_else(|| Err("it is not part of a registry".to_owned()), |all| all.get(store));
        let guard = found.map_err(refused)?;
        guarded::reset(&guard, &circuit_key(name, config.scope.as_deref())).await?;
        self.reset();
        self.wake();
        Ok(())
    }

    /// Whether this instance votes for opening.
    fn votes(&self, config: &Config) -> bool {
        let now = self.core.clock().now();
        let inner = self.inner.lock();
        matches!(self.word().state(), State::Open | State::HalfOpen)
            && inner.governed.votes(config.poll, inner.probes.in_flight(now), now)
    }
}

fn subscribe(coordination: &Coordination, guard: &Guard, circuit: &str) {
    let mut view = coordination.view.lock();
    let Ok(backend) = guard.backend() else { return };
    let known = view.subscribed.as_ref().map(Weak::as_ptr);
    let is_new = known.is_none_or(|known| !std::ptr::addr_eq(known, Arc::as_ptr(&backend)));
    {
        let mut named = coordination.signal.circuit.lock();
        if *named != circuit {
            circuit.clone_into(&mut named);
            // The epochs of another record cannot be compared.
            view.shared = None;
        }
    }
    if is_new {
        view.subscribed = Some(Arc::downgrade(&backend));
        drop(view);
        let listener: Arc<dyn Listener> = Arc::clone(&coordination.signal) as _;
        if let Err(error) = guarded::subscribe(&*backend, Arc::downgrade(&listener)) {
            tracing::warn!(target: TARGET, %error, "changes of shared circuits are known only after `poll`");
        }
    }
}

/// Identifies the record in the store.
fn circuit_key(name: &str, scope: Option<&str>) -> String {
    match scope {
        Some(scope) => format!("{name}\0{scope}"),
        None => name.to_owned(),
    }
}

pub(super) fn rule(config: &Config) -> Rule {
    let default = Rule::default();
    let (least_votes, share) = match (config.quorum, config.quorum_share) {
        (Some(votes), _) => (votes, Ratio::ZERO),
        (None, Some(share)) => (default.least_votes, share),
        (None, None) => (default.least_votes, default.share),
    };
    Rule {
        least_votes,
        share,
        open_for: config.open_for,
        open_max: config.longest_open(),
        max_shared_open: config.max_shared_open,
        probes: config.half_open_calls,
    }
}

/// The effect of the shared circuit on an instance.
impl Coordinate {
    pub(super) fn applies(self) -> bool {
        self != Self::Observe
    }
}
