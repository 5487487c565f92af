//! State of one connection, and how it closes.

use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::connections::Connections;
use super::lag::{Claim, Lag, Patience, SLOW};

/// One open connection.
#[derive(Debug)]
pub(super) struct Connection {
    /// The address to whose share the connection counts. `None` for a trusted proxy.
    pub(super) address: Option<IpAddr>,
    pub(super) state: Mutex<State>,
    pub(super) end: Notify,
    pub(super) body_cut: Notify,
    pub(super) all: Arc<Connections>,
}

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // The flags are independent.
pub(super) struct State {
    /// The client has sent the head of a request.
    pub(super) has_sent_request: bool,
    /// Number of requests in flight.
    pub(super) in_flight: usize,
    /// HTTP/2: requests can arrive at any time, and many received frames belong to no request.
    pub(super) is_http2: bool,
    /// Number of HTTP/2 responses with data that waits to be sent.
    pub(super) unsent: usize,
    /// Response bytes wait until the client reads them.
    pub(super) writes: bool,
    /// Part of a request head has been received.
    pub(super) has_part: bool,
    pub(super) idle_since: Instant,
    pub(super) reading: Lag,
    pub(super) writing: Lag,
    /// The connection was asked to close.
    pub(super) is_ending: bool,
    /// The server is shutting down.
    pub(super) is_last: bool,
}

/// How a connection closes after it was asked to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Immediately.
    Now,
    /// Immediately, and discards unsent bytes: the client does not read the response.
    Reset,
    /// After an error response: receiving the request body was aborted.
    Cut,
    /// After the responses to the requests in flight.
    AfterAnswer,
    /// Not at all: the client has sent data in the meantime.
    Not,
}

/// Guard of a request in flight.
#[derive(Debug)]
pub(super) struct Busy(Arc<Connection>);

/// Guard of a request body that is being received.
#[derive(Debug)]
pub(super) struct Reading(Arc<Connection>);

impl State {
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight == 0 && !self.writes && !self.has_part
    }

    pub(super) fn is_over(&self, now: Instant, idle: Duration, write: Duration) -> bool {
        let takes_nothing = self.writing.since.is_some_and(|since| now - since > write);
        // Bytes written before any request are not a response, for example the acknowledgement of HTTP/2 settings.
        let sends_response = self.writes && self.has_sent_request && !self.is_http2;
        takes_nothing || (self.in_flight == 0 && !sends_response && now - self.idle_since > idle)
    }

    pub(super) fn lag(&self, now: Instant) -> Option<Duration> {
        self.reading.now(now).max(self.writing.now(now))
    }

    pub(super) fn claim(&self, now: Instant, patience: Patience) -> Option<Claim> {
        if self.is_ending {
            return None;
        }
        if self.has_sent_request && self.is_idle() {
            return Some(Claim::Waits((now - self.idle_since) / 10, true));
        }
        // Without a lag, the connection waits for the application or was not polled yet.
        let lag = self.lag(now)?;
        match lag {
            lag if lag >= SLOW => Some(Claim::Slow(lag)),
            lag if self.has_sent_request => (lag >= patience.slow).then_some(Claim::Waits(lag, false)),
            lag => (lag >= patience.silent).then_some(Claim::Silent(lag)),
        }
    }
}

