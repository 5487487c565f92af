//! The faults that act on one component.

use std::fmt;
use std::sync::Arc;

use super::armed::{Armed, Hit};
use super::shared::Shared;
use crate::clock::Instant;
use crate::kind::Kind;
use crate::rejection::InjectedBy;
use crate::sync::{AtomicBool, Mutex, Ordering};

/// A component on which faults can act.
pub(crate) trait Affected: Send + Sync {
    /// Adds a fault that was armed.
    fn add_fault(&self, shared: &Arc<Shared>, armed: &Arc<Armed>);

    /// Applies that a fault has changed or ended.
    fn update(&self);

    /// Why a fault cannot act on it.
    fn cannot(&self, _armed: &super::Fault) -> Option<String> {
        None
    }
}

/// The faults that act on a component. Each of them looks at its lease when it is consulted, so that an expired fault
/// has no effect even if nothing removes it.
#[derive(Default)]
pub(crate) struct OnComponent {
    /// Relaxed: a call may see a fault slightly late, and a fault that it sees too long is over.
    is_set: AtomicBool,
    faults: Mutex<Faults>,
}

#[derive(Default)]
struct Faults {
    /// Set with the first fault.
    shared: Option<Arc<Shared>>,
    all: Vec<Arc<Armed>>,
}

impl fmt::Debug for OnComponent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OnComponent").field("is_set", &self.is_set()).finish_non_exhaustive()
    }
}

impl OnComponent {
    /// Whether there are faults, possibly expired ones.
    #[inline]
    pub(crate) fn is_set(&self) -> bool {
        self.is_set.load(Ordering::Relaxed)
    }

    pub(crate) fn add(&self, shared: &Arc<Shared>, armed: &Arc<Armed>) {
        let mut faults = self.faults.lock();
        faults.shared = Some(Arc::clone(shared));
        faults.all.push(Arc::clone(armed));
        self.is_set.store(true, Ordering::Relaxed);
    }

    /// Forgets the faults that are over. Returns those in force.
    #[cold]
    pub(crate) fn in_force(&self) -> Vec<Arc<Armed>> {
        let mut faults = self.faults.lock();
        let (over, rest): (Vec<_>, Vec<_>) = faults.all.drain(..).partition(|armed| armed.is_over());
        faults.all.clone_from(&rest);
        self.is_set.store(!rest.is_empty(), Ordering::Relaxed);
        drop(faults);
        drop(over);
        rest
    }

    /// Whether one of them is in force.
    #[inline]
    pub(crate) fn is_in_force(&self) -> bool {
        self.is_set() && self.faults.lock().all.iter().any(|armed| !armed.is_over())
    }

    /// Whether one of them is over, so that its effect must be undone.
    #[cold]
    pub(crate) fn is_stale(&self) -> bool {
        self.faults.lock().all.iter().any(|armed| armed.is_over())
    }

    /// Returns when to look whether the next of them is over.
    #[cold]
    pub(crate) fn next_end(&self, now: Instant) -> Instant {
        self.faults.lock().all.iter().map(|armed| armed.look_at(now)).min().unwrap_or(Instant::NEVER)
    }

    /// Removes the faults of the registry that are over. This updates the component.
    #[cold]
    pub(crate) fn prune(&self) {
        if let Some(shared) = self.shared() {
            shared.prune();
        }
    }

    pub(crate) fn shared(&self) -> Option<Arc<Shared>> {
        self.faults.lock().shared.clone()
    }

    /// Counts that the fault affected an operation of the component.
    #[cold]
    pub(crate) fn acted(&self, armed: &Armed, component: (Kind, &'static str)) -> Option<InjectedBy> {
        armed.count();
        self.shared()?.acted_on(armed, component);
        Some(armed.injected_by())
    }

    /// Passes the faults that hit an operation of the component to `add`, until it returns false.
    #[cold]
    pub(crate) fn draw(&self, component: (Kind, &'static str), add: impl FnMut(Hit) -> bool) {
        self.draw_where(component, |_| true, add);
    }

    /// Like [`draw`](Self::draw), of the faults that act now.
    #[cold]
    pub(crate) fn draw_where(
        &self,
        component: (Kind, &'static str),
        acts: impl Fn(&Armed) -> bool,
        mut add: impl FnMut(Hit) -> bool,
    ) {
        let Some(shared) = self.shared() else { return };
        shared.component_share.attempt();
        let mut is_first = true;
        for armed in self.in_force().into_iter().filter(|armed| acts(armed)) {
            let may = || !is_first || shared.component_share.take();
            let Some(hit) = armed.hit_component(may) else { continue };
            is_first = false;
            shared.acted_on(&armed, component);
            if !add(hit) {
                break;
            }
        }
    }
}
