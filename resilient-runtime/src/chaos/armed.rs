//! A fault in force.

use std::cell::Cell;
use std::fmt;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use serde::Serialize;

use super::action::Action;
use super::dice::Dice;
use super::fault::Fault;
use super::on_component::Affected;
use super::shared::Shared;
use super::target::{Aim, Target};
use super::token::FaultToken;
use crate::clock::{Clock, Instant, unparker};
use crate::kind::Kind;
use crate::observe::FaultKind;
use crate::priority::Priority;
use crate::rejection::InjectedBy;
use crate::seconds::seconds;
use crate::sync::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::waiters::Waiters;

/// The number of an armed fault, unique in its registry.
///
/// ```
/// use resilient_runtime::{Registry, chaos::{Fault, FaultId}};
///
/// let chaos = Registry::new().chaos();
/// let id = chaos.arm(Fault::hang().on("load"), "alice").unwrap();
/// assert_eq!((id.to_string(), id), ("1".to_owned(), FaultId::new(1)));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct FaultId(u64);

impl FaultId {
    /// Creates the id with this number, such as one from a request.
    ///
    /// ```
    /// use resilient_runtime::{Registry, chaos::FaultId};
    ///
    /// assert!(!Registry::new().chaos().remove(FaultId::new(7)), "there is no such fault");
    /// ```
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number.
    ///
    /// ```
    /// assert_eq!(resilient_runtime::chaos::FaultId::new(7).get(), 7);
    /// ```
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for FaultId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A snapshot of a fault in force.
///
/// ```
/// use resilient_runtime::{Registry, chaos::Fault};
///
/// let chaos = Registry::new().chaos();
/// chaos.arm(Fault::hang().on("load"), "alice").unwrap();
/// let armed = &chaos.faults()[0];
/// assert_eq!((&*armed.target, &*armed.by, armed.injected), ("load", "alice", 0));
/// assert!(serde_json::to_string(armed).unwrap().starts_with(r#"{"id":1,"kind":"hang","#));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize)]
#[non_exhaustive]
pub struct ArmedFault {
    /// Its number.
    pub id: FaultId,
    /// Its kind.
    pub kind: FaultKind,
    /// The effect as text, such as `latency 300ms`.
    pub action: String,
    /// The calls that it affects, as text.
    pub target: String,
    /// The person or program that armed it.
    pub by: String,
    /// How long ago it was armed, serialized in seconds.
    #[serde(serialize_with = "seconds")]
    pub armed_for: Duration,
    /// When it ends, serialized in seconds.
    #[serde(serialize_with = "seconds")]
    pub expires_in: Duration,
    /// The number of attempts that met its conditions, except for the rate and the bounds.
    ///
    /// For a fault on a store, the number of its operations.
    pub matched: u64,
    /// The number of attempts that it affected.
    ///
    /// For a fault on a component, the number of operations of the component, such as calls that found no permit.
    pub injected: u64,
    /// The number of attempts that it affects now, or of the permits or threads that it holds.
    pub active: u32,
    /// Why it affects nothing, such as a target that matches no known operation.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// When a lease ends: on the clock of the registry, and on the system's in case that one stops or jumps.
#[derive(Debug)]
struct Lease {
    registry: AtomicU64,
    system: AtomicU64,
}

impl Lease {
    fn of(clock: &Clock, ttl: Duration) -> Self {
        let end = |clock: &Clock| AtomicU64::new(clock.now().after(ttl).as_nanos());
        Self { registry: end(clock), system: end(&Clock::system()) }
    }

    fn renew(&self, clock: &Clock, ttl: Duration) {
        self.registry.store(clock.now().after(ttl).as_nanos(), Ordering::Relaxed);
        self.system.store(Clock::system().now().after(ttl).as_nanos(), Ordering::Relaxed);
    }

    /// Returns the time left on the system's clock.
    fn system_left(&self) -> Duration {
        Instant::from_nanos(self.system.load(Ordering::Relaxed)).since(Clock::system().now())
    }

