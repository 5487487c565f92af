//! Open connections, and which one is closed when a new connection needs its slot.
//!
//! A connection occupies a slot from accept until its socket is closed, not only until it is asked to close. The number
//! of slots therefore bounds the number of file descriptors.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::connection::Connection;
use super::lag::{Claim, Patience, SLOW};

/// Interval at which a waiting connection retries. The lag of a connection grows without an event.
const RETRY_INTERVAL: Duration = Duration::from_millis(10);
/// One in `SLACK` slots is kept free by closing connections early, because closing takes time.
const SLACK: usize = 16;
/// One in `BESIDE` of all connections may wait without a slot. An address may exceed its share by as many connections
/// while its own connections are closing.
pub(super) const BESIDE: usize = 8;
/// Maximum number of rejected connections that linger at the same time.
const LINGERING: usize = 16;
/// Number of connections that each address may have while slots are free.
pub(super) const SMALL_SHARE: usize = 16;
/// One in `SLOW_REQUESTS` of the slots of an address may have a slow request.
const SLOW_REQUESTS: usize = 32;

/// All connections of a server.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    per_address: usize,
    open: Mutex<Open>,
    /// Notified when a connection was closed, became idle, or continued after it was asked to close.
    changed: Notify,
    /// Notified when a connection of another address needs the file descriptor of a waiting connection.
    crowded_out: Notify,
    /// Lets one waiting connection at a time look for a slot.
    turn: tokio::sync::Mutex<()>,
    /// Permits for rejected connections to stay open until the client has read the response.
    lingering: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Open {
    all: HashMap<u64, Arc<Connection>>,
    addresses: HashMap<IpAddr, Count>,
    ending: usize,
    /// Number of new connections that wait because their address uses its full share.
    waiting: usize,
    next: u64,
}

/// Number of connections of one address, and how many of them were asked to close.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    all: usize,
    ending: usize,
}

/// Why no slot is available.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Full {
    /// All slots are in use.
    All,
    /// The address uses its full share. One of its connections is closing, or might be closed soon.
    SoonOfShare,
    /// The address uses its full share, and all of its requests are being processed.
    Share,
}

/// When a slot becomes free, after connections were asked to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Room {
    /// When the connections that were asked to close are closed.
    Closing,
    /// Soon: a connection that has sent nothing can be closed after a short time.
    Soon,
    /// If one of the clients that the server waits for turns out to be slow.
    Late,
    /// When one of the requests in flight completes.
    None,
}

/// Outcome for a new connection.
#[derive(Debug)]
pub(super) enum Entry {
    Slot(Slot),
    /// The connection may wait without a slot.
    Waits(Waiting),
    /// The address uses its full share of slots.
    Refused,
}

/// A connection that waits without a slot.
#[derive(Debug)]
pub(super) struct Waiting(Arc<Connections>);

/// The slot of a connection. Dropping it frees the slot; it must be dropped after the socket.
#[derive(Debug)]
pub(super) struct Slot {
    id: u64,
    connection: Arc<Connection>,
}

impl Connections {
    pub(super) fn new(most: usize, per_address: usize) -> Self {
        Self {
            most,
            per_address,
            open: Mutex::default(),
            changed: Notify::new(),
            crowded_out: Notify::new(),
            turn: tokio::sync::Mutex::default(),
            lingering: Arc::new(Semaphore::new(LINGERING)),
        }
    }

