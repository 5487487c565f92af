//! Who is connected, and which connection is closed when another one needs its place.
//!
//! A place is taken when a connection is accepted and is free again when its socket is closed, not when it is asked to
//! close: the number of places bounds the number of descriptors.
//!
//! Whether a client is slow is measured by its [`Lag`]: the time for which the server waited for this client, less a second
//! for each [`RATE`] bytes that moved. A fast start earns no credit for later, and time in which the application keeps the
//! client waiting does not count. A response without anything to send (a long poll, server-sent events) has no lag.

use std::collections::HashMap;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Bytes a second. A client that sends or takes less is slow.
const RATE: u32 = 1024;
/// With this lag a client is slow.
const SLOW: Duration = Duration::from_secs(1);
/// How often somebody who waits for a place looks again: lag grows without an event.
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// A part of the places, one in so many, is kept free by closing early: closing takes a moment.
const SLACK: usize = 16;
/// Connections, one in so many of all: by which an address may be above its share while its own are closing, and that may
/// wait without a place.
pub(super) const BESIDE: usize = 8;
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
    /// New connections of addresses that have their share, and wait for one of their own to be slow or closed.
    waiting: Arc<Semaphore>,
    /// One of them at a time looks.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Open {
    all: HashMap<u64, Arc<Connection>>,
    addresses: HashMap<IpAddr, Count>,
    ending: usize,
    next: u64,
}

/// Connections of one address, and those of them that are asked to close.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    all: usize,
    ending: usize,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Connection {
    /// Whose share it is a part of; none for a proxy.
    address: Option<IpAddr>,
    state: Mutex<State>,
    end: Notify,
    body_cut: Notify,
    all: Arc<Connections>,
}

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // Each is a fact of its own.
struct State {
    /// It has sent the head of a request.
    has_spoken: bool,
    /// Requests that are being answered.
    answers: usize,
    /// It speaks HTTP/2: requests come at any time, with much between them that is none.
    is_http2: bool,
    /// Answers over HTTP/2 of which a piece waits to be sent.
    unsent: usize,
    /// Bytes of an answer wait for the client to take them.
    writes: bool,
    /// Part of a request's head has come.
    has_part: bool,
    idle_since: Instant,
    reading: Lag,
    writing: Lag,
    /// It was asked to close.
    is_ending: bool,
    /// The server stops.
    is_last: bool,
}

/// How far a client is behind.
#[derive(Debug, Default)]
struct Lag {
    before: Duration,
    /// Since when the client is waited for.
    since: Option<Instant>,
}

/// How a connection that was asked to close closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Now.
    Now,
    /// The client does not take its answer: what the kernel holds of it is discarded.
    Reset,
    /// The request's body was cut, so that the client can be told why.
    Cut,
    /// After the answer under way.
    AfterAnswer,
    /// Not: something came from the client meanwhile.
    Not,
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
    /// It may [wait](Connections::wait) beside the others, as long as it holds this.
    Waits(OwnedSemaphorePermit),
    /// The address has its share of the places.
    Refused,
}

/// The place of a connection; free again when it is dropped, which must be after the socket.
#[derive(Debug)]
pub(super) struct Place {
    id: u64,
    connection: Arc<Connection>,
}

/// While it lives, a request is being answered.
#[derive(Debug)]
pub(super) struct Busy(Arc<Connection>);

/// While it lives, the body of a request is on its way.
#[derive(Debug)]
pub(super) struct Reading(Arc<Connection>);

impl Lag {
    fn wait(&mut self, now: Instant) {
        self.since.get_or_insert(now);
    }

    fn moved(&mut self, bytes: usize, now: Instant) {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        self.before = self.at(now).saturating_sub(Duration::from_secs(1) * bytes / RATE);
        self.since = None;
    }

    fn at(&self, now: Instant) -> Duration {
        self.before + self.since.map_or(Duration::ZERO, |since| now - since)
    }

    /// While the client is waited for.
    fn now(&self, now: Instant) -> Option<Duration> {
        self.since.map(|_| self.at(now))
    }
}

type IsIdle = bool;

/// From which lag on a connection may be closed for another one.
#[derive(Clone, Copy, Debug)]
struct Patience {
    /// Of one that has sent nothing yet.
    silent: Duration,
    /// Of one with a request.
    slow: Duration,
}

