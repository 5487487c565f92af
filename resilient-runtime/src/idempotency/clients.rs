//! Who has how much of a store, so that none of those who ask can take the room of all.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::record::{Record, Time};
use super::store::Client;

/// What a record takes beside its key and its answer, about: its places in the map and in the orders.
const BYTES: usize = 320;

/// What a record takes.
pub(super) fn bytes_of(key: &str, record: &Record) -> usize {
    BYTES + key.len() + record.answered().map_or(0, <[u8]>::len)
}

/// A record, and when it is over.
type Entry = (Time, Arc<str>);

/// The records that are those of clients.
#[derive(Debug, Default)]
pub(super) struct Clients {
    shares: HashMap<Client, Share>,
    /// Who has answers that can be let go; who has the most bytes comes last.
    by_weight: BTreeSet<(usize, Client)>,
}

/// What one client has.
#[derive(Debug, Default)]
pub(super) struct Share {
    pub(super) bytes: usize,
    /// What runs or was lost: never let go.
    open: BTreeSet<Entry>,
    /// What was answered. The soonest over is let go first, which for equal times is the oldest.
    done: BTreeSet<Entry>,
}

impl Share {
    pub(super) fn records(&self) -> usize {
        self.open.len() + self.done.len()
    }

    pub(super) fn answers(&self) -> usize {
        self.done.len()
    }

    /// When the next of its records is over.
    pub(super) fn next(&self) -> Option<Time> {
        let [open, done] = [&self.open, &self.done].map(|entries| entries.first().map(|(over, _)| *over));
        open.into_iter().chain(done).min()
    }
}

impl Clients {
    pub(super) fn share(&self, client: Client) -> Option<&Share> {
        self.shares.get(&client)
    }

    pub(super) fn put(&mut self, key: &Arc<str>, record: &Record) {
        self.change(key, record, |bytes, entries, entry| {
            *bytes += bytes_of(key, record);
            entries.insert(entry);
        });
    }

    pub(super) fn take(&mut self, key: &Arc<str>, record: &Record) {
        self.change(key, record, |bytes, entries, entry| {
            *bytes -= bytes_of(key, record);
            entries.remove(&entry);
        });
    }

    fn change(
        &mut self,
        key: &Arc<str>,
        record: &Record,
        change: impl FnOnce(&mut usize, &mut BTreeSet<Entry>, Entry),
    ) {
        let Some(client) = record.client else { return };
        let share = self.shares.entry(client).or_default();
        self.by_weight.remove(&(share.bytes, client));
        let entries = if record.answered().is_some() { &mut share.done } else { &mut share.open };
        change(&mut share.bytes, entries, (record.over, Arc::clone(key)));
        if !share.done.is_empty() {
            self.by_weight.insert((share.bytes, client));
        }
        if share.records() == 0 {
            self.shares.remove(&client);
        }
    }

    /// The answer that a client can do without first.
    pub(super) fn dispensable(&self, client: Client) -> Option<Arc<str>> {
        let (_, key) = self.share(client)?.done.first()?;
        Some(Arc::clone(key))
    }

    /// That of the client that has the most.
    pub(super) fn most_dispensable(&self) -> Option<Arc<str>> {
        let (_, client) = self.by_weight.last()?;
        self.dispensable(*client)
    }
}
