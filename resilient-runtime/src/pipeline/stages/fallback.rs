//! The fallback stage: runs its levels once, after every inner stage gave up, and stores good values for the local
//! cache.

use std::hash::Hash;
use std::time::Duration;

use crate::fallback::{
    self, DistributedKey, Hosted, LastGood, LevelPermit, Levels, Lookup, NoAnswer, Storable, Why,
};
use crate::level::Level;
use crate::observe::Ending;
use crate::pipeline::Call;
use crate::pipeline::body::Polled;

impl<'p> Call<'p> {
    /// Admits a fallback level.
    ///
    /// # Errors
    /// If no time is left, or the level has reached its concurrency limit.
    #[cold]
    pub fn enter_level(&mut self, level: Level) -> Result<LevelPermit<'p>, NoAnswer> {
        self.miss();
        let mut entered = match self.pipeline.stages.fallback.as_deref() {
            Some(fallback) => fallback.enter(level, self.clock.deadline),
            None => Ok(LevelPermit::unbounded(None, level)),
        };
        if self.rare.is_some()
            && let Ok(asking) = &mut entered
        {
            asking.set_span(self.span());
        }
        entered
    }

    /// Admits a default, which has no limits.
    #[cold]
    pub fn enter_default(&mut self) -> LevelPermit<'p> {
        match self.enter_level(Level::Default) {
            Ok(asking) => asking,
            Err(_) => {
                let mut asking = LevelPermit::unbounded(None, Level::Default);
                asking.set_span(self.span());
                asking
            }
        }
    }

    /// The call has not ended yet: if it is dropped in the fallback, it is cancelled or panicked.
    fn miss(&mut self) {
        // The work of a fallback does not load the protected dependency.
        self.leave_shedder_at_end();
        if self.ending != Ending::Cancelled {
            self.ending_without_fallback = std::mem::replace(&mut self.ending, Ending::Cancelled);
        }
    }

    /// Waits for the result of an asynchronous fallback level.
    pub fn ask<'c, F: Future>(&'c mut self, asking: LevelPermit<'p>, answer: F) -> Hosted<'c, 'p, Self, F> {
        Hosted::new(self, asking, answer)
    }

    /// Waits for the result of an asynchronous default, without a time limit.
    pub async fn ask_default<F: Future>(&mut self, asking: LevelPermit<'p>, answer: F) -> F::Output {
        Polled::new(self, asking.run_later(answer)).await
    }

    /// Whether the reasons for a fallback are being collected.
    pub fn is_watched(&self) -> bool {
        fallback::is_watched()
    }

    /// The reason for the fallback, with the error text that
    /// [`Registry::set_error_text`](crate::Registry::set_error_text) permits.
    pub fn may_tell(&self, why: &Why) -> Why {
        why.as_told(&self.pipeline.texts)
    }

    /// Records that a level served a value of this `age` because of `why`.
    #[cold]
    pub fn level_served(&mut self, level: Level, age: Option<Duration>, why: Option<&Why>) {
        self.ending = Ending::FellBack;
        if let Some(fallback) = &self.pipeline.stages.fallback {
            fallback.served(level);
        }
        fallback::note(self.pipeline.operation.name(), level, age, why);
    }

    /// Records that a replica set had no value.
    pub fn replica_found<R>(&self, found: Result<Result<R, NoAnswer>, NoAnswer>) -> Result<R, NoAnswer> {
        if let (Ok(Err(none)), Some(fallback)) = (&found, &self.pipeline.stages.fallback) {
            fallback.found_nothing(Level::Replica, *none);
        }
        found.and_then(|found| found)
    }

    /// Records that a level had no value.
    #[cold]
    pub fn level_failed(&mut self, level: Level) {
        let is_last = self.pipeline.levels.last().is_none_or(|last| *last == level);
        if is_last {
            self.all_failed();
        }
    }

    /// The name under which the levels are counted.
    pub fn fallback_name(&self) -> &'static str {
        match &self.pipeline.stages.fallback {
            Some(fallback) => fallback.name(),
            None => self.pipeline.operation.name(),
        }
    }

    /// The cache key of good values for this place in the source and this `key`.
    pub fn cache_key<V: LastGood, K: Hash + ?Sized>(&self, owner: usize, key: &K) -> u128 {
        match &self.pipeline.stages.fallback {
            // Functions that share a fallback name do not share values.
            Some(fallback) => fallback.key::<V, _>(&(owner, key)),
            None => 0,
        }
    }

    /// Stores a good value in the local cache.
    pub fn keep<V: LastGood>(&self, key: u128, value: &V) {
        if let Some(fallback) = &self.pipeline.stages.fallback {
            fallback.store(key, value.clone(), self.time());
        }
    }

    /// Looks up a stored good value.
    #[cold]
    pub fn last_good<V: LastGood>(&mut self, key: u128) -> Result<(V, Duration), NoAnswer> {
        self.miss();
        let Some(fallback) = &self.pipeline.stages.fallback else { return Err(NoAnswer::Empty) };
        fallback.look(Level::LocalCache);
        fallback.find(key)
    }
}

