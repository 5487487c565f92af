//! How much of what is scarce is in use: the fourth golden signal.

use std::collections::BTreeMap;

use super::Registry;
use crate::component::Kind;
use crate::ratio::Ratio;

/// Of each component that has a limit.
pub(super) type Saturations = BTreeMap<(Kind, &'static str), Ratio>;

impl Registry {
    pub(super) fn saturations(&self) -> Saturations {
        let all = Kind::all().flat_map(|kind| {
            let components = self.0.shelves.of(kind).all().into_iter();
            components.filter_map(move |(name, component)| Some(((kind, name), component.saturation()?)))
        });
        all.collect()
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
