//! The replica sets, as a process sees them.

use std::time::Duration;

use resilient_postgres::PostgresStore;
use resilient_redis::RedisStore;
use resilient_replica::resolve::{Actor, HybridClock, PnCounter};
use resilient_replica::{Builder, LastWriteWins, Merging, Mode, ReplicaSet, Value};
use resilient_runtime::store::Config;
use resilient_runtime::{Component as _, Registry};

use crate::postgres_server;
use crate::record::now;

pub(crate) const MEMBERS: [&str; 3] = ["redis-1", "redis-2", "postgres"];

/// The difference of the clocks of a place and the next one.
const SKEW: Duration = Duration::from_millis(50);

/// A process with a connection to each member.
pub(crate) struct Instance {
    registry: Registry,
    clock: HybridClock,
    place: usize,
}

impl Instance {
    /// The first member that it asks is the one of its place.
    pub(crate) fn new(name: &str, place: usize, addresses: &[String; 3], timeout: Duration) -> Self {
        let registry = Registry::new();
        let redis = |address| resilient_redis::Config::new(format!("redis://{address}")).timeout(timeout);
        let postgres = resilient_postgres::Config::new(postgres_server::url(&addresses[2])).timeout(timeout);
        registry.use_store(MEMBERS[0], RedisStore::new(redis(&addresses[0])).unwrap());
        registry.use_store(MEMBERS[1], RedisStore::new(redis(&addresses[1])).unwrap());
        registry.use_store(MEMBERS[2], PostgresStore::new(postgres).unwrap());
        for member in MEMBERS {
            registry.store(member).reconfigure(Config::default().timeout(timeout)).unwrap();
        }
        let skew = SKEW * u32::try_from(place).unwrap();
        let clock = HybridClock::with_wall_clock(Actor::named(name), move || now().saturating_sub(skew));
        Self { registry, clock, place }
    }

    fn builder<T: Value>(&self, name: &str, mode: Mode) -> Builder<T, LastWriteWins> {
        let members = MEMBERS.iter().cycle().skip(self.place).take(MEMBERS.len());
        let set = ReplicaSet::builder(name, self.clock.clone()).mode(mode);
        members.fold(set, |set, member| set.member(*member))
    }

    pub(crate) fn registers(&self, mode: Mode) -> ReplicaSet<u64> {
        self.builder("registers", mode).build(&self.registry).unwrap()
    }

    pub(crate) fn counters(&self, mode: Mode) -> ReplicaSet<PnCounter, Merging> {
        self.builder("counters", mode).merging().build(&self.registry).unwrap()
    }

    /// The registers and counters of one member.
    pub(crate) fn only(&self, member: &str) -> (ReplicaSet<u64>, ReplicaSet<PnCounter, Merging>) {
        let registers = ReplicaSet::builder("registers", self.clock.clone()).member(member);
        let counters = ReplicaSet::builder("counters", self.clock.clone()).member(member).merging();
        (registers.build(&self.registry).unwrap(), counters.build(&self.registry).unwrap())
    }
}
