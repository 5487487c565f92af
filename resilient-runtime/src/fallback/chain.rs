//! The chain of fallback levels of one call.

use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project_lite::pin_project;

use super::degradation::Why;
use super::distributed::{Lookup, Step};
use super::failed::AllFailed;
use super::kept::{Again, Keeps};
use super::level_permit::{LevelPermit, NoAnswer, Waiting};
use super::{Fallback, Level, degradation};
use crate::outcome::{Failure, Outcome};
use crate::replay::Replay;

type Ask<'a, R> = Box<dyn FnOnce(&Failure<<R as Outcome>::Error>) -> R + 'a>;
type AskLater<'a, R> = Box<dyn FnOnce(&Failure<<R as Outcome>::Error>) -> Later<'a, R> + Send + 'a>;
type Later<'a, R> = Pin<Box<dyn Future<Output = R> + Send + 'a>>;

enum Answer<'a, R: Outcome> {
    Code(Ask<'a, R>),
    Kept(Box<dyn FnOnce() -> Again<R> + 'a>),
    Distributed(Result<Lookup<R>, NoAnswer>),
}

enum AnswerLater<'a, R: Outcome> {
    Code(AskLater<'a, R>),
    Kept(Box<dyn FnOnce() -> Again<R> + Send + 'a>),
    Distributed(Result<Lookup<R>, NoAnswer>),
}

/// The fallback levels of a call. A chain has at least one level.
///
/// Levels run in the order of [`Level`], not in the order in which they are added. Among levels of the same name, the
/// one added first runs first.
///
/// ```
/// use resilient_runtime::fallback::{Chain, Level};
///
/// let chain = Chain::<Option<u32>>::of(Level::Default, |_| Some(0)).or(Level::Replica, |_| Some(7));
/// assert_eq!(format!("{chain:?}"), "[Replica, Default]");
/// ```
pub struct Chain<'a, R: Outcome>(Ordered<Answer<'a, R>>);

/// A [`Chain`] of asynchronous levels. Each level except [`Level::Default`] has a timeout.
///
/// ```
/// use resilient_runtime::fallback::{AsyncChain, Level};
///
/// let backup = AsyncChain::<Option<u32>>::of(Level::Backup, |_| async { Some(7) });
/// let chain = backup.or(Level::Replica, |_| async { None });
/// assert_eq!(format!("{chain:?}"), "[Replica, Backup]");
/// ```
pub struct AsyncChain<'a, R: Outcome>(Ordered<AnswerLater<'a, R>>);

/// At least one level, sorted by [`Level`].
struct Ordered<A> {
    first: (Level, A),
    rest: Vec<(Level, A)>,
}

impl<A> Ordered<A> {
    fn of(level: Level, answer: A) -> Self {
        Self { first: (level, answer), rest: Vec::new() }
    }

    fn or(mut self, level: Level, answer: A) -> Self {
        if level < self.first.0 {
            // The old first level precedes all others, including later ones of the same name.
            let second = std::mem::replace(&mut self.first, (level, answer));
            self.rest.insert(0, second);
        } else {
            let place = self.rest.partition_point(|(other, _)| *other <= level);
            self.rest.insert(place, (level, answer));
        }
        self
    }

    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let levels = std::iter::once(&self.first).chain(&self.rest).map(|(level, _)| level);
        f.debug_list().entries(levels).finish()
    }
}

/// Limits and counts the levels: a [`Fallback`] that is called directly, or a call with a fallback stage.
pub(crate) trait Levels<'f> {
    fn enter(&mut self, level: Level) -> Result<LevelPermit<'f>, NoAnswer>;
    fn enter_distributed(&mut self) -> Result<LevelPermit<'f>, NoAnswer>;
    /// Counts a lookup in a cache in memory, which needs no permit and no time limit.
    fn look(&mut self, level: Level);
    /// The built-in distributed cache had no value.
    fn missed(&mut self, none: NoAnswer);
    fn served(&mut self, level: Level, age: Option<Duration>, why: Option<&Why>);
    /// Applies the error text rule of the registry to the reason.
    fn may_tell(&self, why: &Why) -> Why;
    fn all_failed(&mut self);
    /// Sets whether the call is suspended between two polls. Dropping it then counts as cancelled, not as a panic.
    fn suspend(&mut self, is_suspended: bool);
}

pin_project! {
    /// The future of a level, within the call that runs it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Level, Registry, __rt::Call};
    ///
    /// let pipeline = Registry::new().pipeline("rate").fallback("rate").build();
    /// let mut call = Call::begin(&pipeline);
    /// let asking = call.enter_level(Level::Replica).unwrap();
    /// let hosted = call.ask(asking, async { "from the replica" });
    /// assert_eq!(hosted.await, Ok("from the replica"));
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping it drops the level and cancels the call.
    #[derive(Debug)]
    pub struct Hosted<'l, 'f, L, F> {
        #[pin]
        waiting: Waiting<'f, F>,
        levels: &'l mut L,
    }
}

