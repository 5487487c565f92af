//! The faults in force of a registry.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::armed::{Armed, Facts, FaultId, Hit};
use super::fault::Fault;
use super::limits::{Limits, Share};
use super::problem::{InvalidFault, Problems};
use super::target::Aim;
use crate::clock::Clock;
use crate::kind::Kind;
use crate::observe::{Event, EventKind, Events, FaultKind, InjectedIntoComponent};
use crate::random::Random;
use crate::switch::Switch;
use crate::sync::{AtomicU64, Mutex, Ordering};

/// The component of events that concern all operations.
const ALL: &str = "chaos";

/// The faults in force, shared by a registry, its pipelines and the guards.
#[derive(Debug)]
pub(crate) struct Shared {
    clock: Clock,
    events: Events,
    random: Arc<Random>,
    /// Tells calls that there are faults, in the byte that they read anyway.
    switch: Switch,
    /// Changes with each fault that is armed or ends, so that a pipeline knows when to look again. Release and
    /// acquire: a pipeline that sees the number sees the faults of it.
    epoch: AtomicU64,
    faults: Mutex<Faults>,
    injected: AtomicU64,
    share: Share,
    /// The share of affected operations of components.
    pub(super) component_share: Share,
    /// How often faults acted on components. Bounded by the number of components.
    on_components: Mutex<BTreeMap<(Kind, &'static str, FaultKind), u64>>,
}

#[derive(Debug, Default)]
struct Faults {
    in_force: Arc<[Arc<Armed>]>,
    last_id: u64,
    limits: Limits,
}

/// Why a fault ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    Removed,
    Expired,
    Stopped,
}

impl End {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Removed => "removed",
            Self::Expired => "expired",
            Self::Stopped => "stopped",
        }
    }
}

impl Shared {
    pub(crate) fn new(clock: Clock, events: Events, random: Arc<Random>, switch: Switch) -> Self {
        Self {
            clock,
            events,
            random,
            switch,
            epoch: AtomicU64::new(1),
            faults: Mutex::default(),
            injected: AtomicU64::new(0),
            share: Share::default(),
            component_share: Share::default(),
            on_components: Mutex::default(),
        }
    }

    pub(super) fn arm(
        &self,
        fault: Fault,
        by: &str,
        warnings: Vec<String>,
    ) -> Result<Arc<Armed>, InvalidFault> {
        fault.check()?;
        self.prune();
        let seed = seed(&self.random);
        let mut faults = self.faults.lock();
        let (most, count) = (faults.limits.max_faults, faults.in_force.len());
        let mut problems = Problems::default();
        problems.require(count < most as usize, || {
            format!("{count} faults are in force, and `max_faults` is {most}; remove one first")
        });
        problems.finish()?;
        faults.last_id += 1;
        let id = FaultId::new(faults.last_id);
        let armed = Arc::new(Armed::new(id, fault, by, seed, &self.clock, warnings));
        faults.in_force = faults.in_force.iter().cloned().chain([Arc::clone(&armed)]).collect();
        self.changed(&faults);
        drop(faults);
        let (action, target) = (armed.action.to_string(), armed.target.to_string());
        tracing::warn!(target: "resilient_runtime::chaos", fault = id.get(), action, on = target, by, "fault armed");
        for warning in &armed.warnings {
            tracing::warn!(target: "resilient_runtime::chaos", fault = id.get(), "{warning}");
        }
        let what = EventKind::FaultArmed { fault: id.get(), action, target, by: by.to_owned() };
        self.events.publish(|| Event::now(Kind::Chaos, ALL, what));
        Ok(armed)
    }

    /// Ends a fault. Returns whether it was in force.
    pub(super) fn remove(&self, id: FaultId) -> bool {
        self.end_where(End::Removed, |armed| armed.id == id) > 0
    }

    /// Ends all faults at once, the latest first. Returns how many were in force.
    pub(super) fn stop_all(&self) -> usize {
        self.end_where(End::Stopped, |_| true)
    }

    pub(super) fn record_action(&self, action: &str) {
        tracing::info!(target: "resilient_runtime::audit", action, kind = %Kind::Chaos, name = ALL, "operator action");
        let what = EventKind::OperatorAction { action: action.to_owned() };
        self.events.publish(|| Event::now(Kind::Chaos, ALL, what));
    }

    /// Removes the faults that are over. An expired fault affects nothing, and stays until then.
    pub(crate) fn prune(&self) {
        self.end_where(End::Expired, Armed::is_over);
    }

