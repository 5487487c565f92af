//! Operations on the servers of a store. Each runs one script on one key within the time limit.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::RedisError;
use resilient_runtime::store::{Need, StoreError, Worker};
use sha2::{Digest, Sha256};
use tokio::time::{Instant, timeout_at};

use crate::config::{Config, InvalidConfig, Wait};
use crate::link::{Link, Route};
use crate::problem::Failure;
use crate::script::{Response, Script};

/// How often one request may be redirected to another node of a cluster.
const REDIRECTIONS: u32 = 5;

/// The connections and the settings that all operations of a store share. Clones are the same session.
///
/// # Adding a role
/// A role (idempotency records, rate limits, ..) is a module with its own scripts. It needs [`Session::new`], one
/// [`Session::key`] for each of its entries, and [`Session::perform`] with an [`Operation`]. The protocol of the scripts is
/// described in [`script`](crate::script). A script sends messages to other instances with `PUBLISH`. A
/// [`Subscription`](crate::subscription::Subscription) receives them.
#[derive(Clone, Debug)]
pub(crate) struct Session(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    link: Link,
    address: String,
    prefix: String,
    timeout: Duration,
    wait: Option<Wait>,
    /// The number of the next request.
    requests: AtomicU64,
    worker: Worker,
}

/// A script with its key and arguments.
pub(crate) struct Operation {
    script: &'static Script,
    key: String,
    arguments: Vec<Vec<u8>>,
    has_deadline: bool,
    is_repeatable: bool,
    need: Need,
    confirmed: Option<&'static str>,
    undo: Option<Box<Operation>>,
}

impl Operation {
    /// Creates an operation that is sent once. `arguments` follow those that each script gets.
    pub(crate) fn new(script: &'static Script, key: String, arguments: Vec<Vec<u8>>) -> Self {
        let (has_deadline, is_repeatable, need) = (false, false, Need::Optional);
        Self { script, key, arguments, has_deadline, is_repeatable, need, confirmed: None, undo: None }
    }

    /// Sends it once more if its connection is lost. The script must recognize the second copy by `ARGV[2]`.
    pub(crate) fn repeatable(mut self) -> Self {
        self.is_repeatable = true;
        self
    }

    /// Sends it although many operations wait for the server, because it ends or keeps what the server has acknowledged.
    pub(crate) fn required(mut self) -> Self {
        self.need = Need::Required;
        self
    }

    /// Passes the script a deadline, after which it must change nothing and return `late`.
    pub(crate) fn with_deadline(mut self) -> Self {
        self.has_deadline = true;
        self
    }

    /// Waits for replicas if the script returns this status and [`Config::wait`] is set.
    pub(crate) fn confirmed(mut self, status: &'static str) -> Self {
        self.confirmed = Some(status);
        self
    }

    /// Performs another operation later if the change of this one was made but not confirmed, or if no caller learns its result.
    /// [`confirmed`](Self::confirmed) sets the status of a change that was made.
    pub(crate) fn undone_by(mut self, undo: Self) -> Self {
        self.undo = Some(Box::new(undo));
        self
    }
}

/// A response that is not an error of the server or the connection.
pub(crate) struct Reply {
    pub(crate) status: String,
    pub(crate) detail: Vec<u8>,
    pub(crate) numbers: Vec<u64>,
}

/// A result that arrives when the operation has ended. The operation continues if this is dropped.
pub(crate) type Performed<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// The state of a request that was sent.
#[derive(Default)]
struct Sent {
    /// The connection, and the number of responses on it before the request. `None` if it was not sent.
    on: Option<(Route, u64)>,
    /// The change was made, and is not confirmed yet.
    is_unconfirmed: bool,
}

/// A result on its way to the caller. If the caller does not get it, what was done is undone.
///
/// A caller that leaves can request the same itself. That request is sent by another task, so it can reach the server before
/// the operation that it must undo: after a lost connection, a redirection, or when the server does not know the script.
struct Delivery<T> {
    result: Result<T, StoreError>,
    undo: Undo,
}

/// Performed when it is dropped.
struct Undo(Option<(Session, Operation)>);

impl<T> Delivery<T> {
    fn received(mut self) -> Result<T, StoreError> {
        self.undo.0 = None;
        self.result
    }
}