impl<'l, 'f, L, F> Hosted<'l, 'f, L, F> {
    pub(crate) fn new(levels: &'l mut L, asking: LevelPermit<'f>, answer: F) -> Self {
        Self { waiting: asking.wait(answer), levels }
    }
}

impl<'f, L: Levels<'f>, F: Future> Future for Hosted<'_, 'f, L, F> {
    type Output = Result<F::Output, NoAnswer>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // A panic during the poll is a panic of the level, not a cancellation.
        this.levels.suspend(false);
        let poll = this.waiting.poll(cx);
        this.levels.suspend(poll.is_pending());
        poll
    }
}

/// Looks up a value in the built-in distributed cache.
///
/// # Cancel safety
/// Dropping the future cancels the call. A read of the store continues for other calls.
pub(crate) async fn look_up<'f, V>(
    levels: &mut impl Levels<'f>,
    lookup: Lookup<V>,
) -> Result<(V, Duration), NoAnswer> {
    let guard = match lookup.begin() {
        Step::Known(known) => return known_at_once(levels, known),
        Step::Read(guard) => guard,
    };
    let read = match levels.enter_distributed() {
        Ok(asking) => Hosted::new(levels, asking, lookup.read(guard)).await,
        Err(none) => Err(none),
    };
    ended(levels, lookup.end(read))
}

/// Like [`look_up`], but blocks the thread.
pub(crate) fn look_up_blocking<'f, V>(
    levels: &mut impl Levels<'f>,
    lookup: Lookup<V>,
) -> Result<(V, Duration), NoAnswer> {
    let guard = match lookup.begin() {
        Step::Known(known) => return known_at_once(levels, known),
        Step::Read(guard) => guard,
    };
    let read = levels.enter_distributed().and_then(|asking| asking.block(lookup.read(guard)));
    ended(levels, lookup.end(read))
}

fn known_at_once<'f, V>(
    levels: &mut impl Levels<'f>,
    known: Result<(V, Duration), NoAnswer>,
) -> Result<(V, Duration), NoAnswer> {
    levels.look(Level::DistributedCache);
    ended(levels, known)
}

fn ended<'f, V>(
    levels: &mut impl Levels<'f>,
    found: Result<(V, Duration), NoAnswer>,
) -> Result<(V, Duration), NoAnswer> {
    // The other reasons are published where they are counted.
    if let Err(none @ (NoAnswer::StoreFailed | NoAnswer::Unreadable)) = &found {
        levels.missed(*none);
    }
    found
}

/// The result of one level: a success, or the failure to return if no level follows.
enum LevelResult<R> {
    Success(R),
    Failure(Result<R, NoAnswer>),
}

fn level_result<'f, R: Outcome>(
    levels: &mut impl Levels<'f>,
    level: Level,
    why: Option<&Why>,
    outcome: Result<(R, Option<Duration>), NoAnswer>,
) -> LevelResult<R> {
    match outcome {
        Ok((outcome, age)) if !outcome.is_failure() => {
            levels.served(level, age, why);
            LevelResult::Success(outcome)
        }
        Ok((outcome, _)) => LevelResult::Failure(Ok(outcome)),
        Err(none) => LevelResult::Failure(Err(none)),
    }
}

fn every_level_failed<'f, R: AllFailed>(
    levels: &mut impl Levels<'f>,
    level: Level,
    last: Result<R, NoAnswer>,
    failure: Failure<R::Error>,
) -> R {
    levels.all_failed();
    match last {
        Ok(last) => R::all_failed(level, last, failure),
        Err(last) => R::unanswered(level, last, failure),
    }
}

fn from_cache<R: Outcome>(kept: Again<R>) -> Result<(R, Option<Duration>), NoAnswer> {
    kept.map(|(outcome, age)| (outcome, Some(age)))
}

impl<'a, R: Outcome> Chain<'a, R> {
    /// Creates a chain of one level. The level receives the failure of the call.
    ///
    /// ```
    /// use resilient_runtime::{Registry, fallback::{Chain, Level}};
    ///
    /// let queue = std::cell::RefCell::new(Vec::new());
    /// let later = || Chain::of(Level::Backup, |_| {
    ///     queue.borrow_mut().push("mail to ada");
    ///     Some("queued")
    /// });
    /// assert_eq!(Registry::new().fallback("mail").call(|| None, later), Some("queued"));
    /// assert_eq!(*queue.borrow(), ["mail to ada"]);
    /// ```
    pub fn of(level: Level, answer: impl FnOnce(&Failure<R::Error>) -> R + 'a) -> Self {
        Self(Ordered::of(level, Answer::Code(Box::new(answer))))
    }

