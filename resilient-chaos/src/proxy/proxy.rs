//! One proxy: a listener and its connections.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use super::address::{check_upstream, is_own, listen, resolve_listen};
use super::builder::ProxyBuilder;
use super::connection::{Shared, serve};
use super::guard::ToxicGuard;
use super::{ProxyError, ProxyStats, Toxic};

/// First and longest pause after a failed accept.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LAST_PAUSE: Duration = Duration::from_millis(500);

/// A TCP proxy that injects faults into its connections.
///
/// Dropping the proxy stops it and closes its connections.
///
/// ```
/// use std::time::Duration;
/// use resilient_chaos::proxy::{Proxy, Toxic};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), resilient_chaos::proxy::ProxyError> {
/// let proxy = Proxy::start("127.0.0.1:0", "127.0.0.1:6379").await?;
/// println!("connect to {}", proxy.address());
/// let slow = proxy.add(Toxic::latency(Duration::from_millis(300)))?;
/// // .. responses are 300 ms late ..
/// drop(slow);
/// # Ok(()) }
/// ```
pub struct Proxy {
    shared: Arc<Shared>,
    slots: Arc<Semaphore>,
    allow_remote: bool,
    place: Mutex<Place>,
    /// Held during a change. `None` while the proxy is disabled.
    running: tokio::sync::Mutex<Option<Running>>,
}

/// Where the proxy listens, and where its connections go.
#[derive(Clone, Debug)]
struct Place {
    /// The address as configured. With port 0, the system chose the port of `address`.
    listen: String,
    address: SocketAddr,
    upstream: Arc<str>,
    is_enabled: bool,
}

/// The task that accepts connections.
struct Running {
    task: JoinHandle<()>,
    stop: Option<oneshot::Sender<()>>,
}

impl Running {
    /// Closes the listener and all connections, and waits for this.
    async fn stop(mut self) {
        drop(self.stop.take());
        // The task cannot panic or be cancelled: `Drop` has not run yet.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Changes of a proxy. `None` keeps the current value.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Change<'a> {
    pub(super) listen: Option<&'a str>,
    pub(super) upstream: Option<&'a str>,
    pub(super) enabled: Option<bool>,
}

impl Proxy {
    /// Starts a proxy that listens on `listen` and connects to `upstream`, both `host:port`.
    ///
    /// Port 0 selects a free port: see [`address`](Self::address). For other options, use [`Proxy::builder`].
    ///
    /// # Errors
    /// Returns an error if an address is invalid, if `listen` is not a loopback address, or if the listener cannot be
    /// created. The upstream does not have to exist.
    ///
    /// # Cancel safety
    /// If the future is dropped, no proxy was started.
    ///
    /// ```
    /// use resilient_chaos::proxy::Proxy;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), resilient_chaos::proxy::ProxyError> {
    /// let proxy = Proxy::start("127.0.0.1:0", "db.internal:5432").await?;
    /// assert!(proxy.address().ip().is_loopback());
    /// # Ok(()) }
    /// ```
    pub async fn start(listen: &str, upstream: &str) -> Result<Self, ProxyError> {
        Self::builder().start(listen, upstream).await
    }

    /// Returns a builder with the default options.
    ///
    /// ```
    /// use resilient_chaos::proxy::Proxy;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), resilient_chaos::proxy::ProxyError> {
    /// let proxy = Proxy::builder().name("redis").seed(42).start("127.0.0.1:0", "127.0.0.1:6379").await?;
    /// assert_eq!(proxy.name(), "redis");
    /// # Ok(()) }
    /// ```
    pub fn builder() -> ProxyBuilder {
        ProxyBuilder::new()
    }

    /// Creates a proxy that is not enabled yet.
    pub(super) async fn create(
        shared: Shared,
        slots: Arc<Semaphore>,
        allow_remote: bool,
        listen: &str,
        upstream: &str,
    ) -> Result<Self, ProxyError> {
        check_upstream(upstream)?;
        let address = resolve_listen(listen, allow_remote).await?;
        let place =
            Place { listen: listen.to_owned(), address, upstream: Arc::from(upstream), is_enabled: false };
        check_not_own(&place)?;
        let (shared, place, running) = (Arc::new(shared), Mutex::new(place), tokio::sync::Mutex::default());
        Ok(Self { shared, slots, allow_remote, place, running })
    }

