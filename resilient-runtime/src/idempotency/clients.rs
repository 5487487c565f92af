//! Who has how much of a store, so that none of those who ask can take the room of all.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::record::{Record, Time};
use super::store::Client;

/// What a record takes beside its key and its answer, about: its places in the map and in the orders, and the most of what
/// is known of a client that has no other.
const BYTES: usize = 480;

/// What a record takes.
pub(super) fn bytes_of(key: &str, record: &Record) -> usize {
    BYTES + key.len() + record.answered().map_or(0, <[u8]>::len)
}

/// A record: whose it is, and when it is over.
type Entry = (Client, Time, Arc<str>);

/// The records that are those of clients. One order for all of them: one for each would take more than a record does.
#[derive(Debug, Default)]
pub(super) struct Clients {
    shares: HashMap<Client, Share>,
    /// What runs or was lost: never let go.
    open: BTreeSet<Entry>,
    /// What was answered. Of each client the soonest over is let go first, which for equal times is the oldest.
    done: BTreeSet<Entry>,
    /// Who has answers that can be let go; who has the most bytes comes last.
    by_weight: BTreeSet<(usize, Client)>,
}

/// What one client has.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Share {
    pub(super) records: usize,
    /// Records that are answers.
    pub(super) answers: usize,
    pub(super) bytes: usize,
}

impl Clients {
    pub(super) fn share(&self, client: Client) -> Share {
        self.shares.get(&client).copied().unwrap_or_default()
    }

    pub(super) fn put(&mut self, key: &Arc<str>, record: &Record) {
        let Some(client) = record.client else { return };
        let (entry, mut share) = ((client, record.over, Arc::clone(key)), self.share(client));
        let is_answer = record.answered().is_some();
        if is_answer {
            self.done.insert(entry)
        } else {
            self.open.insert(entry)
        };
        share.records += 1;
        share.answers += usize::from(is_answer);
        share.bytes += bytes_of(key, record);
        self.set(client, share);
    }

    pub(super) fn take(&mut self, key: &Arc<str>, record: &Record) {
        let Some(client) = record.client else { return };
        let (entry, mut share) = ((client, record.over, Arc::clone(key)), self.share(client));
        let is_answer = record.answered().is_some();
        if is_answer {
            self.done.remove(&entry)
        } else {
            self.open.remove(&entry)
        };
        share.records -= 1;
        share.answers -= usize::from(is_answer);
        share.bytes -= bytes_of(key, record);
        self.set(client, share);
    }

    fn set(&mut self, client: Client, share: Share) {
        let before =
            if share.records == 0 { self.shares.remove(&client) } else { self.shares.insert(client, share) };
        if let Some(before) = before {
            self.by_weight.remove(&(before.bytes, client));
        }
        if share.answers > 0 {
            self.by_weight.insert((share.bytes, client));
        }
    }

    /// When the next record of a client is over.
    pub(super) fn next(&self, client: Client) -> Option<Time> {
        let [open, done] = [&self.open, &self.done].map(|entries| first(entries, client));
        open.into_iter().chain(done).map(|(_, over, _)| *over).min()
    }

    /// The answer that a client can do without first.
    pub(super) fn dispensable(&self, client: Client) -> Option<Arc<str>> {
        first(&self.done, client).map(|(.., key)| Arc::clone(key))
    }

    /// That of the client that has the most.
    pub(super) fn most_dispensable(&self) -> Option<Arc<str>> {
        let (_, client) = self.by_weight.last()?;
        self.dispensable(*client)
    }
}

/// Of a client, what is over first.
fn first(entries: &BTreeSet<Entry>, client: Client) -> Option<&Entry> {
    entries.range((client, 0, Arc::default())..).next().filter(|(whose, ..)| *whose == client)
}