    /// Takes a slot for a new connection.
    ///
    /// If none is free, closes another connection: a slow one if any, otherwise one that never sent a request,
    /// otherwise the one that has been idle longest. Waits while all slots are in use and no connection can be closed;
    /// then no other address could get a slot either. If the address uses its full share, returns without waiting, so
    /// that connections of other addresses are not delayed.
    ///
    /// # Cancel safety
    /// Dropping the future takes no slot.
    pub(super) async fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Entry {
        let mut has_yielded = false;
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Enabled before the check, so that a connection that closes in between is not missed.
            changed.as_mut().enable();
            match self.try_slot(address) {
                Ok(slot) => {
                    if self.open().sockets() > self.most_sockets() {
                        self.crowded_out.notify_one();
                    }
                    return Entry::Slot(slot);
                }
                Err(Full::Share) => return Entry::Refused,
                Err(Full::SoonOfShare) if !has_yielded => {
                    // Connections accepted just before have not been polled yet.
                    has_yielded = true;
                    tokio::task::yield_now().await;
                    continue;
                }
                Err(Full::SoonOfShare) => {
                    let mut open = self.open();
                    if open.sockets() >= self.most_sockets() {
                        return Entry::Refused;
                    }
                    open.waiting += 1;
                    return Entry::Waits(Waiting(Arc::clone(self)));
                }
                Err(Full::All) => {}
            }
            let _ = tokio::time::timeout(RETRY_INTERVAL, changed).await;
        }
    }

    /// Maximum number of connections with a slot and waiting connections together.
    ///
    /// Waiting connections can use the file descriptors that no slot uses.
    fn most_sockets(&self) -> usize {
        self.most + (self.most / BESIDE).max(16)
    }

    /// Waits until another connection needs the file descriptor of a waiting one.
    ///
    /// A notification can be stale, if the connection that it was for found a slot in the meantime.
    async fn is_crowded_out(&self) {
        loop {
            self.crowded_out.notified().await;
            if self.open().sockets() > self.most_sockets() {
                return;
            }
        }
    }

    /// Returns a permit for a rejected connection to linger, if one is available.
    pub(super) fn linger(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.lingering).try_acquire_owned().ok()
    }

    fn try_slot(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Slot, Full> {
        let mut open = self.open();
        if let Some(address) = address.filter(|_| self.per_address < self.most) {
            // At most as many as are free: however many addresses take their share, a slot is left for the next one.
            let free = (self.most + open.ending).saturating_sub(open.all.len());
            let share = self.per_address.min(free.max(SMALL_SHARE));
            if open.active(address) >= share {
                let room = open.make_room(Some(address), 1 + share / SLACK);
                return Err(if room == Room::None { Full::Share } else { Full::SoonOfShare });
            }
            // Does not wait for a few closing connections: other addresses would have to wait, too.
            if open.all_of(address) >= share + self.most / BESIDE {
                return Err(Full::SoonOfShare);
            }
        }
        let used = open.all.len();
        let missing = (used + 1 + self.most / SLACK).saturating_sub(self.most + open.ending);
        if missing > 0 && open.make_room(None, missing) >= Room::Late {
            // No connection is slow or idle: close the ones that lag most of the address with the most connections.
            let (most, active) = open.largest();
            if most != address && active > address.map_or(0, |address| open.active(address)) + 1 {
                open.make_room(most, missing);
            }
        }
        if used >= self.most {
            return Err(Full::All);
        }
        let id = open.next;
        open.next += 1;
        let connection = Arc::new(Connection::new(address, Arc::clone(self)));
        open.all.insert(id, Arc::clone(&connection));
        if let Some(address) = address {
            open.addresses.entry(address).or_default().all += 1;
        }
        Ok(Slot { id, connection })
    }

    /// Asks a few connections to close, because no file descriptors are left.
    pub(super) fn make_room(&self) {
        let mut open = self.open();
        let few = open.all.len() / SLACK;
        open.make_room(None, few.max(1));
    }

    /// Closes connections that are idle for longer than `idle`, connections whose client reads nothing for `write`, and
    /// connections with a slow request if their address has many of them.
    pub(super) fn give_up(&self, idle: Duration, write: Duration) {
        let now = Instant::now();
        let mut given_up = Vec::new();
        let mut slow: HashMap<IpAddr, Vec<(Duration, Arc<Connection>)>> = HashMap::new();
        let mut open = self.open();
        for connection in open.all.values() {
            let state = connection.state();
            if state.is_over(now, idle, write) {
                given_up.push(Arc::clone(connection));
            } else if let Some(address) = connection.address
                && state.has_sent_request
                && let Some(Claim::Slow(lag)) = state.claim(now, Patience::WITH_ALL)
            {
                slow.entry(address).or_default().push((lag, Arc::clone(connection)));
            }
        }
        let few = (self.per_address / SLOW_REQUESTS).max(4);
        for mut of_one in slow.into_values().filter(|of_one| of_one.len() > few) {
            of_one.sort_unstable_by_key(|(lag, _)| *lag);
            given_up.extend(of_one.drain(few..).map(|(_, connection)| connection));
        }
        given_up.iter().for_each(|connection| open.ask_to_end(connection));
    }

    /// Asks all connections to close: idle ones immediately, the others after their response.
    pub(super) fn close(&self) {
        let mut open = self.open();
        let all: Vec<_> = open.all.values().map(Arc::clone).collect();
        for connection in all {
            connection.state().is_last = true;
            open.ask_to_end(&connection);
        }
    }

    /// Records that a connection that was asked to close stays open.
    pub(super) fn stays(&self, connection: &Connection) {
        let mut open = self.open();
        let was_asked = std::mem::replace(&mut connection.state().is_ending, false);
        if was_asked {
            open.count_ending(connection.address, |count| count - 1);
        }
        drop(open);
        self.has_changed();
    }

    /// Wakes the connections that wait for a slot.
    pub(super) fn has_changed(&self) {
        self.changed.notify_waiters();
    }

    /// Waits until all connections are closed.
    pub(super) async fn closed(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.open().all.is_empty() {
                return;
            }
            changed.await;
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn sockets(&self) -> usize {
        self.all.len() + self.waiting
    }

    fn all_of(&self, address: IpAddr) -> usize {
        self.addresses.get(&address).map_or(0, |count| count.all)
    }

    /// Number of connections of an address that are not closing.
    fn active(&self, address: IpAddr) -> usize {
        self.addresses.get(&address).map_or(0, |count| count.all - count.ending)
    }

    /// The address with the most connections that are not closing, and their number.
    fn largest(&self) -> (Option<IpAddr>, usize) {
        let counts = self.addresses.iter().map(|(address, count)| (Some(*address), count.all - count.ending));
        counts.max_by_key(|(_, active)| *active).unwrap_or((None, 0))
    }

    /// Asks up to `missing` connections to close, of one address or of all.
    fn make_room(&mut self, address: Option<IpAddr>, missing: usize) -> Room {
        let now = Instant::now();
        let patience = if address.is_some() { Patience::AT_SHARE } else { Patience::WITH_ALL };
        let (mut is_silent, mut is_waited_for) = (false, false);
        let mut claims = Vec::new();
        for connection in self.all.values() {
            if address.is_some() && connection.address != address {
                continue;
            }
            let state = connection.state();
            is_waited_for |= !state.is_ending && state.lag(now).is_some();
            is_silent |= !(state.is_ending || state.has_sent_request || state.has_part);
            claims.extend(state.claim(now, patience).map(|claim| (claim, Arc::clone(connection))));
        }
        // While a silent connection might be closed soon, connections that had a response stay open.
        claims.retain(|(claim, _)| !is_silent || !matches!(claim, Claim::Waits(_, true)));
        let more = missing.min(claims.len());
        if more > 0 {
            claims.select_nth_unstable_by(more - 1, |(one, _), (other, _)| other.cmp(one));
            claims[..more].iter().for_each(|(_, connection)| self.ask_to_end(connection));
        }
        match (more, is_silent, is_waited_for) {
            (1.., ..) => Room::Closing,
            (0, true, _) => Room::Soon,
            (0, false, true) => Room::Late,
            (0, false, false) => Room::None,
        }
    }

    fn ask_to_end(&mut self, connection: &Connection) {
        let was_asked = std::mem::replace(&mut connection.state().is_ending, true);
        if !was_asked {
            self.count_ending(connection.address, |count| count + 1);
        }
        connection.end.notify_one();
    }

    fn count_ending(&mut self, address: Option<IpAddr>, change: impl Fn(usize) -> usize) {
        self.ending = change(self.ending);
        if let Some(count) = address.and_then(|address| self.addresses.get_mut(&address)) {
            count.ending = change(count.ending);
        }
    }

    fn remove(&mut self, id: u64, connection: &Connection) {
        if connection.is_ending() {
            self.count_ending(connection.address, |count| count - 1);
        }
        self.all.remove(&id);
        if let Some(address) = connection.address
            && let Some(count) = self.addresses.get_mut(&address)
        {
            count.all -= 1;
            if count.all == 0 {
                self.addresses.remove(&address);
            }
        }
    }
}

impl Waiting {
    /// Waits for a slot of the share of the address.
    ///
    /// Returns `None` if there is none within a second, or if another connection needs the file descriptor.
    ///
    /// # Cancel safety
    /// Dropping the future takes no slot.
    pub(super) async fn slot(&self, address: Option<IpAddr>) -> Option<Slot> {
        let Self(all) = self;
        let look = async {
            let _turn = all.turn.lock().await;
            loop {
                let mut changed = std::pin::pin!(all.changed.notified());
                changed.as_mut().enable();
                match all.try_slot(address) {
                    Ok(slot) => return Some(slot),
                    Err(Full::Share) => return None,
                    Err(Full::SoonOfShare | Full::All) => {}
                }
                let _ = tokio::time::timeout(RETRY_INTERVAL, changed).await;
            }
        };
        let look = tokio::time::timeout(SLOW, look);
        tokio::select! {
            biased;
            slot = look => slot.ok().flatten(),
            () = all.is_crowded_out() => None,
        }
    }

    /// See [`Connections::linger`].
    pub(super) fn linger(&self) -> Option<OwnedSemaphorePermit> {
        self.0.linger()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.open().waiting -= 1;
    }
}

impl Slot {
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let all = &self.connection.all;
        all.open().remove(self.id, &self.connection);
        all.changed.notify_waiters();
    }
}