    fn place(&self) -> Place {
        self.place.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_place(&self, place: Place) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = place;
    }

    /// Returns the name. The default is `proxy`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), resilient_chaos::proxy::ProxyError> {
    /// # use resilient_chaos::proxy::Proxy;
    /// let proxy = Proxy::start("127.0.0.1:0", "127.0.0.1:6379").await?;
    /// assert_eq!(proxy.name(), "proxy");
    /// # Ok(()) }
    /// ```
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Returns the address on which the proxy listens.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), resilient_chaos::proxy::ProxyError> {
    /// # use resilient_chaos::proxy::Proxy;
    /// let proxy = Proxy::start("127.0.0.1:0", "127.0.0.1:6379").await?;
    /// assert_ne!(proxy.address().port(), 0);
    /// # Ok(()) }
    /// ```
    pub fn address(&self) -> SocketAddr {
        self.place().address
    }

    /// Returns the address to which the connections go.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), resilient_chaos::proxy::ProxyError> {
    /// # use resilient_chaos::proxy::Proxy;
    /// let proxy = Proxy::start("127.0.0.1:0", "127.0.0.1:6379").await?;
    /// assert_eq!(proxy.upstream(), "127.0.0.1:6379");
    /// # Ok(()) }
    /// ```
    pub fn upstream(&self) -> String {
        self.place().upstream.as_ref().to_owned()
    }

    /// Whether the proxy accepts connections.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), resilient_chaos::proxy::ProxyError> {
    /// # use resilient_chaos::proxy::Proxy;
    /// let proxy = Proxy::start("127.0.0.1:0", "127.0.0.1:6379").await?;
    /// assert!(proxy.is_enabled());
    /// # Ok(()) }
    /// ```
    pub fn is_enabled(&self) -> bool {
        self.place().is_enabled
    }

    /// Takes the service down: closes the listener and all connections. The toxics stay.
    ///
    /// # Cancel safety
    /// If the future is dropped, the proxy is disabled all the same.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use resilient_chaos::proxy::Proxy;
    /// let proxy = Proxy::start("127.0.0.1:0", "127.0.0.1:6379").await?;
    /// proxy.disable().await;
    /// assert!(tokio::net::TcpStream::connect(proxy.address()).await.is_err());
    /// proxy.enable().await?;
    /// assert!(tokio::net::TcpStream::connect(proxy.address()).await.is_ok(), "on the same port");
    /// # Ok(()) }
    /// ```
    pub async fn disable(&self) {
        self.stop(&mut *self.running.lock().await).await;
    }

    /// Enables a disabled proxy, on the same port as before.
    ///
    /// # Errors
    /// Returns an error if the port is in use by another program now.
    ///
    /// # Cancel safety
    /// If the future is dropped, the proxy is either enabled or disabled.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), resilient_chaos::proxy::ProxyError> {
    /// # use resilient_chaos::proxy::Proxy;
    /// let proxy = Proxy::start("127.0.0.1:0", "127.0.0.1:6379").await?;
    /// proxy.enable().await?;
    /// assert!(proxy.is_enabled(), "no effect on a proxy that is enabled");
    /// # Ok(()) }
    /// ```
    pub async fn enable(&self) -> Result<(), ProxyError> {
        self.change(Change { enabled: Some(true), ..Change::default() }).await
    }

    async fn stop(&self, running: &mut Option<Running>) {
        let old = running.take();
        self.set_place(Place { is_enabled: false, ..self.place() });
        if let Some(old) = old {
            old.stop().await;
            tracing::info!(target: "resilient_chaos", proxy = self.shared.name, "proxy stopped");
        }
    }

    /// Applies a change. A new address or a new upstream closes all connections.
    ///
    /// If the new listener cannot be created, the proxy keeps running unchanged. Only if the address stays the same, the
    /// listener is closed before the new one is opened.
    pub(super) async fn change(&self, change: Change<'_>) -> Result<(), ProxyError> {
        let mut running = self.running.lock().await;
        let old = self.place();
        let mut new = old.clone();
        if let Some(upstream) = change.upstream {
            check_upstream(upstream)?;
            new.upstream = Arc::from(upstream);
        }
        if let Some(listen) = change.listen {
            (new.listen, new.address) = (listen.to_owned(), self.target(&old, listen).await?);
        }
        new.is_enabled = change.enabled.unwrap_or(old.is_enabled);
        check_not_own(&new)?;
        let is_same = new.address == old.address && new.upstream == old.upstream;
        if is_same && new.is_enabled == running.is_some() {
            self.set_place(new);
            return Ok(());
        }
        if !new.is_enabled {
            self.stop(&mut running).await;
            self.set_place(new);
            return Ok(());
        }
        if new.address == old.address {
            self.stop(&mut running).await;
            self.set_place(Place { is_enabled: false, ..new.clone() });
        }
        let listener = listen(new.address).await?;
        new.address = listener.local_addr().unwrap_or(new.address);
        // With port 0, the port was not known before.
        check_not_own(&new)?;
        self.stop(&mut running).await;
        *running = Some(self.spawn(listener, Arc::clone(&new.upstream)));
        tracing::info!(
            target: "resilient_chaos", proxy = self.shared.name, listen = %new.address, upstream = %new.upstream,
            "proxy started"
        );
        self.set_place(new);
        Ok(())
    }

    /// The address for a `listen` value. The configured value with port 0 means the current port.
    async fn target(&self, old: &Place, listen: &str) -> Result<SocketAddr, ProxyError> {
        if listen == old.listen {
            return Ok(old.address);
        }
        resolve_listen(listen, self.allow_remote).await
    }

    /// Whether the proxy already has this address and this upstream.
    pub(super) async fn is_at(&self, listen: &str, upstream: &str) -> Result<bool, ProxyError> {
        let place = self.place();
        Ok(self.target(&place, listen).await? == place.address && *place.upstream == *upstream)
    }

    fn spawn(&self, listener: TcpListener, upstream: Arc<str>) -> Running {
        let (stop, stopped) = oneshot::channel();
        let accept = accept(listener, upstream, Arc::clone(&self.shared), Arc::clone(&self.slots), stopped);
        Running { task: tokio::spawn(accept), stop: Some(stop) }
    }

    /// Adds a toxic until the guard is dropped. It affects open and new connections at once.
    ///
    /// # Errors
    /// Returns an error if a value is out of range, if the name is in use, or if there are 64 toxics.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), resilient_chaos::proxy::ProxyError> {
    /// # use resilient_chaos::proxy::{Proxy, Toxic};
    /// let proxy = Proxy::start("127.0.0.1:0", "127.0.0.1:6379").await?;
    /// let outage = proxy.add(Toxic::black_hole())?;
    /// assert_eq!(proxy.toxics().len(), 1);
    /// drop(outage);
    /// assert_eq!(proxy.toxics().len(), 0);
    /// # Ok(()) }
    /// ```
    pub fn add(&self, toxic: Toxic) -> Result<ToxicGuard, ProxyError> {
        let entry = self.shared.toxics.add(toxic)?;
        Ok(ToxicGuard::new(Arc::clone(&self.shared), &entry))
    }

    /// Removes a toxic. It ends on open connections at once.
    ///
    /// # Errors
    /// Returns [`ProxyError::ToxicNotFound`].
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), resilient_chaos::proxy::ProxyError> {
    /// # use resilient_chaos::proxy::{Proxy, Toxic};
    /// let proxy = Proxy::start("127.0.0.1:0", "127.0.0.1:6379").await?;
    /// proxy.add(Toxic::black_hole().named("outage"))?.keep();
    /// proxy.remove("outage")?;
    /// # Ok(()) }
    /// ```
    pub fn remove(&self, name: &str) -> Result<(), ProxyError> {
        self.shared.toxics.remove(name)
    }

    /// Removes all toxics.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), resilient_chaos::proxy::ProxyError> {
    /// # use resilient_chaos::proxy::{Proxy, Toxic};
    /// let proxy = Proxy::start("127.0.0.1:0", "127.0.0.1:6379").await?;
    /// proxy.add(Toxic::black_hole())?.keep();
    /// proxy.clear();
    /// assert!(proxy.toxics().is_empty());
    /// # Ok(()) }
    /// ```
    pub fn clear(&self) {
        self.shared.toxics.clear();
    }

    /// Returns all toxics in the order in which data passes them. The upstream direction is first.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), resilient_chaos::proxy::ProxyError> {
    /// # use resilient_chaos::proxy::{Proxy, Toxic};
    /// let proxy = Proxy::start("127.0.0.1:0", "127.0.0.1:6379").await?;
    /// let _limit = proxy.add(Toxic::limit_data(100))?;
    /// assert_eq!(proxy.toxics()[0].name(), "limit_data_downstream");
    /// # Ok(()) }
    /// ```
    pub fn toxics(&self) -> Vec<Toxic> {
        self.shared.toxics.all().iter().map(|entry| entry.toxic.clone()).collect()
    }

    /// Returns the number of connections.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), resilient_chaos::proxy::ProxyError> {
    /// # use resilient_chaos::proxy::Proxy;
    /// let proxy = Proxy::start("127.0.0.1:0", "127.0.0.1:6379").await?;
    /// assert_eq!(proxy.stats().open, 0);
    /// # Ok(()) }
    /// ```
    pub fn stats(&self) -> ProxyStats {
        let counts = &self.shared.counts;
        ProxyStats {
            accepted: counts.accepted.load(Ordering::Relaxed),
            rejected: counts.rejected.load(Ordering::Relaxed),
            failed: counts.failed.load(Ordering::Relaxed),
            open: counts.open.load(Ordering::Relaxed),
            affected: counts.affected.load(Ordering::Relaxed),
        }
    }

    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = self.place();
        f.debug_struct("Proxy")
            .field("name", &self.shared.name)
            .field("address", &place.address)
            .field("upstream", &place.upstream)
            .field("is_enabled", &place.is_enabled)
            .finish_non_exhaustive()
    }
}