impl Connection {
    pub(super) fn new(address: Option<IpAddr>, all: Arc<Connections>) -> Self {
        let state = State {
            has_sent_request: false,
            in_flight: 0,
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

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that the head of a request was received.
    pub(super) fn begin(self: &Arc<Self>, is_http2: bool) -> Busy {
        let mut state = self.state();
        (state.has_sent_request, state.is_http2, state.has_part) = (true, is_http2, false);
        if state.in_flight == 0 {
            state.reading = Lag::default();
        }
        state.in_flight += 1;
        Busy(Arc::clone(self))
    }

    pub(super) fn begin_body(self: &Arc<Self>) -> Reading {
        Reading(Arc::clone(self))
    }

    /// Records that no bytes are available to read.
    pub(super) fn nothing_came(&self) {
        let mut state = self.state();
        if state.in_flight == 0 && !state.is_http2 && (state.has_part || !state.has_sent_request) {
            state.reading.wait(Instant::now());
        }
    }

    /// Records bytes that were read or are available to read.
    pub(super) fn came(&self, bytes: usize) {
        let mut state = self.state();
        if state.in_flight == 0 && !state.is_http2 && bytes > 0 {
            state.has_part = true;
            state.reading.moved(bytes, Instant::now());
        }
    }

    /// Records that bytes were written to the socket. `is_all`: no bytes are left to write.
    pub(super) fn taken(&self, bytes: usize, is_all: bool) {
        let mut state = self.state();
        let now = Instant::now();
        state.writing.moved(bytes, now);
        if state.unsent > 0 {
            state.writing.wait(now);
        }
        state.writes = !is_all;
        if state.has_sent_request && !state.is_http2 {
            self.note_idle(state);
        }
    }

    /// Records that the socket accepts no bytes.
    pub(super) fn nothing_taken(&self) {
        let mut state = self.state();
        state.writes = true;
        state.writing.wait(Instant::now());
    }

    /// Records that an HTTP/2 response produced a chunk. Its next chunk is polled when the client allows to send this
    /// one.
    pub(super) fn give(&self) {
        let mut state = self.state();
        state.unsent += 1;
        state.writing.wait(Instant::now());
    }

    /// Records that the chunk was sent or dropped.
    pub(super) fn given(&self) {
        let mut state = self.state();
        state.unsent -= 1;
        if state.unsent == 0 && !state.writes {
            state.writing.moved(0, Instant::now());
        }
    }

    pub(super) fn note_idle(&self, mut state: MutexGuard<'_, State>) {
        if state.is_idle() {
            state.idle_since = Instant::now();
            state.writing = Lag::default();
            drop(state);
            self.all.has_changed();
        }
    }

    /// Waits until the connection is asked to close.
    pub(super) async fn asked_to_end(&self) {
        self.end.notified().await;
    }

    pub(super) fn is_answering(&self) -> bool {
        self.state().in_flight > 0
    }

    pub(super) fn is_ending(&self) -> bool {
        self.state().is_ending
    }

    /// Whether to discard the unsent bytes.
    pub(super) fn is_reset(&self) -> bool {
        self.state().writing.since.is_some()
    }

    /// Decides how the connection closes, after it was asked to close and has polled the socket once more.
    pub(super) fn ending(&self) -> Ending {
        let state = self.state();
        let is_in_use =
            state.in_flight > 0 || state.writes || (state.has_part && state.reading.since.is_none());
        let ending = match (state.is_last, is_in_use) {
            (_, false) => Ending::Now,
            (true, true) => Ending::AfterAnswer,
            (false, true) if state.writing.since.is_some() => Ending::Reset,
            (false, true) if state.reading.since.is_some() => Ending::Cut,
            (false, true) => Ending::Not,
        };
        if ending == Ending::Not {
            // Lock order: the connection counts before a connection.
            drop(state);
            self.all.stays(self);
        } else if ending == Ending::Cut {
            self.body_cut.notify_one();
        }
        ending
    }
}

impl Reading {
    /// Records that the application waits for more of the body.
    pub(super) fn wait(&self) {
        self.0.state().reading.wait(Instant::now());
    }

    /// Records received bytes of the body.
    pub(super) fn add(&self, bytes: usize) {
        self.0.state().reading.moved(bytes, Instant::now());
    }

    /// Waits until receiving the body is aborted.
    pub(super) fn cut(&self) -> impl Future<Output = ()> + Send + use<> {
        let connection = Arc::clone(&self.0);
        async move { connection.body_cut.notified().await }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.in_flight -= 1;
        if state.in_flight == 0 {
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
