//! Saturation, the fourth golden signal: how much of the limited resources is in use.

use std::collections::BTreeMap;

use super::Registry;
use crate::component::Kind;
use crate::ratio::Ratio;

/// The saturation of each component with a limit.
pub(super) type Saturations = BTreeMap<(Kind, &'static str), Ratio>;

impl Registry {
    pub(super) fn saturations(&self) -> Saturations {
        let all = Kind::all().flat_map(|kind| {
            let components = self.0.shelves.of(kind).all().into_iter();
            components.filter_map(move |(name, component)| Some(((kind, name), component.saturation()?)))
        });
        all.collect()
    }

    /// Returns the saturation of an operation: the highest of its components.
    pub(super) fn saturation(&self, operation: &str, of: &Saturations) -> Ratio {
        let explanations = self.0.explanations.lock();
        let stages =
            explanations.get(operation).map(|explanation| &explanation.stages[..]).unwrap_or_default();
        most(stages.iter().filter_map(|stage| of.get(&(stage.kind, &*stage.component)).copied()))
    }
}

/// Returns the saturation of all operations together: the highest of all components.
pub(super) fn of_all(saturations: &Saturations) -> Ratio {
    most(saturations.values().copied())
}

fn most(ratios: impl Iterator<Item = Ratio>) -> Ratio {
    ratios.fold(Ratio::ZERO, |most, one| if one > most { one } else { most })
}