    /// Returns how many faults ended that were in force.
    fn end_where(&self, why: End, ends: impl Fn(&Armed) -> bool) -> usize {
        let mut faults = self.faults.lock();
        let (ended, rest): (Vec<_>, Vec<_>) = faults.in_force.iter().cloned().partition(|armed| ends(armed));
        if ended.is_empty() {
            return 0;
        }
        faults.in_force = rest.into();
        self.changed(&faults);
        drop(faults);
        // First all of them, so that no call that is woken by one is held by another.
        let mut were_in_force = 0;
        for armed in &ended {
            were_in_force += usize::from(!armed.is_over());
            armed.end();
        }
        for armed in ended.iter().rev() {
            armed.update_component();
            armed.waiters.wake_all();
            let (fault, why, injected) = (armed.id.get(), why.as_str(), armed.injected());
            tracing::info!(target: "resilient_runtime::chaos", fault, why, injected, "fault ended");
            self.events
                .publish(|| Event::now(Kind::Chaos, ALL, EventKind::FaultEnded { fault, why, injected }));
        }
        were_in_force
    }

    /// Called under the lock, after the faults have changed.
    fn changed(&self, faults: &Faults) {
        self.epoch.fetch_add(1, Ordering::Release);
        self.switch.arm(faults.in_force.iter().any(|armed| armed.action.is_of_calls()));
    }

    pub(super) fn in_force(&self) -> Arc<[Arc<Armed>]> {
        Arc::clone(&self.faults.lock().in_force)
    }

    pub(crate) fn limits(&self) -> Limits {
        self.faults.lock().limits
    }

    pub(super) fn set_limits(&self, limits: Limits) {
        self.share.set(limits.max_rate);
        self.component_share.set(limits.max_rate);
        self.faults.lock().limits = limits;
        // Held permits are bounded too.
        self.in_force().iter().for_each(|armed| armed.update_component());
    }

    /// Counts that a fault acted on a component.
    pub(super) fn acted_on(&self, armed: &Armed, (kind, name): (Kind, &'static str)) {
        self.injected.fetch_add(1, Ordering::Relaxed);
        let (fault, fault_kind) = (armed.id.get(), armed.action.kind());
        *self.on_components.lock().entry((kind, name, fault_kind)).or_default() += 1;
        self.events.publish(|| {
            let by = Arc::clone(&armed.by);
            Event::now(
                Kind::Chaos,
                name,
                EventKind::FaultInjected { fault, fault_kind: fault_kind.as_str(), by },
            )
        });
    }

    pub(crate) fn on_components(&self) -> Vec<InjectedIntoComponent> {
        let counts = self.on_components.lock();
        let each = counts.iter().map(|((kind, component, fault), count)| InjectedIntoComponent {
            kind: *kind,
            component: (*component).to_owned(),
            fault: *fault,
            count: *count,
        });
        each.collect()
    }

    pub(super) fn injected(&self) -> u64 {
        self.injected.load(Ordering::Relaxed)
    }

    /// Returns the number of the current faults, and whether one of them can affect calls of the pipeline.
    pub(super) fn look(&self, pipeline: &dyn Aim) -> (u64, bool) {
        // The number first: if the faults change in between, the pipeline looks again.
        let epoch = self.epoch();
        (epoch, self.in_force().iter().any(|armed| armed.aims_at(pipeline)))
    }

    #[inline]
    pub(super) fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Passes the faults that hit the attempt to `add`, until it returns false.
    pub(super) fn draw(&self, facts: &Facts<'_>, mut add: impl FnMut(Hit) -> bool) {
        let faults = self.in_force();
        self.share.attempt();
        let (mut is_first, mut is_stale) = (true, false);
        for armed in faults.iter() {
            // All faults of one attempt count once for the share.
            let may = || !is_first || self.share.take();
            if let Some(hit) = armed.hit(facts, may) {
                is_first = false;
                self.hits(&hit, facts.pipeline);
                is_stale |= armed.is_spent();
                if !add(hit) {
                    break;
                }
            } else if armed.is_over() {
                is_stale = true;
            }
        }
        if is_stale {
            self.prune();
            // A spent fault stays listed, but pipelines need not look at it.
            self.epoch.fetch_add(1, Ordering::Release);
        }
    }

    fn hits(&self, hit: &Hit, pipeline: &dyn Aim) {
        self.injected.fetch_add(1, Ordering::Relaxed);
        let (fault, kind) = (hit.armed.id.get(), hit.armed.action.kind());
        self.events.publish(|| {
            let what =
                EventKind::FaultInjected { fault, fault_kind: kind.as_str(), by: Arc::clone(&hit.armed.by) };
            Event::now(Kind::Chaos, pipeline.operation(), what)
        });
    }
}

fn seed(random: &Random) -> u64 {
    let bits = random.unique().to_le_bytes();
    let mut half = [0; 8];
    half.copy_from_slice(&bits[..8]);
    u64::from_le_bytes(half)
}
