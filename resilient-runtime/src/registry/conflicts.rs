//! Which place in the source configures a component, where several try.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::component::Kind;
use crate::observe::EventKind;
use crate::settings::Setting;
use crate::site::Place;

type Key = (Kind, Arc<str>);

/// What attributes say about components. The rule: of several places that give one component different
/// settings, the first in the order of file and line is in force, whole; the others are reported.
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

    /// What was refused before goes together by now.
    pub(super) fn accepted(&mut self, kind: Kind, name: &str) {
        self.refused.remove(&(kind, Arc::from(name)));
    }

    /// The settings in force, and the conflicts that were not known before.
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

    /// All of it in words.
    pub(super) fn problems(&self) -> Vec<String> {
        let conflict = |((kind, name), ignored): (&Key, &Vec<String>)| {
            let first = self.definitions.get(&(*kind, Arc::clone(name)))?.keys().next()?;
            let others = ignored.join(", ");
            (!ignored.is_empty()).then(|| {
                format!("{kind} `{name}`: settings at {others} differ from those in force, given at {first}")
            })
        };
        let refused = |((kind, name), problem): (&Key, &String)| format!("{kind} `{name}`: {problem}");
        let conflicts = self.reported.iter().filter_map(conflict);
        conflicts.chain(self.refused.iter().map(refused)).collect()
    }
}
