//! Follows a journal of the service: an experiment or the monkey.
//!
//! One thread reads the journal and connects again if the connection is lost, one waits for Ctrl-C, and both send to
//! the main thread, which prints.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::api::{Api, Message};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::interrupt;

/// Pause between two attempts to connect. A service ends an attended experiment after 2 s without a follower.
const PAUSE: Duration = Duration::from_millis(200);
/// After this time without a connection, the service counts as gone.
const PATIENCE: Duration = Duration::from_secs(10);

/// News about the journal.
#[derive(Debug)]
pub(crate) enum News {
    Entry(Value),
    /// The connection is lost, and is tried again.
    Lost,
    /// The connection is there again.
    Back,
    /// The journal has no more entries.
    End,
    /// The service does not answer any more, or does not know the journal any more.
    Gone(Failure),
    /// The user pressed Ctrl-C.
    Interrupted,
}

/// Starts to listen to Ctrl-C, so that none is lost. The receiver gets the news after [`start`].
pub(crate) fn listen() -> Result<(Sender<News>, Receiver<News>), Failure> {
    let (news, received) = mpsc::channel();
    let interrupts = news.clone();
    interrupt::each(move || {
        // If the receiver is gone, the program ends.
        let _ = interrupts.send(News::Interrupted);
    })?;
    Ok((news, received))
}

/// Starts to follow the journal at `path` on a thread of its own.
pub(crate) fn start(api: Arc<Api>, path: String, news: Sender<News>) {
    thread::spawn(move || {
        let mut follower = Follower { api, path, news, seen: 0, is_lost: false };
        // The receiver is gone: the program ends.
        let _: Result<(), mpsc::SendError<News>> = follower.run();
    });
}

struct Follower {
    api: Arc<Api>,
    path: String,
    news: Sender<News>,
    /// Number of entries that were sent. A new connection begins with the first entry again.
    seen: u64,
    is_lost: bool,
}

impl Follower {
    fn run(&mut self) -> Result<(), mpsc::SendError<News>> {
        let mut since = Instant::now();
        loop {
            match self.connection() {
                Ok(true) => return self.news.send(News::End),
                Ok(false) => {
                    // An entry arrived over this connection.
                    since = Instant::now();
                }
                Err(Ended::Receiver(error)) => return Err(error),
                Err(Ended::Failure(failure)) => {
                    if failure.exit != Exit::Unreachable || since.elapsed() >= PATIENCE {
                        return self.news.send(News::Gone(failure));
                    }
                }
            }
            if !self.is_lost {
                self.is_lost = true;
                since = Instant::now();
                self.news.send(News::Lost)?;
            }
            sleep(PAUSE);
        }
    }

    /// Reads one connection. Returns whether the journal ended.
    fn connection(&mut self) -> Result<bool, Ended> {
        let mut messages = self.api.stream(&self.path)?;
        if std::mem::take(&mut self.is_lost) {
            self.news.send(News::Back)?;
        }
        let mut number = 0;
        while let Some(message) = messages.next()? {
            match message {
                Message::Event(entry) => {
                    number += 1;
                    if number > self.seen {
                        self.seen = number;
                        self.news.send(News::Entry(entry))?;
                    }
                }
                Message::End => return Ok(true),
                Message::Started | Message::Lost(_) => {}
            }
        }
        Ok(false)
    }
}

enum Ended {
    Failure(Failure),
    Receiver(mpsc::SendError<News>),
}

impl From<Failure> for Ended {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<mpsc::SendError<News>> for Ended {
    fn from(error: mpsc::SendError<News>) -> Self {
        Self::Receiver(error)
    }
}
