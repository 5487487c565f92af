//! Delivers writes to members that missed them.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use resilient_runtime::store::{Expected, ReplicaKey, ReplicaRecord, ReplicaVersion, StoreError, Written};

use super::{Inner, ReplicaSet, Resolver, Value};

/// How long the delivery waits if no member can be reached.
const PAUSE: Duration = Duration::from_secs(1);

/// Runs something after the operation that started it has returned. It ends early if the runtime does.
pub(super) fn in_background(work: impl Future<Output = ()> + Send + 'static) {
    if let Ok(runtime) = tokio::runtime::Handle::try_current() {
        drop(runtime.spawn(work));
    }
}

/// The task that delivers hints. If it ends, the next hint starts it again.
struct Delivering(Arc<Inner>);

impl Drop for Delivering {
    fn drop(&mut self) {
        self.0.is_delivering.store(false, Ordering::Release);
    }
}

impl<T: Value, R: Resolver<T>> ReplicaSet<T, R> {
    /// Keeps a write for a member that missed it. With a file, the returned future ends when it is on disk.
    pub(super) fn keep(
        &self,
        member: usize,
        key: ReplicaKey,
        record: &ReplicaRecord,
    ) -> Option<impl Future<Output = ()> + Send + use<T, R>> {
        let Some(saved) = self.inner.hints.add(member, key, record, self.inner.timer.now()) else {
            self.inner.counters.dropped_hints.add();
            return None;
        };
        self.start_delivery();
        let (saved, inner) = (saved?, Arc::clone(&self.inner));
        Some(async move {
            if let Err(error) = saved.await {
                inner.counters.unsaved_hints.add();
                tracing::warn!(target: "resilient_replica", set = &*inner.name, %error, "a hint is kept in memory only");
            }
        })
    }

    pub(super) fn start_delivery(&self) {
        if self.inner.is_delivering.swap(true, Ordering::AcqRel) {
            return;
        }
        let (set, mut delivering) = (self.clone(), Delivering(Arc::clone(&self.inner)));
        in_background(async move {
            loop {
                let is_done = set.deliver_hints().await;
                drop(delivering);
                // A hint may have been added since the last look.
                let inner = &set.inner;
                if !is_done || inner.hints.len() == 0 || inner.is_delivering.swap(true, Ordering::AcqRel) {
                    return;
                }
                delivering = Delivering(Arc::clone(inner));
            }
        });
    }

    /// Delivers hints until there are none. Returns false if that is not possible, without a timer.
    async fn deliver_hints(&self) -> bool {
        let Inner { hints, timer, .. } = &*self.inner;
        // The members that failed since the last pause.
        let mut failed = BTreeSet::new();
        while hints.len() > 0 {
            match hints.next(timer.now(), |member| !failed.contains(&member)) {
                Some((member, key, record)) => match self.deliver(member, &key, &record, None).await {
                    Ok(()) => hints.done(member, &key, &record),
                    Err(_) => _ = failed.insert(member),
                },
                None => match timer.delay(PAUSE) {
                    Some(pause) => {
                        pause.await;
                        failed.clear();
                    }
                    None => return false,
                },
            }
        }
        true
    }

    /// Writes a record to a member, unless the member has a newer one. One that is merged replaces the version `known`.
    pub(super) async fn deliver(
        &self,
        member: usize,
        key: &ReplicaKey,
        record: &ReplicaRecord,
        known: Option<ReplicaVersion>,
    ) -> Result<(), StoreError> {
        let written = match &record.value {
            Some(bytes) if R::MERGES => {
                let value =
                    self.decode(member, bytes).map_err(|problem| StoreError::Refused(problem.to_string()))?;
                self.merge_into(member, key, value, record.clone(), known).await?
            }
            _ => {
                let max_ahead = self.inner.max_ahead;
                self.inner.members[member]
                    .write(key.clone(), record.clone(), Expected::Older, max_ahead)
                    .await
                    .1?
            }
        };
        match written {
            Written::Applied => self.inner.counters.repairs.add(),
            Written::Conflict(_) => {}
            Written::Ahead(by) => {
                let problem = format!("the version is {by:?} ahead of the clock of the member");
                return Err(StoreError::Refused(problem));
            }
        }
        Ok(())
    }
}
