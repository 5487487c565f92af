//! The switch that turns protection on or off.

use super::Registry;

/// The state of the switch: one value per source.
#[derive(Debug, Default)]
pub(super) struct Orders {
    overridden: Option<bool>,
    runtime: Option<bool>,
}

impl Registry {
    /// Turns protection on or off.
    ///
    /// The switch applies to all annotated functions and pipelines of this registry. While it is off, a call runs
    /// its body directly, and its fallback if the body fails. Calls are not rejected, queued, retried, limited in
    /// time or coalesced, and components do not record them. Operations still count them. A call uses the state of
    /// the switch when it began, and releases what it acquired. Components used directly are not affected.
    /// Idempotency keys are not affected either, because they protect users from duplicate effects.
    ///
    /// `enabled = false` at the top of a settings file has the same effect, and so does
    /// `RESILIENT__ENABLED=false`. A value set by this method overrides them until both agree again.
    ///
    /// ```
    /// use resilient_runtime::{Registry, Rejection};
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("checkout").circuit_breaker("payment").build();
    /// registry.circuit_breaker("payment").force_open();
    /// registry.set_enabled(false);
    /// assert_eq!(pipeline.call(|| Ok::<_, Rejection>(1)).unwrap(), 1);
    /// registry.set_enabled(true);
    /// assert!(pipeline.call(|| Ok::<_, Rejection>(1)).is_err());
    /// ```
    pub fn set_enabled(&self, enabled: bool) {
        self.order(|orders| orders.runtime = Some(enabled));
    }

    /// Sets the switch from a file or the environment.
    pub(super) fn set_enabled_by_override(&self, enabled: Option<bool>) {
        self.order(|orders| orders.overridden = enabled);
    }

    fn order(&self, change: impl FnOnce(&mut Orders)) {
        let mut orders = self.0.orders.lock();
        change(&mut orders);
        let by_override = orders.overridden.unwrap_or(true);
        // They agree: from here on, the file and the environment apply again.
        orders.runtime = orders.runtime.filter(|runtime| *runtime != by_override);
        let enabled = orders.runtime.unwrap_or(by_override);
        let before = self.0.switch.set(enabled);
        drop(orders);
        if before != enabled {
            tracing::warn!(target: "resilient_runtime::registry", enabled, "protection turned on or off");
        }
    }

    /// Returns whether protection is [on](Self::set_enabled).
    ///
    /// ```
    /// let registry = resilient_runtime::Registry::new();
    /// assert!(registry.is_enabled());
    /// registry.set_enabled(false);
    /// assert!(!registry.is_enabled());
    /// ```
    pub fn is_enabled(&self) -> bool {
        self.0.switch.is_on()
    }
}
