//! One connection: what goes on there, and how it closes when it is asked to.

use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::connections::Connections;
use super::lag::{Claim, Lag, Patience, SLOW};

/// One of them.
#[derive(Debug)]
pub(super) struct Connection {
    /// Whose share it is a part of; none for a proxy.
    pub(super) address: Option<IpAddr>,
    pub(super) state: Mutex<State>,
    pub(super) end: Notify,
    pub(super) body_cut: Notify,
    pub(super) all: Arc<Connections>,
}

#[derive(Debug)]
#[allow(clippy::struct_excessive_bools)] // Each is a fact of its own.
pub(super) struct State {
    /// It has sent the head of a request.
    pub(super) has_spoken: bool,
    /// Requests that are being answered.
    pub(super) answers: usize,
    /// It speaks HTTP/2: requests come at any time, with much between them that is none.
    pub(super) is_http2: bool,
    /// Number of HTTP/2 responses with data that waits to be sent.
    pub(super) unsent: usize,
    /// Bytes of an answer wait for the client to take them.
    pub(super) writes: bool,
    /// Part of a request's head has come.
    pub(super) has_part: bool,
    pub(super) idle_since: Instant,
    pub(super) reading: Lag,
    pub(super) writing: Lag,
    /// It was asked to close.
    pub(super) is_ending: bool,
    /// The server stops.
    pub(super) is_last: bool,
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

/// While it lives, a request is being answered.
#[derive(Debug)]
pub(super) struct Busy(Arc<Connection>);

/// While it lives, the body of a request is on its way.
#[derive(Debug)]
pub(super) struct Reading(Arc<Connection>);

impl State {
    pub(super) fn is_idle(&self) -> bool {
        self.answers == 0 && !self.writes && !self.has_part
    }

    pub(super) fn is_over(&self, now: Instant, idle: Duration, write: Duration) -> bool {
        let takes_nothing = self.writing.since.is_some_and(|since| now - since > write);
        // What is written without any request is no answer, such as what acknowledges settings of HTTP/2.
        let sends_answer = self.writes && self.has_spoken && !self.is_http2;
        takes_nothing || (self.answers == 0 && !sends_answer && now - self.idle_since > idle)
    }

    pub(super) fn lag(&self, now: Instant) -> Option<Duration> {
        self.reading.now(now).max(self.writing.now(now))
    }

    pub(super) fn claim(&self, now: Instant, patience: Patience) -> Option<Claim> {
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

impl Connection {
    pub(super) fn new(address: Option<IpAddr>, all: Arc<Connections>) -> Self {
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

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
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

    pub(super) fn note_idle(&self, mut state: MutexGuard<'_, State>) {
        if state.is_idle() {
            state.idle_since = Instant::now();
            state.writing = Lag::default();
            drop(state);
            self.all.has_changed();
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
            self.all.stays(self);
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
