//! The servers, the network between them and the processes, and their faults.

use std::path::Path;
use std::time::Duration;

use resilient_chaos::proxy::{Proxy, Toxic};

use crate::members::{Instance, MEMBERS};
use crate::process::{Process, random};
use crate::record::Operation;
use crate::{postgres_server, redis_server};

/// The time limit of a request to a member.
const LIMIT: Duration = Duration::from_millis(150);
const PLACES: usize = 3;
/// How many operations each process finishes before a fault begins or ends, at least.
const OPERATIONS: usize = 16;

enum Server {
    Redis(redis_server::Server),
    Postgres(postgres_server::Server),
}

impl Server {
    fn address(&self) -> String {
        match self {
            Self::Redis(server) => server.address(),
            Self::Postgres(server) => server.address(),
        }
    }

    fn kill(&mut self) {
        match self {
            Self::Redis(server) => server.kill(),
            Self::Postgres(server) => server.kill(),
        }
    }

    async fn start_again(&mut self) {
        match self {
            Self::Redis(server) => server.start_again().await,
            Self::Postgres(server) => server.start_again().await,
        }
    }

    fn signal(&self, signal: &str) {
        match self {
            Self::Redis(server) => server.signal(signal),
            Self::Postgres(server) => server.signal(signal),
        }
    }
}

/// A fault of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    /// The server is killed, and started again at the end.
    Killed,
    /// The server is stopped, and goes on at the end.
    Hung,
    /// The connections of one process are closed, and refused.
    Cut { place: usize },
    /// The requests of one process arrive, and the answers are lost.
    Mute { place: usize },
}

/// Three members, and a proxy between each of them and each process.
pub(crate) struct World {
    servers: Vec<Server>,
    proxies: Vec<Vec<Proxy>>,
    processes: Vec<Process>,
    test: &'static str,
    started: u32,
    /// The operations of the processes that have ended.
    operations: Vec<Operation>,
}

impl World {
    /// Starts the servers, and processes that run a test.
    pub(crate) async fn start(test: &'static str) -> Self {
        let redis = || redis_server::Server::start(&["--appendonly", "yes", "--appendfsync", "always"]);
        let (first, second, third) = tokio::join!(redis(), redis(), postgres_server::Server::start());
        let servers = vec![Server::Redis(first), Server::Redis(second), Server::Postgres(third)];
        let mut proxies = Vec::new();
        for _ in 0..PLACES {
            let mut of_place = Vec::new();
            for server in &servers {
                of_place.push(Proxy::start("127.0.0.1:0", &server.address()).await.unwrap());
            }
            proxies.push(of_place);
        }
        let (processes, operations) = (Vec::new(), Vec::new());
        let mut world = Self { servers, proxies, processes, test, started: 0, operations };
        (0..PLACES).for_each(|place| world.start_process(place));
        world.wait().await;
        world
    }

    fn folder(&self) -> &Path {
        let Server::Redis(first) = &self.servers[0] else { unreachable!("the first member is Redis") };
        first.directory()
    }

    fn start_process(&mut self, place: usize) {
        let proxies = &self.proxies[place];
        let addresses = [0, 1, 2].map(|member: usize| proxies[member].address().to_string());
        self.processes.push(Process::start(self.test, self.folder(), self.started, place, addresses));
        self.started += 1;
    }

    /// Waits until each process has finished some operations from now on.
    async fn wait(&mut self) {
        for process in &mut self.processes {
            process.wait_for(process.finished() + OPERATIONS).await;
        }
    }

    async fn begin(&mut self, member: usize, fault: Fault) {
        match fault {
            Fault::Killed => self.servers[member].kill(),
            Fault::Hung => self.servers[member].signal("STOP"),
            Fault::Cut { place } => self.proxies[place][member].disable().await,
            Fault::Mute { place } => self.proxies[place][member].add(Toxic::black_hole()).unwrap().keep(),
        }
    }

    async fn end(&mut self, member: usize, fault: Fault) {
        match fault {
            Fault::Killed => self.servers[member].start_again().await,
            Fault::Hung => self.servers[member].signal("CONT"),
            Fault::Cut { place } => self.proxies[place][member].enable().await.unwrap(),
            Fault::Mute { place } => self.proxies[place][member].clear(),
        }
    }

    /// Each member has each fault once, in another order each time. A fault begins before the last one ends, so that too few
    /// members can be reached in between, and others than before and after.
    pub(crate) async fn have_faults(&mut self) {
        let mut left = Vec::new();
        for member in 0..MEMBERS.len() {
            let place = || usize::try_from(random(PLACES as u64)).unwrap();
            let (cut, mute) = (Fault::Cut { place: place() }, Fault::Mute { place: place() });
            left.extend([Fault::Killed, Fault::Hung, cut, mute].map(|fault| (member, fault)));
        }
        left.sort_by_cached_key(|_| random(u64::MAX));
        let mut last = None;
        while !left.is_empty() {
            let is_elsewhere = |(member, _): &(usize, Fault)| last.is_none_or(|(last, _)| *member != last);
            let next = left.iter().position(is_elsewhere).map(|next| left.remove(next));
            eprintln!("{last:?} and then {next:?}");
            if let Some((member, fault)) = next {
                self.begin(member, fault).await;
                self.wait().await;
            }
            // A process that is killed loses what it has kept for the members that failed.
            if left.len() % 4 == 0 {
                self.kill_process();
            }
            if let Some((member, fault)) = last {
                self.end(member, fault).await;
                self.wait().await;
            }
            last = next;
        }
        if let Some((member, fault)) = last {
            self.end(member, fault).await;
        }
        self.wait().await;
    }

    /// Kills a process, and starts another one in its place.
    fn kill_process(&mut self) {
        let killed = usize::try_from(random(PLACES as u64)).unwrap();
        let killed = self.processes.swap_remove(killed);
        let place = killed.place;
        self.operations.extend(killed.kill());
        self.start_process(place);
    }

    /// Ends the processes. Returns all operations.
    pub(crate) fn operations(&mut self) -> Vec<Operation> {
        for process in self.processes.drain(..) {
            self.operations.extend(process.end());
        }
        std::mem::take(&mut self.operations)
    }

    /// Another instance, with direct connections to all members.
    pub(crate) fn observer(&self) -> Instance {
        let addresses = [0, 1, 2].map(|member: usize| self.servers[member].address());
        Instance::new("observer", 0, &addresses, redis_server::PATIENCE)
    }
}

/// An instance of a process.
pub(crate) fn instance(part: &crate::process::Part) -> Instance {
    Instance::new(&format!("process {}", part.number), part.place, &part.addresses, LIMIT)
}