impl Patience {
    const WITH_ALL: Self = Self { silent: Duration::from_millis(10), slow: SLOW };
    /// Where an address uses all its places: the one of them that lags most is closed early.
    const AT_SHARE: Self = Self { silent: Duration::ZERO, slow: Duration::from_millis(20) };
}

/// The order in which connections are closed: those later in it first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Claim {
    /// By a tenth of how long it is idle, or by its lag: a client that was answered before is believed longer.
    Waits(Duration, IsIdle),
    /// It has never sent a request.
    Silent(Duration),
    Slow(Duration),
}

impl State {
    fn is_idle(&self) -> bool {
        self.answers == 0 && !self.writes && !self.has_part
    }

    fn is_over(&self, now: Instant, idle: Duration, write: Duration) -> bool {
        let takes_nothing = self.writing.since.is_some_and(|since| now - since > write);
        // What is written without any request is no answer, such as what acknowledges settings of HTTP/2.
        let sends_answer = self.writes && self.has_spoken && !self.is_http2;
        takes_nothing || (self.answers == 0 && !sends_answer && now - self.idle_since > idle)
    }

    fn lag(&self, now: Instant) -> Option<Duration> {
        self.reading.now(now).max(self.writing.now(now))
    }

    fn claim(&self, now: Instant, patience: Patience) -> Option<Claim> {
        if self.is_ending {
            return None;
        }
        if self.has_spoken && self.is_idle() {
            return Some(Claim::Waits((now - self.idle_since) / 10, true));
        }
        // Otherwise it waits for the application, or was not looked at yet.
        let lag = self.lag(now)?;
        match lag {
            lag if lag >= SLOW => Some(Claim::Slow(lag)),
            lag if self.has_spoken => (lag >= patience.slow).then_some(Claim::Waits(lag, false)),
            lag => (lag >= patience.silent).then_some(Claim::Silent(lag)),
        }
    }
}

