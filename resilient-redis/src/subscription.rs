//! Messages between the instances of a service.
//!
//! Redis keeps no messages: those that are sent while a subscriber is not connected are lost. Use them to make something
//! known soon, and read the state itself when [`Heard::Connected`] is received and from time to time.

use std::time::Duration;

use futures_util::StreamExt as _;
use resilient_runtime::idempotency::StoreError;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::node::jittered;
use crate::problem::Failure;
use crate::server::Server;
use crate::session::Session;

/// How long opening the connection may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How long the server may be silent before it is asked for a response, and how long that may take.
const SILENCE: Duration = Duration::from_secs(2);
/// The pause before the second attempt to connect. It doubles with each failure.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The argument of the callback of a subscription.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The subscription is connected, for the first time or again. Messages before this may have been missed.
    Connected,
    /// A message that was published to the channel.
    Message(Vec<u8>),
    /// The connection is lost or silent. No message is received until it is connected again.
    Disconnected,
}

/// Receives the messages of one channel on a connection of its own, until it is dropped.
///
/// The connection is opened again when it is lost or silent: with Sentinel to the current primary, and in a cluster to
/// another node. It keeps the thread of its session running.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// Dropped to stop it.
    _stop: oneshot::Sender<()>,
}

impl Subscription {
    /// Subscribes in the background. `heard` is called on the thread of the session, and must not block.
    ///
    /// # Errors
    /// Returns an error if the thread cannot be started. That the server is not there is not an error.
    pub(crate) fn start(
        session: &Session,
        channel: &str,
        heard: impl FnMut(Heard) + Send + 'static,
    ) -> Result<Self, StoreError> {
        let (stop, stopped) = oneshot::channel();
        let (of, channel) = (session.clone(), channel.to_owned());
        session.in_background(async move {
            let find = || async {
                let found = of.link().listened().await;
                found.inspect_err(|_| of.link().doubt())
            };
            let failed = |failure: Option<Failure>| {
                of.link().doubt();
                let problem = failure.map(|failure| of.describe(&failure));
                tracing::debug!(
                    target: "resilient_redis", address = of.address(), channel, problem,
                    "the subscription has ended and is opened again"
                );
            };
            tokio::select! {
                _ = stopped => {}
                () = listen(find, &channel, heard, failed) => {}
            }
        })?;
        Ok(Self { _stop: stop })
    }
}

/// Subscribes to a channel of the server that `find` returns, again and again.
pub(crate) async fn listen<F: Future<Output = Result<Server, Failure>>>(
    mut find: impl FnMut() -> F,
    channel: &str,
    mut heard: impl FnMut(Heard),
    mut failed: impl FnMut(Option<Failure>),
) {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut is_connected = false;
        let Err(failure) = receive(find(), channel, |message| {
            is_connected = true;
            heard(message);
        })
        .await;
        failed(failure);
        if is_connected {
            heard(Heard::Disconnected);
        }
        pause = if is_connected { FIRST_PAUSE } else { LONGEST_PAUSE.min(pause * 2) };
        // All instances lose their connections at the same moment.
        sleep(jittered(pause)).await;
    }
}

