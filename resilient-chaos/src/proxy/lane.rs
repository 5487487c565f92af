//! One direction of one connection: reads from one socket and writes to the other.
//!
//! Without toxics, data goes from a buffer directly to the other socket. A toxic moves the direction to the path through
//! its [`Chain`]. Both paths stop at each change of the toxics without losing a byte: all data is in the lane, and not in a
//! future that is dropped.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::watch;
use tokio::time::Instant;

use super::chain::Chain;
use super::random::Random;
use super::stage::{Closing, Item};
use super::toxic_list::Toxics;

/// Bytes that are read at once. The operating system provides the memory when data arrives.
const BUFFER: usize = 64 << 10;

pub(super) struct Lane<'c> {
    source: ReadHalf<'c>,
    sink: WriteHalf<'c>,
    toxics: watch::Receiver<Toxics>,
    chain: Chain,
    /// Data from the source. The bytes before `written` are in the sink.
    buffer: Vec<u8>,
    written: usize,
    has_ended: bool,
    affected: Affected,
}

impl<'c> Lane<'c> {
    pub(super) fn new(
        source: ReadHalf<'c>,
        sink: WriteHalf<'c>,
        toxics: watch::Receiver<Toxics>,
        random: Random,
        affected: &Arc<AtomicUsize>,
    ) -> Self {
        Self {
            source,
            sink,
            toxics,
            chain: Chain::new(random),
            buffer: Vec::with_capacity(BUFFER),
            written: 0,
            has_ended: false,
            affected: Affected { count: Arc::clone(affected), is_counted: false },
        }
    }

    /// Transfers data until the source ends, and passes the end on. An error ends the whole connection.
    pub(super) async fn run(mut self) -> Result<(), Closing> {
        loop {
            let now = Instant::now();
            let toxics = Arc::clone(&self.toxics.borrow_and_update());
            self.chain.apply(&toxics, now)?;
            self.affected.set(self.chain.is_affected());
            if !self.chain.is_idle() && self.written < self.buffer.len() {
                let rest = Bytes::copy_from_slice(&self.buffer[self.written..]);
                self.chain.push(Item::Data(rest), now);
                self.buffer.clear();
                self.written = 0;
            }
            let mut updates = self.toxics.clone();
            let transfer = async {
                if self.chain.is_idle() { self.direct().await.map(Some) } else { self.through_toxics().await }
            };
            tokio::select! {
                biased;
                changed = updates.changed() => changed.map_err(|_| Closing::Close)?,
                done = transfer => if let Some(()) = done? { return Ok(()) },
            }
        }
    }

    /// Transfers data without toxics, until the end of the data.
    async fn direct(&mut self) -> Result<(), Closing> {
        loop {
            while self.written < self.buffer.len() {
                self.written +=
                    self.sink.write(&self.buffer[self.written..]).await.map_err(|error| closing(&error))?;
            }
            self.buffer.clear();
            self.written = 0;
            if self.source.read_buf(&mut self.buffer).await.map_err(|error| closing(&error))? == 0 {
                return self.sink.shutdown().await.map_err(|error| closing(&error));
            }
        }
    }

    /// Transfers data through the toxics. Returns `None` when no toxic and none of their data is left, so that the rest can
    /// take the direct path, and `Some` at the end of the data.
    async fn through_toxics(&mut self) -> Result<Option<()>, Closing> {
        loop {
            let next = self.chain.advance(Instant::now())?;
            let is_open = !self.has_ended && self.chain.accepts();
            if self.chain.is_idle() {
                return Ok(None);
            }
            let output = match self.chain.output().front() {
                Some(Item::Data(bytes)) => Some(bytes.clone()),
                Some(Item::End) => {
                    return self.sink.shutdown().await.map(Some).map_err(|error| closing(&error));
                }
                Some(Item::Close) => return Err(Closing::Close),
                None => None,
            };
            tokio::select! {
                written = self.sink.write(output.as_deref().unwrap_or_default()), if output.is_some() => {
                    self.sent(written.map_err(|error| closing(&error))?);
                }
                read = self.source.read_buf(&mut self.buffer), if is_open => {
                    self.received(read.map_err(|error| closing(&error))?);
                }
                () = tokio::time::sleep_until(next.unwrap_or_else(Instant::now)), if next.is_some() => {}
                // All toxics wait for a change, such as a bandwidth of 0.
                else => std::future::pending().await,
            }
        }
    }

    fn sent(&mut self, written: usize) {
        let output = self.chain.output();
        if let Some(Item::Data(bytes)) = output.front_mut() {
            drop(bytes.split_to(written.min(bytes.len())));
            if bytes.is_empty() {
                output.pop_front();
            }
        }
    }

    fn received(&mut self, read: usize) {
        let now = Instant::now();
        if read == 0 {
            self.has_ended = true;
            return self.chain.push(Item::End, now);
        }
        self.chain.push(Item::Data(Bytes::copy_from_slice(&self.buffer)), now);
        self.buffer.clear();
    }
}

/// Counts the lane while a toxic affects it.
struct Affected {
    count: Arc<AtomicUsize>,
    is_counted: bool,
}

impl Affected {
    fn set(&mut self, is_affected: bool) {
        // A statistic that orders no other memory access.
        match (self.is_counted, is_affected) {
            (false, true) => drop(self.count.fetch_add(1, Ordering::Relaxed)),
            (true, false) => drop(self.count.fetch_sub(1, Ordering::Relaxed)),
            _ => {}
        }
        self.is_counted = is_affected;
    }
}

impl Drop for Affected {
    fn drop(&mut self) {
        self.set(false);
    }
}

/// An error of a socket ends the connection. A reset of one side is passed on to the other.
fn closing(error: &io::Error) -> Closing {
    match error.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Closing::Reset,
        _ => Closing::Close,
    }
}
