//! Permits and threads that faults hold.
//!
//! Held permits lower the limits of the gate, so that no permit can be lost: a changed limit, a reset and the end of a
//! fault only compute the limits again. A fault that has expired is found by the next call that finds no permit, by
//! the timer of each waiting call, and by each reading of the statistics.

use std::sync::Arc;

use super::pool::HeldThread;
use super::{Bulkhead, Config};
use crate::chaos::{Affected, Armed, Fault, FaultKind, OnComponent, Shared};
use crate::clock::Instant;
use crate::component::{Component, Kind};
use crate::rejection::Rejection;
use crate::sync::Mutex;

#[derive(Debug, Default)]
pub(super) struct Holds {
    faults: OnComponent,
    threads: Mutex<Vec<(Arc<Armed>, Vec<HeldThread>)>>,
}

impl Holds {
    #[inline]
    pub(super) fn is_set(&self) -> bool {
        self.faults.is_set()
    }
}

impl Bulkhead {
    /// Returns how many permits faults hold. A held thread holds a permit too.
    pub(super) fn held(&self, config: &Config, permits: u32) -> u32 {
        if !self.holds.is_set() || !config.enabled {
            return 0;
        }
        let most = self.most_held(permits);
        let mut held = 0_u32;
        for armed in self.holds.faults.in_force() {
            let amount = armed.permits(permits) + armed.threads(config.threads.unwrap_or(0));
            let amount = amount.min(most - held);
            armed.holds(amount);
            held += amount;
        }
        held
    }

    /// Returns how many of all permits or threads faults may hold.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // from 0 to `all`
    fn most_held(&self, all: u32) -> u32 {
        let max_rate = self.holds.faults.shared().map_or(1.0, |shared| shared.limits().max_rate);
        ((f64::from(all) * max_rate.clamp(0.0, 1.0)) as u32).min(all)
    }

    /// Occupies or frees threads, so that as many are held as faults ask for.
    #[cold]
    pub(super) fn hold_threads(&self) {
        let Some(pool) = self.pool.get() else { return };
        let all = self.core.config().threads.unwrap_or(0);
        let mut left = self.most_held(all);
        let mut threads = self.holds.threads.lock();
        let mut freed = Vec::new();
        for (armed, held) in threads.iter_mut() {
            let wanted = if armed.is_over() { 0 } else { armed.threads(all).min(left) as usize };
            left -= u32::try_from(wanted).unwrap_or(left);
            freed.extend(held.drain(wanted.min(held.len())..));
            while held.len() < wanted {
                held.push(pool.hold(armed, self.core.clock()));
            }
        }
        threads.retain(|(armed, _)| !armed.is_over());
        drop(threads);
        // After releasing the lock: this wakes threads.
        drop(freed);
    }

    /// Frees what faults held that are over.
    #[cold]
    pub(super) fn end_holds(&self) {
        if self.holds.is_set() && self.holds.faults.is_stale() {
            // Removes them from the registry, which updates this bulkhead.
            self.holds.faults.prune();
            self.update();
        }
    }

    /// Returns when permits that are held may be free.
    pub(super) fn next_end_of_hold(&self, now: Instant) -> Instant {
        if self.holds.is_set() { self.holds.faults.next_end(now) } else { Instant::NEVER }
    }

    /// Returns the fault that holds the permit that a call needs now, if there is one.
    #[cold]
    fn blamed(&self) -> Option<Arc<Armed>> {
        let config = self.core.config().in_force();
        let permits = self.adaptive.permits(&config);
        let in_force = self.holds.faults.in_force();
        let has_held =
            |armed: &Arc<Armed>| armed.permits(permits) + armed.threads(config.threads.unwrap_or(0)) > 0;
        (self.gate.in_use() < permits).then(|| in_force.into_iter().find(has_held)).flatten()
    }

    /// Counts a call that finds no permit because of a fault.
    #[inline]
    pub(super) fn count_hold(&self) {
        if self.holds.is_set()
            && let Some(armed) = self.blamed()
        {
            self.holds.faults.acted(&armed, (Self::KIND, self.core.name));
        }
    }

    /// Marks a rejection that is due to a fault.
    pub(super) fn marked(&self, rejection: Rejection) -> Rejection {
        if !self.holds.is_set() {
            return rejection;
        }
        match self.blamed() {
            Some(armed) => rejection.caused_by(armed.injected_by()),
            None => rejection,
        }
    }
}

impl Affected for Bulkhead {
    fn add_fault(&self, shared: &Arc<Shared>, armed: &Arc<Armed>) {
        self.holds.faults.add(shared, armed);
        self.holds.threads.lock().push((Arc::clone(armed), Vec::new()));
        self.update();
    }

    fn update(&self) {
        self.resize();
        self.hold_threads();
    }

    fn cannot(&self, fault: &Fault) -> Option<String> {
        let config = self.core.config();
        let name = self.core.name;
        if !config.enabled {
            return Some(format!(
                "the {} `{name}` is disabled, so that it has no permits to hold",
                Kind::Bulkhead
            ));
        }
        (fault.kind() == FaultKind::HoldThreads && config.threads.is_none()).then(|| {
            format!("the bulkhead `{name}` has no threads to hold; set `threads`, or use `hold_permits`")
        })
    }
}
