//! Several servers for one test: a primary with replicas and sentinels, or a cluster.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::server::{PATIENCE, Server, free_port, run};

/// A primary, two replicas and three sentinels.
pub(crate) struct Watched {
    pub(crate) servers: Vec<Server>,
    pub(crate) sentinels: Vec<Server>,
}

pub(crate) const MASTER: &str = "mymaster";

impl Watched {
    /// `arguments` are for the servers, `login` is the password that they require.
    pub(crate) async fn start(arguments: &[&str], password: &str, sentinel_password: &str) -> Self {
        let mut all = arguments.to_vec();
        if !password.is_empty() {
            all.extend(["--requirepass", password, "--masterauth", password]);
        }
        let primary = Server::start(&all).await;
        let port = primary.port().to_string();
        all.extend(["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"]);
        let (one, two) = tokio::join!(Server::start(&all), Server::start(&all));
        let mut watched = Self { servers: vec![primary, one, two], sentinels: Vec::new() };
        let mut lines = vec![
            format!("sentinel monitor {MASTER} 127.0.0.1 {port} 2"),
            format!("sentinel down-after-milliseconds {MASTER} 60000"),
            format!("sentinel failover-timeout {MASTER} 4000"),
        ];
        if !password.is_empty() {
            lines.push(format!("sentinel auth-pass {MASTER} {password}"));
        }
        if !sentinel_password.is_empty() {
            lines.push(format!("requirepass {sentinel_password}"));
        }
        let lines = lines.join("\n");
        let start = || Server::sentinel(&lines);
        watched.sentinels = {
            let (a, b, c) = tokio::join!(start(), start(), start());
            vec![a, b, c]
        };
        watched.wait_until_known(sentinel_password).await;
        watched.wait_for_replicas(0, 2, password).await;
        watched
    }

