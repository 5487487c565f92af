//! Shared rate limits in the memory of one process.

use std::collections::HashMap;
use std::time::Duration;

use super::meter::{Cell, Meter, Window};
use super::rule::Rule;
use crate::clock::{Clock, Instant, nanos};
use crate::store::rate::{RateRequest, RateRule, RateStore, ReturnedTokens, Taken};
use crate::store::{Answer, Backend, InstanceStore, StoreError, ready};
use crate::sync::Mutex;

/// A store of shared rate limits in memory: for tests, and for several registries in one process.
///
/// It also counts instances. It holds up to `capacity` limits. When it is full, it forgets limits that have all their
/// tokens; if there are none, requests for new limits fail.
///
/// ```
/// use std::sync::Arc;
/// use resilient_runtime::{Component, Registry, clock::Clock};
/// use resilient_runtime::rate_limit::{Config, MemoryStore, Rate};
///
/// let store = Arc::new(MemoryStore::new(Clock::system(), 1000));
/// let instance = || {
///     let registry = Registry::new();
///     registry.use_store("shared", store.clone());
///     let limiter = registry.rate_limiter("api");
///     limiter.reconfigure(Config::default().rate("2/h".parse::<Rate>().unwrap()).store("shared")).unwrap();
///     limiter
/// };
/// let (first, second) = (instance(), instance());
/// assert!(first.try_acquire().is_ok() && second.try_acquire().is_ok());
/// assert!(first.try_acquire().is_err() && second.try_acquire().is_err(), "one limit for both");
/// ```
#[derive(Debug)]
pub struct MemoryStore {
    clock: Clock,
    capacity: usize,
    limits: Mutex<HashMap<String, Limit>>,
    instances: Mutex<HashMap<u128, Instant>>,
}

#[derive(Debug)]
struct Limit {
    rule: RateRule,
    bucket: Cell,
    window: Window,
}

impl Limit {
    fn new(rule: RateRule) -> Self {
        Self { rule, bucket: Cell::default(), window: Window::default() }
    }

    /// Continues with another rule. Tokens that were taken stay taken, also with another algorithm.
    fn adopt(&mut self, rule: RateRule, now: u64) {
        let used = self.used(now);
        let next = rule.rule();
        if rule.algorithm != self.rule.algorithm || rule.window != self.rule.window {
            *self = Self::new(rule);
            if next.is_bucket() {
                self.bucket.full_at = now.saturating_add(next.cost(used.min(next.burst)));
            } else if used > 0 {
                let _ = self.window.take(next, now, used.min(next.burst));
            }
        } else if next.is_bucket() {
            self.bucket = self.bucket.rescaled(now, self.rule.rule(), next);
        }
        self.rule = rule;
    }

    fn used(&self, now: u64) -> u32 {
        let rule = self.rule.rule();
        let remaining = if rule.is_bucket() {
            Meter::remaining(&self.bucket, rule, now)
        } else {
            Meter::remaining(&self.window, rule, now)
        };
        rule.burst.saturating_sub(remaining)
    }

    fn is_idle(&self, now: u64) -> bool {
        let rule = self.rule.rule();
        if rule.is_bucket() { self.bucket.full_at <= now } else { self.window.is_idle(rule, now) }
    }
}

impl MemoryStore {
    /// Creates an empty store for up to `capacity` limits, with the time of `clock`.
    ///
    /// ```
    /// use resilient_runtime::{clock::Clock, rate_limit::MemoryStore};
    ///
    /// assert!(MemoryStore::new(Clock::system(), 1000).is_empty());
    /// ```
    pub fn new(clock: Clock, capacity: usize) -> Self {
        Self { clock, capacity, limits: Mutex::default(), instances: Mutex::default() }
    }

    /// Returns the number of limits, with those that have all their tokens.
    ///
    /// ```
    /// use resilient_runtime::{clock::Clock, rate_limit::MemoryStore};
    ///
    /// assert_eq!(MemoryStore::new(Clock::system(), 1000).len(), 0);
    /// ```
    pub fn len(&self) -> usize {
        self.limits.lock().len()
    }

