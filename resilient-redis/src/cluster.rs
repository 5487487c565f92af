//! Finds the node of a Redis Cluster that serves a key.
//!
//! The cluster client of the crate `redis` repeats a request by itself after a lost connection, without the mark that lets
//! a script recognize it, and follows redirections only if it may do that. It also hides which node responded, and each
//! node has its own clock. Therefore the requests are routed here, each over the [`Node`] of one server.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use redis::{ErrorKind, RedisError, ServerErrorKind, Value};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::address::Access;
use crate::attempt::{Current, Shared, result};
use crate::clocks::Clocks;
use crate::node::{CONNECT, Node, PAUSE, jittered};
use crate::problem::Failure;
use crate::server::Server;

/// Number of hash slots.
const SLOTS: usize = 16384;
/// In [`Table::owners`]: no known node.
const NONE: u16 = u16::MAX;
/// Maximum number of nodes. Redis recommends at most 1000.
const MOST_NODES: usize = 4096;
/// How long one node is asked for the slots before the next one is asked too.
const STAGGER: Duration = Duration::from_millis(100);
/// How long a node may take to list the slots.
const STEP: Duration = Duration::from_secs(2);

/// The nodes of a cluster.
pub(crate) struct Cluster {
    seeds: Vec<Node>,
    access: Access,
    /// The clocks of the nodes.
    clocks: Arc<Clocks>,
    table: Mutex<Arc<Table>>,
    update: Shared<()>,
}

/// Which node serves each slot.
#[derive(Clone)]
struct Table {
    /// Primaries first, then their replicas.
    nodes: Vec<Node>,
    primaries: usize,
    /// For each slot, the index of its node.
    owners: Vec<u16>,
    /// Why a listed primary is not used. Its slots have no node.
    problem: Option<Failure>,
}

impl Cluster {
    pub(crate) fn new(seeds: Vec<Server>, access: Access) -> Self {
        let (table, clocks) = (Mutex::new(Arc::new(Table::empty())), Arc::<Clocks>::default());
        let seeds = seeds.into_iter().map(|seed| Node::new(seed, Arc::clone(&clocks))).collect();
        Self { seeds, access, clocks, table, update: Shared::new(jittered(PAUSE)) }
    }

