//! The fallback: runs once, after everything behind it gave up; its levels, and the answers it keeps for them.

use std::hash::Hash;
use std::time::Duration;

use crate::fallback::{self, Hosted, LastGood, LevelPermit, Levels, NoAnswer, Why};
use crate::level::Level;
use crate::observe::Ending;
use crate::pipeline::Call;
use crate::pipeline::body::Polled;

impl<'p> Call<'p> {
    /// A fallback level is about to be asked.
    ///
    /// # Errors
    /// When it must not be: nothing is left of the time, or too many are being asked.
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

    /// A default is about to be asked: nothing bounds it.
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

    /// Not ended after all: dropped in the fallback, it is cancelled, or panics.
    fn miss(&mut self) {
        // What a fallback does is no load of what it stands in for.
        self.leave_shedder_at_end();
        if self.ending != Ending::Cancelled {
            self.ending_without_fallback = std::mem::replace(&mut self.ending, Ending::Cancelled);
        }
    }

    /// Waits for the answer of an asynchronous fallback level.
    pub fn ask<'c, F: Future>(&'c mut self, asking: LevelPermit<'p>, answer: F) -> Hosted<'c, 'p, Self, F> {
        Hosted::new(self, asking, answer)
    }

    /// Waits for the answer of an asynchronous default, however long that takes.
    pub async fn ask_default<F: Future>(&mut self, asking: LevelPermit<'p>, answer: F) -> F::Output {
        Polled::new(self, asking.run_later(answer)).await
    }

    /// Whether somebody collects why levels are asked.
    pub fn is_watched(&self) -> bool {
        fallback::is_watched()
    }

    /// Why the levels are asked, as [`Registry::set_error_text`](crate::Registry::set_error_text) lets it be told.
    pub fn may_tell(&self, why: &Why) -> Why {
        why.as_told(&self.pipeline.texts)
    }

    /// A level has answered, with something of this age, because of `why`.
    #[cold]
    pub fn level_served(&mut self, level: Level, age: Option<Duration>, why: Option<&Why>) {
        self.ending = Ending::FellBack;
        if let Some(fallback) = &self.pipeline.stages.fallback {
            fallback.served(level);
        }
        fallback::note(self.pipeline.operation.name(), level, age, why);
    }

    /// A level had no answer.
    #[cold]
    pub fn level_failed(&mut self, level: Level) {
        let is_last = self.pipeline.levels.last().is_none_or(|last| *last == level);
        if is_last {
            self.all_failed();
        }
    }

    /// The name of whoever counts the levels.
    pub fn fallback_name(&self) -> &'static str {
        match &self.pipeline.stages.fallback {
            Some(fallback) => fallback.name(),
            None => self.pipeline.operation.name(),
        }
    }

    /// Under what the good answers of this place in the source are kept that have this key.
    pub fn cache_key<V: LastGood, K: Hash + ?Sized>(&self, owner: usize, key: &K) -> u128 {
        match &self.pipeline.stages.fallback {
            // Functions that share a name do not share answers.
            Some(fallback) => fallback.key::<V, _>(&(owner, key)),
            None => 0,
        }
    }

    /// Keeps a good answer.
    pub fn keep<V: LastGood>(&self, key: u128, value: &V) {
        if let Some(fallback) = &self.pipeline.stages.fallback {
            fallback.store(key, value.clone(), self.time());
        }
    }

    /// Asks for it again.
    #[cold]
    pub fn last_good<V: LastGood>(&mut self, key: u128) -> Result<(V, Duration), NoAnswer> {
        self.miss();
        let Some(fallback) = &self.pipeline.stages.fallback else { return Err(NoAnswer::Empty) };
        fallback.look(Level::LocalCache);
        fallback.find(key)
    }
}

impl<'p> Levels<'p> for Call<'p> {
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
        // Passed over as a whole, the levels have not been asked.
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
