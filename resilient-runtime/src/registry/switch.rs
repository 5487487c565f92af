//! Whether protection is on.

use super::Registry;

/// Who wants protection on or off.
#[derive(Debug, Default)]
pub(super) struct Orders {
    overridden: Option<bool>,
    runtime: Option<bool>,
}

impl Registry {
    /// Switches the protection of all annotated functions and pipelines of this registry off, or on again.
    ///
    /// Off, a call goes straight to its body, and to its fallback should that fail: nothing is refused, queued, repeated,
    /// limited in time or shared, and components see nothing of it. Operations count it as always. A call keeps to what
    /// was in force when it began, and gives back what it holds. What uses a component by hand is not affected, nor are
    /// idempotency keys, which protect the user from being charged twice and not the program from a bad day.
    ///
    /// From outside of the program `enabled = false` at the top of a settings file does the same, and so does
    /// `RESILIENT__ENABLED=false`. What is said here counts more, until both say the same again.
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

    /// What a file or the environment say about the switch.
    pub(super) fn set_enabled_by_override(&self, enabled: Option<bool>) {
        self.order(|orders| orders.overridden = enabled);
    }

    fn order(&self, change: impl FnOnce(&mut Orders)) {
        let mut orders = self.0.orders.lock();
        change(&mut orders);
        let by_override = orders.overridden.unwrap_or(true);
        // Of one opinion: from here on the outside is heard again.
        orders.runtime = orders.runtime.filter(|runtime| *runtime != by_override);
        let enabled = orders.runtime.unwrap_or(by_override);
        let before = self.0.switch.set(enabled);
        drop(orders);
        if before != enabled {
            tracing::warn!(target: "resilient_runtime::registry", enabled, "protection switched");
        }
    }

    /// Whether protection is [switched on](Self::set_enabled).
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