    fn table(&self) -> Arc<Table> {
        Arc::clone(&self.table.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The node that serves the key.
    ///
    /// `is_doubtful`: the known node did not work, so the slots are read again first.
    pub(crate) async fn node(self: &Arc<Self>, key: &str, is_doubtful: bool) -> Result<Node, Failure> {
        let slot = slot(key);
        if let Some(node) = self.table().owner(slot).filter(|_| !is_doubtful) {
            return Ok(node);
        }
        let updated = result(self.update()).await;
        let table = self.table();
        match table.owner(slot) {
            Some(node) => Ok(node),
            None => Err(updated.err().or_else(|| table.problem.clone()).unwrap_or_else(|| {
                Failure::Found("no node of the cluster serves the key: check `CLUSTER INFO`".into())
            })),
        }
    }

    /// Some primary. Another one if `turn` differs.
    pub(crate) async fn any(self: &Arc<Self>, turn: u64) -> Result<Node, Failure> {
        let pick = |table: &Table| {
            let turn = usize::try_from(turn).unwrap_or(0) % table.primaries.max(1);
            table.nodes.get(turn).cloned()
        };
        if let Some(node) = pick(&self.table()) {
            return Ok(node);
        }
        result(self.update()).await?;
        pick(&self.table()).ok_or_else(|| Failure::Found("the cluster has no nodes".into()))
    }

    /// Reads the slots again in the background, at most once in 100 ms.
    pub(crate) fn update(self: &Arc<Self>) -> Current<()> {
        self.update.renew(|number| {
            let cluster = Arc::clone(self);
            async move { cluster.load(number).await }
        })
    }

    /// The node of a redirection. `moved`: it serves the slot from now on.
    pub(crate) fn redirected(
        &self,
        from: &Server,
        address: &str,
        moved: Option<u16>,
    ) -> Result<Node, Failure> {
        let (host, port) = address.rsplit_once(':').unwrap_or_default();
        let port = port.parse().map_err(|_| {
            Failure::Found(format!("{} redirects to the invalid address `{address}`", from.address).into())
        })?;
        // Without a host, the one of the server that responded is meant.
        let host = if host.is_empty() { host_of(&from.address) } else { host };
        let server = self.access.server(host, port);
        let server = server.map_err(|error| Failure::Found(error.to_string().into()))?;
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Table::clone(&table);
        let index = next.add(server, &self.clocks).ok_or_else(too_many)?;
        if let Some(owner) = moved.and_then(|slot| next.owners.get_mut(usize::from(slot))) {
            *owner = index;
        }
        let node = next.nodes[usize::from(index)].clone();
        *table = Arc::new(next);
        Ok(node)
    }

    /// Asks one node after the other, and the next one without waiting longer than [`STAGGER`].
    async fn load(&self, number: u64) -> Result<(), Failure> {
        let known = self.table();
        // The primaries have connections. Not the same one first each time, because it can be cut off from the others.
        let (primaries, replicas) = known.nodes.split_at(known.primaries.min(known.nodes.len()));
        let (mut nodes, mut rest) = (primaries.to_vec(), [replicas, &self.seeds].concat());
        for nodes in [&mut nodes, &mut rest] {
            let turn = usize::try_from(number).unwrap_or(0) % nodes.len().max(1);
            nodes.rotate_left(turn);
        }
        let mut waiting = nodes.into_iter().chain(rest).collect::<Vec<_>>().into_iter();
        let (mut asked, mut problem) = (JoinSet::new(), None);
        let end = tokio::time::Instant::now() + CONNECT;
        loop {
            if let Some(node) = waiting.next() {
                asked.spawn(list(node));
            }
            let wait = if waiting.len() == 0 { CONNECT } else { STAGGER };
            match timeout(
                wait.min(end.saturating_duration_since(tokio::time::Instant::now())),
                asked.join_next(),
            )
            .await
            {
                Ok(Some(Ok(Ok((server, ranges))))) => return self.replace(&server, &ranges),
                Ok(Some(Ok(Err(failure)))) => problem = problem.or(Some(failure)),
                Ok(None) => break,
                Err(_) if tokio::time::Instant::now() >= end => break,
                Ok(Some(Err(_))) | Err(_) => {}
            }
        }
        Err(problem.unwrap_or_else(|| Failure::Found("no node of the cluster responded".into())))
    }

    /// Uses the listed slots. Known nodes keep their connections.
    ///
    /// A replica that cannot be used is left out. The slots of such a primary have no node.
    fn replace(&self, from: &Server, ranges: &[Range]) -> Result<(), Failure> {
        let mut table = self.table.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = Table::empty();
        let add = |next: &mut Table, (host, port): &(String, u16)| {
            let host = if host.is_empty() { host_of(&from.address) } else { host };
            let server = self.access.server(host, *port);
            let server = server.map_err(|error| Failure::Found(error.to_string().into()))?;
            let is_same = |node: &&Node| node.address() == Some(&server.address);
            match table.nodes.iter().chain(&self.seeds).find(is_same).cloned() {
                Some(node) => next.add_node(node),
                None => next.add(server, &self.clocks),
            }
            .ok_or_else(too_many)
        };
        for range in ranges {
            match add(&mut next, &range.primary) {
                Ok(index) => next.owners[range.first..=range.last].fill(index),
                Err(failure) => next.problem = Some(failure),
            }
        }
        if let Some(failure) = next.problem.take_if(|_| next.nodes.is_empty()) {
            return Err(failure);
        }
        next.primaries = next.nodes.len();
        for replica in ranges.iter().flat_map(|range| &range.replicas) {
            // Replicas are only asked for the slots.
            let _ = add(&mut next, replica);
        }
        *table = Arc::new(next);
        Ok(())
    }
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("seeds", &self.seeds).finish_non_exhaustive()
    }
}

impl Table {
    fn empty() -> Self {
        Self { nodes: Vec::new(), primaries: 0, owners: vec![NONE; SLOTS], problem: None }
    }

