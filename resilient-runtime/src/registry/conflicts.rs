//! Resolves conflicts between attributes that configure the same component.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::component::Kind;
use crate::observe::EventKind;
use crate::settings::Setting;
use crate::site::Place;

type Key = (Kind, Arc<str>);

/// The settings of components in attributes. If several places specify different settings for one component, the
/// first place in order of file and line applies as a whole, and the others are reported.
#[derive(Debug, Default)]
pub(super) struct Conflicts {
    definitions: BTreeMap<Key, BTreeMap<Place, &'static [Setting]>>,
    reported: BTreeMap<Key, Vec<String>>,
    refused: BTreeMap<Key, String>,
}

impl Conflicts {
    pub(super) fn defined(&mut self, kind: Kind, name: &str, (settings, place): (&'static [Setting], Place)) {
        self.definitions.entry((kind, Arc::from(name))).or_default().insert(place, settings);
    }

    pub(super) fn refused(&mut self, kind: Kind, name: &str, problem: &str) {
        self.refused.insert((kind, Arc::from(name)), problem.to_owned());
    }

    /// Removes a problem that no longer exists.
    pub(super) fn accepted(&mut self, kind: Kind, name: &str) {
        self.refused.remove(&(kind, Arc::from(name)));
    }

    /// Returns the effective settings, and the conflicts that were not reported before.
    pub(super) fn in_force(&mut self, kind: Kind, name: &str) -> (&'static [Setting], Vec<EventKind>) {
        let key = (kind, Arc::from(name));
        let Some(places) = self.definitions.get(&key) else {
            return (&[], Vec::new());
        };
        let mut places = places.iter();
        let Some((first, settings)) = places.next() else {
            return (&[], Vec::new());
        };
        let reported = self.reported.entry(key).or_default();
        let mut news = Vec::new();
        for (place, _) in places.filter(|(_, other)| *other != settings) {
            let ignored = place.to_string();
            if !reported.contains(&ignored) {
                reported.push(ignored.clone());
                news.push(EventKind::SettingsConflict { ignored, in_force: first.to_string() });
            }
        }
        (settings, news)
    }

    /// Returns all problems as text.
    pub(super) fn problems(&self) -> Vec<String> {
        let conflict = |((kind, name), ignored): (&Key, &Vec<String>)| {
            let first = self.definitions.get(&(*kind, Arc::clone(name)))?.keys().next()?;
            let others = ignored.join(", ");
            (!ignored.is_empty()).then(|| {
                format!("{kind} `{name}`: settings at {others} conflict with those at {first}, which apply")
            })
        };
        let refused = |((kind, name), problem): (&Key, &String)| format!("{kind} `{name}`: {problem}");
        let conflicts = self.reported.iter().filter_map(conflict);
        conflicts.chain(self.refused.iter().map(refused)).collect()
    }
}
