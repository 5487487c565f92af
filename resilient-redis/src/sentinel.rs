//! Finds the primary that Redis Sentinel names.
//!
//! The Sentinel client of the crate `redis` does not follow a failover (redis-rs #1438). Here, each new connection looks
//! the primary up, and a connection is replaced when it is lost, silent, or belongs to a server that became a replica.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::address::Access;
use crate::node::CONNECT;
use crate::problem::Failure;
use crate::server::Server;
use crate::subscription::{Heard, listen};

/// The shortest time limit for one server during a lookup, unless the lookup ends earlier.
const STEP: Duration = Duration::from_secs(1);

/// The sentinels of one primary.
#[derive(Debug)]
pub(crate) struct Sentinels {
    pub(crate) master: String,
    servers: Vec<Server>,
    access: Access,
    step: Duration,
}

/// An address and how many sentinels name it.
type Votes = Vec<((String, u16), usize)>;

impl Sentinels {
    pub(crate) fn new(master: String, servers: Vec<Server>, access: Access, timeout: Duration) -> Self {
        Self { master, servers, access, step: timeout.clamp(STEP, CONNECT) }
    }

    /// Calls back with the address of each new primary, as soon as a sentinel says it.
    ///
    /// Without this, a failover is noticed when the connection to the old primary fails. A primary that was cut off from the
    /// sentinels but not from this process would be used until then.
    pub(crate) async fn watch(&self, mut switched: impl FnMut(&str)) {
        let mut turn = 0;
        let mut find = || {
            turn += 1;
            std::future::ready(Ok(self.servers[turn % self.servers.len()].clone()))
        };
        let heard = |heard| {
            // `master old-host old-port new-host new-port`
            let Heard::Message(message) = heard else { return };
            let message = String::from_utf8_lossy(&message);
            let mut words = message.split(' ');
            if words.next() == Some(&self.master)
                && let (Some(host), Some(port)) = (words.nth(2), words.next())
            {
                switched(&format!("{host}:{port}"));
            }
        };
        let failed = |failure: Option<Failure>| {
            let problem = failure.map(|failure| Failure::Sentinel(Box::new(failure)).describe("", true));
            tracing::debug!(target: "resilient_redis", problem, "a subscription to a sentinel has ended");
        };
        listen(&mut find, "+switch-master", heard, failed).await;
    }

    /// Connects to the primary, until the given time. A server that says that it is a replica is not used.
    pub(crate) async fn primary(&self, until: Instant) -> Result<(Server, MultiplexedConnection), Failure> {
        let (mut problem, now) = (None, Instant::now());
        // The other half of the time is for the servers that the sentinels name.
        let half = now + until.saturating_duration_since(now) / 2;
        for ((host, port), _) in self.votes(half).await? {
            let found = match self.access.server(&host, port) {
                Ok(server) => self.connect(&server, until).await.map(|connection| (server, connection)),
                Err(error) => Err(Failure::Found(error.to_string().into())),
            };
            match found {
                Ok(found) => return Ok(found),
                Err(failure) => problem = problem.or(Some(failure)),
            }
        }
        Err(problem.unwrap_or_else(|| Failure::Found("no sentinel named a primary".into())))
    }

    async fn connect(&self, server: &Server, until: Instant) -> Result<MultiplexedConnection, Failure> {
        let mut connection = server.connect(limit(self.step, until)).await?;
        let role = redis::cmd("ROLE");
        let role: Vec<redis::Value> =
            server.within(limit(self.step, until), role.query_async(&mut connection)).await?;
        let role: String =
            role.into_iter().next().and_then(|role| redis::from_redis_value(role).ok()).unwrap_or_default();
        if role == "master" {
            return Ok(connection);
        }
        Err(Failure::Found(
            format!(
                "{} is named as the primary of `{}` and says that it is a {role}: a failover is in progress, or \
                 the sentinels cannot reach each other",
                server.address, self.master
            )
            .into(),
        ))
    }

    /// Asks all sentinels at the same time, until more than half of them name the same address.
    ///
    /// A sentinel that was cut off from the others can name an old primary.
    async fn votes(&self, until: Instant) -> Result<Votes, Failure> {
        let mut asked: JoinSet<_> = self
            .servers
            .iter()
            .map(|sentinel| ask(sentinel.clone(), self.master.clone(), (self.step, until)))
            .collect();
        let (mut votes, mut problem, mut is_unknown) = (Votes::new(), None, false);
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Ok(Some(address))) => {
                    let known = votes.iter_mut().find(|(known, _)| *known == address);
                    match known {
                        Some((_, count)) => *count += 1,
                        None => votes.push((address, 1)),
                    }
                    if votes.iter().any(|(_, count)| *count > self.servers.len() / 2) {
                        break;
                    }
                }
                Ok(Ok(None)) => is_unknown = true,
                Ok(Err(failure)) => problem = problem.or(Some(failure)),
                Err(_) => {}
            }
        }
        votes.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        match problem {
            _ if !votes.is_empty() => Ok(votes),
            _ if is_unknown => Err(Failure::Found(
                format!("the sentinels know no master `{}`: check the name in the URL", self.master).into(),
            )),
            Some(failure) => Err(Failure::Sentinel(Box::new(failure))),
            None => Err(Failure::Found("no sentinel responded".into())),
        }
    }
}

/// The time limit of a step that must end at `until`.
fn limit(step: Duration, until: Instant) -> Duration {
    step.min(until.saturating_duration_since(Instant::now()))
}

async fn ask(
    sentinel: Server,
    master: String,
    (step, until): (Duration, Instant),
) -> Result<Option<(String, u16)>, Failure> {
    let mut connection = sentinel.connect(limit(step, until)).await?;
    let mut command = redis::cmd("SENTINEL");
    command.arg("GET-MASTER-ADDR-BY-NAME").arg(master);
    sentinel.within(limit(step, until), command.query_async(&mut connection)).await
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use crate::address::Place;
    use crate::config::Source;
    use crate::fixture::group::MASTER;
    use crate::fixture::server;

    #[tokio::test]
    #[ignore = "needs redis-server: cargo xtask redis"]
    async fn a_lookup_has_a_time_limit_although_its_steps_may_take_longer() {
        let primary = server::Server::start(&[]).await;
        let lines = format!(
            "sentinel monitor {MASTER} 127.0.0.1 {} 1\nsentinel down-after-milliseconds {MASTER} 60000",
            primary.port()
        );
        let sentinel = server::Server::sentinel(&lines).await;
        let source = Source::Url(format!("redis+sentinel://{}/{MASTER}", sentinel.address()));
        let Ok(Place::Sentinel { master, sentinels, access }) = Place::find(&source, None, None) else {
            panic!("sentinels")
        };
        let sentinels = Sentinels::new(master, sentinels, access, CONNECT);
        let found = sentinels.primary(Instant::now() + server::PATIENCE).await;
        assert_eq!(*found.unwrap().0.address, *primary.address());
        for hung in [&primary, &sentinel] {
            hung.signal("STOP");
            let start = Instant::now();
            assert!(sentinels.primary(start + Duration::from_millis(500)).await.is_err());
            assert!(start.elapsed() + STEP < CONNECT, "less than one step: {:?}", start.elapsed());
        }
    }
}
