//! What the levels of a fallback need to know of types: whether an outcome can be marked, kept, or say that there is
//! none. Chosen by the compiler, with the same trick as in `judge`.

use std::fmt::Display;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::fallback::{AllFailed, LastGood, Mark, NoAnswer, Unanswered, Why, one_of, why};
use crate::level::Level;
use crate::outcome::{BoxError, Failure, FallbackFailed};
use crate::pipeline::Call;
use crate::site::Site;

/// The traits to have in scope.
pub mod leveling {
    pub use super::{
        KeepsOptions, KeepsPlain, KeepsResults, Marks, MarksNothing, SaysBoth, SaysOne, Silent, Talks, Tells,
    };
}

/// Stands for the failure of a call.
#[derive(Debug)]
pub struct Describe<E>(PhantomData<fn() -> E>);

impl<E> Describe<E> {
    /// Of the type of this.
    pub fn of(_failure: &Failure<E>) -> Self {
        Self(PhantomData)
    }
}

/// The error can be put in words.
pub trait Talks<E> {
    /// The words.
    fn why(&self, failure: &Failure<E>) -> Why;
}

impl<E: Display> Talks<E> for &&Describe<E> {
    fn why(&self, failure: &Failure<E>) -> Why {
        why(failure, ToString::to_string)
    }
}

/// There is none.
pub trait Tells {
    /// The words.
    fn why(&self, failure: &Failure<()>) -> Why;
}

impl Tells for &Describe<()> {
    fn why(&self, failure: &Failure<()>) -> Why {
        why(failure, |()| "it returned nothing".to_owned())
    }
}

/// It cannot.
pub trait Silent<E> {
    /// Words.
    fn why(&self, failure: &Failure<E>) -> Why;
}

impl<E> Silent<E> for Describe<E> {
    fn why(&self, failure: &Failure<E>) -> Why {
        why(failure, |_| "it failed".to_owned())
    }
}

/// Stands for the type of an outcome.
#[derive(Debug)]
pub struct Leveled<R>(PhantomData<fn() -> R>);

impl<R> Leveled<R> {
    /// Of this type.
    #[inline]
    #[allow(clippy::new_without_default)] // it is a type, not a value
    pub const fn new() -> Self {
        Self(PhantomData)
    }

    /// Of the type of this.
    #[inline]
    pub fn of(_outcome: &R) -> Self {
        Self(PhantomData)
    }
}

/// The outcome can hold the mark of a level.
pub trait Marks<R> {
    /// Whether it can.
    fn can_be_marked(&self) -> bool {
        true
    }
    /// Fills it in.
    fn mark(&self, outcome: R, level: Level, age: Option<Duration>, why: Option<&Why>) -> R;
    /// Whether it does.
    fn is_marked(&self, outcome: &R) -> bool;
}

impl<R: Mark> Marks<R> for &Leveled<R> {
    fn mark(&self, mut outcome: R, level: Level, age: Option<Duration>, why: Option<&Why>) -> R {
        outcome.mark(level, age, why.map(Why::text) as Option<&Arc<str>>);
        outcome
    }

    fn is_marked(&self, outcome: &R) -> bool {
        outcome.is_marked()
    }
}

/// It cannot.
pub trait MarksNothing<R> {
    /// No.
    fn can_be_marked(&self) -> bool {
        false
    }
    /// What was given.
    fn mark(&self, outcome: R, _: Level, _: Option<Duration>, _: Option<&Why>) -> R {
        outcome
    }
    /// No.
    fn is_marked(&self, _: &R) -> bool {
        false
    }
}

impl<R> MarksNothing<R> for Leveled<R> {}

/// A value that was kept, and how old it is.
type Found<V> = Result<(V, Duration), NoAnswer>;

