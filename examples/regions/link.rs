//! The connection of an instance to a member, which can be cut.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use resilient_replica::MemoryReplica;
use resilient_runtime::store::{
    Answer, Backend, ReplicaKey, ReplicaPage, ReplicaRecord, ReplicaStore, ReplicaVersion, ReplicaWrite,
    StoreError, Written,
};

/// Fails each request while it is cut. A real program has a `RedisStore` or a `PostgresStore` here.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    pub(crate) member: Arc<MemoryReplica>,
    pub(crate) is_cut: Arc<AtomicBool>,
}

impl Link {
    fn through<'a, T: Send + 'a>(&self, request: Answer<'a, T>) -> Answer<'a, T> {
        if self.is_cut.load(Ordering::Relaxed) {
            return Box::pin(async { Err(StoreError::Unavailable("the connection is cut".to_owned())) });
        }
        request
    }
}

impl Backend for Link {
    fn address(&self) -> String {
        self.member.address()
    }

    fn replica(&self) -> Option<&dyn ReplicaStore> {
        Some(self)
    }
}

impl ReplicaStore for Link {
    fn read(&self, key: ReplicaKey) -> Answer<'_, Option<ReplicaRecord>> {
        self.through(self.member.read(key))
    }

    fn write(&self, write: ReplicaWrite) -> Answer<'_, Written> {
        if self.is_cut.load(Ordering::Relaxed) {
            return self.through(Box::pin(async { Ok(Written::Conflict(None)) }));
        }
        self.member.write(write)
    }

    fn forget(&self, key: ReplicaKey, version: ReplicaVersion) -> Answer<'_, bool> {
        self.through(Box::pin(async move { self.member.forget(key, version).await }))
    }

    fn digest(&self, set: &str, range: u16) -> Answer<'_, u64> {
        self.through(self.member.digest(set, range))
    }

    fn list(&self, set: &str, range: u16, from: Option<String>, limit: u32) -> Answer<'_, ReplicaPage> {
        self.through(self.member.list(set, range, from, limit))
    }
}
