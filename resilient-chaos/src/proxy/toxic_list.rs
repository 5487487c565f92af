//! The toxics of a proxy. Open connections notice each change at once.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::ProxyError;
use super::toxic::{Direction, Toxic};

/// Maximum number of toxics of a proxy.
pub(super) const MOST: usize = 64;

/// A toxic in the list of a proxy.
#[derive(Debug)]
pub(super) struct Entry {
    /// Unique in the proxy, and larger than the ids of all toxics that were added before.
    pub(super) id: u64,
    /// Changes with each update.
    pub(super) revision: u64,
    pub(super) name: String,
    pub(super) toxic: Toxic,
}

/// The toxics of one direction, in the order in which data passes them.
pub(super) type Toxics = Arc<[Arc<Entry>]>;

/// The toxics of a proxy, in the order in which they were added.
#[derive(Debug)]
pub(super) struct ToxicList {
    /// The lock is held while both channels are read or changed.
    next_id: Mutex<u64>,
    upstream: watch::Sender<Toxics>,
    downstream: watch::Sender<Toxics>,
}

impl ToxicList {
    pub(super) fn new() -> Self {
        let empty = || watch::Sender::new(Toxics::from([]));
        Self { next_id: Mutex::new(0), upstream: empty(), downstream: empty() }
    }

    /// Follows the toxics of a direction.
    pub(super) fn subscribe(&self, direction: Direction) -> watch::Receiver<Toxics> {
        self.channel(direction).subscribe()
    }

    fn channel(&self, direction: Direction) -> &watch::Sender<Toxics> {
        match direction {
            Direction::Upstream => &self.upstream,
            Direction::Downstream => &self.downstream,
        }
    }

    fn lock(&self) -> MutexGuard<'_, u64> {
        self.next_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All toxics, the upstream direction first.
    pub(super) fn all(&self) -> Vec<Arc<Entry>> {
        let _lock = self.lock();
        self.entries()
    }

    fn entries(&self) -> Vec<Arc<Entry>> {
        let of = |channel: &watch::Sender<Toxics>| channel.borrow().to_vec();
        [of(&self.upstream), of(&self.downstream)].concat()
    }

    fn find(&self, name: &str, id: Option<u64>) -> Result<Arc<Entry>, ProxyError> {
        let is_it = |entry: &Arc<Entry>| entry.name == name && id.is_none_or(|id| entry.id == id);
        let found = self.entries().into_iter().find(is_it);
        found.ok_or_else(|| ProxyError::ToxicNotFound { name: name.to_owned() })
    }

    /// Adds a toxic after all others of its direction.
    pub(super) fn add(&self, toxic: Toxic) -> Result<Arc<Entry>, ProxyError> {
        toxic.validate()?;
        let mut next_id = self.lock();
        let (entries, name) = (self.entries(), toxic.name());
        if entries.iter().any(|entry| entry.name == name) {
            return Err(ProxyError::ToxicExists { name });
        }
        if entries.len() >= MOST {
            return Err(ProxyError::TooMany { what: "toxics", limit: MOST });
        }
        *next_id += 1;
        let entry = Arc::new(Entry { id: *next_id, revision: 0, name, toxic });
        self.channel(entry.toxic.direction()).send_modify(|toxics| {
            *toxics = toxics.iter().chain([&entry]).cloned().collect();
        });
        Ok(entry)
    }

    /// Changes the effect and the toxicity of a toxic. With an `id`, another toxic that has the name now stays unchanged.
    ///
    /// `change` runs while no other change is possible.
    pub(super) fn update(
        &self,
        name: &str,
        id: Option<u64>,
        change: impl FnOnce(Toxic) -> Result<Toxic, ProxyError>,
    ) -> Result<Arc<Entry>, ProxyError> {
        let _lock = self.lock();
        let old = self.find(name, id)?;
        let toxic = change(old.toxic.clone())?;
        toxic.validate()?;
        let (kind, new) = (old.toxic.effect().kind(), toxic.effect().kind());
        if kind != new {
            return Err(ProxyError::KindChange { name: old.name.clone(), kind, new });
        }
        let name = old.name.clone();
        let entry = Arc::new(Entry { id: old.id, revision: old.revision + 1, name, toxic });
        self.channel(entry.toxic.direction()).send_modify(|toxics| {
            let replace = |it: &Arc<Entry>| Arc::clone(if it.id == entry.id { &entry } else { it });
            *toxics = toxics.iter().map(replace).collect();
        });
        Ok(entry)
    }

    /// Removes a toxic.
    pub(super) fn remove(&self, name: &str) -> Result<(), ProxyError> {
        let _lock = self.lock();
        let id = self.find(name, None)?.id;
        self.retain(|entry| entry.id != id);
        Ok(())
    }

    /// Removes the toxic with this id, if it still exists.
    pub(super) fn remove_id(&self, id: u64) {
        let _lock = self.lock();
        self.retain(|entry| entry.id != id);
    }

    /// Removes all toxics.
    pub(super) fn clear(&self) {
        let _lock = self.lock();
        self.retain(|_| false);
    }

    /// Connections notice only the lists that change.
    fn retain(&self, keep: impl Fn(&Entry) -> bool) {
        for channel in [&self.upstream, &self.downstream] {
            channel.send_if_modified(|toxics| {
                let kept: Toxics = toxics.iter().filter(|entry| keep(entry)).cloned().collect();
                let has_changed = kept.len() < toxics.len();
                *toxics = kept;
                has_changed
            });
        }
    }
}