    /// Adds a level.
    ///
    /// ```
    /// use resilient_runtime::{Registry, fallback::{Chain, Level}};
    ///
    /// let near = |_: &_| Some("near");
    /// let chain = || Chain::of(Level::Default, |_| Some("far")).or(Level::Replica, near);
    /// assert_eq!(Registry::new().fallback("map").call(|| None, chain), Some("near"), "a replica comes first");
    /// ```
    pub fn or(self, level: Level, answer: impl FnOnce(&Failure<R::Error>) -> R + 'a) -> Self {
        Self(self.0.or(level, Answer::Code(Box::new(answer))))
    }

    /// Adds the built-in local cache: the value that `fallback` [stores](Fallback::keep) under `key`.
    ///
    /// ```
    /// use resilient_runtime::{Registry, fallback::{Chain, Level}};
    ///
    /// let fallback = Registry::new().fallback("rates");
    /// fallback.keep("EUR", 1.1);
    /// let chain = || Chain::of(Level::Default, |_| Some(1.0)).or_last_good(&fallback, "EUR");
    /// assert_eq!(fallback.call(|| None, chain), Some(1.1));
    /// ```
    pub fn or_last_good<K: Hash + ?Sized>(self, fallback: &'a Fallback, key: &'a K) -> Self
    where
        R: Keeps,
    {
        let kept = move || fallback.again::<R, K>(key);
        Self(self.0.or(Level::LocalCache, Answer::Kept(Box::new(kept))))
    }

    /// Adds the built-in distributed cache: the value that `fallback` [distributes](Fallback::distribute) under `key`.
    ///
    /// It blocks the thread until the store responds, within the time limits of the level and the store.
    ///
    /// ```
    /// use resilient_runtime::{Component, Registry, fallback::{Chain, Config, Level, MemoryCache}};
    ///
    /// let registry = Registry::new();
    /// registry.use_store("shared", MemoryCache::new(registry.clock().clone(), 1000));
    /// let fallback = registry.fallback("rates");
    /// fallback.reconfigure(Config::default().distributed_cache_store("shared")).unwrap();
    /// fallback.distribute("EUR", &1.1);
    /// let chain = || Chain::of(Level::Default, |_| Some(1.0)).or_distributed(&fallback, "EUR");
    /// assert_eq!(fallback.call(|| None, chain), Some(1.1));
    /// ```
    pub fn or_distributed<K: Hash + ?Sized>(self, fallback: &Fallback, key: &K) -> Self
    where
        R: Replay,
    {
        let lookup = fallback.distributed_key::<R::Value, K>("", key).map(|key| fallback.lookup_outcome(key));
        Self(self.0.or(Level::DistributedCache, Answer::Distributed(lookup)))
    }

    pub(crate) fn answer<'f>(self, levels: &mut impl Levels<'f>, failure: Failure<R::Error>) -> R
    where
        R: AllFailed,
    {
        let why = degradation::is_watched().then(|| levels.may_tell(&R::why(&failure)));
        let mut next = Some(self.0.first);
        let mut rest = self.0.rest.into_iter();
        let mut last = (Level::Default, Err(NoAnswer::Empty));
        while let Some((level, answer)) = next {
            let outcome = match answer {
                Answer::Code(answer) => {
                    levels.enter(level).map(|asking| (asking.run(|| answer(&failure)), None))
                }
                Answer::Kept(kept) => {
                    levels.look(level);
                    from_cache(kept())
                }
                Answer::Distributed(lookup) => {
                    from_cache(lookup.and_then(|lookup| look_up_blocking(levels, lookup)))
                }
            };
            match level_result(levels, level, why.as_ref(), outcome) {
                LevelResult::Success(outcome) => return outcome,
                LevelResult::Failure(outcome) => last = (level, outcome),
            }
            next = rest.next();
        }
        every_level_failed(levels, last.0, last.1, failure)
    }
}

