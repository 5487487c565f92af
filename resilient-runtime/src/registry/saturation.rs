//! How much of what is scarce is in use: the fourth golden signal.

use std::collections::BTreeMap;

use super::Registry;
use crate::component::{Component, Kind};
use crate::ratio::Ratio;

/// Of each component that has a limit.
pub(super) type Saturations = BTreeMap<(Kind, &'static str), Ratio>;

impl Registry {
    pub(super) fn saturations(&self) -> Saturations {
        let bulkheads = self.0.bulkheads.all().into_iter().map(|(name, bulkhead)| {
            let stats = bulkhead.stats();
            ((Kind::Bulkhead, name), share(stats.in_use.into(), stats.limit.into()))
        });
        let shedders = self.0.load_shedders.all().into_iter().map(|(name, shedder)| {
            let stats = shedder.stats();
            ((Kind::LoadShed, name), share(stats.in_flight.into(), stats.limit.map_or(0, Into::into)))
        });
        let limiters = self.0.rate_limiters.all().into_iter().map(|(name, limiter)| {
            let stats = limiter.stats();
            // By key nobody has a limit in common, and one call at a time is always either none or all.
            let is_common = stats.rate.is_some() && stats.keys == 0 && stats.limit > 1;
            let limit = if is_common { stats.limit } else { 0 };
            ((Kind::RateLimit, name), share(limit.saturating_sub(stats.remaining).into(), limit.into()))
        });
        bulkheads.chain(shedders).chain(limiters).collect()
    }

    /// Of the operation: the scarcest of its components.
    pub(super) fn saturation(&self, operation: &str, of: &Saturations) -> Ratio {
        let explanations = self.0.explanations.lock();
        let stages =
            explanations.get(operation).map(|explanation| &explanation.stages[..]).unwrap_or_default();
        most(stages.iter().filter_map(|stage| of.get(&(stage.kind, &*stage.component)).copied()))
    }
}

/// Of all operations together: the scarcest of all.
pub(super) fn of_all(saturations: &Saturations) -> Ratio {
    most(saturations.values().copied())
}

fn most(ratios: impl Iterator<Item = Ratio>) -> Ratio {
    ratios.fold(Ratio::ZERO, |most, one| if one > most { one } else { most })
}

/// What has no limit is never full.
fn share(used: u64, limit: u64) -> Ratio {
    if limit == 0 {
        Ratio::ZERO
    } else {
        Ratio::new((used as f64 / limit as f64).min(1.0)).unwrap_or_default()
    }
}
