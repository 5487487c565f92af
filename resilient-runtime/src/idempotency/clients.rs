//! Accounts for each client's use of a store, so that no client can use up the whole capacity.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use super::record::{Record, Time};
use crate::store::idempotency::ClientId;

/// Approximate overhead of a record besides its key, operation and result: its entries in the map and the orders, and
/// the data about a client that has no other record.
pub(super) const BYTES: usize = 480;

/// Approximate memory of a record.
pub(super) fn bytes_of(key: &str, record: &Record) -> usize {
    BYTES + key.len() + record.answered().map_or(0, <[u8]>::len)
}

/// A record's client, expiry time and key.
type Entry = (ClientId, Time, Arc<str>);

/// The records that belong to clients. One order for all clients: one order per client would use more memory than a
/// record.
#[derive(Debug, Default)]
pub(super) struct Clients {
    shares: HashMap<ClientId, Share>,
    /// The records of each client, earliest expiry first.
    order: BTreeSet<Entry>,
    all: Share,
}

/// The records and bytes of one client, or of all clients together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) records: usize,
    pub(super) bytes: usize,
}

impl Share {
    fn add(&mut self, bytes: usize) {
        self.records += 1;
        self.bytes += bytes;
    }

    fn sub(&mut self, bytes: usize) {
        self.records -= 1;
        self.bytes -= bytes;
    }
}

impl Clients {
    pub(super) fn share(&self, client: ClientId) -> Share {
        self.shares.get(&client).copied().unwrap_or_default()
    }

    /// The share of all clients together.
    pub(super) fn all(&self) -> Share {
        self.all
    }

    pub(super) fn put(&mut self, key: &Arc<str>, record: &Record) {
        let Some(client) = record.client else { return };
        let bytes = bytes_of(key, record);
        self.order.insert((client, record.over, Arc::clone(key)));
        self.shares.entry(client).or_default().add(bytes);
        self.all.add(bytes);
    }

    pub(super) fn take(&mut self, key: &Arc<str>, record: &Record) {
        let Some(client) = record.client else { return };
        let Some(share) = self.shares.get_mut(&client) else { return };
        let bytes = bytes_of(key, record);
        share.sub(bytes);
        if share.records == 0 {
            self.shares.remove(&client);
        }
        self.order.remove(&(client, record.over, Arc::clone(key)));
        self.all.sub(bytes);
    }

    /// When the next record of a client expires.
    pub(super) fn next(&self, client: ClientId) -> Option<Time> {
        let first = self.order.range((client, 0, Arc::default())..).next();
        first.filter(|(whose, ..)| *whose == client).map(|(_, over, _)| *over)
    }
}