    /// Waits until each sentinel knows the others and both replicas, without which there is no failover.
    async fn wait_until_known(&self, password: &str) {
        let start = Instant::now();
        for sentinel in &self.sentinels {
            loop {
                let info = sentinel.cli(password, &["INFO", "sentinel"]);
                if info.contains("status=ok") && info.contains("slaves=2") && info.contains("sentinels=3") {
                    break;
                }
                assert!(start.elapsed() < PATIENCE, "{info}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Lets a failover start after a second. Before, a slow machine must not cause one.
    pub(crate) fn expect_failover(&self) {
        for sentinel in &self.sentinels {
            let set = sentinel.cli("", &["SENTINEL", "SET", MASTER, "down-after-milliseconds", "1000"]);
            assert!(set.starts_with("OK"), "{set}");
        }
    }

    /// Waits until a server has so many replicas that receive its changes.
    pub(crate) async fn wait_for_replicas(&self, server: usize, replicas: usize, password: &str) {
        let start = Instant::now();
        loop {
            let info = self.servers[server].cli(password, &["INFO", "replication"]);
            if info.matches("state=online").count() == replicas {
                return;
            }
            assert!(start.elapsed() < PATIENCE, "{info}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    pub(crate) fn addresses(&self) -> Vec<String> {
        self.sentinels.iter().map(Server::address).collect()
    }

    /// The server with this port.
    fn index_of(&self, port: &str) -> usize {
        self.servers.iter().position(|server| server.port().to_string() == port).unwrap()
    }

    /// The index of the primary, when all sentinels name the same one and it is not `old`.
    pub(crate) async fn primary_after(&self, old: usize) -> usize {
        let start = Instant::now();
        loop {
            let name = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER];
            let named: Vec<_> = self.sentinels.iter().map(|sentinel| sentinel.cli("", &name)).collect();
            let primary = self.index_of(named[0].lines().nth(1).unwrap());
            if primary != old && named.iter().all(|other| *other == named[0]) {
                return primary;
            }
            assert!(start.elapsed() < PATIENCE, "{named:?}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Three primaries, each with one replica.
pub(crate) struct Nodes(pub(crate) Vec<Server>);

impl Nodes {
    pub(crate) async fn start() -> Self {
        let arguments = [
            "--cluster-enabled",
            "yes",
            // The nodes exchange what they know in half of this time.
            "--cluster-node-timeout",
            "500",
            // A replica is listed after its first message.
            "--repl-ping-replica-period",
            "1",
            "--cluster-replica-no-failover",
            "yes",
            "--cluster-require-full-coverage",
            "no",
            "--repl-diskless-sync-delay",
            "0",
            "--cluster-port",
        ];
        let mut servers = Vec::new();
        for _ in 0..6 {
            // The usual port of the cluster bus is the port plus 10 000, which can be above 65 535.
            let bus = free_port().to_string();
            servers.push(Server::start(&[&arguments[..], &[&*bus]].concat()).await);
        }
        let mut create = Command::new("redis-cli");
        create.args(["--cluster", "create"]).args(servers.iter().map(Server::address));
        create.args(["--cluster-replicas", "1", "--cluster-yes"]).stdin(Stdio::null());
        let output = create.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        let nodes = Self(servers);
        nodes.wait_until_complete().await;
        nodes.configure("cluster-node-timeout 60000").await;
        nodes
    }

    /// Two nodes without replicas. The first one has the lower half of the slots.
    pub(crate) async fn pair() -> Self {
        let mut servers = Vec::new();
        for first in [0, 8192] {
            let bus = free_port().to_string();
            let server = Server::start(&["--cluster-enabled", "yes", "--cluster-port", &bus]).await;
            let slots: Vec<String> = (first..first + 8192).map(|slot: u32| slot.to_string()).collect();
            server.run(&format!("CLUSTER ADDSLOTS {}", slots.join(" "))).await;
            servers.push((server, bus));
        }
        let (second, bus) = (servers[1].0.port(), &servers[1].1);
        servers[0].0.run(&format!("CLUSTER MEET 127.0.0.1 {second} {bus}")).await;
        let start = Instant::now();
        for (server, _) in &servers {
            while !server.cli("", &["CLUSTER", "INFO"]).contains("cluster_state:ok") {
                assert!(start.elapsed() < PATIENCE);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Self(servers.into_iter().map(|(server, _)| server).collect())
    }

    /// Waits until each node knows three primaries with one replica each, and each replica is connected.
    async fn wait_until_complete(&self) {
        let start = Instant::now();
        for node in &self.0 {
            loop {
                let slots = node.cli("", &["CLUSTER", "SLOTS"]);
                let (state, replication) =
                    (node.cli("", &["CLUSTER", "INFO"]), node.cli("", &["INFO", "replication"]));
                let is_connected = replication.contains("connected_slaves:1")
                    || replication.contains("master_link_status:up");
                let named = self.0.iter().filter(|node| slots.contains(&node.port().to_string())).count();
                if state.contains("cluster_state:ok") && named == 6 && is_connected {
                    break;
                }
                assert!(start.elapsed() < PATIENCE, "{slots}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    /// Lets a failover start after two seconds. Before, a slow machine must not cause one.
    pub(crate) async fn expect_failover(&self) {
        self.configure("cluster-node-timeout 2000").await;
        self.configure("cluster-replica-no-failover no").await;
    }

    async fn configure(&self, setting: &str) {
        for node in &self.0 {
            node.run(&format!("CONFIG SET {setting}")).await;
        }
    }

    pub(crate) fn cluster_url(&self) -> String {
        format!("redis+cluster://{},{}", self.0[0].address(), self.0[1].address())
    }

    /// The index of the node that serves a key.
    pub(crate) fn owner(&self, asked: usize, key: &str) -> usize {
        let slot = self.slot(key);
        let nodes = self.0[asked].cli("", &["CLUSTER", "NODES"]);
        let serves = |line: &&str| {
            line.contains("master") && line.split(' ').skip(8).any(|range| {
                let (first, last) = range.split_once('-').unwrap_or((range, range));
                matches!((first.parse::<u32>(), last.parse::<u32>()), (Ok(first), Ok(last)) if (first..=last).contains(&slot))
            })
        };
        let line = nodes.lines().find(serves).unwrap_or_else(|| panic!("{slot}: {nodes}"));
        let address = line.split(' ').nth(1).unwrap();
        self.0.iter().position(|node| address.starts_with(&node.address())).unwrap()
    }

    pub(crate) fn slot(&self, key: &str) -> u32 {
        self.0.iter().find_map(|node| node.cli("", &["CLUSTER", "KEYSLOT", key]).trim().parse().ok()).unwrap()
    }

    pub(crate) fn id(&self, node: usize) -> String {
        self.0[node].cli("", &["CLUSTER", "MYID"]).trim().to_owned()
    }

    /// Moves a slot with all of its keys, one key at a time.
    pub(crate) async fn move_slot(&self, slot: u32, (from, to): (usize, usize)) {
        self.move_keys(slot, (from, to)).await;
        let target = self.id(to);
        for node in [to, from] {
            self.0[node].run(&format!("CLUSTER SETSLOT {slot} NODE {target}")).await;
        }
    }

    /// Moves the keys of a slot. Afterwards the slot is between the nodes.
    pub(crate) async fn move_keys(&self, slot: u32, (from, to): (usize, usize)) {
        let (source, target) = (self.id(from), self.id(to));
        let mut old = self.0[from].admin().await;
        self.0[to].run(&format!("CLUSTER SETSLOT {slot} IMPORTING {source}")).await;
        self.0[from].run(&format!("CLUSTER SETSLOT {slot} MIGRATING {target}")).await;
        loop {
            let keys = run(&mut old, &format!("CLUSTER GETKEYSINSLOT {slot} 1")).await.unwrap();
            let keys: Vec<String> = redis::from_redis_value(keys).unwrap();
            let Some(key) = keys.first() else { break };
            let port = self.0[to].port();
            // The key can expire or be removed before: `NOKEY`.
            run(&mut old, &format!("MIGRATE 127.0.0.1 {port} {key} 0 5000")).await.unwrap();
        }
    }
}
