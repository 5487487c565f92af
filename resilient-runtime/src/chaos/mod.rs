//! Fault injection: makes the attempts of chosen operations slow, fail, hang, panic or be refused.
//!
//! A resilience setting that was never tried may not work. Faults are injected at the innermost stage of every pipeline,
//! annotated or not, so that every other stage is exercised: retry, circuit breaker, timeouts and fallbacks treat an
//! injected error like one of the body. An injected result is marked in events, spans, statistics, metrics and in the
//! text of the rejection, and is never stored by idempotency or a cache.
//!
//! Every fault is a lease. It ends when its guard is dropped, when it is removed, when its time to live has passed (10
//! minutes unless set, at most 24 hours), or when [`Chaos::stop_all`] ends all faults at once. Calls that a fault holds
//! are woken.
//!
//! Without the cargo feature `chaos`, none of this is compiled. With it and without a fault in force, an attempt costs
//! one test of a flag.
//!
//! ```
//! use resilient_runtime::{Class, Registry, Rejection, chaos::Fault, clock::ManualClock};
//!
//! let registry = Registry::with_clock(ManualClock::new().clock());
//! let charge = registry.pipeline("charge").retry("gateway").build();
//!
//! let _fault = registry.chaos().inject(Fault::error(Class::TRANSIENT).on("charge").times(2)).unwrap();
//! assert_eq!(charge.call(|| Ok::<_, Rejection>(995)), Ok(995), "two retries, without sleeping");
//! assert_eq!(registry.retry("gateway").stats().retries, 2);
//! # use resilient_runtime::Component;
//! ```

mod action;
mod amount;
mod armed;
mod custom;
mod dice;
mod fault;
mod guard;
mod injection;
mod latency;
mod limits;
mod of_components;
mod on_component;
mod point;
mod problem;
mod shared;
mod skew;
mod spec;
mod store;
mod target;
mod token;

use std::fmt;
use std::sync::Arc;

use crate::kind::Kind;
pub use crate::observe::{FaultKind, InjectedIntoComponent};
pub use crate::rejection::InjectedBy;
pub(crate) use action::Action;
use action::Subject;
pub use amount::Amount;
pub(crate) use armed::{Armed, Facts, Hit};
pub use armed::{ArmedFault, FaultId};
pub use custom::{Attempt, CustomFault, Effect};
pub use fault::{DEFAULT_TTL, Fault, MAX_TTL};
pub use guard::FaultGuard;
pub(crate) use injection::{Blocked, Injection};
pub use latency::Latency;
pub use limits::Limits;
pub(crate) use on_component::{Affected, OnComponent};
pub(crate) use point::InjectionPoint;
pub use problem::InvalidFault;
pub(crate) use shared::Shared;
pub use skew::Skew;
pub use spec::FaultSpec;
pub(crate) use store::{Next as StoreNext, StoreInjection};
pub(crate) use target::Aim;
pub use token::FaultToken;

/// The operations and components that exist.
pub(crate) trait Known: Send + Sync {
    fn operations(&self) -> Vec<String>;

    /// Returns the names of the components of a kind.
    fn components(&self, kind: Kind) -> Vec<String>;

    /// Returns a component on which faults can act.
    fn affected(&self, kind: Kind, name: &str) -> Option<Arc<dyn Affected>>;

    /// Returns the clock, if it can be skewed.
    fn clock(&self) -> Option<Arc<dyn Affected>>;
}

/// Injects faults into the operations of a registry. Cheap to clone.
///
/// ```
/// use resilient_runtime::{Registry, chaos::Fault};
///
/// let registry = Registry::new();
/// let chaos = registry.chaos();
/// assert!(!chaos.is_armed());
/// chaos.arm(Fault::hang().on("load"), "alice").unwrap();
/// assert!(registry.chaos().is_armed());
/// chaos.stop_all();
/// assert!(!chaos.is_armed());
/// ```
#[derive(Clone)]
pub struct Chaos {
    pub(crate) shared: Arc<Shared>,
    pub(crate) known: Arc<dyn Known>,
}

impl Chaos {
    /// Injects a fault until the returned guard is dropped, for tests and controllers.
    ///
    /// ```
    /// use resilient_runtime::{Class, Registry, chaos::Fault};
    ///
    /// let registry = Registry::new();
    /// let load = registry.pipeline("load").build();
    /// let _fault = registry.chaos().inject(Fault::error(Class::TRANSIENT).on("load")).unwrap();
    /// assert_eq!(load.call(|| Some(7)), None);
    /// ```
    ///
    /// # Errors
    /// Returns an error with all problems of the fault.
    pub fn inject(&self, fault: Fault) -> Result<FaultGuard, InvalidFault> {
        self.inject_as(fault, "code")
    }