impl Connections {
    pub(super) fn new(most: usize, per_address: usize) -> Self {
        Self {
            most,
            per_address,
            open: Mutex::default(),
            changed: Notify::new(),
            waiting: Arc::new(Semaphore::new((most / BESIDE).max(16))),
            turn: tokio::sync::Mutex::default(),
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
                Ok(place) => return Entry::Place(place),
                Err(Full::Share) => return Entry::Refused,
                Err(Full::SoonOfShare) if !has_yielded => {
                    // Those accepted just before have not been looked at yet.
                    has_yielded = true;
                    tokio::task::yield_now().await;
                    continue;
                }
                Err(Full::SoonOfShare) => {
                    let waiting = Arc::clone(&self.waiting).try_acquire_owned();
                    return waiting.map_or(Entry::Refused, Entry::Waits);
                }
                Err(Full::All) => {}
            }
            let _ = tokio::time::timeout(LOOK_AGAIN, changed).await;
        }
    }

    /// A place of the address's own share, which others do not wait for; `None` where there is none in a second.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing.
    pub(super) async fn wait(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Place> {
        let look = async {
            let _turn = self.turn.lock().await;
            loop {
                match self.try_place(address) {
                    Ok(place) => return Some(place),
                    Err(Full::Share) => return None,
                    Err(Full::SoonOfShare | Full::All) => tokio::time::sleep(LOOK_AGAIN).await,
                }
            }
        };
        tokio::time::timeout(SLOW, look).await.ok().flatten()
    }

    fn try_place(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Place, Full> {
        let mut open = self.open();
        if let Some(address) = address.filter(|_| self.per_address < self.most) {
            // As many as are free: however many addresses take their share, there is one left for the next.
            let free = (self.most + open.ending).saturating_sub(open.all.len());
            let share = self.per_address.min(free.max(SMALL_SHARE));
            let is_closing = open.active(address) >= share
                && open.make_room(Some(address), 1 + share / SLACK) != Room::None;
            // Those that are closing are not waited for, as long as they are few: others would wait, too.
            let most = share + self.most / BESIDE;
            if open.active(address) >= share || open.all_of(address) >= most {
                return Err(if is_closing { Full::SoonOfShare } else { Full::Share });
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

impl Connection {
    fn new(address: Option<IpAddr>, all: Arc<Connections>) -> Self {
        let state = State {
            has_spoken: false,
            answers: 0,
            is_http2: false,
            unsent: 0,
            writes: false,
            has_part: false,
            idle_since: Instant::now(),
            reading: Lag::default(),
            writing: Lag::default(),
            is_ending: false,
            is_last: false,
        };
        Self { address, state: Mutex::new(state), end: Notify::new(), body_cut: Notify::new(), all }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The head of a request has come.
    pub(super) fn begin(self: &Arc<Self>, is_http2: bool) -> Busy {
        let mut state = self.state();
        (state.has_spoken, state.is_http2, state.has_part) = (true, is_http2, false);
        if state.answers == 0 {
            state.reading = Lag::default();
        }
        state.answers += 1;
        Busy(Arc::clone(self))
    }

    pub(super) fn begin_body(self: &Arc<Self>) -> Reading {
        Reading(Arc::clone(self))
    }

    /// Nothing is there to be read.
    pub(super) fn nothing_came(&self) {
        let mut state = self.state();
        if state.answers == 0 && !state.is_http2 && (state.has_part || !state.has_spoken) {
            state.reading.wait(Instant::now());
        }
    }

    /// So many bytes were read, or are there to be read.
    pub(super) fn came(&self, bytes: usize) {
        let mut state = self.state();
        if state.answers == 0 && !state.is_http2 && bytes > 0 {
            state.has_part = true;
            state.reading.moved(bytes, Instant::now());
        }
    }

    /// The client has taken some bytes, and whether that was all.
    pub(super) fn taken(&self, bytes: usize, is_all: bool) {
        let mut state = self.state();
        let now = Instant::now();
        state.writing.moved(bytes, now);
        if state.unsent > 0 {
            state.writing.wait(now);
        }
        state.writes = !is_all;
        if state.has_spoken && !state.is_http2 {
            self.note_idle(state);
        }
    }

    /// The client takes nothing.
    pub(super) fn nothing_taken(&self) {
        let mut state = self.state();
        state.writes = true;
        state.writing.wait(Instant::now());
    }

    /// An answer over HTTP/2 has given a piece, and gives the next one when the client lets it be sent.
    pub(super) fn give(&self) {
        let mut state = self.state();
        state.unsent += 1;
        state.writing.wait(Instant::now());
    }

    /// It was sent, or nobody waits for that.
    pub(super) fn given(&self) {
        let mut state = self.state();
        state.unsent -= 1;
        if state.unsent == 0 && !state.writes {
            state.writing.moved(0, Instant::now());
        }
    }

    fn note_idle(&self, mut state: MutexGuard<'_, State>) {
        if state.is_idle() {
            state.idle_since = Instant::now();
            state.writing = Lag::default();
            drop(state);
            self.all.changed.notify_waiters();
        }
    }

    /// Waits until it must close.
    pub(super) async fn asked_to_end(&self) {
        self.end.notified().await;
    }

    pub(super) fn is_answering(&self) -> bool {
        self.state().answers > 0
    }

    pub(super) fn is_ending(&self) -> bool {
        self.state().is_ending
    }

    /// Whether to discard the bytes that the client has not read.
    pub(super) fn is_reset(&self) -> bool {
        self.state().writing.since.is_some()
    }

    /// How it closes, after it was asked to and has looked for what came meanwhile.
    pub(super) fn ending(&self) -> Ending {
        let state = self.state();
        let is_in_use =
            state.answers > 0 || state.writes || (state.has_part && state.reading.since.is_none());
        let ending = match (state.is_last, is_in_use) {
            (_, false) => Ending::Now,
            (true, true) => Ending::AfterAnswer,
            (false, true) if state.writing.since.is_some() => Ending::Reset,
            (false, true) if state.reading.since.is_some() => Ending::Cut,
            (false, true) => Ending::Not,
        };
        if ending == Ending::Not {
            // The counts are locked before a connection.
            drop(state);
            let mut open = self.all.open();
            let was_asked = std::mem::replace(&mut self.state().is_ending, false);
            if was_asked {
                open.count_ending(self.address, |count| count - 1);
            }
            drop(open);
            self.all.changed.notify_waiters();
        } else if ending == Ending::Cut {
            self.body_cut.notify_one();
        }
        ending
    }
}

impl Reading {
    /// The application waits for more of it.
    pub(super) fn wait(&self) {
        self.0.state().reading.wait(Instant::now());
    }

    /// More of it has come.
    pub(super) fn add(&self, bytes: usize) {
        self.0.state().reading.moved(bytes, Instant::now());
    }

    /// Waits until the connection must close.
    pub(super) fn cut(&self) -> impl Future<Output = ()> + Send + use<> {
        let connection = Arc::clone(&self.0);
        async move { connection.body_cut.notified().await }
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

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.answers -= 1;
        if state.answers == 0 {
            state.reading = Lag::default();
        }
        self.0.note_idle(state);
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.reading = Lag::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);
    const A: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1)));
    const B: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 2)));

    fn all(most: usize, per_address: usize) -> Arc<Connections> {
        Arc::new(Connections::new(most, per_address))
    }

    impl Connections {
        async fn place(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Place> {
            match self.enter(address).await {
                Entry::Place(place) => Some(place),
                Entry::Waits(_) | Entry::Refused => None,
            }
        }

        async fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Place {
            self.place(address).await.expect("there is a place")
        }

        /// That of a client that has had an answer.
        async fn take_idle(self: &Arc<Self>, address: Option<IpAddr>) -> Place {
            let place = self.take(address).await;
            drop(place.connection().begin(false));
            place
        }

        /// That of a client that sends nothing.
        async fn take_silent(self: &Arc<Self>, address: Option<IpAddr>) -> Place {
            let place = self.take(address).await;
            place.connection().nothing_came();
            place
        }

        /// Whether somebody gets a place, without anybody closing.
        async fn has_place(self: &Arc<Self>, address: Option<IpAddr>) -> bool {
            tokio::time::timeout(SLOW * 3, self.place(address)).await.is_ok_and(|place| place.is_some())
        }
    }

    fn must_end(place: &Place) -> bool {
        place.connection().is_ending()
    }

    async fn sleep(millis: u64) {
        tokio::time::sleep(Duration::from_millis(millis)).await;
    }

    // G6
    #[tokio::test(start_paused = true)]
    async fn silent_connections_go_before_idle_ones_and_idle_ones_by_how_long_they_are_idle() {
        let all = all(4, 4);
        let (first, second) = (all.take_idle(A).await, all.take_idle(A).await);
        let silent = all.take_silent(A).await;
        let busy = all.take(A).await;
        let _busy = busy.connection().begin(false);
        sleep(5000).await;
        drop(first.connection().begin(false));
        sleep(100).await;
        let later = || async { all.take_silent(B).await };
        let mut waiting = std::pin::pin!(later());
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        assert!(must_end(&silent) && !must_end(&first) && !must_end(&second));
        assert_eq!(silent.connection().ending(), Ending::Now);
        drop(silent);
        // The new one has sent something, and is being answered.
        let new = waiting.await;
        let _also = new.connection().begin(false);
        assert!(!all.has_place(B).await);
        assert!(must_end(&second) && !must_end(&first), "the second is idle for longer");
        drop(second);
        let newer = all.take(B).await;
        let _too = newer.connection().begin(false);
        assert!(!all.has_place(B).await);
        assert!(must_end(&first) && !must_end(&busy) && !must_end(&new), "never one that is being answered");
    }

    // G5
    #[tokio::test(start_paused = true)]
    async fn a_place_is_free_when_its_connection_is_closed_and_not_before() {
        let all = all(1, 1);
        let only = all.take_idle(A).await;
        let mut waiting = std::pin::pin!(all.place(A));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        only.connection().asked_to_end().await;
        sleep(60_000).await;
        assert!(futures_util::poll!(waiting.as_mut()).is_pending(), "it is still open");
        drop(only);
        assert!(waiting.await.is_some());
        assert!(all.open().all.is_empty() && all.open().addresses.is_empty());
    }

    // G6
    #[tokio::test(start_paused = true)]
    async fn a_request_that_comes_while_its_connection_is_asked_to_close_is_answered() {
        let all = all(1, 1);
        let only = all.take_idle(A).await;
        assert!(!all.has_place(A).await);
        assert!(must_end(&only));
        only.connection().came(1);
        assert_eq!(only.connection().ending(), Ending::Not);
        let busy = only.connection().begin(false);
        assert!(!all.has_place(A).await);
        assert!(!must_end(&only));
        // Not before all is sent.
        only.connection().nothing_taken();
        drop(busy);
        let mut waiting = std::pin::pin!(all.place(A));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        assert!(!must_end(&only));
        only.connection().taken(9, true);
        sleep(LOOK_AGAIN.as_millis().try_into().unwrap()).await;
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        assert_eq!(only.connection().ending(), Ending::Now);
    }

    // G1
    #[tokio::test(start_paused = true)]
    async fn a_fast_start_is_no_credit_for_later() {
        let all = all(3, 3);
        let place = all.take(A).await;
        let (_busy, body) = (place.connection().begin(false), place.connection().begin_body());
        body.wait();
        body.add(33_000);
        let fast = all.take(A).await;
        let (_answers, steady) = (fast.connection().begin(false), fast.connection().begin_body());
        let app = all.take(A).await;
        let (_too, unread) = (app.connection().begin(false), app.connection().begin_body());
        unread.wait();
        unread.add(1);
        body.wait();
        for _ in 0..30 {
            steady.wait();
            sleep(100).await;
            steady.add(110);
        }
        let mut waiting = std::pin::pin!(all.place(A));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        assert!(must_end(&place), "it sent 33 KB, and nothing for 3 s");
        assert!(!must_end(&fast), "1 KiB in each second");
        assert!(!must_end(&app), "the application does not ask for more");
        assert_eq!(place.connection().ending(), Ending::Cut);
        body.cut().await;
    }

    // G1
    #[tokio::test(start_paused = true)]
    async fn a_client_that_takes_nothing_of_its_answer_is_slow_and_a_silent_answer_is_not() {
        let all = all(2, 2);
        let (takes_nothing, long_poll) = (all.take(A).await, all.take(B).await);
        let busy = [&takes_nothing, &long_poll].map(|place| place.connection().begin(false));
        takes_nothing.connection().taken(1 << 20, false);
        takes_nothing.connection().nothing_taken();
        long_poll.connection().taken(100, true);
        sleep(900).await;
        let mut waiting = std::pin::pin!(all.place(B));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        assert!(!must_end(&takes_nothing));
        sleep(200).await;
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        assert!(must_end(&takes_nothing) && !must_end(&long_poll));
        assert_eq!(takes_nothing.connection().ending(), Ending::Reset);
        drop((busy, takes_nothing));
        assert!(waiting.await.is_some());
    }

    // G1
    #[tokio::test(start_paused = true)]
    async fn over_http_2_a_client_that_lets_nothing_be_sent_is_slow_and_what_is_no_request_is_none() {
        let all = all(3, 3);
        let (stalls, streams) = (all.take(A).await, all.take(A).await);
        let busy = [&stalls, &streams].map(|place| [(); 2].map(|()| place.connection().begin(true)));
        stalls.connection().give();
        stalls.connection().taken(9, true);
        streams.connection().give();
        streams.connection().given();
        let idle = all.take(B).await;
        drop(idle.connection().begin(true));
        idle.connection().came(9);
        idle.connection().nothing_came();
        sleep(1100).await;
        let mut waiting = std::pin::pin!(all.place(B));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        assert!(must_end(&stalls) && !must_end(&streams) && !must_end(&idle));
        assert_eq!(stalls.connection().ending(), Ending::Reset);
        all.give_up(Duration::from_secs(1), HOUR);
        assert!(must_end(&idle) && !must_end(&streams), "it is idle for a second");
        assert_eq!(idle.connection().ending(), Ending::Now);
        drop(busy);
    }

    // G1
    #[tokio::test(start_paused = true)]
    async fn an_address_has_its_share_and_others_have_the_rest() {
        let all = all(16, 4);
        let places = [all.take(A).await, all.take(A).await, all.take(A).await, all.take(A).await];
        let _busy = places.each_ref().map(|place| place.connection().begin(false));
        assert!(all.place(A).await.is_none(), "refused at once: all of its own are being answered");
        let other = all.take(B).await;
        // A proxy has no share.
        let proxied =
            [all.take(None).await, all.take(None).await, all.take(None).await, all.take(None).await];
        assert!(!must_end(&other) && !proxied.iter().any(must_end));
        // Only its own make room for its own.
        let body = places[2].connection().begin_body();
        body.wait();
        sleep(30).await;
        let first = all.place(A).await.expect("the other one is closing");
        assert_eq!(places.each_ref().map(must_end), [false, false, true, false]);
        let answers = first.connection().begin(false);
        assert!(matches!(all.enter(A).await, Entry::Refused));
        // Its client is waited for, but not long enough yet: only its own wait for that.
        let body = first.connection().begin_body();
        body.wait();
        assert!(matches!(all.enter(A).await, Entry::Waits(_)));
        let began = Instant::now();
        assert!(all.wait(A).await.is_some() && must_end(&first));
        assert!(began.elapsed() >= Patience::AT_SHARE.slow);
        drop(answers);
    }

    const C: Option<IpAddr> = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 3)));

    // G1
    #[tokio::test(start_paused = true)]
    async fn addresses_that_each_take_their_share_leave_one_for_others() {
        let all = all(90, 45);
        let mut places = Vec::new();
        for _ in 0..90 {
            for address in [A, B] {
                if let Ok(place) = all.try_place(address) {
                    places.push((place.connection().begin(false), place));
                }
            }
        }
        assert_eq!(places.len(), 60, "a third each");
        for _ in 0..SMALL_SHARE {
            let place = all.try_place(C).expect("it has few");
            places.push((place.connection().begin(false), place));
        }
        assert!(!places.iter().any(|(_, place)| must_end(place)), "there is room");
    }

    // G1
    #[tokio::test(start_paused = true)]
    async fn while_all_places_are_in_use_the_address_with_the_most_gives_up_its_slowest() {
        let all = all(100, 99);
        let mut places = Vec::new();
        // A took its share before B did.
        for address in [A; 50].into_iter().chain([B; 25]).chain([C; 16]).chain([None; 9]) {
            let place = all.try_place(address).expect("there is room");
            let (busy, body) = (place.connection().begin(false), place.connection().begin_body());
            body.wait();
            places.push((place, body, busy));
            sleep(1).await;
        }
        // They send as fast as they must, each in its turn.
        for (_, body, _) in &places {
            body.add(100);
            body.wait();
        }
        sleep(40).await;
        let next = Some(IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 4)));
        assert!(all.try_place(next).is_err());
        let given_up = places.iter().map(|(place, ..)| must_end(place));
        let given_up: Vec<_> =
            given_up.enumerate().filter_map(|(n, is_given_up)| is_given_up.then_some(n)).collect();
        assert!(given_up.len() == 7 && given_up.iter().all(|n| *n < 50), "{given_up:?}");
        places.retain(|(place, ..)| !must_end(place));
        assert!(all.try_place(next).is_ok());
    }

    // G1
    #[tokio::test(start_paused = true)]
    async fn a_new_connection_is_no_reason_to_wait_longer_for_a_request_that_lags() {
        let all = all(100, 2);
        let (lags, _new) = (all.take(A).await, all.take(A).await);
        let (_busy, body) = (lags.connection().begin(false), lags.connection().begin_body());
        body.wait();
        sleep(30).await;
        assert!(all.try_place(A).is_ok());
        assert!(must_end(&lags));
    }

    // G1
    #[tokio::test(start_paused = true)]
    async fn many_slow_requests_of_an_address_are_given_up_while_there_is_room() {
        let all = all(1000, 500);
        let mut slow = Vec::new();
        for address in [A; 40].into_iter().chain([B; 3]) {
            let place = all.take(address).await;
            let (busy, body) = (place.connection().begin(false), place.connection().begin_body());
            body.wait();
            slow.push((body, busy, place));
            sleep(1).await;
        }
        let idle = [all.take_idle(A).await, all.take_silent(A).await];
        let given_up = || slow.iter().map(|(_, _, place)| must_end(place)).collect::<Vec<_>>();
        all.give_up(HOUR, HOUR);
        assert!(!given_up().contains(&true));
        sleep(1000).await;
        all.give_up(HOUR, HOUR);
        let few = 500 / SLOW_REQUESTS;
        let expected: Vec<_> = (0..43).map(|n| n < 40 - few).collect();
        assert_eq!(given_up(), expected, "those that wait for longest, and none of another address");
        assert!(!idle.iter().any(must_end));
    }

    #[tokio::test]
    async fn the_end_is_when_all_are_closed() {
        let all = all(9, 9);
        let (idle, busy) = (all.take_idle(A).await, all.take(A).await);
        let _busy = busy.connection().begin(false);
        all.close();
        idle.connection().asked_to_end().await;
        busy.connection().asked_to_end().await;
        assert_eq!(
            [&idle, &busy].map(|place| place.connection().ending()),
            [Ending::Now, Ending::AfterAnswer]
        );
        let mut closed = std::pin::pin!(all.closed());
        assert!(futures_util::poll!(closed.as_mut()).is_pending());
        drop((idle, busy));
        assert!(futures_util::poll!(closed.as_mut()).is_ready());
    }
}
