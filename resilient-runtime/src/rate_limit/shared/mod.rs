//! A limit that all instances of a service share through a store.
//!
//! - `exact`: the store decides about each call. Keys that it refused are remembered until they can have tokens again.
//! - `lease`: tokens are taken from the store in advance ([`pool`], [`keeper`]), so that a call needs no request. The
//!   number of tokens that are taken is what the store admits, so all instances together never admit more.
//! - `observe`: the store is asked in the background, and no call is refused.
//!
//! Without the store, a limiter in this process decides. It has the share of one instance in the rate, and it counts all
//! calls while the store works, so that it does not start with all its tokens.

mod asking;
mod decide;
mod keeper;
mod key;
mod mark;
mod pool;
mod refused;
mod stats;

use std::fmt;
use std::future::Future;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

pub(super) use decide::{Outcome, Patience, Verdict};
pub(super) use mark::Paid;
pub use stats::SharedStats;

use super::config::{Config, Mode, OnStoreFailure};
use super::rule::Rule;
use super::state::State;
use super::{RateKey, Request};
use crate::clock::Instant;
use crate::component::{Core, Environment, Kind};
use crate::observe::{Event, EventKind, LogLimit, log_limited};
use crate::store::{Backend, Guard, NamedStores, OnReady, RateStore, StoreError};
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Mutex, Ordering};
use key::SharedHasher;
use pool::Pool;
use refused::Refused;
use stats::Counters;

/// How soon a call that the store could not decide should be tried again.
pub(super) const LATER: Duration = Duration::from_secs(1);

/// Maximum number of tasks in the background that return tokens or observe.
const MOST_TASKS: u32 = 1024;

/// The settings that a decision needs.
#[derive(Clone, Debug, PartialEq)]
struct Plan {
    store: Arc<str>,
    /// The rule of all instances together.
    rule: Rule,
    mode: Mode,
    on_failure: OnStoreFailure,
    max_queue: u32,
}

/// The shared side of a rate limiter.
pub(super) struct Shared {
    name: &'static str,
    environment: Environment,
    stores: Arc<NamedStores>,
    plan: Mutex<Option<Arc<Plan>>>,
    /// Relaxed: settings.
    leases: AtomicBool,
    observes: AtomicBool,
    hasher: SharedHasher,
    /// For the keys of the local limiter: clients know the hash of a key in the store.
    mixer: RandomState,
    /// The limiter without the store, and its rule.
    local: State,
    local_rule: Mutex<Rule>,
    pool: Pool,
    /// Whether the keeper of the pool runs.
    is_kept: AtomicBool,
    /// Until when the keeper does not try the store again, in nanoseconds.
    failed_until: AtomicU64,
    refused: Refused,
    waiting: AtomicU32,
    /// Tasks in the background.
    tasks: Arc<AtomicU32>,
    counters: Counters,
    is_degraded: AtomicBool,
    differs: AtomicBool,
    log_limit: LogLimit,
    recovery_limit: LogLimit,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared")
            .field("plan", &*self.plan.lock())
            .field("pool", &self.pool)
            .finish_non_exhaustive()
    }
}

impl OnReady for Shared {
    fn store_is_ready(&self) {
        let Some(plan) = self.plan() else { return };
        if let Ok(guard) = self.guard(&plan) {
            guard.announce();
        }
    }
}

/// The part of a store that keeps rate limits.
fn role(backend: &dyn Backend) -> Result<&dyn RateStore, StoreError> {
    backend.rate().ok_or_else(|| {
        let address = backend.address();
        StoreError::Refused(format!("the store at {address} keeps no rate limits: use another store"))
    })
}

/// A decision that needs no request to the store.
pub(super) enum Known {
    Admitted(Instant),
    Refused(Duration),
    Nothing,
}

