//! A proxy that counts round trips, and loses responses.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::server::{Server, url};

/// Forwards to a server.
///
/// While `cuts` is above 0, it closes a connection instead of returning the response to a change.
pub(crate) struct Wire {
    counters: Arc<Counters>,
    address: String,
    to: Arc<Mutex<String>>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Counters {
    /// The number of requests after which the client waited.
    round_trips: AtomicU32,
    cuts: AtomicU32,
}

impl Wire {
    pub(crate) async fn start(server: &Server) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let counters = Arc::<Counters>::default();
        let to = Arc::new(Mutex::new(server.address()));
        let (shared, leads_to) = (Arc::clone(&counters), Arc::clone(&to));
        let task = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let to = leads_to.lock().unwrap().clone();
                let Ok(server) = TcpStream::connect(&to).await else { continue };
                tokio::spawn(forward(client, server, Arc::clone(&shared)));
            }
        });
        Self { counters, address, to, task }
    }

    pub(crate) fn url(&self) -> String {
        url(&self.address)
    }

    /// Makes new connections lead to another server.
    pub(crate) fn lead_to(&self, server: &Server) {
        *self.to.lock().unwrap() = server.address();
    }

    /// The number of round trips since the last call.
    pub(crate) fn round_trips(&self) -> u32 {
        self.counters.round_trips.swap(0, Ordering::SeqCst)
    }

    /// Loses the next response to a change.
    pub(crate) fn cut(&self) {
        self.counters.cuts.store(1, Ordering::SeqCst);
    }

    pub(crate) fn has_cut(&self) -> bool {
        self.counters.cuts.load(Ordering::SeqCst) == 0
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn forward(mut client: TcpStream, mut server: TcpStream, counters: Arc<Counters>) {
    let (mut request, mut response) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    let (mut is_change, mut has_asked) = (false, false);
    loop {
        tokio::select! {
            Ok(bytes) = client.read(&mut request) => {
                if bytes == 0 { return }
                let request = &request[..bytes];
                if !std::mem::replace(&mut has_asked, true) {
                    counters.round_trips.fetch_add(1, Ordering::SeqCst);
                    is_change = false;
                }
                let has = |word: &[u8]| request.windows(word.len()).any(|part| part == word);
                is_change |= has(b"INSERT") || has(b"UPDATE") || has(b"DELETE") || has(b"COMMIT");
                if server.write_all(request).await.is_err() { return }
            }
            Ok(bytes) = server.read(&mut response) => {
                if bytes == 0 { return }
                has_asked = false;
                let cut = |left: u32| left.checked_sub(1);
                // The server responds after the commit.
                if is_change && counters.cuts.fetch_update(Ordering::SeqCst, Ordering::SeqCst, cut).is_ok() { return }
                if client.write_all(&response[..bytes]).await.is_err() { return }
            }
        }
    }
}
