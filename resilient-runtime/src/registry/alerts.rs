//! What alerts look at.

use super::Registry;
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
        let saturation = self.saturation();
        for (_, alert) in alerts {
            let config = alert.config();
            let mut reading = Reading { saturation, ..Reading::default() };
            let wanted = |name: &str| config.operation.as_deref().is_none_or(|only| only == name);
            operations.iter().filter(|(name, _)| wanted(name)).for_each(|(_, stats)| reading.add(stats));
            alert.observe(&reading);
        }
    }

    /// The share of the fullest bulkhead that is in use.
    fn saturation(&self) -> f64 {
        let used = self.0.bulkheads.all().into_iter().map(|(_, bulkhead)| {
            let stats = bulkhead.stats();
            f64::from(stats.in_use) / f64::from(stats.limit.max(1))
        });
        used.fold(0.0, f64::max)
    }
}
