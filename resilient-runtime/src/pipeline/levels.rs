//! The fallback of a call: its levels, and the answers it keeps for them.

use std::hash::Hash;
use std::time::Duration;

use super::Call;
use super::attempt::Polled;
use crate::fallback::{self, Hosted, LastGood, Level, LevelPermit, Levels, NoAnswer, Why};
use crate::observe::Ending;
use crate::site::Site;

impl<'p> Call<'p> {
    /// A fallback level is about to be asked.
    ///
    /// ```
    /// use resilient_runtime::{Component, Level, Registry, pipeline::Call};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("rate").fallback("rate").build();
    /// let mut call = Call::begin(&pipeline);
    /// let asking = call.enter_level(Level::Replica).unwrap();
    /// assert_eq!(registry.fallback("rate").stats().in_flight, 1);
    /// drop(asking);
    /// assert_eq!(registry.fallback("rate").stats().in_flight, 0);
    /// ```
    ///
    /// # Errors
    /// When it must not be: nothing is left of the time, or too many are being asked.
    #[cold]
    pub fn enter_level(&mut self, level: Level) -> Result<LevelPermit<'p>, NoAnswer> {
        self.miss();
        let mut entered = match self.pipeline.fallback.as_deref() {
            Some(fallback) => fallback.enter(level, self.deadline),
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
    ///
    /// ```
    /// use resilient_runtime::{Component, Level, Registry, pipeline::Call};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("rate").fallback("rate").build();
    /// drop(Call::begin(&pipeline).enter_default());
    /// assert_eq!(registry.fallback("rate").stats().levels[&Level::Default].asked, 1);
    /// ```
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
            self.missed = std::mem::replace(&mut self.ending, Ending::Cancelled);
        }
    }

    /// Waits for the answer of an asynchronous fallback level.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Level, Registry, pipeline::Call};
    ///
    /// let pipeline = Registry::new().pipeline("rate").fallback("rate").build();
    /// let mut call = Call::begin(&pipeline);
    /// let asking = call.enter_level(Level::Backup).unwrap();
    /// assert_eq!(call.ask(asking, async { 1.1 }).await, Ok(1.1));
    /// # }
    /// ```
    pub fn ask<'c, F: Future>(&'c mut self, asking: LevelPermit<'p>, answer: F) -> Hosted<'c, 'p, Self, F> {
        Hosted::new(self, asking, answer)
    }

    /// Waits for the answer of an asynchronous default, however long that takes.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, pipeline::Call};
    ///
    /// let pipeline = Registry::new().pipeline("rate").fallback("rate").build();
    /// let mut call = Call::begin(&pipeline);
    /// let asking = call.enter_default();
    /// assert_eq!(call.ask_default(asking, async { 1.0 }).await, 1.0);
    /// # }
    /// ```
    pub async fn ask_default<F: Future>(&mut self, asking: LevelPermit<'p>, answer: F) -> F::Output {
        Polled::new(self, asking.run_later(answer)).await
    }

    /// Whether somebody collects why levels are asked.
    ///
    /// ```
    /// use resilient_runtime::{Degradation, Registry, pipeline::Call};
    ///
    /// let pipeline = Registry::new().pipeline("rate").fallback("rate").build();
    /// let is_watched = || Call::begin(&pipeline).is_watched();
    /// assert!(!is_watched());
    /// assert!(Degradation::collect(is_watched).0);
    /// ```
    pub fn is_watched(&self) -> bool {
        fallback::is_watched()
    }

    /// Why the levels are asked, as [`Registry::set_error_text`](crate::Registry::set_error_text) lets it be told.
    ///
    /// ```
    /// use resilient_runtime::{Registry, fallback::Why, observe::ErrorText, pipeline::Call};
    ///
    /// let registry = Registry::new();
    /// registry.set_error_text(ErrorText::redacted(|text| text.replace("hunter2", "***")));
    /// let pipeline = registry.pipeline("rate").fallback("rate").build();
    /// let why = Call::begin(&pipeline).may_tell(&Why::new(None, "wrong password hunter2"));
    /// assert_eq!(&**why.text(), "wrong password ***");
    /// ```
    pub fn may_tell(&self, why: &Why) -> Why {
        why.as_told(&self.pipeline.texts)
    }

    /// A level has answered, with something of this age, because of `why`.
    ///
    /// ```
    /// use resilient_runtime::{Level, Registry, pipeline::Call};
    ///
    /// let pipeline = Registry::new().pipeline("rate").fallback("rate").build();
    /// let mut call = Call::begin(&pipeline);
    /// call.level_served(Level::Default, None, None);
    /// drop(call);
    /// assert_eq!(pipeline.stats().fell_back, 1);
    /// ```
    #[cold]
    pub fn level_served(&mut self, level: Level, age: Option<Duration>, why: Option<&Why>) {
        self.ending = Ending::FellBack;
        if let Some(fallback) = &self.pipeline.fallback {
            fallback.served(level);
        }
        fallback::note(self.pipeline.operation.name(), level, age, why);
    }

    /// A level had no answer.
    ///
    /// ```
    /// use resilient_runtime::{Component, Level, Registry, pipeline::Call};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("rate").fallback("rate").build();
    /// Call::begin(&pipeline).level_failed(Level::Replica);
    /// assert_eq!(registry.fallback("rate").stats().all_failed, 1, "it was the last");
    /// ```
    #[cold]
    pub fn level_failed(&mut self, level: Level) {
        let is_last = self.pipeline.levels.last().is_none_or(|last| *last == level);
        if is_last {
            self.all_failed();
        }
    }

    /// The name of whoever counts the levels.
    ///
    /// ```
    /// use resilient_runtime::{Registry, pipeline::Call};
    ///
    /// let registry = Registry::new();
    /// let (with, without) = (registry.pipeline("rate").fallback("rates").build(), registry.pipeline("stock").build());
    /// assert_eq!(Call::begin(&with).fallback_name(), "rates");
    /// assert_eq!(Call::begin(&without).fallback_name(), "stock");
    /// ```
    pub fn fallback_name(&self) -> &'static str {
        match &self.pipeline.fallback {
            Some(fallback) => fallback.name(),
            None => self.pipeline.operation.name(),
        }
    }

    // The built-in local cache -----------------------------------------------------------------------------

    /// Under what the good answers of this place in the source are kept that have this key.
    pub fn cache_key<V: LastGood, K: Hash + ?Sized>(&self, site: &'static Site, key: &K) -> u128 {
        match &self.pipeline.fallback {
            // Functions that share a name do not share answers.
            Some(fallback) => fallback.key::<V, _>(&(std::ptr::from_ref(site).addr(), key)),
            None => 0,
        }
    }

    /// Keeps a good answer.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, pipeline::Call};
    ///
    /// let registry = Registry::new();
    /// let pipeline = registry.pipeline("rate").fallback("rate").build();
    /// Call::begin(&pipeline).keep(7, &1.1);
    /// assert_eq!(registry.fallback("rate").stats().cache.entries, 1);
    /// ```
    pub fn keep<V: LastGood>(&self, key: u128, value: &V) {
        if let Some(fallback) = &self.pipeline.fallback {
            fallback.store(key, value.clone(), self.time());
        }
    }

    /// Asks for it again.
    ///
    /// ```
    /// use resilient_runtime::{Registry, fallback::NoAnswer, pipeline::Call};
    ///
    /// let pipeline = Registry::new().pipeline("rate").fallback("rate").build();
    /// let mut call = Call::begin(&pipeline);
    /// call.keep(7, &1.1);
    /// assert_eq!(call.last_good::<f64>(7).unwrap().0, 1.1);
    /// assert_eq!(call.last_good::<f64>(8), Err(NoAnswer::Empty));
    /// ```
    #[cold]
    pub fn last_good<V: LastGood>(&mut self, key: u128) -> Result<(V, Duration), NoAnswer> {
        self.miss();
        let Some(fallback) = &self.pipeline.fallback else { return Err(NoAnswer::Empty) };
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
        if let Some(fallback) = &self.pipeline.fallback {
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
        self.ending = self.missed;
        self.now = self.pipeline.clock.now();
        if let Some(fallback) = &self.pipeline.fallback {
            fallback.all_failed();
        }
    }

    fn suspend(&mut self, is_suspended: bool) {
        self.suspended = is_suspended;
    }
}
