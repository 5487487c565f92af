//! A member of a replica set, which is a store by its name.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use resilient_runtime::store::{
    Backend, Expected, Need, ReplicaEntry, ReplicaKey, ReplicaRecord, ReplicaStore, ReplicaVersion,
    ReplicaWrite, Store, StoreError, Written,
};
use std::time::Duration;

/// Largest number of records that a member lists at once.
const PAGE: u32 = 500;
/// Maximum number of pages of a range: 2.5 million records, if they are full. A member that is wrong could list without an end.
const MOST_PAGES: u32 = 5000;

/// The answer of a member, as a future that does not borrow the set.
pub(crate) type Reply<T> = Pin<Box<dyn Future<Output = (usize, Result<T, StoreError>)> + Send>>;

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) index: usize,
    pub(crate) name: Arc<str>,
    pub(crate) region: Option<Arc<str>>,
    pub(crate) store: Arc<Store>,
}

fn role(backend: &dyn Backend) -> Result<&dyn ReplicaStore, StoreError> {
    backend.replica().ok_or_else(|| {
        StoreError::Refused(format!(
            "the store at {} cannot be a member of a replica set: use one that has this role, such as `RedisStore`",
            backend.address()
        ))
    })
}

impl Member {
    pub(crate) fn read(&self, key: ReplicaKey) -> Reply<Option<ReplicaRecord>> {
        let (index, store) = (self.index, Arc::clone(&self.store));
        Box::pin(async move {
            let send = |backend: Arc<dyn Backend>| async move { role(&*backend)?.read(key).await };
            (index, store.request(Need::Optional, send).await)
        })
    }

    pub(crate) fn write(
        &self,
        key: ReplicaKey,
        record: ReplicaRecord,
        expected: Expected,
        max_ahead: Duration,
    ) -> Reply<Written> {
        let (index, store) = (self.index, Arc::clone(&self.store));
        Box::pin(async move {
            let write = ReplicaWrite { key, record, expected, max_ahead };
            let send = |backend: Arc<dyn Backend>| async move { role(&*backend)?.write(write).await };
            (index, store.request(Need::Optional, send).await)
        })
    }

    pub(crate) async fn digest(&self, set: &str, range: u16) -> Result<u64, StoreError> {
        let send = |backend: Arc<dyn Backend>| async move { role(&*backend)?.digest(set, range).await };
        self.store.request(Need::Optional, send).await
    }

    /// All records of a range.
    pub(crate) async fn list(&self, set: &str, range: u16) -> Result<Vec<ReplicaEntry>, StoreError> {
        let (mut entries, mut from, mut pages) = (Vec::new(), None, 0_u32);
        loop {
            let send = |backend: Arc<dyn Backend>| async move {
                role(&*backend)?.list(set, range, from, PAGE).await
            };
            let page = self.store.request(Need::Optional, send).await?;
            entries.extend(page.entries);
            pages += 1;
            if pages > MOST_PAGES {
                let problem =
                    format!("it lists more than {MOST_PAGES} pages of records in one of 256 ranges");
                return Err(StoreError::Refused(problem));
            }
            match page.next {
                Some(next) => from = Some(next),
                None => return Ok(entries),
            }
        }
    }

    pub(crate) async fn forget(&self, key: ReplicaKey, version: ReplicaVersion) -> Result<bool, StoreError> {
        let send = |backend: Arc<dyn Backend>| async move { role(&*backend)?.forget(key, version).await };
        self.store.request(Need::Optional, send).await
    }
}
