//! One connection: connects to the upstream and transfers data in both directions.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use super::lane::Lane;
use super::log_limit::LogLimit;
use super::random::Random;
use super::stage::Closing;
use super::toxic::Direction;
use super::toxic_list::ToxicList;

/// Time limit for connecting to the upstream.
const CONNECT: Duration = Duration::from_secs(10);

/// State that all connections of a proxy share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) name: String,
    pub(super) toxics: ToxicList,
    pub(super) random: Random,
    pub(super) counts: Counts,
    pub(super) no_upstream: LogLimit,
    pub(super) no_room: LogLimit,
}

/// Statistics. No other memory access depends on them, so that they are relaxed.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) accepted: AtomicU64,
    pub(super) rejected: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) open: AtomicUsize,
    /// Directions that toxics affect.
    pub(super) affected: Arc<AtomicUsize>,
}

/// Counts a connection while it is open.
struct Open(Arc<Shared>);

impl Open {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.counts.open.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(shared))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.counts.open.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Serves a connection until both directions end, or until a toxic ends it. Dropping the future closes both sockets.
pub(super) async fn serve(
    client: TcpStream,
    upstream: Arc<str>,
    shared: Arc<Shared>,
    number: u64,
    permit: OwnedSemaphorePermit,
) {
    let open = Open::new(&shared);
    match connect(&upstream).await {
        Ok(server) => transfer(client, server, &shared, number).await,
        Err(error) => {
            shared.counts.failed.fetch_add(1, Ordering::Relaxed);
            if let Some(left_out) = shared.no_upstream.pass() {
                let suppressed = (left_out > 0).then_some(left_out);
                tracing::warn!(
                    target: "resilient_chaos", proxy = shared.name, %upstream, %error, suppressed,
                    "connection closed: cannot connect to the upstream"
                );
            }
        }
    }
    drop((open, permit));
}

async fn connect(upstream: &str) -> io::Result<TcpStream> {
    let timed_out = || io::Error::new(io::ErrorKind::TimedOut, "no connection within 10 s");
    tokio::time::timeout(CONNECT, TcpStream::connect(upstream)).await.unwrap_or_else(|_| Err(timed_out()))
}

async fn transfer(mut client: TcpStream, mut server: TcpStream, shared: &Shared, number: u64) {
    for socket in [&client, &server] {
        // Without it, the operating system could merge slices. A failure changes only the timing.
        let _ = socket.set_nodelay(true);
    }
    let random = shared.random.for_part(number);
    let lane = |source, sink, direction| {
        let toxics = shared.toxics.subscribe(direction);
        Lane::new(source, sink, toxics, random.clone(), &shared.counts.affected).run()
    };
    let ended = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        tokio::try_join!(
            lane(from_client, to_server, Direction::Upstream),
            lane(from_server, to_client, Direction::Downstream),
        )
    };
    if ended == Err(Closing::Reset) {
        for socket in [&client, &server] {
            // Closing a socket with a linger time of zero sends RST. This fails only if the peer has already gone.
            let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
        }
    }
}