    /// Returns the time left.
    fn left(&self, clock: &Clock) -> Duration {
        let left = Instant::from_nanos(self.registry.load(Ordering::Relaxed)).since(clock.now());
        left.min(self.system_left())
    }
}

/// A fault in force, shared by the registry and the calls that it affects.
#[derive(Debug)]
pub(crate) struct Armed {
    pub(super) id: FaultId,
    pub(super) action: Action,
    pub(super) target: Target,
    pub(super) by: Arc<str>,
    seed: u64,
    /// The share of the attempts that are hit, as the bits of an `f64`. A controller can change it.
    rate: AtomicU64,
    max_active: Option<u32>,
    clock: Clock,
    since: Instant,
    lease: Lease,
    /// Release and acquire, so that a call that was woken sees it.
    is_ended: AtomicBool,
    matched: AtomicU64,
    injected: AtomicU64,
    active: AtomicU32,
    pub(super) waiters: Waiters,
    pub(super) warnings: Vec<String>,
    /// The component on which it acts.
    affected: OnceLock<Weak<dyn Affected>>,
}

impl fmt::Debug for dyn Affected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Affected")
    }
}

/// The known facts about an attempt.
#[derive(Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) pipeline: &'a dyn Aim,
    pub(crate) priority: Priority,
    pub(crate) correlation_id: Option<&'a str>,
    /// Whether the function can fail with a rejection, and with the error of `chaos(error = ..)`.
    pub(crate) rejectable: [bool; 2],
    /// Set if a fault would have affected the attempt, but the function cannot fail.
    pub(crate) is_skipped: Cell<bool>,
}

impl fmt::Debug for dyn Aim + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.operation())
    }
}

impl Armed {
    pub(super) fn new(
        id: FaultId,
        fault: Fault,
        by: &str,
        seed: u64,
        clock: &Clock,
        warnings: Vec<String>,
    ) -> Self {
        Self {
            id,
            seed: fault.seed.unwrap_or(seed),
            rate: AtomicU64::new(fault.target.rate.to_bits()),
            max_active: fault.max_active,
            since: clock.now(),
            lease: Lease::of(clock.unskewed(), fault.ttl),
            clock: clock.clone(),
            action: fault.action,
            target: fault.target,
            by: by.into(),
            is_ended: AtomicBool::new(false),
            matched: AtomicU64::new(0),
            injected: AtomicU64::new(0),
            active: AtomicU32::new(0),
            waiters: Waiters::default(),
            warnings,
            affected: OnceLock::new(),
        }
    }

    pub(super) fn injected(&self) -> u64 {
        self.injected.load(Ordering::Relaxed)
    }

    pub(super) fn active(&self) -> u32 {
        self.active.load(Ordering::Relaxed)
    }

    pub(super) fn renew(&self, ttl: Duration) {
        self.lease.renew(self.clock.unskewed(), ttl);
    }

    pub(super) fn rate(&self) -> f64 {
        f64::from_bits(self.rate.load(Ordering::Relaxed))
    }

    pub(super) fn set_rate(&self, rate: f64) {
        self.rate.store(rate.to_bits(), Ordering::Relaxed);
    }

    /// Returns the time left, or zero if it is over.
    pub(crate) fn left(&self) -> Duration {
        if self.is_ended.load(Ordering::Acquire) {
            Duration::ZERO
        } else {
            self.lease.left(self.clock.unskewed())
        }
    }

    /// Returns a time of the registry's clock at which to look whether it is over.
    pub(crate) fn look_at(&self, now: Instant) -> Instant {
        now.after(self.clock.scaled(self.left()))
    }

    pub(crate) fn is_over(&self) -> bool {
        self.left().is_zero()
    }

    /// Whether it has affected as many attempts as it may.
    pub(super) fn is_spent(&self) -> bool {
        self.target.times.is_some_and(|times| self.injected() >= times)
    }

