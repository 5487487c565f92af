//! Who is connected, and which connection is closed when another one needs its place.
//!
//! A place is taken when a connection is accepted and is free again when its socket is closed, not when it is asked to
//! close: the number of places bounds the number of descriptors.

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

/// How often somebody who waits for a place looks again: lag grows without an event.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// A part of the places, one in so many, is kept free by closing early: closing takes a moment.
const SLACK: usize = 16;
/// Connections, one in so many of all: by which an address may be above its share while its own are closing, and that may
/// wait without a place.
pub(super) const BESIDE: usize = 8;
/// Refused connections that may stay open for a moment, at the same time.
const LINGERING: usize = 16;
/// Connections that each address may have as long as there are places.
pub(super) const SMALL_SHARE: usize = 16;
/// Slow requests of one address, one in so many of its places.
const SLOW_REQUESTS: usize = 32;

/// All connections of a server.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    per_address: usize,
    open: Mutex<Open>,
    /// A connection was closed, became idle, or went on after it was asked to close.
    changed: Notify,
    /// A connection of somebody else takes the descriptor of one that waits.
    crowded_out: Notify,
    /// One of those that wait at a time looks.
    turn: tokio::sync::Mutex<()>,
    /// Permits for refused connections to stay open until the client has read the answer.
    lingering: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Open {
    all: HashMap<u64, Arc<Connection>>,
    addresses: HashMap<IpAddr, Count>,
    ending: usize,
    /// New connections of addresses that have their share, and wait for one of their own to be slow or closed.
    waiting: usize,
    next: u64,
}

/// Connections of one address, and those of them that are asked to close.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    all: usize,
    ending: usize,
}

/// No place, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Full {
    /// All places are in use.
    All,
    /// The address has its share. One of its connections is closing, or may be closed in a moment.
    SoonOfShare,
    /// The address has its share, and all of its requests are being answered.
    Share,
}

/// When there is room, after connections were asked to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Room {
    /// When they are closed.
    Closing,
    /// In a moment one will be found silent.
    Soon,
    /// If a client that is waited for is found slow.
    Late,
    /// When one of the requests is answered.
    None,
}

/// What becomes of a new connection.
#[derive(Debug)]
pub(super) enum Entry {
    Place(Place),
    /// It may wait beside the others.
    Waits(Waiting),
    /// The address has its share of the places.
    Refused,
}

/// A connection that waits without a place.
#[derive(Debug)]
pub(super) struct Waiting(Arc<Connections>);

/// The place of a connection; free again when it is dropped, which must be after the socket.
#[derive(Debug)]
pub(super) struct Place {
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

    /// A place, if need be that of another connection: of one that is slow, else of one that has never sent a request, else
    /// of the one that is idle for longest. Waits while all places are in use, and there is none of these; then nobody else
    /// would get one either. Where the address has its share, and uses all of it, others do not wait for it.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing.
    pub(super) async fn enter(self: &Arc<Self>, address: Option<IpAddr>) -> Entry {
        let mut has_yielded = false;
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Before looking, so that a connection that closes meanwhile is not missed.
            changed.as_mut().enable();
            match self.try_place(address) {
                Ok(place) => {
                    if self.open().sockets() > self.most_sockets() {
                        self.crowded_out.notify_one();
                    }
                    return Entry::Place(place);
                }
                Err(Full::Share) => return Entry::Refused,
                Err(Full::SoonOfShare) if !has_yielded => {
                    // Those accepted just before have not been looked at yet.
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
            let _ = tokio::time::timeout(LOOK_AGAIN, changed).await;
        }
    }

    /// Connections with a place, and those that wait: what is not used for the ones may be used for the others.
    fn most_sockets(&self) -> usize {
        self.most + (self.most / BESIDE).max(16)
    }

    /// Waits until somebody else needs the descriptor of one that waits. A notification may be old: the one that it was for may
    /// have found a place meanwhile.
    async fn is_crowded_out(&self) {
        loop {
            self.crowded_out.notified().await;
            if self.open().sockets() > self.most_sockets() {
                return;
            }
        }
    }

    /// Whether a refused connection may be open a little longer: as long as the permit is held.
    pub(super) fn linger(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.lingering).try_acquire_owned().ok()
    }