/// Ends when the connection does.
async fn receive(
    server: impl Future<Output = Result<Server, Failure>>,
    channel: &str,
    mut heard: impl FnMut(Heard),
) -> Result<std::convert::Infallible, Option<Failure>> {
    let server = timeout(CONNECT, server).await.map_err(|_| None)??;
    let connection = server.connect_to_listen(CONNECT).await?;
    let (mut sink, mut messages) = connection.split();
    server.within(CONNECT, sink.subscribe(channel)).await?;
    heard(Heard::Connected);
    loop {
        match timeout(SILENCE, messages.next()).await {
            Ok(Some(message)) => heard(Heard::Message(message.get_payload_bytes().to_vec())),
            Ok(None) => return Err(None),
            Err(_) => drop(server.within(SILENCE, sink.ping::<redis::Value>()).await?),
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::sync::{Arc, Mutex, PoisonError};
    use std::time::Instant;

    use super::*;
    use crate::Config;
    use crate::fixture::group::{MASTER, Nodes, Watched};
    use crate::fixture::server::{PATIENCE, Server};

    const CHANNEL: &str = "resilient:test";

    /// A subscription with what it has heard.
    struct Listener {
        session: Session,
        heard: Arc<Mutex<Vec<Heard>>>,
        subscription: Subscription,
    }

    impl Listener {
        fn new(config: Config) -> Self {
            let session = Session::new(config.timeout(Duration::from_millis(400))).unwrap();
            let heard: Arc<Mutex<Vec<Heard>>> = Arc::default();
            let into = Arc::clone(&heard);
            let hear = move |message| into.lock().unwrap_or_else(PoisonError::into_inner).push(message);
            let subscription = Subscription::start(&session, CHANNEL, hear).unwrap();
            Self { session, heard, subscription }
        }

        fn has(&self, message: &Heard) -> bool {
            self.count(message) > 0
        }

        /// Publishes a message again and again, until it arrives. Returns how long it took.
        async fn receives(&self, text: &str) -> Duration {
            let (start, message) = (Instant::now(), Heard::Message(text.into()));
            while !self.has(&message) {
                // While a server is not there, this is an error.
                let _ = self.session.publish(CHANNEL, text.into()).await;
                assert!(start.elapsed() < PATIENCE, "{text} is not received");
                sleep(Duration::from_millis(5)).await;
            }
            start.elapsed()
        }

        fn count(&self, message: &Heard) -> usize {
            let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
            heard.iter().filter(|heard| *heard == message).count()
        }

        fn connected(&self) -> usize {
            self.count(&Heard::Connected)
        }
    }

    #[tokio::test]
    #[ignore = "needs redis-server: cargo xtask redis"]
    async fn a_subscription_survives_a_restart_and_a_hung_server_and_ends_when_it_is_dropped() {
        // T166
        let mut server = Server::start(&[]).await;
        let listener = Listener::new(Config::new(server.url()));
        listener.receives("first").await;
        assert_eq!(listener.connected(), 1);
        server.kill();
        server.start_again().await;
        listener.receives("after a restart").await;
        assert!(listener.connected() > 1);
        let connected = listener.connected();
        server.signal("STOP");
        let start = Instant::now();
        // The silence is noticed without a message.
        while listener.count(&Heard::Disconnected) < connected {
            assert!(start.elapsed() < PATIENCE, "silence is noticed");
            sleep(Duration::from_millis(5)).await;
        }
        server.signal("CONT");
        while listener.connected() == connected {
            assert!(start.elapsed() < PATIENCE, "a silent connection is replaced");
            sleep(Duration::from_millis(5)).await;
        }
        listener.receives("after silence").await;
        let Listener { subscription, session, .. } = listener;
        drop((subscription, session));
        while server.cli("", &["CLIENT", "LIST"]).contains("sub=1") {
            assert!(start.elapsed() < PATIENCE * 2, "the connection is closed");
            sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    #[ignore = "needs redis-server: cargo xtask redis"]
    async fn a_subscription_moves_to_another_node_of_a_cluster() {
        // T166
        let mut nodes = Nodes::pair().await;
        let listeners = [
            Listener::new(Config::new(nodes.cluster_url())),
            Listener::new(Config::new(nodes.cluster_url())),
        ];
        for listener in &listeners {
            listener.receives("first").await;
        }
        let heard = Heard::Message(b"from another instance".to_vec());
        listeners[0].session.publish(CHANNEL, b"from another instance".to_vec()).await.unwrap();
        let start = Instant::now();
        while !listeners[1].has(&heard) {
            assert!(start.elapsed() < PATIENCE);
            sleep(Duration::from_millis(5)).await;
        }
        let is_on = |node: &Server| node.cli("", &["CLIENT", "LIST"]).contains("sub=1");
        let used = nodes.0.iter().position(is_on).unwrap();
        nodes.0[used].kill();
        for listener in &listeners {
            let time = listener.receives("after the node was killed").await;
            eprintln!("measured: messages from another node of the cluster after {time:?}");
        }
        assert!(is_on(&nodes.0[1 - used]));
    }

    #[tokio::test]
    #[ignore = "needs redis-server: cargo xtask redis"]
    async fn a_subscription_and_an_idle_connection_follow_the_primary() {
        // T166
        let watched = Watched::start(&[], "", "").await;
        let listener = Listener::new(Config::sentinel(MASTER, watched.addresses()));
        listener.receives("first").await;
        let idle = Session::new(Config::sentinel(MASTER, watched.addresses())).unwrap();
        let first = idle.link().route("k", false).await.unwrap();
        assert_eq!(*first.live.server.address, *watched.servers[0].address());
        watched.expect_failover();
        watched.servers[0].signal("STOP");
        let start = Instant::now();
        // Nothing is sent on this connection. A sentinel says that it is no longer the right one.
        loop {
            match idle.link().route("k", false).await {
                Ok(route) if route.live.server.address != first.live.server.address => break,
                _ => assert!(start.elapsed() < PATIENCE, "the old primary is still used"),
            }
            sleep(Duration::from_millis(5)).await;
        }
        listener.receives("from the new primary").await;
        assert!(listener.connected() > 1);
    }
}
