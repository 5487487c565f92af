//! Members that can be switched off.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use resilient_replica::resolve::{Actor, HybridClock, Merge};
use resilient_replica::{Builder, LastWriteWins, MemoryReplica, Merging, Mode, ReplicaSet, Value};
use resilient_runtime::clock::Clock;
use resilient_runtime::store::{
    Answer, Backend, Config, ReplicaKey, ReplicaPage, ReplicaRecord, ReplicaStore, ReplicaVersion,
    ReplicaWrite, StoreError, Written,
};
use resilient_runtime::{Component, Registry};

pub(crate) const TIMEOUT: Duration = Duration::from_millis(100);
/// How long a request is on the way to a member that is [`Behaviour::Late`].
pub(crate) const LATE: Duration = Duration::from_millis(40);

/// How a member behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Behaviour {
    Works,
    /// Each request fails at once.
    Down,
    /// No request is answered or carried out.
    Hung,
    /// Requests are carried out, and not answered.
    Mute,
    /// Reads are answered as if there were nothing.
    Empty,
    /// Requests arrive after [`LATE`].
    Late,
    /// Requests are refused, and not carried out.
    Refuses,
    /// Its digests are wrong, and its lists have no end.
    Endless,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub(crate) memory: MemoryReplica,
    behaviour: AtomicU8,
}

impl Member {
    pub(crate) fn set(&self, behaviour: Behaviour) {
        self.behaviour.store(behaviour as u8, Ordering::Relaxed);
    }

    fn behaves(&self, as_this: Behaviour) -> bool {
        self.behaviour.load(Ordering::Relaxed) == as_this as u8
    }

    async fn ask<T>(&self, request: Answer<'_, T>) -> Result<T, StoreError> {
        if self.behaves(Behaviour::Down) {
            return Err(StoreError::Unavailable("connection refused".to_owned()));
        }
        if self.behaves(Behaviour::Refuses) {
            return Err(StoreError::Refused("no right to do this".to_owned()));
        }
        if self.behaves(Behaviour::Hung) {
            std::future::pending::<()>().await;
        }
        if self.behaves(Behaviour::Late) {
            tokio::time::sleep(LATE).await;
        }
        let answer = request.await;
        if self.behaves(Behaviour::Mute) {
            std::future::pending::<()>().await;
        }
        answer
    }
}

impl Backend for Member {
    fn address(&self) -> String {
        "tested".to_owned()
    }

    fn replica(&self) -> Option<&dyn ReplicaStore> {
        Some(self)
    }
}

impl ReplicaStore for Member {
    fn read(&self, key: ReplicaKey) -> Answer<'_, Option<ReplicaRecord>> {
        if self.behaves(Behaviour::Empty) {
            return Box::pin(async { Ok(None) });
        }
        Box::pin(async move { self.ask(Box::pin(async { self.memory.read(key).await })).await })
    }

    fn write(&self, write: ReplicaWrite) -> Answer<'_, Written> {
        Box::pin(async move { self.ask(Box::pin(async { self.memory.write(write).await })).await })
    }

    fn forget(&self, key: ReplicaKey, version: ReplicaVersion) -> Answer<'_, bool> {
        Box::pin(async move { self.ask(Box::pin(async { self.memory.forget(key, version).await })).await })
    }

    fn digest(&self, set: &str, range: u16) -> Answer<'_, u64> {
        if self.behaves(Behaviour::Endless) {
            return Box::pin(async { Ok(1) });
        }
        let digest = self.memory.digest(set, range);
        Box::pin(async move { self.ask(digest).await })
    }

    fn list(&self, set: &str, range: u16, from: Option<String>, limit: u32) -> Answer<'_, ReplicaPage> {
        if self.behaves(Behaviour::Endless) {
            return Box::pin(async { Ok(ReplicaPage { entries: Vec::new(), next: Some(String::new()) }) });
        }
        let page = self.memory.list(set, range, from, limit);
        Box::pin(async move { self.ask(page).await })
    }
}

/// Three members, and sets over them. Needs a runtime with paused time.
pub(crate) struct Members {
    pub(crate) registry: Registry,
    pub(crate) each: [Arc<Member>; 3],
    pub(crate) clock: HybridClock,
}

pub(crate) const NAMES: [&str; 3] = ["a", "b", "c"];

impl Members {
    pub(crate) fn new() -> Self {
        let registry = Registry::with_clock(Clock::tokio());
        let member = |name| {
            let member = Arc::new(Member { memory: MemoryReplica::new(), behaviour: AtomicU8::new(0) });
            let store = registry.use_store(name, Arc::clone(&member));
            store.reconfigure(Config::default().timeout(TIMEOUT)).unwrap();
            member
        };
        let each = NAMES.map(member);
        Self { registry, each, clock: HybridClock::new(Actor::new(1)) }
    }

    /// Sets how all members behave.
    pub(crate) fn behave(&self, behaviours: [Behaviour; 3]) {
        for (member, behaviour) in self.each.iter().zip(behaviours) {
            member.set(behaviour);
        }
    }

    /// Lets the work in the background run.
    pub(crate) async fn settle(&self) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }

    pub(crate) fn builder<T: Value>(&self) -> Builder<T, LastWriteWins> {
        let builder = ReplicaSet::builder("tested", self.clock.clone());
        NAMES.iter().fold(builder, |builder, name| builder.member(*name))
    }

    pub(crate) fn registers(&self, mode: Mode) -> ReplicaSet<u64> {
        self.builder().mode(mode).build(&self.registry).unwrap()
    }

    pub(crate) fn merging<T: Value + Merge>(&self, mode: Mode) -> ReplicaSet<T, Merging> {
        self.builder().mode(mode).merging().build(&self.registry).unwrap()
    }
}