    /// Ends it. Wake the [`waiters`](Self::waiters) after this.
    pub(super) fn end(&self) {
        self.is_ended.store(true, Ordering::Release);
    }

    /// Whether it can affect calls of the pipeline.
    pub(super) fn aims_at(&self, pipeline: &dyn Aim) -> bool {
        self.action.is_of_calls() && !self.is_spent() && self.target.aims_at(pipeline)
    }

    /// Decides whether it affects this attempt, and counts it. `may` is asked last; it can refuse.
    pub(super) fn hit(self: &Arc<Self>, facts: &Facts<'_>, may: impl FnOnce() -> bool) -> Option<Hit> {
        if self.is_over() || !self.aims_at(facts.pipeline) || !self.selects(facts) {
            return None;
        }
        if !self.action.can_fail(facts.rejectable) {
            facts.is_skipped.set(true);
            return None;
        }
        let effect = || match &self.action {
            Action::Custom(custom) => custom.effect(facts).map(Some),
            _ => Some(None),
        };
        self.draw(may, effect)
    }

    /// Like [`hit`](Self::hit), for an operation of the component on which it acts.
    pub(super) fn hit_component(self: &Arc<Self>, may: impl FnOnce() -> bool) -> Option<Hit> {
        if self.is_over() { None } else { self.draw(may, || Some(None)) }
    }

    /// `effect` is what happens instead of the action, or `None` if nothing happens.
    fn draw(
        self: &Arc<Self>,
        may: impl FnOnce() -> bool,
        effect: impl FnOnce() -> Option<Option<Action>>,
    ) -> Option<Hit> {
        let number = self.matched.fetch_add(1, Ordering::Relaxed) + 1;
        let mut dice = Dice::of(self.seed, number);
        if !number.is_multiple_of(self.target.every) || dice.share() >= self.rate() {
            return None;
        }
        let effect = effect()?;
        // Dropping it gives the place back.
        let mut hit = self.place(dice)?;
        hit.effect = effect;
        if !may() {
            return None;
        }
        let times = self.target.times.unwrap_or(u64::MAX);
        let next = |injected: u64| (injected < times).then_some(injected + 1);
        self.injected.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()?;
        Some(hit)
    }

    fn selects(&self, facts: &Facts<'_>) -> bool {
        let Target { priority, correlation_prefix, token, .. } = &self.target;
        priority.is_none_or(|priority| priority == facts.priority)
            && correlation_prefix
                .as_deref()
                .is_none_or(|prefix| facts.correlation_id.is_some_and(|id| id.starts_with(prefix)))
            && token
                .as_deref()
                .is_none_or(|token| FaultToken::current().is_some_and(|current| current.as_str() == token))
    }

    /// Takes one of the places of `max_active`.
    fn place(self: &Arc<Self>, dice: Dice) -> Option<Hit> {
        let most = self.max_active.unwrap_or(u32::MAX);
        let next = |active: u32| (active < most).then_some(active + 1);
        self.active.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()?;
        Some(Hit { armed: Arc::clone(self), dice, effect: None })
    }

    /// Sets the component on which it acts.
    pub(super) fn acts_on(&self, component: Weak<dyn Affected>) {
        let _ = self.affected.set(component);
    }

    /// Applies a change or the end to the component on which it acts.
    pub(super) fn update_component(&self) {
        if let Some(component) = self.affected.get().and_then(Weak::upgrade) {
            component.update();
        }
    }

    /// Returns how many permits it holds.
    pub(crate) fn permits(&self, all: u32) -> u32 {
        match self.action {
            Action::HoldPermits(amount) => self.bounded(amount.of(all, self.rate())),
            _ => 0,
        }
    }

    /// Returns how many threads it holds.
    pub(crate) fn threads(&self, all: u32) -> u32 {
        match self.action {
            Action::HoldThreads(amount) => self.bounded(amount.of(all, self.rate())),
            _ => 0,
        }
    }

