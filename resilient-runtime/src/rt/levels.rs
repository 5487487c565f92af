//! Finds out what the types of fallback levels permit: whether an outcome can be marked, be stored, or be empty.
//!
//! The compiler chooses by autoref specialization, as in `judge`.

use std::fmt::Display;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::fallback::{
    AllFailed, DistributedKey, LastGood, Lookup, Mark, NoAnswer, Storable, Unanswered, Why, one_of, why,
};
use crate::level::Level;
use crate::outcome::{BoxError, Failure, FallbackFailed};
use crate::pipeline::Call;
use crate::site::Site;

/// The traits to have in scope.
pub mod leveling {
    pub use super::{
        DistributesOptions, DistributesPlain, DistributesResults, KeepsOptions, KeepsPlain, KeepsResults,
        Marks, MarksNothing, SaysBoth, SaysOne, Silent, Talks, Tells,
    };
}

/// The type of the failure of a call.
#[derive(Debug)]
pub struct Describe<E>(PhantomData<fn() -> E>);

impl<E> Describe<E> {
    /// Takes the type of `_failure`.
    pub fn of(_failure: &Failure<E>) -> Self {
        Self(PhantomData)
    }
}

/// The error implements `Display`.
pub trait Talks<E> {
    /// Returns the reason for the fallback.
    fn why(&self, failure: &Failure<E>) -> Why;
}

impl<E: Display> Talks<E> for &&Describe<E> {
    fn why(&self, failure: &Failure<E>) -> Why {
        why(failure, ToString::to_string)
    }
}

/// There is no error.
pub trait Tells {
    /// Returns the reason for the fallback.
    fn why(&self, failure: &Failure<()>) -> Why;
}

impl Tells for &Describe<()> {
    fn why(&self, failure: &Failure<()>) -> Why {
        why(failure, |()| "it returned nothing".to_owned())
    }
}

/// The error does not implement `Display`.
pub trait Silent<E> {
    /// Returns the reason for the fallback.
    fn why(&self, failure: &Failure<E>) -> Why;
}

impl<E> Silent<E> for Describe<E> {
    fn why(&self, failure: &Failure<E>) -> Why {
        why(failure, |_| "it failed".to_owned())
    }
}

/// The type of an outcome.
#[derive(Debug)]
pub struct Leveled<R>(PhantomData<fn() -> R>);

impl<R> Leveled<R> {
    /// Makes it for the type `R`.
    #[inline]
    #[allow(clippy::new_without_default)] // it is a type, not a value
    pub const fn new() -> Self {
        Self(PhantomData)
    }

    /// Takes the type of `_outcome`.
    #[inline]
    pub fn of(_outcome: &R) -> Self {
        Self(PhantomData)
    }
}