    /// Like [`inject`](Self::inject), with the name of who injects it.
    ///
    /// ```
    /// use resilient_runtime::{Registry, chaos::Fault};
    ///
    /// let chaos = Registry::new().chaos();
    /// let _fault = chaos.inject_as(Fault::hang().on("load"), "experiment `outage`").unwrap();
    /// assert_eq!(chaos.faults()[0].by, "experiment `outage`");
    /// ```
    ///
    /// # Errors
    /// Returns an error with all problems of the fault.
    pub fn inject_as(&self, fault: Fault, by: &str) -> Result<FaultGuard, InvalidFault> {
        let armed = self.arm_now(fault, by)?;
        Ok(FaultGuard { armed, shared: Arc::clone(&self.shared) })
    }

    /// Arms a fault until its time to live has passed or it is removed, for operators.
    ///
    /// ```
    /// use resilient_runtime::{Registry, chaos::Fault};
    ///
    /// let chaos = Registry::new().chaos();
    /// let id = chaos.arm(Fault::hang().on("load"), "alice").unwrap();
    /// assert!(chaos.remove(id) && !chaos.remove(id));
    /// ```
    ///
    /// # Errors
    /// Returns an error with all problems of the fault.
    pub fn arm(&self, fault: Fault, by: &str) -> Result<FaultId, InvalidFault> {
        self.arm_now(fault, by).map(|armed| armed.id)
    }

    /// Checks whether the fault can be armed now: the fault, and the component on which it acts.
    ///
    /// ```
    /// use resilient_runtime::{Kind, Registry, chaos::{Amount, Fault}};
    ///
    /// let registry = Registry::new();
    /// registry.bulkhead("gateway");
    /// let fault = Fault::hold_permits(Amount::ALL).component(Kind::Bulkhead, "gatway");
    /// let refused = registry.chaos().check(&fault).unwrap_err();
    /// assert!(refused.to_string().contains("did you mean `gateway`?"));
    /// ```
    ///
    /// # Errors
    /// Returns an error with all problems of the fault, or that its component does not exist.
    pub fn check(&self, fault: &Fault) -> Result<(), InvalidFault> {
        fault.check()?;
        self.component_of(fault).map(drop)
    }

    fn arm_now(&self, fault: Fault, by: &str) -> Result<Arc<Armed>, InvalidFault> {
        fault.check()?;
        let component = self.component_of(&fault)?;
        let warnings = self.warnings(&fault);
        let armed = self.shared.arm(fault, by, warnings)?;
        if let Some(component) = component {
            armed.acts_on(Arc::downgrade(&component));
            component.add_fault(&self.shared, &armed);
        }
        Ok(armed)
    }

    /// Returns the component or clock on which the fault acts, if it acts on one.
    fn component_of(&self, fault: &Fault) -> Result<Option<Arc<dyn Affected>>, InvalidFault> {
        if fault.action.subject() == Subject::Clock {
            let max_rate = self.limits().max_rate;
            if max_rate < 1.0 {
                let problem = format!(
                    "a skewed clock affects all calls, and `max_rate` = {max_rate} allows a share of them"
                );
                return Err(InvalidFault::of(problem));
            }
            let problem = "the clock of this registry cannot be skewed; create the registry with one that can, such as `Clock::system().skewable()`";
            return self.known.clock().map(Some).ok_or_else(|| InvalidFault::of(problem));
        }
        let Some((kind, name)) = fault.target.component.as_ref().filter(|_| !fault.action.is_of_calls())
        else {
            return Ok(None);
        };
        let Some(component) = self.known.affected(*kind, name) else {
            return Err(InvalidFault::of(target::no_component(*kind, name, &self.known.components(*kind))));
        };
        match component.cannot(fault) {
            Some(problem) => Err(InvalidFault::of(problem)),
            None => Ok(Some(component)),
        }
    }

    /// Ends a fault and wakes the calls that it holds. Returns whether it was in force.
    ///
    /// ```
    /// use resilient_runtime::{Registry, chaos::{Fault, FaultId}};
    ///
    /// let chaos = Registry::new().chaos();
    /// assert!(!chaos.remove(FaultId::new(1)));
    /// ```
    pub fn remove(&self, id: FaultId) -> bool {
        self.shared.remove(id)
    }

    /// Ends all faults at once and wakes the calls that they hold. Returns how many were in force.
    ///
    /// ```
    /// use resilient_runtime::{Registry, chaos::Fault};
    ///
    /// let chaos = Registry::new().chaos();
    /// let guard = chaos.inject(Fault::hang().on("load")).unwrap();
    /// assert_eq!(chaos.stop_all(), 1);
    /// assert!(chaos.faults().is_empty(), "a guard does not keep it in force");
    /// # drop(guard);
    /// ```
    pub fn stop_all(&self) -> usize {
        self.shared.stop_all()
    }