    fn bounded(&self, amount: u32) -> u32 {
        amount.min(self.max_active.unwrap_or(u32::MAX))
    }

    /// Records how many permits or threads it holds.
    pub(crate) fn holds(&self, amount: u32) {
        self.active.store(amount, Ordering::Relaxed);
    }

    /// How far it moves the clock of the registry ahead.
    pub(crate) fn jump(&self) -> Duration {
        match self.action {
            Action::SkewClock(skew) => skew.parts().0,
            _ => Duration::ZERO,
        }
    }

    /// How much faster the clock of the registry runs.
    pub(crate) fn speed(&self) -> f64 {
        match self.action {
            Action::SkewClock(skew) => skew.parts().1,
            _ => 1.0,
        }
    }

    /// Returns when its lease ends on the registry's clock without its skew, in nanoseconds. If it ended otherwise, this
    /// is later.
    pub(crate) fn end_on_registry(&self) -> u64 {
        self.lease.registry.load(Ordering::Relaxed)
    }

    /// Counts that it affected a component or the clock.
    pub(crate) fn count_on(&self, shared: &Shared, component: (Kind, &'static str)) {
        self.count();
        shared.acted_on(self, component);
    }

    /// Whether it lets a health check fail at this time.
    pub(crate) fn fails_check(&self, now: Instant) -> bool {
        let Action::FlapHealth(period) = self.action else { return false };
        let (period, passed) = (period.as_nanos().max(1), now.since(self.since).as_nanos());
        (passed % period) * 2 < period
    }

    /// Blocks the thread until it is over, or `is_released`.
    pub(crate) fn block_thread(&self, clock: &Clock, is_released: &AtomicBool) {
        let mut place = None;
        let is_over = || is_released.load(Ordering::Acquire) || self.is_over();
        while !is_over() {
            self.waiters.register(&mut place, unparker());
            // After registering, so that an end in between is not missed.
            if !is_over() {
                let left = self.left();
                let unskewed = clock.unskewed();
                unskewed.park_at_most(unskewed.now().after(left), self.lease.system_left());
            }
        }
        self.waiters.leave(place.as_ref());
    }

    /// Wakes the threads that it blocks, so that they look again.
    pub(crate) fn wake(&self) {
        self.waiters.wake_all();
    }

    /// Counts that it affected an operation of its component.
    pub(super) fn count(&self) {
        self.matched.fetch_add(1, Ordering::Relaxed);
        self.injected.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn injected_by(&self) -> InjectedBy {
        InjectedBy { fault: self.id.get(), kind: self.action.kind().as_str(), by: Arc::clone(&self.by) }
    }

    pub(super) fn snapshot(&self) -> ArmedFault {
        ArmedFault {
            id: self.id,
            kind: self.action.kind(),
            action: self.action.to_string(),
            target: self.target.to_string(),
            by: self.by.to_string(),
            armed_for: self.clock.now().since(self.since),
            expires_in: self.left(),
            matched: self.matched.load(Ordering::Relaxed),
            injected: self.injected(),
            active: self.active(),
            warnings: self.warnings.clone(),
        }
    }
}

/// An attempt that a fault affects, until this is dropped.
#[derive(Debug)]
pub(crate) struct Hit {
    pub(super) armed: Arc<Armed>,
    pub(super) dice: Dice,
    /// The effect of a custom fault.
    effect: Option<Action>,
}

impl Hit {
    pub(crate) fn injected_by(&self) -> InjectedBy {
        self.armed.injected_by()
    }

    /// The effect on the attempt.
    pub(crate) fn action(&self) -> &Action {
        self.effect.as_ref().unwrap_or(&self.armed.action)
    }

    pub(crate) fn kind(&self) -> FaultKind {
        self.armed.action.kind()
    }
}

impl Drop for Hit {
    fn drop(&mut self) {
        self.armed.active.fetch_sub(1, Ordering::Relaxed);
    }
}
