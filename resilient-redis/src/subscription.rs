//! Messages between the instances of a service.
//!
//! Redis keeps no messages: those that are sent while a subscriber is not connected are lost. Use them to make something
//! known soon, and read the state itself when [`Heard::Connected`] is received and from time to time.

use std::time::Duration;

use futures_util::StreamExt as _;
use resilient_runtime::idempotency::StoreError;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};

use crate::problem::Failure;
use crate::session::Session;

/// How long opening the connection may take.
const CONNECT: Duration = Duration::from_secs(2);
/// How long the server may be silent before it is asked for a response, and how long that may take.
const SILENCE: Duration = Duration::from_secs(2);
/// The pause before the second attempt to connect. It doubles with each failure.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What a subscription calls back with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// The subscription is connected, for the first time or again. Messages before this may have been missed.
    Connected,
    /// A message that was published to the channel.
    Message(Vec<u8>),
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
            tokio::select! {
                _ = stopped => {}
                () = listen(&of, &channel, heard) => {}
            }
        })?;
        Ok(Self { _stop: stop })
    }
}

async fn listen(session: &Session, channel: &str, mut heard: impl FnMut(Heard) + Send) {
    let mut pause = FIRST_PAUSE;
    loop {
        let mut is_connected = false;
        let Err(failure) = receive(session, channel, |message| {
            is_connected = true;
            heard(message);
        })
        .await;
        session.link().doubt();
        let problem = failure
            .map_or_else(|| "the connection was lost".to_owned(), |failure| session.describe(&failure));
        tracing::debug!(target: "resilient_redis", address = session.address(), channel, problem, "subscribing again");
        pause = if is_connected { FIRST_PAUSE } else { LONGEST_PAUSE.min(pause * 2) };
        sleep(pause).await;
    }
}

/// Ends when the connection does.
async fn receive(
    session: &Session,
    channel: &str,
    mut heard: impl FnMut(Heard) + Send,
) -> Result<std::convert::Infallible, Option<Failure>> {
    let server = timeout(CONNECT, session.link().listened()).await.map_err(|_| None)??;
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