/// The outcome can hold the mark of a level.
pub trait Marks<R> {
    /// Returns true.
    fn can_be_marked(&self) -> bool {
        true
    }
    /// Adds the mark.
    fn mark(&self, outcome: R, level: Level, age: Option<Duration>, why: Option<&Why>) -> R;
    /// Whether the outcome has a mark.
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

/// The outcome cannot hold a mark.
pub trait MarksNothing<R> {
    /// Returns false.
    fn can_be_marked(&self) -> bool {
        false
    }
    /// Returns the outcome unchanged.
    fn mark(&self, outcome: R, _: Level, _: Option<Duration>, _: Option<&Why>) -> R {
        outcome
    }
    /// Returns false.
    fn is_marked(&self, _: &R) -> bool {
        false
    }
}

impl<R> MarksNothing<R> for Leveled<R> {}

/// The function whose values a local cache keeps: its site, and the [`path_of`] a closure in it.
type CacheOwner = (&'static Site, &'static str);

/// A stored value and its age.
type Found<V> = Result<(V, Duration), NoAnswer>;

/// The key of a call in the built-in local cache, with functions that store and look up its value. Its bounds are
/// checked where the key is made, so that a type that cannot be stored causes a single error.
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

/// A stored value as an outcome, and its age.
type Again<R> = Result<(R, Option<Duration>), NoAnswer>;

impl<V: LastGood> CacheKey<V> {
    fn of<K: Hash + ?Sized>(call: &Call<'_>, (site, path): CacheOwner, key: &K) -> Self {
        // The instances of a generic function have one site, and each has a path of its own. Two functions with the same path
        // have two sites.
        let owner = std::ptr::from_ref(site).addr() ^ path.as_ptr().addr().rotate_left(32);
        let hash = call.cache_key::<V, K>(owner, key);
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

/// Stores the `Ok` value of a `Result`.
pub trait KeepsResults<T, E> {
    /// Makes the cache key.
    fn key<K: Hash + ?Sized>(&self, call: &Call<'_>, owner: CacheOwner, key: &K) -> CacheKey<T>
    where
        T: LastGood;
    /// Stores the value.
    fn keep(&self, call: &Call<'_>, key: CacheKey<T>, outcome: &Result<T, E>);
    /// Looks up the value.
    fn last_good(&self, call: &mut Call<'_>, key: CacheKey<T>) -> Again<Result<T, E>>;
}

impl<T, E> KeepsResults<T, E> for &&Leveled<Result<T, E>> {
    fn key<K: Hash + ?Sized>(&self, call: &Call<'_>, owner: CacheOwner, key: &K) -> CacheKey<T>
    where
        T: LastGood,
    {
        CacheKey::of(call, owner, key)
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

/// Stores the value of an `Option`.
pub trait KeepsOptions<T> {
    /// Makes the cache key.
    fn key<K: Hash + ?Sized>(&self, call: &Call<'_>, owner: CacheOwner, key: &K) -> CacheKey<T>
    where
        T: LastGood;
    /// Stores the value.
    fn keep(&self, call: &Call<'_>, key: CacheKey<T>, outcome: &Option<T>);
    /// Looks up the value.
    fn last_good(&self, call: &mut Call<'_>, key: CacheKey<T>) -> Again<Option<T>>;
}

impl<T> KeepsOptions<T> for &Leveled<Option<T>> {
    fn key<K: Hash + ?Sized>(&self, call: &Call<'_>, owner: CacheOwner, key: &K) -> CacheKey<T>
    where
        T: LastGood,
    {
        CacheKey::of(call, owner, key)
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

/// Stores a plain value.
pub trait KeepsPlain<R> {
    /// Makes the cache key.
    fn key<K: Hash + ?Sized>(&self, call: &Call<'_>, owner: CacheOwner, key: &K) -> CacheKey<R>
    where
        R: LastGood;
    /// Stores the value.
    fn keep(&self, call: &Call<'_>, key: CacheKey<R>, outcome: &R);
    /// Looks up the value.
    fn last_good(&self, call: &mut Call<'_>, key: CacheKey<R>) -> Again<R>;
}

impl<R> KeepsPlain<R> for Leveled<R> {
    fn key<K: Hash + ?Sized>(&self, call: &Call<'_>, owner: CacheOwner, key: &K) -> CacheKey<R>
    where
        R: LastGood,
    {
        CacheKey::of(call, owner, key)
    }

    fn keep(&self, call: &Call<'_>, key: CacheKey<R>, outcome: &R) {
        key.keep(call, outcome);
    }

    fn last_good(&self, call: &mut Call<'_>, key: CacheKey<R>) -> Again<R> {
        key.last_good(call, |value| value)
    }
}

/// Returns the path of a closure, which contains the path and the type parameters of its function.
#[inline]
pub fn path_of<F>(_closure: &F) -> &'static str {
    std::any::type_name::<F>()
}

/// Returns the path of a function with its type parameters. `inside` is a closure in the function.
pub fn path_with_types<F>(inside: &F) -> &'static str {
    path_of(inside).trim_end_matches("::{{closure}}")
}

/// The key of a call in the built-in distributed cache, with functions for its value. Like [`CacheKey`], it is where the
/// bounds are checked.
#[derive(Debug)]
pub struct StoreKey<V> {
    key: Option<DistributedKey>,
    keep: fn(&Call<'_>, &DistributedKey, &V),
    lookup: fn(&mut Call<'_>, Option<DistributedKey>) -> Result<Lookup<V>, NoAnswer>,
}

impl<V: Storable> StoreKey<V> {
    fn of<K: Hash + ?Sized>(call: &Call<'_>, owner: &str, key: &K) -> Self {
        Self {
            key: call.distributed_key::<V, K>(owner, key),
            keep: |call, key, value| call.distribute(key, value),
            lookup: |call, key| call.lookup(key),
        }
    }
}

impl<V> StoreKey<V> {
    fn keep(&self, call: &Call<'_>, value: &V) {
        if let Some(key) = &self.key {
            (self.keep)(call, key, value);
        }
    }

    /// Looks up the value.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the call. A read of the store continues for other calls.
    pub async fn find<R>(self, call: &mut Call<'_>, outcome: fn(V) -> R) -> Again<R> {
        let lookup = (self.lookup)(call, self.key);
        let found = call.find_distributed(lookup).await;
        found.map(|(value, age)| (outcome(value), Some(age)))
    }

    /// Like `find`, but blocks the thread.
    pub fn find_blocking<R>(self, call: &mut Call<'_>, outcome: fn(V) -> R) -> Again<R> {
        let lookup = (self.lookup)(call, self.key);
        let found = call.find_distributed_blocking(lookup);
        found.map(|(value, age)| (outcome(value), Some(age)))
    }
}

/// Stores the `Ok` value of a `Result` in the distributed cache.
pub trait DistributesResults<T, E> {
    /// Makes the key.
    fn store_key<K: Hash + ?Sized>(&self, call: &Call<'_>, owner: &str, key: &K) -> StoreKey<T>
    where
        T: Storable;
    /// Stores the value.
    fn distribute(&self, call: &Call<'_>, key: &StoreKey<T>, outcome: &Result<T, E>);
    /// Returns the function that makes an outcome of a value.
    fn outcome(&self) -> fn(T) -> Result<T, E>;
}

impl<T, E> DistributesResults<T, E> for &&Leveled<Result<T, E>> {
    fn store_key<K: Hash + ?Sized>(&self, call: &Call<'_>, owner: &str, key: &K) -> StoreKey<T>
    where
        T: Storable,
    {
        StoreKey::of(call, owner, key)
    }

    fn distribute(&self, call: &Call<'_>, key: &StoreKey<T>, outcome: &Result<T, E>) {
        if let Ok(value) = outcome {
            key.keep(call, value);
        }
    }

    fn outcome(&self) -> fn(T) -> Result<T, E> {
        Ok
    }
}

/// Stores the value of an `Option` in the distributed cache.
pub trait DistributesOptions<T> {
    /// Makes the key.
    fn store_key<K: Hash + ?Sized>(&self, call: &Call<'_>, owner: &str, key: &K) -> StoreKey<T>
    where
        T: Storable;
    /// Stores the value.
    fn distribute(&self, call: &Call<'_>, key: &StoreKey<T>, outcome: &Option<T>);
    /// Returns the function that makes an outcome of a value.
    fn outcome(&self) -> fn(T) -> Option<T>;
}

impl<T> DistributesOptions<T> for &Leveled<Option<T>> {
    fn store_key<K: Hash + ?Sized>(&self, call: &Call<'_>, owner: &str, key: &K) -> StoreKey<T>
    where
        T: Storable,
    {
        StoreKey::of(call, owner, key)
    }

    fn distribute(&self, call: &Call<'_>, key: &StoreKey<T>, outcome: &Option<T>) {
        if let Some(value) = outcome {
            key.keep(call, value);
        }
    }

    fn outcome(&self) -> fn(T) -> Option<T> {
        Some
    }
}

/// Stores a plain value in the distributed cache.
pub trait DistributesPlain<R> {
    /// Makes the key.
    fn store_key<K: Hash + ?Sized>(&self, call: &Call<'_>, owner: &str, key: &K) -> StoreKey<R>
    where
        R: Storable;
    /// Stores the value.
    fn distribute(&self, call: &Call<'_>, key: &StoreKey<R>, outcome: &R);
    /// Returns the function that makes an outcome of a value.
    fn outcome(&self) -> fn(R) -> R;
}

impl<R> DistributesPlain<R> for Leveled<R> {
    fn store_key<K: Hash + ?Sized>(&self, call: &Call<'_>, owner: &str, key: &K) -> StoreKey<R>
    where
        R: Storable,
    {
        StoreKey::of(call, owner, key)
    }

    fn distribute(&self, call: &Call<'_>, key: &StoreKey<R>, outcome: &R) {
        key.keep(call, outcome);
    }

    fn outcome(&self) -> fn(R) -> R {
        std::convert::identity
    }
}

/// The error type can hold the errors of the call and of the last level.
pub trait SaysBoth<T, E> {
    /// Returns the combined outcome after the last level failed.
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

/// The error type cannot hold both errors.
pub trait SaysOne<R> {
    /// Returns the combined outcome after the last level failed.
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