    /// Whether no tokens were taken yet.
    ///
    /// ```
    /// use resilient_runtime::{clock::Clock, rate_limit::MemoryStore};
    ///
    /// assert!(MemoryStore::new(Clock::system(), 1000).is_empty());
    /// ```
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn taken(&self, request: &RateRequest) -> Result<Taken, StoreError> {
        let now = self.clock.now().as_nanos();
        let mut limits = self.limits.lock();
        if limits.len() >= self.capacity && !limits.contains_key(&request.limit) {
            limits.retain(|_, limit| !limit.is_idle(now));
            let records = limits.len();
            if records >= self.capacity {
                return Err(StoreError::Full { records, retry_after: None });
            }
        }
        let limit = limits.entry(request.limit.clone()).or_insert_with(|| Limit::new(request.rule));
        let is_other_rule = limit.rule != request.rule;
        if is_other_rule {
            limit.adopt(request.rule, now);
        }
        let rule = request.rule.rule();
        let taken = if rule.is_bucket() {
            from_bucket(&mut limit.bucket, rule, now, request)
        } else {
            from_window(&mut limit.window, rule, now, request)
        };
        Ok(Taken { is_other_rule, ..taken })
    }
}

fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

fn from_bucket(cell: &mut Cell, rule: Rule, now: u64, request: &RateRequest) -> Taken {
    let RateRequest { tokens, at_least, max_wait, .. } = *request;
    let (burst, interval) = (rule.cost(rule.burst), rule.interval.max(1));
    let debt = cell.full_at.saturating_sub(now);
    let free = narrow(burst.saturating_add(nanos(max_wait)).saturating_sub(debt) / interval);
    let mut granted = tokens.min(free).min(rule.burst);
    let mut wait = 0;
    if granted < at_least {
        granted = 0;
        wait = debt.saturating_add(rule.cost(at_least)).saturating_sub(burst);
    }
    let mut debt = debt;
    if granted > 0 {
        debt = debt.saturating_add(rule.cost(granted));
        wait = debt.saturating_sub(burst);
        cell.full_at = now.saturating_add(debt);
    }
    Taken {
        granted,
        wait: Duration::from_nanos(wait),
        remaining: narrow(burst.saturating_sub(debt) / interval),
        reset_after: Duration::from_nanos(debt),
        mark: if granted > 0 { now.saturating_add(wait) } else { now },
        is_other_rule: false,
    }
}

fn from_window(window: &mut Window, rule: Rule, now: u64, request: &RateRequest) -> Taken {
    let RateRequest { tokens, at_least, .. } = *request;
    let mut granted = tokens.min(Meter::remaining(window, rule, now));
    let mut taken = Taken { mark: now, ..Taken::default() };
    if granted < at_least {
        granted = 0;
        let wait = window.clone().take(rule, now, at_least.min(rule.burst)).err().unwrap_or(0);
        taken.wait = Duration::from_nanos(wait);
    } else if granted > 0 {
        taken.mark = window.take(rule, now, granted).unwrap_or(now);
    }
    taken.granted = granted;
    taken.remaining = Meter::remaining(window, rule, now);
    taken.reset_after = Duration::from_nanos(window.reset_after(rule, now));
    taken
}

impl RateStore for MemoryStore {
    fn take(&self, request: RateRequest) -> Answer<'_, Taken> {
        ready(self.taken(&request))
    }

    fn give_back(&self, returned: ReturnedTokens) -> Answer<'_, ()> {
        let ReturnedTokens { limit, rule, tokens, mark } = returned;
        let (rule, now) = (rule.rule(), self.clock.now().as_nanos());
        if let Some(limit) = self.limits.lock().get_mut(&limit) {
            let last_turn = limit.bucket.full_at.saturating_sub(rule.cost(rule.burst));
            if !rule.is_bucket() {
                limit.window.give_back(rule, now, tokens, mark);
            } else if last_turn <= mark.max(now) {
                // Otherwise later turns are promised: the turn of a next request would be beside one of them.
                limit.bucket = limit.bucket.returned(rule, now, tokens, mark);
            }
        }
        ready(Ok(()))
    }
}

impl InstanceStore for MemoryStore {
    fn announce(&self, instance: u128, lasts: Duration) -> Answer<'_, u32> {
        let (now, mut all) = (self.clock.now(), self.instances.lock());
        all.insert(instance, now.after(lasts));
        all.retain(|_, until| *until > now);
        ready(Ok(u32::try_from(all.len()).unwrap_or(u32::MAX)))
    }

    fn leave(&self, instance: u128) -> Answer<'_, ()> {
        self.instances.lock().remove(&instance);
        ready(Ok(()))
    }
}

impl Backend for MemoryStore {
    fn address(&self) -> String {
        "memory".to_owned()
    }

    fn rate(&self) -> Option<&dyn RateStore> {
        Some(self)
    }

    fn instances(&self) -> Option<&dyn InstanceStore> {
        Some(self)
    }
}
