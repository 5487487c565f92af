//! One lookup in the distributed cache: in memory, then in the store, then in memory again if the store failed.

use std::sync::Arc;
use std::time::Duration;

use super::near::{Found, NearValue};
use super::reads::{Outcome, Read};
use super::{Distributed, DistributedKey, TARGET};
use crate::fallback::{Config, NoAnswer};
use crate::observe::log_limited;
use crate::store::{Guard, StoreError};

/// A value and its age.
pub(crate) type Answer<V> = Result<(V, Duration), NoAnswer>;

/// A lookup of a value of type `V`.
#[derive(Debug)]
pub(crate) struct Lookup<V> {
    cache: Arc<Distributed>,
    config: Arc<Config>,
    key: DistributedKey,
    decode: fn(&[u8]) -> Result<V, String>,
}

/// The first step of a lookup.
#[derive(Debug)]
pub(crate) enum Step<V> {
    /// The answer is known.
    Known(Answer<V>),
    /// The store must be read.
    Read(Arc<Guard>),
}

impl<V> Lookup<V> {
    pub(in crate::fallback) fn new(
        cache: &Arc<Distributed>,
        config: Arc<Config>,
        key: DistributedKey,
        decode: fn(&[u8]) -> Result<V, String>,
    ) -> Self {
        Self { cache: Arc::clone(cache), config, key, decode }
    }

    /// Looks in memory.
    pub(crate) fn begin(&self) -> Step<V> {
        let cache = &*self.cache;
        let near = cache.near.find(self.key.hash(), cache.environment.clock.now());
        match near {
            Found::Absent(since) if since < self.config.distributed_cache_remember_absent => {
                cache.counters.absent_hits.count();
                return Step::Known(Err(NoAnswer::Empty));
            }
            Found::Value(near) if near.since < self.config.distributed_cache_reread_after => {
                if let Some(found) = self.serve(&near) {
                    return Step::Known(Ok(found));
                }
            }
            _ => {}
        }
        match cache.store(&self.config) {
            Some(guard) => Step::Read(guard),
            None => Step::Known(Err(NoAnswer::StoreFailed)),
        }
    }

    /// Reads the store.
    pub(crate) fn read(&self, guard: Arc<Guard>) -> impl Future<Output = Outcome> + Send + use<V> {
        Arc::clone(&self.cache).read(guard, self.key.clone())
    }

    /// Returns the value that was read, or one in memory.
    pub(crate) fn end(self, read: Result<Outcome, NoAnswer>) -> Answer<V> {
        let (cache, key) = (&*self.cache, self.key.hash());
        let now = cache.environment.clock.now();
        let near = match cache.near.find(key, now) {
            Found::Value(near) if near.age <= self.config.distributed_cache_max_age => Some(near),
            _ => None,
        };
        let (none, began, near) = match read {
            Ok(Ok(Read { began, value: Some(value), .. })) => {
                let age = value.age.saturating_add(now.since(value.read));
                if age > self.config.distributed_cache_max_age {
                    (NoAnswer::Stale, Some(began), near)
                } else if near.as_ref().is_some_and(|near| near.age < age) {
                    (NoAnswer::Empty, Some(began), near)
                } else {
                    match (self.decode)(&value.bytes) {
                        Ok(decoded) => {
                            cache.counters.hits.count();
                            if value.bytes.len() <= self.config.distributed_cache_max_bytes as usize {
                                cache.near.keep_read(key, (&value.bytes, age), now, began);
                            }
                            return Ok((decoded, age));
                        }
                        Err(problem) => (self.unreadable(&problem), Some(began), near),
                    }
                }
            }
            Ok(Ok(Read { began, had_write, value: None })) => {
                // The value was removed, unless the store did not have it yet when it was read.
                let near = near.filter(|near| had_write || near.change > began);
                if near.is_none() {
                    cache.near.remove_unchanged(key, began);
                }
                (NoAnswer::Empty, Some(began), near)
            }
            Ok(Err(error)) => (self.failed(&error), None, near),
            Err(none) => (none, None, near),
        };
        if let Some(near) = near
            && let Some(found) = self.serve(&near)
        {
            if began.is_some() {
                // The store has nothing newer, so it is not read again for a while.
                cache.near.confirm(key, now, near.change);
            }
            return Ok(found);
        }
        if let Some(began) = began {
            if none != NoAnswer::Unreadable {
                cache.counters.misses.count();
            }
            if !self.config.distributed_cache_remember_absent.is_zero() {
                cache.near.keep_absent(key, now, began);
            }
        }
        Err(none)
    }

    /// Returns a value in memory, unless it is too old.
    fn serve(&self, near: &NearValue) -> Option<(V, Duration)> {
        if near.age > self.config.distributed_cache_max_age {
            return None;
        }
        match (self.decode)(&near.bytes) {
            Ok(value) => {
                self.cache.counters.near_hits.count();
                Some((value, near.age))
            }
            Err(problem) => {
                self.unreadable(&problem);
                None
            }
        }
    }

    #[cold]
    fn unreadable(&self, problem: &str) -> NoAnswer {
        let cache = &*self.cache;
        cache.counters.unreadable.count();
        let problem = cache.environment.texts().clean(problem).unwrap_or_default();
        log_limited!(
            cache.logs.unreadable, &cache.environment.clock, WARN, target: TARGET,
            fallback = %cache.name, problem, "a value in the distributed cache cannot be read and counts as missing"
        );
        NoAnswer::Unreadable
    }

    #[cold]
    fn failed(&self, error: &StoreError) -> NoAnswer {
        let cache = &*self.cache;
        if let StoreError::Refused(problem) = error {
            return self.unreadable(problem);
        }
        cache.counters.failed_reads.count();
        let problem = cache.environment.texts().clean(&error.to_string()).unwrap_or_default();
        log_limited!(
            cache.logs.failed_read, &cache.environment.clock, WARN, target: TARGET,
            fallback = %cache.name, problem, "the distributed cache could not be read"
        );
        NoAnswer::StoreFailed
    }
}