/// The built-in distributed cache.
impl Call<'_> {
    /// The key of good values in the distributed cache. `owner` is the function that returns them.
    pub(crate) fn distributed_key<V, K: Hash + ?Sized>(
        &self,
        owner: &str,
        key: &K,
    ) -> Option<DistributedKey> {
        self.pipeline.stages.fallback.as_ref()?.distributed_key::<V, K>(owner, key).ok()
    }

    /// Stores a good value in the distributed cache, in the background.
    pub(crate) fn distribute<V: Storable>(&self, key: &DistributedKey, value: &V) {
        if let Some(fallback) = &self.pipeline.stages.fallback {
            fallback.write_distributed(key, value);
        }
    }

    /// Starts a lookup in the distributed cache.
    #[cold]
    pub(crate) fn lookup<V: Storable>(&mut self, key: Option<DistributedKey>) -> Result<Lookup<V>, NoAnswer> {
        self.miss();
        let key = key.ok_or(NoAnswer::Empty)?;
        Ok(self.pipeline.stages.fallback.as_ref().ok_or(NoAnswer::Empty)?.lookup(key))
    }

    /// Looks up a value in the distributed cache.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call. A read of the store continues for other calls.
    pub(crate) async fn find_distributed<V>(
        &mut self,
        lookup: Result<Lookup<V>, NoAnswer>,
    ) -> Result<(V, Duration), NoAnswer> {
        fallback::look_up(self, lookup?).await
    }

    /// Like `find_distributed`, but blocks the thread.
    pub(crate) fn find_distributed_blocking<V>(
        &mut self,
        lookup: Result<Lookup<V>, NoAnswer>,
    ) -> Result<(V, Duration), NoAnswer> {
        fallback::look_up_blocking(self, lookup?)
    }
}

impl<'p> Levels<'p> for Call<'p> {
    fn enter_distributed(&mut self) -> Result<LevelPermit<'p>, NoAnswer> {
        self.miss();
        let Some(fallback) = self.pipeline.stages.fallback.as_deref() else { return Err(NoAnswer::Empty) };
        let mut asking = fallback.enter_distributed(self.clock.deadline)?;
        if self.rare.is_some() {
            asking.set_span(self.span());
        }
        Ok(asking)
    }

    fn missed(&mut self, none: NoAnswer) {
        if let Some(fallback) = &self.pipeline.stages.fallback {
            fallback.distributed_missed(none);
        }
    }

    fn enter(&mut self, level: Level) -> Result<LevelPermit<'p>, NoAnswer> {
        self.enter_level(level)
    }

    fn look(&mut self, level: Level) {
        self.miss();
        if let Some(fallback) = &self.pipeline.stages.fallback {
            fallback.look(level);
        }
    }

    fn served(&mut self, level: Level, age: Option<Duration>, why: Option<&Why>) {
        self.level_served(level, age, why);
    }

    fn may_tell(&self, why: &Why) -> Why {
        Call::may_tell(self, why)
    }

    fn all_failed(&mut self) {
        // If all levels were skipped, none of them has called `miss`.
        self.miss();
        self.ending = self.ending_without_fallback;
        self.clock.read(&self.pipeline.clock);
        if let Some(fallback) = &self.pipeline.stages.fallback {
            fallback.all_failed();
        }
    }

    fn suspend(&mut self, is_suspended: bool) {
        self.set_suspended(is_suspended);
    }
}
