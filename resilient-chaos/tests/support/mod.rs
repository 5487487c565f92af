//! Servers and waiting for the tests of the proxy.

#![allow(dead_code, reason = "each test program uses a part")]

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Once};
use std::time::Duration;

use resilient_chaos::proxy::Proxy;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// Upper bound of every delay. Only a hanging program exceeds it.
pub(crate) const LATE: Duration = Duration::from_secs(20);

pub(crate) fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

/// Ends the tests if one of them waits forever, because most reads have no time limit.
static WATCHDOG: Once = Once::new();
const LONGEST: Duration = Duration::from_mins(5);

fn watch() {
    std::thread::spawn(|| {
        std::thread::sleep(LONGEST);
        eprintln!("a test of the proxy did not end within {LONGEST:?}");
        std::process::abort();
    });
}

/// A server that runs until it is dropped.
pub(crate) struct Server {
    address: SocketAddr,
    counts: Arc<Counts>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Counts {
    received: AtomicUsize,
    resets: AtomicUsize,
}

impl Server {
    /// Serves each connection with a function.
    pub(crate) async fn new<F>(serve: impl Fn(TcpStream) -> F + Send + 'static) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        Self::at("127.0.0.1:0".parse().unwrap(), Arc::default(), serve).await
    }

    async fn at<F>(
        address: SocketAddr,
        counts: Arc<Counts>,
        serve: impl Fn(TcpStream) -> F + Send + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + Send + 'static,
    {
        WATCHDOG.call_once(watch);
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream));
            }
        });
        Self { address, counts, task }
    }

    /// Sends all data back.
    pub(crate) async fn echo_at(address: SocketAddr) -> Self {
        let counts = Arc::<Counts>::default();
        let echo_counts = Arc::clone(&counts);
        Self::at(address, counts, move |stream| echo(stream, Arc::clone(&echo_counts))).await
    }

    pub(crate) fn address(&self) -> String {
        self.address.to_string()
    }

    /// Bytes that the echo server received.
    pub(crate) fn received(&self) -> usize {
        self.counts.received.load(Ordering::SeqCst)
    }

    /// Connections of the echo server that were reset.
    pub(crate) fn resets(&self) -> usize {
        self.counts.resets.load(Ordering::SeqCst)
    }

    pub(crate) async fn proxy(&self) -> Proxy {
        Proxy::start("127.0.0.1:0", &self.address()).await.unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn echo(mut stream: TcpStream, counts: Arc<Counts>) {
    let mut buffer = vec![0; 16 << 10];
    loop {
        match stream.read(&mut buffer).await {
            Ok(0) => return,
            Ok(read) => {
                counts.received.fetch_add(read, Ordering::SeqCst);
                if stream.write_all(&buffer[..read]).await.is_err() {
                    return;
                }
            }
            Err(error) => {
                let is_reset = error.kind() == ErrorKind::ConnectionReset;
                counts.resets.fetch_add(usize::from(is_reset), Ordering::SeqCst);
                return;
            }
        }
    }
}

/// A proxy in front of an echo server.
pub(crate) async fn echo_through() -> (Proxy, Server) {
    let server = Server::echo_at("127.0.0.1:0".parse().unwrap()).await;
    (server.proxy().await, server)
}

pub(crate) async fn connect(proxy: &Proxy) -> TcpStream {
    let client = TcpStream::connect(proxy.address()).await.unwrap();
    client.set_nodelay(true).unwrap();
    client
}

/// Waits until a condition holds.
pub(crate) async fn eventually(what: &str, condition: impl Fn() -> bool) {
    eventually_with(what, || condition().then_some(())).await;
}

/// Waits until there is a value.
pub(crate) async fn eventually_with<T>(what: &str, value: impl Fn() -> Option<T>) -> T {
    let poll = async {
        loop {
            if let Some(value) = value() {
                return value;
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(LATE, poll).await.unwrap_or_else(|_| panic!("not in time: {what}"))
}

/// Raises the limit of open files of this process.
pub(crate) fn allow_files(files: u64) {
    #[cfg(unix)]
    rlimit::increase_nofile_limit(files).unwrap();
    #[cfg(not(unix))]
    let _ = files;
}