    /// Records that an operator controlled the fault injection.
    ///
    /// Admin APIs call it for each change. Publishes an event and logs to `resilient_runtime::audit`, as
    /// [`Registry::record_action`](crate::Registry::record_action) does for a component.
    ///
    /// ```
    /// use resilient_runtime::{EventKind, Registry};
    ///
    /// let registry = Registry::new();
    /// let mut events = registry.subscribe();
    /// registry.chaos().record_action("stop, by alice");
    /// assert_eq!(events.try_recv().unwrap().what, EventKind::OperatorAction { action: "stop, by alice".into() });
    /// ```
    pub fn record_action(&self, action: &str) {
        self.shared.record_action(action);
    }

    /// Returns the faults in force, in the order in which they were armed.
    ///
    /// ```
    /// use resilient_runtime::{Registry, chaos::Fault};
    ///
    /// let chaos = Registry::new().chaos();
    /// chaos.arm(Fault::hang().on("load"), "alice").unwrap();
    /// chaos.arm(Fault::panic().on("load").rate(0.01), "bob").unwrap();
    /// assert_eq!(chaos.faults().iter().map(|fault| &*fault.by).collect::<Vec<_>>(), ["alice", "bob"]);
    /// ```
    pub fn faults(&self) -> Vec<ArmedFault> {
        self.shared.prune();
        self.shared.in_force().iter().map(|armed| armed.snapshot()).collect()
    }

    /// Returns whether a fault is in force.
    ///
    /// ```
    /// assert!(!resilient_runtime::Registry::new().chaos().is_armed());
    /// ```
    pub fn is_armed(&self) -> bool {
        self.shared.prune();
        !self.shared.in_force().is_empty()
    }

    /// Returns how often faults have affected an attempt, since the start.
    ///
    /// ```
    /// use resilient_runtime::{Class, Registry, chaos::Fault};
    ///
    /// let registry = Registry::new();
    /// let load = registry.pipeline("load").build();
    /// let fault = registry.chaos().inject(Fault::error(Class::TRANSIENT).on("load")).unwrap();
    /// assert_eq!(load.call(|| Some(7)), None);
    /// drop(fault);
    /// assert_eq!(registry.chaos().injected(), 1);
    /// ```
    pub fn injected(&self) -> u64 {
        self.shared.injected()
    }

    /// Returns the bounds over all faults.
    ///
    /// ```
    /// assert_eq!(resilient_runtime::Registry::new().chaos().limits().max_rate, 1.0);
    /// ```
    pub fn limits(&self) -> Limits {
        self.shared.limits()
    }

    /// Sets the bounds over all faults. Faults that are already in force stay.
    ///
    /// ```
    /// use resilient_runtime::{Registry, chaos::Limits};
    ///
    /// let chaos = Registry::new().chaos();
    /// chaos.set_limits(Limits::default().max_faults(2).max_rate(0.05)).unwrap();
    /// assert_eq!(chaos.limits().max_faults, 2);
    /// assert!(chaos.set_limits(Limits::default().max_rate(0.0)).is_err());
    /// ```
    ///
    /// # Errors
    /// Returns an error with all problems of the limits.
    pub fn set_limits(&self, limits: Limits) -> Result<(), InvalidFault> {
        limits.check()?;
        self.shared.set_limits(limits);
        Ok(())
    }

    /// Returns why the fault would affect nothing now: a target that matches no known operation, with near names.
    ///
    /// An operation is known from its first call, an annotated function from the start of the program. Arming such a
    /// fault is no error, because the operation may come later. The warnings are logged, and are part of
    /// [`ArmedFault`].
    ///
    /// ```
    /// use resilient_runtime::{Registry, chaos::Fault};
    ///
    /// let registry = Registry::new();
    /// registry.pipeline("charge").build();
    /// let warnings = registry.chaos().warnings(&Fault::hang().on("chrage"));
    /// assert_eq!(warnings, ["no known operation matches `chrage`; did you mean `charge`?"]);
    /// ```
    pub fn warnings(&self, fault: &Fault) -> Vec<String> {
        let known = self.known.operations();
        let is_matched = |pattern: &&String| known.iter().any(|name| target::matches(pattern, name));
        let unmatched = fault.target.patterns.iter().filter(|pattern| !is_matched(pattern));
        unmatched.map(|pattern| target::no_match(pattern, known.iter().map(String::as_str))).collect()
    }
}

impl fmt::Debug for Chaos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chaos").field("shared", &self.shared).finish_non_exhaustive()
    }
}