    fn owner(&self, slot: u16) -> Option<Node> {
        self.nodes.get(usize::from(self.owners[usize::from(slot)])).cloned()
    }

    /// The index of the node of this server, which is added if it is new.
    fn add(&mut self, server: Server, clocks: &Arc<Clocks>) -> Option<u16> {
        let known = self.nodes.iter().position(|node| node.address() == Some(&server.address));
        match known {
            Some(index) => u16::try_from(index).ok(),
            None => self.add_node(Node::new(server, Arc::clone(clocks))),
        }
    }

    fn add_node(&mut self, node: Node) -> Option<u16> {
        let known = self.nodes.iter().position(|known| known.address() == node.address());
        let index = known.or_else(|| {
            (self.nodes.len() < MOST_NODES).then(|| {
                self.nodes.push(node);
                self.nodes.len() - 1
            })
        })?;
        u16::try_from(index).ok()
    }
}

fn too_many() -> Failure {
    Failure::Found(format!("the cluster has more than {MOST_NODES} nodes").into())
}

/// The host in `host:port`.
fn host_of(address: &str) -> &str {
    address.rsplit_once(':').map_or(address, |(host, _)| host)
}

/// Slots that one node serves.
struct Range {
    first: usize,
    last: usize,
    primary: (String, u16),
    replicas: Vec<(String, u16)>,
}

async fn list(node: Node) -> Result<(Server, Vec<Range>), Failure> {
    let live = node.get().await?;
    let mut connection = live.connection.clone();
    let mut command = redis::cmd("CLUSTER");
    command.arg("SLOTS");
    let listed: Result<Vec<Value>, _> = live.server.within(STEP, command.query_async(&mut connection)).await;
    let listed = listed.inspect_err(|failure| {
        if failure.is_lost() {
            node.discard(&live);
        }
    })?;
    let ranges: Option<Vec<_>> = listed.into_iter().map(range).collect();
    match ranges {
        Some(ranges) if !ranges.is_empty() => Ok((live.server.clone(), ranges)),
        Some(_) => Err(Failure::Found(
            format!("{} knows no slots: is it part of a cluster?", live.server.address).into(),
        )),
        None => Err(live.server.failure((ErrorKind::Parse, "the list of slots is not valid").into())),
    }
}

/// `[first, last, [host, port, ..], [host, port, ..]..]`
fn range(value: Value) -> Option<Range> {
    let Value::Array(parts) = value else { return None };
    let mut parts = parts.into_iter();
    let mut slot = || match parts.next()? {
        Value::Int(slot) => usize::try_from(slot).ok().filter(|slot| *slot < SLOTS),
        _ => None,
    };
    let (first, last) = (slot()?, slot()?);
    let mut nodes = parts.map(address).collect::<Option<Vec<_>>>()?.into_iter();
    let primary = nodes.next()?;
    (first <= last).then(|| Range { first, last, primary, replicas: nodes.collect() })
}

/// `[host, port, ..]`. The host is empty if it is not known.
fn address(value: Value) -> Option<(String, u16)> {
    let Value::Array(parts) = value else { return None };
    let mut parts = parts.into_iter();
    let host = match parts.next()? {
        Value::Nil => String::new(),
        host => redis::from_redis_value(host).ok()?,
    };
    let Some(Value::Int(port)) = parts.next() else { return None };
    Some((host, u16::try_from(port).ok()?))
}

/// The address and the slot of a redirection, and whether it holds for all later requests.
pub(crate) fn redirection(error: &RedisError) -> Option<(&str, u16, bool)> {
    let (address, slot) = error.redirect_node()?;
    Some((address, slot, error.kind() == ErrorKind::Server(ServerErrorKind::Moved)))
}

/// The hash slot of a key, by its part in braces if it has one.
fn slot(key: &str) -> u16 {
    let tag = key.split_once('{').and_then(|(_, rest)| rest.split_once('}')).map(|(tag, _)| tag);
    let hashed = tag.filter(|tag| !tag.is_empty()).unwrap_or(key);
    // CRC-16/XMODEM.
    let crc = hashed.bytes().fold(0_u16, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(byte) << 8), |crc, _| {
            if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ 0x1021 }
        })
    });
    crc % 16384
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::Place;
    use crate::config::Source;

    #[test]
    fn slots_are_those_of_the_specification() {
        // `CLUSTER KEYSLOT` of Redis 7.0.
        for (key, expected) in [
            ("123456789", 12739),
            ("foo", 12182),
            ("{foo}bar", 12182),
            ("a{foo}{bar}", 12182),
            ("{}foo", slot("{}foo")),
            ("", 0),
        ] {
            assert_eq!(slot(key), expected, "{key}");
        }
        assert_ne!(slot("{}foo"), slot("foo"), "an empty tag is not a tag");
    }

    #[test]
    fn a_node_that_cannot_be_used_does_not_discard_the_others() {
        let Ok(Place::Cluster { seeds, access }) =
            Place::find(&Source::Url("redis+cluster://h".into()), None, None)
        else {
            panic!("a cluster")
        };
        let from = seeds[0].clone();
        let range = |first, host: &str, replicas| Range {
            first,
            last: first,
            primary: (host.to_owned(), 1),
            replicas: (0..replicas).map(|port| ("replica".to_owned(), port)).collect(),
        };
        let cluster = Cluster::new(seeds.clone(), access.clone());
        cluster.replace(&from, &[range(0, "a", 5000), range(1, "b", 1)]).unwrap();
        let address =
            |cluster: &Cluster, slot| cluster.table().owner(slot)?.address().map(ToString::to_string);
        assert_eq!(address(&cluster, 0).as_deref(), Some("a:1"));
        assert_eq!(address(&cluster, 1).as_deref(), Some("b:1"));
        assert_eq!(cluster.table().nodes.len(), MOST_NODES);

        let cluster = Cluster::new(seeds, access);
        let ranges: Vec<_> = (0..=MOST_NODES).map(|slot| range(slot, &slot.to_string(), 0)).collect();
        cluster.replace(&from, &ranges).unwrap();
        assert_eq!(address(&cluster, 0).as_deref(), Some("0:1"));
        let last = u16::try_from(MOST_NODES).unwrap();
        assert_eq!(address(&cluster, last), None);
        assert!(cluster.table().problem.is_some());
    }

    #[test]
    fn invalid_lists_of_slots_are_not_used() {
        let node = || Value::Array(vec![Value::BulkString(b"h".to_vec()), Value::Int(7)]);
        let list = |first, last, nodes: Vec<Value>| {
            Value::Array([Value::Int(first), Value::Int(last)].into_iter().chain(nodes).collect())
        };
        let found = range(list(3, 5, vec![node(), node()])).unwrap();
        assert_eq!(
            (found.first, found.last, found.primary, found.replicas.len()),
            (3, 5, ("h".to_owned(), 7), 1)
        );
        let nameless = Value::Array(vec![Value::Nil, Value::Int(7)]);
        assert_eq!(range(list(0, 16383, vec![nameless])).unwrap().primary, (String::new(), 7));
        for wrong in [
            list(0, 16384, vec![node()]),
            list(-1, 1, vec![node()]),
            list(5, 3, vec![node()]),
            list(0, 1, vec![]),
            list(0, 1, vec![Value::Int(1)]),
            list(0, 1, vec![Value::Array(vec![Value::Nil, Value::Int(70_000)])]),
            Value::Array(vec![]),
            Value::Nil,
        ] {
            assert!(range(wrong.clone()).is_none(), "{wrong:?}");
        }
    }
}