impl Drop for Undo {
    fn drop(&mut self) {
        if let Some((session, operation)) = self.0.take() {
            drop(session.perform(operation, |_, _| Ok(())));
        }
    }
}

impl Session {
    /// Creates a session. The first operation connects and starts the thread.
    pub(crate) fn new(config: Config) -> Result<Self, InvalidConfig> {
        let place = config.check()?;
        let address = place.shown();
        let link = Link::new(place, config.timeout);
        let Config { prefix, timeout, wait, .. } = config;
        let (requests, worker) = (AtomicU64::new(0), Worker::new("resilient-redis"));
        Ok(Self(Arc::new(Inner { link, address, prefix, timeout, wait, requests, worker })))
    }

    pub(crate) fn address(&self) -> &str {
        &self.0.address
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.0.prefix
    }

    pub(crate) fn timeout(&self) -> Duration {
        self.0.timeout
    }

    pub(crate) fn link(&self) -> &Link {
        &self.0.link
    }

    /// The key in Redis of an entry of a role: `prefix:role:{hash}`. All entries of one hash are on one node.
    pub(crate) fn key(&self, role: &str, name: &str) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let digit = |half: u8| char::from(DIGITS[usize::from(half)]);
        let hash = Sha256::digest(name.as_bytes());
        let mut key = String::with_capacity(self.prefix().len() + role.len() + 2 * hash.len() + 4);
        key.extend([self.prefix(), ":", role, ":{"]);
        key.extend(hash.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]));
        key.push('}');
        key
    }

    /// An error of this store, with the problem and its remedy.
    pub(crate) fn error(&self, problem: &str) -> StoreError {
        StoreError::Unavailable(format!("redis store {}: {problem}", self.0.address))
    }

    /// An error of one operation. The store works, and accepts others.
    pub(crate) fn refusal(&self, problem: &str) -> StoreError {
        StoreError::Refused(format!("redis store {}: {problem}", self.0.address))
    }

    /// The problem and its remedy.
    pub(crate) fn describe(&self, failure: &Failure) -> String {
        failure.describe(&self.0.prefix, self.0.link.has_several())
    }

    /// An error of the server. A server that is full still responds, so its store works.
    fn failed(&self, failure: &Failure) -> StoreError {
        let problem = self.describe(failure);
        if failure.is_full() { self.refusal(&problem) } else { self.error(&problem) }
    }

    /// Starts an operation at once. It ends within the time limit, and continues if the future is dropped.
    ///
    /// `read` makes the result from the response of the script.
    pub(crate) fn perform<T: Send + 'static>(
        &self,
        mut operation: Operation,
        read: impl FnOnce(&Self, Reply) -> Result<T, StoreError> + Send + 'static,
    ) -> Performed<'_, T> {
        let (session, start) = (self.clone(), Instant::now());
        let started = self.0.worker.start(operation.need, async move {
            let undo = operation.undo.take();
            let mut sent = Sent::default();
            let replied = session.run(&operation, start, &mut sent).await;
            let may_be_made = match &replied {
                Ok(reply) => operation.confirmed.is_some_and(|status| reply.status == status),
                Err(_) => sent.on.is_some(),
            };
            let mut undo = Undo(undo.filter(|_| may_be_made).map(|undo| (session.clone(), *undo)));
            if sent.is_unconfirmed {
                drop(std::mem::replace(&mut undo, Undo(None)));
            }
            Ok(Delivery { result: replied.and_then(|reply| read(&session, reply)), undo })
        });
        Box::pin(async move { self.awaited(started).await?.received() })
    }

    /// Starts work that sends operations by [`run_one`](Self::run_one). It counts as one operation.
    pub(crate) fn operate(&self, work: impl Future<Output = ()> + Send + 'static) -> Result<(), StoreError> {
        self.0.worker.start(Need::Optional, work).map(drop).map_err(|problem| self.error(&problem))
    }

    /// Runs an operation on the thread of the session. It ends within the time limit from `start`.
    pub(crate) async fn run_one(&self, operation: Operation, start: Instant) -> Result<Reply, StoreError> {
        self.run(&operation, start, &mut Sent::default()).await
    }

    /// Sends a message to all subscribers of a channel that are connected at the moment.
    ///
    /// It is sent at most once. An error means that it was not sent, or that this is not known.
    #[cfg(test)]
    pub(crate) fn publish(&self, channel: &str, message: Vec<u8>) -> Performed<'_, ()> {
        let (session, channel, until) = (self.clone(), channel.to_owned(), Instant::now() + self.0.timeout);
        self.start(async move {
            let mut route = None;
            let sent = timeout_at(until, async {
                let route = route.insert(session.0.link.any().await?);
                let mut command = redis::cmd("PUBLISH");
                command.arg(channel).arg(message);
                let sent: Result<u64, _> = command.query_async(&mut route.live.connection.clone()).await;
                sent.map(drop).map_err(|error| route.live.server.failure(error))
            });
            let sent = sent.await;
            let is_lost = sent.as_ref().map_or(true, |sent| sent.as_ref().is_err_and(Failure::is_lost));
            if let Some(route) = route.filter(|_| is_lost) {
                session.0.link.lost(&route);
            }
            match sent {
                Ok(sent) => sent.map_err(|failure| session.failed(&failure)),
                Err(_) => Err(session.error(&session.timed_out("did not respond"))),
            }
        })
    }

    /// Runs something at once on the thread of the session.
    #[cfg(test)]
    pub(crate) fn start<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T, StoreError>> + Send + 'static,
    ) -> Performed<'_, T> {
        let started = self.0.worker.start(Need::Optional, work);
        Box::pin(self.awaited(started))
    }

    async fn awaited<T>(
        &self,
        started: Result<impl Future<Output = Option<Result<T, StoreError>>>, String>,
    ) -> Result<T, StoreError> {
        let started = started.map_err(|problem| self.error(&problem))?;
        started.await.unwrap_or_else(|| Err(self.error("the operation was stopped by a panic")))
    }

    /// Runs something on the thread of the session that is not an operation and ends by itself.
    pub(crate) fn in_background(
        &self,
        work: impl Future<Output = ()> + Send + 'static,
    ) -> Result<(), StoreError> {
        self.0.worker.run(work).map_err(|problem| self.error(&problem))
    }

    fn timed_out(&self, problem: &str) -> String {
        format!(
            "the server {problem} within {:?}: check the network and the load of the server, or set a longer `timeout`",
            self.0.timeout
        )
    }

    async fn run(&self, operation: &Operation, start: Instant, sent: &mut Sent) -> Result<Reply, StoreError> {
        let until = start + self.0.timeout;
        match timeout_at(until, self.attempts(operation, until, sent)).await {
            Ok(Ok(reply)) => Ok(reply),
            Ok(Err(failure)) => Err(self.failed(&failure)),
            Err(_) => {
                // If nothing has arrived since, the connection may be broken without a sign of it.
                let silent =
                    sent.on.as_ref().filter(|(route, responses)| route.live.responses() == *responses);
                let problem = match &silent {
                    Some((route, _)) => {
                        self.0.link.lost(route);
                        "did not respond"
                    }
                    None => "did not accept the connection or is slow",
                };
                Err(self.error(&self.timed_out(problem)))
            }
        }
    }

    /// Sends the request once more if its connection is lost or if the known time on the server was wrong, and to another
    /// node if the node says so.
    async fn attempts(
        &self,
        operation: &Operation,
        until: Instant,
        sent: &mut Sent,
    ) -> Result<Reply, Failure> {
        let link = &self.0.link;
        let request = self.0.requests.fetch_add(1, Ordering::Relaxed);
        let (mut is_resent, mut was_late, mut redirections) = (false, false, 0);
        let mut route = link.route(&operation.key, false).await?;
        loop {
            sent.on = Some((route.clone(), route.live.responses()));
            match self.attempt(operation, (request, is_resent), until, &route).await {
                // The clock of the server was changed. The response contained its time.
                Ok(reply) if reply.status == "late" && !was_late => was_late = true,
                Ok(reply) => {
                    if operation.confirmed.is_some_and(|status| reply.status == status) {
                        sent.is_unconfirmed = true;
                        // The response of the script does not show that `WAIT` gets one.
                        sent.on = Some((route.clone(), route.live.responses()));
                        match self.confirm(&route).await {
                            Err(failure) if failure.is_lost() && operation.is_repeatable && !is_resent => {
                                link.lost(&route);
                                is_resent = true;
                                route = link.route(&operation.key, true).await?;
                                continue;
                            }
                            confirmed => confirmed?,
                        }
                        sent.is_unconfirmed = false;
                    }
                    return Ok(reply);
                }
                Err(error) if crate::problem::is_lost(&error) => {
                    link.lost(&route);
                    if is_resent || !operation.is_repeatable {
                        return Err(route.live.server.failure(error));
                    }
                    is_resent = true;
                    route = link.route(&operation.key, true).await?;
                }
                Err(error) => {
                    let next = if redirections < REDIRECTIONS {
                        link.redirected(&route, &error).await
                    } else {
                        None
                    };
                    match next {
                        Some(next) => {
                            redirections += 1;
                            route = next?;
                        }
                        None => {
                            if error.is_cluster_error() {
                                link.doubt();
                            }
                            return Err(route.live.server.failure(error));
                        }
                    }
                }
            }
        }
    }

    async fn attempt(
        &self,
        operation: &Operation,
        (request, is_resent): (u64, bool),
        until: Instant,
        route: &Route,
    ) -> Result<Reply, RedisError> {
        let live = &route.live;
        let number = request.to_string();
        let deadline = live.server_time(until).to_string();
        let mut arguments: Vec<&[u8]> = vec![number.as_bytes(), if is_resent { b"1" } else { b"0" }];
        if operation.has_deadline {
            arguments.push(deadline.as_bytes());
        }
        arguments.extend(operation.arguments.iter().map(Vec::as_slice));
        let mut connection = live.connection.clone();
        let response = operation.script.run(&mut connection, &operation.key, &arguments, route.is_asking);
        match response.await? {
            Response { request: of, time, status, detail, numbers } if of == request => {
                live.answered(time);
                Ok(Reply { status, detail, numbers })
            }
            _ => {
                self.0.link.lost(route);
                Err((redis::ErrorKind::Parse, "the response belongs to another request").into())
            }
        }
    }

    /// Waits until enough replicas have what was changed on this connection.
    async fn confirm(&self, route: &Route) -> Result<(), Failure> {
        let Some(Wait { replicas: asked, timeout }) = self.0.wait else { return Ok(()) };
        let millis = u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX);
        let mut wait = redis::cmd("WAIT");
        wait.arg(asked).arg(millis);
        let confirmed = wait.query_async(&mut route.live.connection.clone()).await;
        let replicas: u64 = confirmed.map_err(|error| route.live.server.failure(error))?;
        if replicas >= u64::from(asked) {
            return Ok(());
        }
        Err(Failure::Unconfirmed { replicas, asked: asked.into() })
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;
    use crate::script::CHANGE;

    const LIMIT: Duration = Duration::from_millis(400);

    /// Servers that accept connections and say nothing.
    async fn silent<const N: usize>() -> [String; N] {
        let mut addresses = [const { String::new() }; N];
        for address in &mut addresses {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            *address = listener.local_addr().unwrap().to_string();
            tokio::spawn(async move {
                let mut open = Vec::new();
                loop {
                    open.push(listener.accept().await.unwrap());
                }
            });
        }
        addresses
    }

    // The time is virtual, so the result does not depend on the speed of the machine.
    #[tokio::test(start_paused = true)]
    async fn no_operation_takes_longer_than_the_time_limit_and_5_ms() {
        // T162
        let silent = silent::<3>().await;
        for config in [
            Config::new(format!("redis://{}", silent[0])),
            Config::sentinel("m", &silent),
            Config::cluster(&silent),
            // Nothing listens on port 1.
            Config::sentinel("m", ["127.0.0.1:1", &silent[0]]),
            Config::cluster(["127.0.0.1:1", &silent[0]]),
        ] {
            let session = Session::new(config.timeout(LIMIT)).unwrap();
            for _ in 0..20 {
                let operation =
                    Operation::new(&CHANGE, session.key("idempotency", "k"), Vec::new()).repeatable();
                let start = Instant::now();
                assert!(session.run(&operation, start, &mut Sent::default()).await.is_err());
                let time = start.elapsed();
                assert!(time <= LIMIT + Duration::from_millis(5), "{}: {time:?}", session.address());
                tokio::time::sleep(Duration::from_millis(130)).await;
            }
        }
    }
}
