//! What alerts look at.

use super::{Registry, saturation};
use crate::alert::Reading;
use crate::component::Component;

impl Registry {
    /// Lets every alert look at how things are; to be called about once a second by whoever wants alerts.
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