    fn try_place(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Place, Full> {
        let mut open = self.open();
        if let Some(address) = address.filter(|_| self.per_address < self.most) {
            // As many as are free: however many addresses take their share, there is one left for the next.
            let free = (self.most + open.ending).saturating_sub(open.all.len());
            let share = self.per_address.min(free.max(SMALL_SHARE));
            if open.active(address) >= share {
                let room = open.make_room(Some(address), 1 + share / SLACK);
                return Err(if room == Room::None { Full::Share } else { Full::SoonOfShare });
            }
            // As long as they are few, those that are closing are not waited for: others would wait, too.
            if open.all_of(address) >= share + self.most / BESIDE {
                return Err(Full::SoonOfShare);
            }
        }
        let used = open.all.len();
        let missing = (used + 1 + self.most / SLACK).saturating_sub(self.most + open.ending);
        if missing > 0 && open.make_room(None, missing) >= Room::Late {
            // Nobody is slow or idle: the address with the most connections gives up those that lag most.
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
        Ok(Place { id, connection })
    }

    /// Asks a few connections to close, because there are no descriptors left.
    pub(super) fn make_room(&self) {
        let mut open = self.open();
        let few = open.all.len() / SLACK;
        open.make_room(None, few.max(1));
    }

    /// Gives up connections that are idle for longer than `idle`, those whose client takes nothing for `write`, and slow
    /// requests where one address has many of them.
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
                && state.has_spoken
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

    /// Asks all to close: idle ones now, the others after their answer.
    pub(super) fn close(&self) {
        let mut open = self.open();
        let all: Vec<_> = open.all.values().map(Arc::clone).collect();
        for connection in all {
            connection.state().is_last = true;
            open.ask_to_end(&connection);
        }
    }

    /// A connection that was asked to close stays.
    pub(super) fn stays(&self, connection: &Connection) {
        let mut open = self.open();
        let was_asked = std::mem::replace(&mut connection.state().is_ending, false);
        if was_asked {
            open.count_ending(connection.address, |count| count - 1);
        }
        drop(open);
        self.has_changed();
    }

    /// For those who wait for a place.
    pub(super) fn has_changed(&self) {
        self.changed.notify_waiters();
    }

    /// Waits until all are closed.
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

    /// Those that are not closing.
    fn active(&self, address: IpAddr) -> usize {
        self.addresses.get(&address).map_or(0, |count| count.all - count.ending)
    }

    /// The address with the most connections that are not closing, and their number.
    fn largest(&self) -> (Option<IpAddr>, usize) {
        let counts = self.addresses.iter().map(|(address, count)| (Some(*address), count.all - count.ending));
        counts.max_by_key(|(_, active)| *active).unwrap_or((None, 0))
    }

    /// Asks so many connections to close, of one address or of all.
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
            is_silent |= !(state.is_ending || state.has_spoken || state.has_part);
            claims.extend(state.claim(now, patience).map(|claim| (claim, Arc::clone(connection))));
        }
        // A silent one may be closed in a moment; those that have had an answer stay.
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
    /// A place of the address's own share, which others do not wait for; `None` where there is none in a second, or somebody
    /// else needs the descriptor.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing.
    pub(super) async fn place(&self, address: Option<IpAddr>) -> Option<Place> {
        let Self(all) = self;
        let look = async {
            let _turn = all.turn.lock().await;
            loop {
                let mut changed = std::pin::pin!(all.changed.notified());
                changed.as_mut().enable();
                match all.try_place(address) {
                    Ok(place) => return Some(place),
                    Err(Full::Share) => return None,
                    Err(Full::SoonOfShare | Full::All) => {}
                }
                let _ = tokio::time::timeout(LOOK_AGAIN, changed).await;
            }
        };
        let look = tokio::time::timeout(SLOW, look);
        tokio::select! {
            biased;
            place = look => place.ok().flatten(),
            () = all.is_crowded_out() => None,
        }
    }

    /// As [`Connections::linger`].
    pub(super) fn linger(&self) -> Option<OwnedSemaphorePermit> {
        self.0.linger()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.open().waiting -= 1;
    }
}

impl Place {
    pub(super) fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let all = &self.connection.all;
        all.open().remove(self.id, &self.connection);
        all.changed.notify_waiters();
    }
}