fn check_not_own(place: &Place) -> Result<(), ProxyError> {
    let own = || ProxyError::OwnUpstream { upstream: place.upstream.as_ref().to_owned() };
    if is_own(&place.upstream, place.address) { Err(own()) } else { Ok(()) }
}

/// Accepts connections until `stopped`, then closes the listener and all connections.
async fn accept(
    listener: TcpListener,
    upstream: Arc<str>,
    shared: Arc<Shared>,
    slots: Arc<Semaphore>,
    mut stopped: oneshot::Receiver<()>,
) {
    let mut connections = JoinSet::new();
    let mut pause = FIRST_PAUSE;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut stopped => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        let client = match accepted {
            Ok((client, _)) => client,
            Err(error) => {
                // Errors of a single connection, which Linux reports here, do not affect other connections.
                if !is_of_one(&error) {
                    tracing::warn!(target: "resilient_chaos", proxy = shared.name, %error, "accepting a connection failed");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LAST_PAUSE);
                }
                continue;
            }
        };
        pause = FIRST_PAUSE;
        let number = shared.counts.accepted.fetch_add(1, Ordering::Relaxed);
        let Ok(permit) = Arc::clone(&slots).try_acquire_owned() else {
            shared.counts.rejected.fetch_add(1, Ordering::Relaxed);
            if let Some(left_out) = shared.no_room.pass() {
                let suppressed = (left_out > 0).then_some(left_out);
                tracing::warn!(
                    target: "resilient_chaos", proxy = shared.name, suppressed,
                    "connection closed: the limit of open connections is reached"
                );
            }
            continue;
        };
        connections.spawn(serve(client, Arc::clone(&upstream), Arc::clone(&shared), number, permit));
    }
    drop(listener);
    connections.shutdown().await;
}

fn is_of_one(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    [ConnectionAborted, ConnectionReset, ConnectionRefused].contains(&error.kind())
}