/// The key of a call in the built-in local cache, and how to keep and find what it has there: known of a type only where
/// the key is made, so that one that cannot be kept is one error.
#[derive(Debug)]
pub struct CacheKey<V> {
    hash: u128,
    keep: fn(&Call<'_>, u128, &V),
    last_good: fn(&mut Call<'_>, u128) -> Found<V>,
}

impl<V> Clone for CacheKey<V> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<V> Copy for CacheKey<V> {}

/// A value again, as an outcome, and how old it is.
type Again<R> = Result<(R, Option<Duration>), NoAnswer>;

impl<V: LastGood> CacheKey<V> {
    fn of<K: Hash + ?Sized>(call: &Call<'_>, site: &'static Site, key: &K) -> Self {
        let hash = call.cache_key::<V, K>(std::ptr::from_ref(site).addr(), key);
        Self {
            hash,
            keep: |call, key, value| call.keep(key, value),
            last_good: |call, key| call.last_good(key),
        }
    }
}

impl<V> CacheKey<V> {
    fn keep(self, call: &Call<'_>, value: &V) {
        (self.keep)(call, self.hash, value);
    }

    fn last_good<R>(self, call: &mut Call<'_>, outcome: impl FnOnce(V) -> R) -> Again<R> {
        (self.last_good)(call, self.hash).map(|(value, age)| (outcome(value), Some(age)))
    }
}

/// What is kept of a `Result`.
pub trait KeepsResults<T, E> {
    /// Where it is kept.
    fn key<K: Hash + ?Sized>(&self, call: &Call<'_>, site: &'static Site, key: &K) -> CacheKey<T>
    where
        T: LastGood;
    /// Keeps it.
    fn keep(&self, call: &Call<'_>, key: CacheKey<T>, outcome: &Result<T, E>);
    /// Asks for it again.
    fn last_good(&self, call: &mut Call<'_>, key: CacheKey<T>) -> Again<Result<T, E>>;
}

impl<T, E> KeepsResults<T, E> for &&Leveled<Result<T, E>> {
    fn key<K: Hash + ?Sized>(&self, call: &Call<'_>, site: &'static Site, key: &K) -> CacheKey<T>
    where
        T: LastGood,
    {
        CacheKey::of(call, site, key)
    }

    fn keep(&self, call: &Call<'_>, key: CacheKey<T>, outcome: &Result<T, E>) {
        if let Ok(value) = outcome {
            key.keep(call, value);
        }
    }

    fn last_good(&self, call: &mut Call<'_>, key: CacheKey<T>) -> Again<Result<T, E>> {
        key.last_good(call, Ok)
    }
}

/// What is kept of an `Option`.
pub trait KeepsOptions<T> {
    /// Where it is kept.
    fn key<K: Hash + ?Sized>(&self, call: &Call<'_>, site: &'static Site, key: &K) -> CacheKey<T>
    where
        T: LastGood;
    /// Keeps it.
    fn keep(&self, call: &Call<'_>, key: CacheKey<T>, outcome: &Option<T>);
    /// Asks for it again.
    fn last_good(&self, call: &mut Call<'_>, key: CacheKey<T>) -> Again<Option<T>>;
}

impl<T> KeepsOptions<T> for &Leveled<Option<T>> {
    fn key<K: Hash + ?Sized>(&self, call: &Call<'_>, site: &'static Site, key: &K) -> CacheKey<T>
    where
        T: LastGood,
    {
        CacheKey::of(call, site, key)
    }

    fn keep(&self, call: &Call<'_>, key: CacheKey<T>, outcome: &Option<T>) {
        if let Some(value) = outcome {
            key.keep(call, value);
        }
    }

    fn last_good(&self, call: &mut Call<'_>, key: CacheKey<T>) -> Again<Option<T>> {
        key.last_good(call, Some)
    }
}

/// What is kept of a plain value: all of it.
pub trait KeepsPlain<R> {
    /// Where it is kept.
    fn key<K: Hash + ?Sized>(&self, call: &Call<'_>, site: &'static Site, key: &K) -> CacheKey<R>
    where
        R: LastGood;
    /// Keeps it.
    fn keep(&self, call: &Call<'_>, key: CacheKey<R>, outcome: &R);
    /// Asks for it again.
    fn last_good(&self, call: &mut Call<'_>, key: CacheKey<R>) -> Again<R>;
}

impl<R> KeepsPlain<R> for Leveled<R> {
    fn key<K: Hash + ?Sized>(&self, call: &Call<'_>, site: &'static Site, key: &K) -> CacheKey<R>
    where
        R: LastGood,
    {
        CacheKey::of(call, site, key)
    }

    fn keep(&self, call: &Call<'_>, key: CacheKey<R>, outcome: &R) {
        key.keep(call, outcome);
    }

    fn last_good(&self, call: &mut Call<'_>, key: CacheKey<R>) -> Again<R> {
        key.last_good(call, |value| value)
    }
}

/// The error type can hold both errors.
pub trait SaysBoth<T, E> {
    /// What to return when the last level had no answer.
    fn none(
        &self,
        call: &Call<'_>,
        failure: Failure<E>,
        last: Result<Result<T, E>, NoAnswer>,
        level: Level,
    ) -> Result<T, E>;
}

impl<T, E: From<FallbackFailed> + Into<BoxError> + Display> SaysBoth<T, E> for &Leveled<Result<T, E>> {
    fn none(
        &self,
        _: &Call<'_>,
        failure: Failure<E>,
        last: Result<Result<T, E>, NoAnswer>,
        level: Level,
    ) -> Result<T, E> {
        match last {
            Ok(last) => AllFailed::all_failed(level, last, failure),
            Err(last) => AllFailed::unanswered(level, last, failure),
        }
    }
}

/// It cannot.
pub trait SaysOne<R> {
    /// What to return when the last level had no answer.
    fn none(&self, call: &Call<'_>, failure: Failure<R::Error>, last: Result<R, NoAnswer>, level: Level) -> R
    where
        R: Unanswered;
}

impl<R> SaysOne<R> for Leveled<R> {
    fn none(&self, call: &Call<'_>, failure: Failure<R::Error>, last: Result<R, NoAnswer>, _: Level) -> R
    where
        R: Unanswered,
    {
        one_of(failure, last, call.fallback_name())
    }
}
