//! What alerts look at.

use super::{Registry, saturation};
use crate::alert::Reading;
use crate::component::Component;

impl Registry {
    /// Lets every alert look at how things are; to be called about once a second by whoever wants alerts.
    ///
    /// ```
    /// use std::time::Duration;
    /// use resilient::{Component, Registry, alert::{Config, Severity, Signal}, bulkhead};
    ///
    /// let registry = Registry::new();
    /// registry.bulkhead("db").reconfigure(bulkhead::Config::default().max_concurrent(1u32)).unwrap();
    /// let full = Config::default().signal(Signal::Saturation).warning(0.9);
    /// registry.alert("full").reconfigure(full.hold(Duration::ZERO).min_samples(0u32)).unwrap();
    /// registry.evaluate_alerts(); // nothing can be said before the second look
    /// let bulkhead = registry.bulkhead("db");
    /// let permit = bulkhead.try_acquire().unwrap();
    /// registry.evaluate_alerts();
    /// assert_eq!(registry.alert("full").stats().severity, Some(Severity::Warning));
    /// # drop(permit);
    /// ```
    pub fn evaluate_alerts(&self) {
        let alerts = self.0.alerts.all();
        if alerts.is_empty() {
            return;
        }
        let (now, operations) = (self.clock().now(), self.0.operations.all());
        let operations: Vec<_> = operations.iter().map(|(name, op)| (*name, op.stats(now))).collect();
        let saturation = saturation::of_all(&self.saturations()).get();
        for (_, alert) in alerts {
            let config = alert.config();
            let mut reading = Reading { saturation, ..Reading::default() };
            let wanted = |name: &str| config.operation.as_deref().is_none_or(|only| only == name);
            operations.iter().filter(|(name, _)| wanted(name)).for_each(|(_, stats)| reading.add(stats));
            alert.observe(&reading);
        }
    }
}
