//! Chooses the server of a request, in each arrangement of servers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redis::RedisError;

use crate::address::Place;
use crate::cluster::{self, Cluster};
use crate::node::{Live, Node};
use crate::problem::Failure;
use crate::sentinel::Sentinels;
use crate::server::Server;

/// The servers of a store. Clones share their connections.
#[derive(Clone, Debug)]
pub(crate) enum Link {
    /// One server, or the current primary.
    One(Node),
    Cluster(Arc<Cluster>, Arc<AtomicU64>),
}

/// An open connection to the server of a request.
#[derive(Clone)]
pub(crate) struct Route {
    node: Node,
    pub(crate) live: Arc<Live>,
    /// The server gets the slot of the key at the moment, and serves it only to requests that ask for that.
    pub(crate) is_asking: bool,
}

impl Route {
    async fn to(node: Node, is_asking: bool) -> Result<Self, Failure> {
        let live = node.get().await?;
        Ok(Self { node, live, is_asking })
    }
}

impl Link {
    pub(crate) fn new(place: Place, timeout: Duration) -> Self {
        match place {
            Place::Single(server) => Self::One(Node::new(server, Arc::default())),
            Place::Sentinel { master, sentinels, access } => {
                Self::One(Node::primary(Arc::new(Sentinels::new(master, sentinels, access, timeout))))
            }
            Place::Cluster { seeds, access } => {
                Self::Cluster(Arc::new(Cluster::new(seeds, access)), Arc::default())
            }
        }
    }

    /// Connects to the server of a key, unless it is connected.
    ///
    /// `is_doubtful`: the last server of the key did not work.
    pub(crate) async fn route(&self, key: &str, is_doubtful: bool) -> Result<Route, Failure> {
        let node = match self {
            Self::One(node) => node.clone(),
            Self::Cluster(cluster, _) => cluster.node(key, is_doubtful).await?,
        };
        Route::to(node, false).await.inspect_err(|_| self.doubt())
    }

    /// Connects to a server that passes messages on.
    #[cfg(test)]
    pub(crate) async fn any(&self) -> Result<Route, Failure> {
        let node = match self {
            Self::One(node) => node.clone(),
            Self::Cluster(cluster, turn) => cluster.any(turn.load(Ordering::Relaxed)).await?,
        };
        Route::to(node, false).await.inspect_err(|_| self.doubt())
    }

    /// Finds a server to listen to. In a cluster, every node has the messages of all nodes.
    pub(crate) async fn listened(&self) -> Result<Server, Failure> {
        let node = match self {
            Self::One(node) => node.clone(),
            Self::Cluster(cluster, turn) => cluster.any(turn.load(Ordering::Relaxed)).await?,
        };
        node.server().await
    }

    /// Closes a connection that does not work.
    pub(crate) fn lost(&self, route: &Route) {
        route.node.discard(&route.live);
        self.doubt();
    }

    /// Notes that a server did not work. The slots of a cluster are read again in the background.
    pub(crate) fn doubt(&self) {
        if let Self::Cluster(cluster, turn) = self {
            // Relaxed: a counter.
            turn.fetch_add(1, Ordering::Relaxed);
            drop(cluster.update());
        }
    }

    /// The server that a response redirects to. `None` if the response is no redirection.
    pub(crate) async fn redirected(
        &self,
        from: &Route,
        error: &RedisError,
    ) -> Option<Result<Route, Failure>> {
        let Self::Cluster(cluster, _) = self else { return None };
        let (address, slot, is_moved) = cluster::redirection(error)?;
        let node = cluster.redirected(&from.live.server, address, is_moved.then_some(slot));
        if is_moved {
            // Other slots have probably moved too.
            drop(cluster.update());
        }
        Some(match node {
            Ok(node) => Route::to(node, !is_moved).await.inspect_err(|_| self.doubt()),
            Err(failure) => Err(failure),
        })
    }

    /// Whether an error must say which of several servers it is about.
    pub(crate) fn has_several(&self) -> bool {
        match self {
            Self::One(node) => node.address().is_none(),
            Self::Cluster(..) => true,
        }
    }
}