impl Shared {
    pub(super) fn new(core: &Core<Config>, stores: Arc<NamedStores>) -> Self {
        Self {
            name: core.name,
            environment: core.environment.clone(),
            stores,
            plan: Mutex::default(),
            leases: AtomicBool::new(false),
            observes: AtomicBool::new(false),
            hasher: SharedHasher::named(core.name),
            mixer: RandomState::new(),
            local: State::default(),
            local_rule: Mutex::new(Rule::of(&core.config())),
            pool: Pool::new(),
            is_kept: AtomicBool::new(false),
            failed_until: AtomicU64::new(0),
            refused: Refused::new(),
            waiting: AtomicU32::new(0),
            tasks: Arc::new(AtomicU32::new(0)),
            counters: Counters::default(),
            is_degraded: AtomicBool::new(false),
            differs: AtomicBool::new(false),
            log_limit: LogLimit::default(),
            recovery_limit: LogLimit::default(),
        }
    }

    /// Returns whether the settings name a store and limit something.
    pub(super) fn apply(&self, config: &Config) -> bool {
        let rule = Rule::of(config);
        let plan = config.store.clone().filter(|_| !rule.is_unlimited()).map(|store| Plan {
            store,
            rule,
            mode: config.shared_mode(),
            on_failure: config.on_store_failure,
            max_queue: config.max_queue,
        });
        let before = std::mem::replace(&mut *self.plan.lock(), plan.clone().map(Arc::new));
        let mode = plan.as_ref().map(|plan| plan.mode);
        self.leases.store(mode == Some(Mode::Lease), Ordering::Relaxed);
        self.observes.store(mode == Some(Mode::Observe), Ordering::Relaxed);
        self.local.tell_apart(config.max_keys);
        let is_on = plan.is_some();
        if before.as_deref() == plan.as_ref() {
            return is_on;
        }
        self.refused.clear();
        self.failed_until.store(0, Ordering::Relaxed);
        self.differs.store(false, Ordering::Relaxed);
        if let Some(before) = before {
            // Tokens of another rule or store.
            self.return_lease(&before);
        }
        let guard = plan.as_ref().and_then(|plan| self.guard(plan).ok());
        // Before the first call, so that the number of instances is known if the store fails soon.
        guard.iter().for_each(Guard::announce);
        self.divide(rule, guard.map_or(1, |guard| guard.live_instances()));
        is_on
    }

    fn plan(&self) -> Option<Arc<Plan>> {
        self.plan.lock().clone()
    }

    /// Whether this is still the plan of the settings.
    fn is_current(&self, plan: &Plan) -> bool {
        self.plan.lock().as_deref() == Some(plan)
    }

    /// The hash of a key, which is the same in all instances.
    pub(super) fn hash<K: Hash + ?Sized>(&self, key: &K) -> RateKey {
        let mut hasher = self.hasher.clone();
        key.hash(&mut hasher);
        hasher.finish().max(1)
    }

    /// The request to the local limiter.
    pub(super) fn local_request(&self, request: Request) -> Request {
        let key = if request.key == 0 { 0 } else { self.mixer.hash_one(request.key).max(1) };
        // A call can weigh more than the share of one instance. It then needs all of it.
        Request::of(key, request.weight.min(self.local_rule().burst))
    }

    pub(super) fn local(&self) -> &State {
        &self.local
    }

    pub(super) fn local_rule(&self) -> Rule {
        *self.local_rule.lock()
    }

    /// Sets the share of this instance in a rule.
    fn divide(&self, rule: Rule, instances: u32) {
        let share = Rule {
            interval: rule.interval.saturating_mul(u64::from(instances)),
            burst: (rule.burst / instances).max(1),
            ..rule
        };
        let mut local = self.local_rule.lock();
        let before = std::mem::replace(&mut *local, share);
        if before != share {
            self.local.rescale(self.environment.clock.now(), before, share);
        }
    }

    /// The tokens that are known now.
    #[inline]
    pub(super) fn known(self: &Arc<Self>, request: Request, now: Instant) -> Known {
        if self.leases.load(Ordering::Relaxed) && request.key == 0 {
            if self.pool.take(request.weight) {
                return Known::Admitted(Paid::FromLease(now.as_nanos()).mark());
            }
        } else if self.observes.load(Ordering::Relaxed) {
            self.observe(request);
            return Known::Admitted(Paid::Nothing.mark());
        }
        match self.refused.wait(request, now) {
            Some(wait) => Known::Refused(wait),
            None => Known::Nothing,
        }
    }