impl<'a, R: Outcome> AsyncChain<'a, R> {
    /// Creates a chain of one level.
    ///
    /// The level receives the failure of the call. Its future cannot borrow from the failure, so copy what it needs.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Failure, Registry, fallback::{AsyncChain, Level}};
    ///
    /// let why = || AsyncChain::of(Level::Default, |failure: &Failure<()>| {
    ///     let was_refused = failure.rejection().is_some();
    ///     async move { Some(if was_refused { "refused" } else { "failed" }) }
    /// });
    /// let fallback = Registry::new().fallback("quote");
    /// assert_eq!(fallback.call_async(async || None, why).await, Some("failed"));
    /// # }
    /// ```
    pub fn of<F>(level: Level, answer: impl FnOnce(&Failure<R::Error>) -> F + Send + 'a) -> Self
    where
        F: Future<Output = R> + Send + 'a,
    {
        Self(Ordered::of(level, Self::later(answer)))
    }

    /// Adds a level.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Registry, fallback::{AsyncChain, Level}};
    ///
    /// let chain = || {
    ///     let none = AsyncChain::of(Level::DistributedCache, |_| async { None });
    ///     none.or(Level::Backup, |_| async { Some("second provider") })
    /// };
    /// let sms = Registry::new().fallback("sms");
    /// assert_eq!(sms.call_async(async || None, chain).await, Some("second provider"));
    /// # }
    /// ```
    pub fn or<F>(self, level: Level, answer: impl FnOnce(&Failure<R::Error>) -> F + Send + 'a) -> Self
    where
        F: Future<Output = R> + Send + 'a,
    {
        Self(self.0.or(level, Self::later(answer)))
    }

    /// Adds the built-in local cache: the value that `fallback` [stores](Fallback::keep) under `key`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Registry, fallback::{AsyncChain, Level}};
    ///
    /// let fallback = Registry::new().fallback("stock");
    /// fallback.keep(&7, 12);
    /// let chain = || AsyncChain::of(Level::Replica, |_| async { None }).or_last_good(&fallback, &7);
    /// assert_eq!(fallback.call_async(async || None, chain).await, Some(12));
    /// assert_eq!(fallback.stats().levels[&Level::LocalCache].served, 1);
    /// # }
    /// ```
    pub fn or_last_good<K: Hash + Sync + ?Sized>(self, fallback: &'a Fallback, key: &'a K) -> Self
    where
        R: Keeps,
    {
        let kept = move || fallback.again::<R, K>(key);
        Self(self.0.or(Level::LocalCache, AnswerLater::Kept(Box::new(kept))))
    }

    /// Adds the built-in distributed cache: the value that `fallback` [distributes](Fallback::distribute) under `key`.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use resilient_runtime::{Component, Registry, fallback::{AsyncChain, Config, Level, MemoryCache}};
    ///
    /// let registry = Registry::new();
    /// registry.use_store("shared", MemoryCache::new(registry.clock().clone(), 1000));
    /// let fallback = registry.fallback("stock");
    /// fallback.reconfigure(Config::default().distributed_cache_store("shared")).unwrap();
    /// fallback.distribute(&7, &12);
    /// let chain = || AsyncChain::of(Level::Backup, |_| async { None }).or_distributed(&fallback, &7);
    /// assert_eq!(fallback.call_async(async || None, chain).await, Some(12));
    /// # }
    /// ```
    pub fn or_distributed<K: Hash + ?Sized>(self, fallback: &Fallback, key: &K) -> Self
    where
        R: Replay,
    {
        let lookup = fallback.distributed_key::<R::Value, K>("", key).map(|key| fallback.lookup_outcome(key));
        Self(self.0.or(Level::DistributedCache, AnswerLater::Distributed(lookup)))
    }

    fn later<F>(answer: impl FnOnce(&Failure<R::Error>) -> F + Send + 'a) -> AnswerLater<'a, R>
    where
        F: Future<Output = R> + Send + 'a,
    {
        AnswerLater::Code(Box::new(|failure| Box::pin(answer(failure))))
    }

    pub(crate) async fn answer<'f>(self, levels: &mut impl Levels<'f>, failure: Failure<R::Error>) -> R
    where
        R: AllFailed,
    {
        let why = degradation::is_watched().then(|| levels.may_tell(&R::why(&failure)));
        let mut next = Some(self.0.first);
        let mut rest = self.0.rest.into_iter();
        let mut last = (Level::Default, Err(NoAnswer::Empty));
        while let Some((level, answer)) = next {
            let outcome = match answer {
                AnswerLater::Code(answer) => match levels.enter(level) {
                    Ok(asking) => {
                        let answer = answer(&failure);
                        Hosted::new(levels, asking, answer).await.map(|outcome| (outcome, None))
                    }
                    Err(none) => Err(none),
                },
                AnswerLater::Kept(kept) => {
                    levels.look(level);
                    from_cache(kept())
                }
                AnswerLater::Distributed(Ok(lookup)) => from_cache(look_up(levels, lookup).await),
                AnswerLater::Distributed(Err(none)) => Err(none),
            };
            match level_result(levels, level, why.as_ref(), outcome) {
                LevelResult::Success(outcome) => return outcome,
                LevelResult::Failure(outcome) => last = (level, outcome),
            }
            next = rest.next();
        }
        every_level_failed(levels, last.0, last.1, failure)
    }
}

impl<R: Outcome> fmt::Debug for Chain<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl<R: Outcome> fmt::Debug for AsyncChain<'_, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
