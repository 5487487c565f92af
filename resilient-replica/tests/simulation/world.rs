//! Members and instances, and the network between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use resilient_replica::resolve::{Actor, HybridClock, OrSet, PnCounter};
use resilient_replica::{MemoryReplica, Merging, Mode, ReplicaSet};
use resilient_runtime::clock::Clock;
use resilient_runtime::store::{
    Answer, Backend, Config, ReplicaKey, ReplicaPage, ReplicaRecord, ReplicaStore, ReplicaVersion,
    ReplicaWrite, StoreError, Written,
};
use resilient_runtime::{Component, Registry};
use tokio::time::Instant;

const MEMBERS: [&str; 3] = ["a", "b", "c"];
/// Virtual time since 1970 at the start.
const START: Duration = Duration::from_secs(1_700_000_000);

/// How often something goes wrong.
#[derive(Clone, Copy)]
pub(crate) struct Faults {
    /// How many of 100 requests are lost on the way to the member, and how many of the answers.
    pub(crate) lost: u64,
    /// Largest time on the way, in milliseconds.
    pub(crate) slow: u64,
    /// Largest difference of the clocks, in milliseconds.
    pub(crate) skew: u64,
    /// How many cuts there are between an instance and a member.
    pub(crate) cuts: u64,
}

impl Faults {
    pub(crate) const SOME: Self = Self { lost: 8, slow: 40, skew: 100, cuts: 2 };
}

/// `SplitMix64`, so that a seed means the same run everywhere.
#[derive(Debug)]
pub(crate) struct Random(AtomicU64);

impl Random {
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next(end)
    }

    fn next(&self, end: u64) -> u64 {
        let mut mixed = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ mixed >> 31) % end.max(1)
    }
}

/// The way from an instance to a member.
#[derive(Debug)]
struct Link {
    member: Arc<MemoryReplica>,
    faults: (u64, u64),
    cuts: Vec<(Instant, Instant)>,
    is_healed: Arc<AtomicBool>,
    random: Random,
}

impl Link {
    /// One way between the instance and the member. A lost message never arrives.
    async fn travel(&self) {
        let (lost, slow) = self.faults;
        let is_healed = || self.is_healed.load(Ordering::Relaxed);
        if is_healed() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(self.random.next(slow))).await;
        let now = Instant::now();
        let is_cut = self.cuts.iter().any(|(from, to)| (*from..*to).contains(&now));
        if (is_cut || self.random.next(100) < lost) && !is_healed() {
            std::future::pending::<()>().await;
        }
    }

    async fn through<T>(&self, request: Answer<'_, T>) -> Result<T, StoreError> {
        let answer = request.await;
        self.travel().await;
        answer
    }
}

impl Backend for Link {
    fn address(&self) -> String {
        "simulated".to_owned()
    }

    fn replica(&self) -> Option<&dyn ReplicaStore> {
        Some(self)
    }
}

impl ReplicaStore for Link {
    fn read(&self, key: ReplicaKey) -> Answer<'_, Option<ReplicaRecord>> {
        Box::pin(async move {
            self.travel().await;
            self.through(self.member.read(key)).await
        })
    }

    fn write(&self, write: ReplicaWrite) -> Answer<'_, Written> {
        Box::pin(async move {
            self.travel().await;
            self.through(self.member.write(write)).await
        })
    }

    fn forget(&self, key: ReplicaKey, version: ReplicaVersion) -> Answer<'_, bool> {
        Box::pin(async move {
            self.travel().await;
            self.through(self.member.forget(key, version)).await
        })
    }

    fn digest(&self, set: &str, range: u16) -> Answer<'_, u64> {
        self.member.digest(set, range)
    }

    fn list(&self, set: &str, range: u16, from: Option<String>, limit: u32) -> Answer<'_, ReplicaPage> {
        self.member.list(set, range, from, limit)
    }
}

pub(crate) struct World {
    seed: u64,
    instances: Vec<(Registry, HybridClock)>,
    is_healed: Arc<AtomicBool>,
}

impl World {
    pub(crate) fn new(seed: u64, instances: usize, faults: Faults) -> Self {
        let (random, start) = (Random(AtomicU64::new(seed)), Instant::now());
        let wall = |skew: u64| move || START + start.elapsed() + Duration::from_millis(skew);
        let members: Vec<_> = MEMBERS
            .iter()
            .map(|_| Arc::new(MemoryReplica::with_wall_clock(wall(random.next(faults.skew)))))
            .collect();
        let is_healed = Arc::new(AtomicBool::new(false));
        let instance = |number: usize| {
            let registry = Registry::with_seed(Clock::tokio(), seed);
            for (name, member) in MEMBERS.iter().zip(&members) {
                let cut = |_| {
                    let from = start + Duration::from_millis(random.next(1000));
                    (from, from + Duration::from_millis(random.next(400)))
                };
                let link = Link {
                    member: Arc::clone(member),
                    faults: (faults.lost, faults.slow),
                    cuts: (0..random.next(faults.cuts + 1)).map(cut).collect(),
                    is_healed: Arc::clone(&is_healed),
                    random: Random(AtomicU64::new(random.next(u64::MAX))),
                };
                let store = registry.use_store(name, link);
                store.reconfigure(Config::default().timeout(Duration::from_millis(100))).unwrap();
            }
            let clock =
                HybridClock::with_wall_clock(Actor::new(number as u64), wall(random.next(faults.skew)));
            (registry, clock)
        };
        Self { seed, instances: (0..instances).map(instance).collect(), is_healed }
    }

    /// Ends all faults.
    pub(crate) fn heal(&self) {
        self.is_healed.store(true, Ordering::Relaxed);
    }

    /// Random numbers for the load of an instance.
    pub(crate) fn random(&self, instance: u64) -> Random {
        Random(AtomicU64::new(self.seed ^ (instance + 1) << 32))
    }

    /// The registers, as an instance sees them.
    pub(crate) fn registers(&self, instance: usize, mode: Mode) -> ReplicaSet<u64> {
        let (registry, clock) = &self.instances[instance];
        let set = ReplicaSet::builder("registers", clock.clone()).mode(mode);
        MEMBERS.iter().fold(set, |set, name| set.member(*name)).build(registry).unwrap()
    }

    /// The sets of items, as an instance sees them.
    pub(crate) fn sets(&self, instance: usize, mode: Mode) -> ReplicaSet<OrSet<usize>, Merging> {
        let (registry, clock) = &self.instances[instance];
        let set = ReplicaSet::builder("sets", clock.clone()).mode(mode);
        MEMBERS.iter().fold(set, |set, name| set.member(*name)).merging().build(registry).unwrap()
    }

    /// The counters, as an instance sees them.
    pub(crate) fn counters(&self, instance: usize, mode: Mode) -> ReplicaSet<PnCounter, Merging> {
        let (registry, clock) = &self.instances[instance];
        let set = ReplicaSet::builder("counters", clock.clone()).mode(mode);
        MEMBERS.iter().fold(set, |set, name| set.member(*name)).merging().build(registry).unwrap()
    }
}