    /// Counts a call in the local limiter.
    fn charge(&self, request: Request) {
        let (rule, now) = (self.local_rule(), self.environment.clock.now());
        let request = self.local_request(request);
        if request.weight == 0 || self.local.take(rule, now, request).is_ok() {
            return;
        }
        let left = self.local.decide(rule, now, request.with_weight(0)).remaining;
        if left > 0 {
            let _ = self.local.take(rule, now, request.with_weight(left));
        }
    }

    fn guard(&self, plan: &Plan) -> Result<Arc<Guard>, StoreError> {
        self.stores.get(&plan.store).map_err(StoreError::Unavailable)
    }

    /// The store failed: reports it once, until it works again.
    fn failed(&self, error: &StoreError) {
        self.counters.failures.count();
        if let Some(plan) = self.plan()
            && let Ok(guard) = self.guard(&plan)
        {
            // The instances can be known although the store has not decided about a call yet.
            self.divide(plan.rule, guard.live_instances());
        }
        if self.is_degraded.swap(true, Ordering::Relaxed) {
            return;
        }
        let problem = self.environment.texts().clean(&error.to_string()).unwrap_or_default();
        let name = self.name;
        log_limited!(
            self.log_limit, &self.environment.clock, WARN, target: "resilient_runtime::rate_limit",
            rate_limit = name, problem, "the store of the shared rate limit failed; `on_store_failure` applies"
        );
        self.publish(EventKind::StoreFailed { problem });
    }

    /// The store decided.
    fn works(&self, guard: &Guard, plan: &Plan) {
        self.divide(plan.rule, guard.live_instances());
        if self.is_degraded.load(Ordering::Relaxed) && self.is_degraded.swap(false, Ordering::Relaxed) {
            log_limited!(
                self.recovery_limit, &self.environment.clock, INFO, target: "resilient_runtime::rate_limit",
                rate_limit = self.name, "the store of the shared rate limit works again"
            );
            self.publish(EventKind::StoreRecovered);
        }
    }

    /// Another instance has another rule for this limit: reports it once.
    fn differs(&self) {
        if self.differs.swap(true, Ordering::Relaxed) {
            return;
        }
        tracing::warn!(
            target: "resilient_runtime::rate_limit", rate_limit = self.name,
            "another instance has other settings for this shared rate limit: use the same settings in all instances, and \
             another `prefix` of the store for each service"
        );
        self.publish(EventKind::SharedSettingsDiffer);
    }

    /// Starts a task in the background. Returns false if too many run, because the store is slow.
    fn spawn(&self, guard: &Guard, task: impl Future<Output = ()> + Send + 'static) -> bool {
        let running = Running(Arc::clone(&self.tasks));
        if running.0.fetch_add(1, Ordering::Relaxed) >= MOST_TASKS {
            return false;
        }
        guard.spawn(async move {
            let _running = running;
            task.await;
        });
        true
    }

    fn publish(&self, what: EventKind) {
        let name = self.name;
        self.environment.events.publish(|| Event::now(Kind::RateLimit, name, what));
    }

    /// The problem with the store, if it is not registered or keeps no rate limits.
    pub(super) fn store_problem(&self) -> Option<String> {
        let plan = self.plan()?;
        match self.stores.get(&plan.store) {
            Err(problem) => Some(problem),
            // A store that cannot be opened is reported as such.
            Ok(guard) => guard.backend().ok().and_then(|backend| Some(role(&*backend).err()?.to_string())),
        }
    }

    /// Forgets the local state. The state in the store stays.
    pub(super) fn reset(&self) {
        self.local.reset();
        self.refused.clear();
        self.counters.reset();
    }

    pub(super) fn waiting(&self) -> u32 {
        self.waiting.load(Ordering::Relaxed)
    }
}

/// Counts a task in the background.
struct Running(Arc<AtomicU32>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Shared {
    /// Returns the leased tokens, in the background.
    fn drop(&mut self) {
        if let Some(plan) = self.plan() {
            self.return_lease(&plan);
        }
        // The keeper ends.
        self.pool.wake.notify_one();
    }
}
